"""Compares Autobahn's results with the expected ones: better is fine, worse is a failure.

compare.py REPORT EXPECTED [--store]
"""

import json
import sys

RANK = ["OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "UNCLEAN", "FAILED"]


def results(report):
    with open(report) as file:
        (agent,) = json.load(file).values()
    return {case: [result["behavior"], result["behaviorClose"]] for case, result in agent.items()}


def rank(behavior):
    return RANK.index(behavior) if behavior in RANK else len(RANK)


def main(report, expected, *options):
    got = results(report)
    if "--store" in options:
        rows = ",\n".join(f" {json.dumps(case)}: {json.dumps(got[case])}" for case in sorted(got))
        with open(expected, "w") as file:
            file.write("{\n" + rows + "\n}\n")
        return
    with open(expected) as file:
        wanted = json.load(file)
    worse = [
        f"{case}: {now}, expected {wanted.get(case)}"
        for case, now in sorted(got.items())
        if case not in wanted or any(rank(a) > rank(b) for a, b in zip(now, wanted[case]))
    ]
    missing = sorted(set(wanted) - set(got))
    for line in worse + [f"{case}: not run" for case in missing]:
        print(line)
    failed = len(worse) + len(missing)
    print(f"autobahn: {len(got) - len(worse)} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
