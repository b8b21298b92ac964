#!/usr/bin/env bash
# Fuzzes every decoder: tests/fuzz/run.sh [SECONDS [TARGET..]]
#
# SECONDS are for each target, 60 without. Works with a stable compiler, which RUSTC_BOOTSTRAP lets use a sanitizer. Installs
# cargo-fuzz if it is missing. Where that cannot be had nothing is run, and the last line says so: that is no pass.
# A crash is left in artifacts/; put its file into corpus/TARGET once it is fixed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
seconds=${1:-60}
shift || true
export RUSTC_BOOTSTRAP=1
# Beside the workspace's own, which is built without sanitizers.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$here/../../target}/fuzz"

not_run() {
  echo "FUZZING NOT RUN: $1"
  exit 3
}

if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "== install cargo-fuzz"
  env -u RUSTC_BOOTSTRAP -u CARGO_TARGET_DIR cargo install cargo-fuzz --locked || not_run "cargo-fuzz cannot be installed"
fi
# Whether there is a sanitizer for this machine shows only here.
cargo fuzz build --fuzz-dir . || not_run "the targets cannot be built"

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cd corpus && printf '%s\n' *)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=()
for target in "${targets[@]}"; do
  # What is found goes to the first folder: the committed corpus stays as it is.
  mkdir -p "$work/$target"
  if cargo fuzz run --fuzz-dir . "$target" "$work/$target" "corpus/$target" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -print_final_stats=1 >"$work/log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
    echo "$target: $runs executions, no crash"
  else
    failed+=("$target")
    tail -40 "$work/log"
    echo "$target: CRASHED"
  fi
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "FUZZING FAILED: ${failed[*]}"
  exit 1
fi
