"""What the peers share: running checks and printing what came of them."""

import asyncio
import json
import sys
import time
import traceback

# Seconds for all checks together: a way out for a server that stays silent, not a measure. Less than the test waits
# for this program, so that the verdict is still heard.
DEADLINE = 50


async def judge(checks):
    """Runs (name, coroutine function) pairs one after the other; prints {name: true or what went wrong}."""
    verdict = {}
    end = time.monotonic() + DEADLINE
    for name, check in checks:
        try:
            await asyncio.wait_for(check(), max(end - time.monotonic(), 0.1))
            verdict[name] = True
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            verdict[name] = f"{type(error).__name__}: {error}"[:1000]
    print(json.dumps(verdict))
    return all(outcome is True for outcome in verdict.values())


def same(found, expected):
    """Fails with both values, shortened: some are megabytes."""
    if found != expected:
        raise AssertionError(f"expected {short(expected)}, found {short(found)}")


def short(value):
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}... ({len(text)} characters)"
