#!/usr/bin/env bash
# Autobahn's fuzzing client against the example `echo`: tests/autobahn/run.sh
#
# Needs Python 2.7, which few machines have. Without it nothing is run, and the last line says so: that is no pass.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/channels-rs/autobahn"

python=$(command -v python2.7 || true)
for candidate in "$HOME"/.pyenv/versions/2.7.*/bin/python2.7; do
  [ -x "$candidate" ] && python=$candidate
done
if [ -z "$python" ] || ! "$python" -c "import sys; assert sys.version_info[:2] == (2, 7)" 2>/dev/null; then
  echo "AUTOBAHN NOT RUN: it needs Python 2.7"
  exit 3
fi
if [ ! -x "$cache/bin/wstest" ]; then
  echo "== make the Python 2.7 environment in $cache"
  rm -rf "$cache"
  "$python" -m pip install --quiet --user virtualenv==20.15.1
  "$python" -m virtualenv --quiet "$cache"
  "$cache/bin/pip" install --quiet autobahntestsuite==25.10.1
fi

cargo build --quiet --release --manifest-path "$root/Cargo.toml" --bin echo
work=$(mktemp -d)
target=$(cargo metadata --manifest-path "$root/Cargo.toml" --format-version 1 --no-deps \
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
"$target/release/echo" --listen 127.0.0.1:0 >"$work/out" &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
url=""
for _ in $(seq 50); do
  url=$(sed -n 's/^echo on //p' "$work/out")
  [ -n "$url" ] && break
  sleep 0.1
done
cat >"$work/spec.json" <<SPEC
{"outdir": "$work/reports", "servers": [{"agent": "echo", "url": "$url"}],
 "cases": ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"], "exclude-cases": [],
 "exclude-agent-cases": {}}
SPEC
(cd "$work" && timeout 300 "$cache/bin/wstest" -m fuzzingclient -s spec.json >wstest.log 2>&1) || {
  tail -20 "$work/wstest.log"
  exit 1
}
python3 "$here/compare.py" "$work/reports/index.json" "$here/expected.json"
