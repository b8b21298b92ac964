#!/usr/bin/env bash
# Every check of the workspace, from any folder: tests/run.sh [--all]
#
# Installs what the tests need and the machine lacks (as root, through apt-get; otherwise it names the packages and
# exits with 2), then formats, lints, documents, builds and tests. All steps run, also after one has failed; the last
# line counts the tests. --all adds the long tests, which take minutes; CHANNELS_LONG=1 is set for them.
set -euo pipefail

# No check may wait for a key, and a closed stdin must not become another file's number.
exec </dev/null
export DEBIAN_FRONTEND=noninteractive
export PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# The counting below reads cargo's output as plain text.
export CARGO_TERM_COLOR=never

long=no
for argument in "$@"; do
  case "$argument" in
    --all) long=yes ;;
    *)
      echo "usage: tests/run.sh [--all]" >&2
      exit 2
      ;;
  esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# The folder of Debian's nats-server and nginx.
export PATH="$PATH:/usr/sbin"
# The three mounts of the suite in channel-layer-redis/tests/conformance.rs, which are a separate step.
redis_suite=_on_one_host::
# Minutes of faults, for --all.
redis_faults_test=clients_live_through_redis_faults
nats_faults_test=clients_live_through_nats_faults
# Line tables are enough to find a failure, and sixty test programs link in half the time.
export CARGO_PROFILE_DEV_DEBUG="${CARGO_PROFILE_DEV_DEBUG:-line-tables-only}"
# A single build needs no incremental data.
if [ "${CI:-}" = true ]; then
  export CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-0}"
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=()
not_run=()

main() {
  install_packages
  make_environment
  step "format" cargo fmt --all --check
  step "lint" cargo clippy --workspace --all-targets --all-features -- -D warnings
  # Not among --all-targets, because they are not part of `cargo test`. All features, so that no crate is built twice.
  step "lint the long tests" cargo clippy --workspace --all-features --test long --test conformance_long -- -D warnings
  step "document" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features
  step "build" cargo build --workspace --bins --features chat/nats
  use_built_examples
  step "test" cargo test --workspace --all-features --no-fail-fast -- --skip "$redis_suite"
  # Its cases mostly wait, so many of them run at once.
  step "the suite on Redis" cargo test --workspace --all-features --test conformance -- --test-threads 6
  if [ "$long" = yes ]; then
    export CHANNELS_LONG=1
    step "the whole suite" cargo test -p channel-layer-redis --test conformance_long
    step "long faults" cargo test -p channel-layer-redis --all-features --test long
    step "the whole suite on NATS" cargo test -p nats-layer --test conformance_long
    # Alone, because they assert on time: recovery within two seconds.
    step "faults of Redis" cargo test -p channels-tests --test long -- "$redis_faults_test"
    step "faults of NATS" cargo test -p channels-tests --test long -- "$nats_faults_test"
    step "long tests" cargo test -p channels-tests --test long -- --skip "$redis_faults_test" --skip "$nats_faults_test"
    step "simulation of many seeds" cargo test -p channels-tests --test simulation
    models
    external "licences and advisories" "needs cargo-deny and the database of advisories" tests/deny.sh
    external "autobahn" "needs Python 2.7" tests/autobahn/run.sh
    external "fuzzing" "needs cargo-fuzz and a sanitizer" tests/fuzz/run.sh 20
  fi
  local crate
  for crate in channel-layer channel-layer-redis ws-consumer; do
    step "$crate without features" cargo check -p "$crate" --no-default-features
    step "$crate with default features" cargo check -p "$crate"
  done
  summarise
}

install_packages() {
  local missing=()
  command -v redis-server >/dev/null || missing+=(redis-server)
  command -v nats-server >/dev/null || missing+=(nats-server)
  command -v nginx >/dev/null || missing+=(nginx-light)
  has_chromium || missing+=(chromium)
  command -v chromedriver >/dev/null || missing+=(chromium-driver)
  command -v node >/dev/null || missing+=(nodejs)
  command -v "${CHANNELS_TSC:-tsc}" >/dev/null || missing+=(node-typescript)
  # Debian's python3 has the module venv, but not ensurepip, without which it makes no folder.
  python3 -c "import venv, ensurepip" 2>/dev/null || missing+=(python3 python3-venv)
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing; install with your package manager (Debian's names): ${missing[*]}" >&2
    exit 2
  fi
  echo "== install: ${missing[*]}"
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

has_chromium() {
  command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}

# The Python peers, in a folder that is made again when the list of packages changes.
make_environment() {
  local folder="${CHANNELS_TEST_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/channels-rs/venv}"
  local stamp="$folder/made-from"
  local wanted
  wanted=$(sha256sum <tests/peers/requirements.txt)
  export CHANNELS_TEST_VENV="$folder"
  if [ -x "$folder/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    return 0
  fi
  echo "== make the Python environment in $folder"
  if [ -e "$folder" ] && [ ! -e "$folder/pyvenv.cfg" ]; then
    echo "$folder exists and is not a Python environment: remove it, or set CHANNELS_TEST_VENV" >&2
    exit 2
  fi
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --requirement tests/peers/requirements.txt
  # Last, so that an incomplete environment is made again.
  echo "$wanted" >"$stamp"
}

step() {
  local name=$1 started=$SECONDS
  shift
  echo
  echo "== $name: $*"
  if "$@" 2>&1 | tee -a "$log"; then
    echo "== $name: ok ($((SECONDS - started)) s)"
  else
    failed+=("$name")
    echo "== $name: FAILED ($((SECONDS - started)) s)"
  fi
}

# The tests start the programs that were just built, without another run of cargo.
use_built_examples() {
  local target
  target=$(cargo metadata --format-version 1 --no-deps \
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
  export CHAT_BIN="${CHAT_BIN:-$target/debug/chat}" ECHO_BIN="${ECHO_BIN:-$target/debug/echo}"
  export AUTH_BIN="${AUTH_BIN:-$target/debug/auth}" WORKER_BIN="${WORKER_BIN:-$target/debug/worker}"
  export TRANSPORTS_BIN="${TRANSPORTS_BIN:-$target/debug/transports}"
  export AUCTION_BIN="${AUCTION_BIN:-$target/debug/auction}"
}

# Races, under a scheduler that tries the interleavings. All crates are built again for it, in a separate folder.
models() {
  step "models" env RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/shuttle" \
    cargo test -p channel-layer --lib models
}

# A script that ends with 3 where a tool is missing; the last lines then list it as not run.
external() {
  local name=$1 needs=$2 code=0 started=$SECONDS
  shift 2
  echo
  echo "== $name: $*"
  bash "$@" || code=$?
  case "$code" in
    0) echo "== $name: ok ($((SECONDS - started)) s)" ;;
    3) not_run+=("$name ($needs)") ;;
    *) failed+=("$name") ;;
  esac
}

summarise() {
  local counts passed
  # Cargo ends each test program with: test result: ok. 3 passed; 0 failed; ...
  counts=$(awk '/^test result: / { passed += $4; failed += $6 }
    END { printf "%d passed, %d failed", passed, failed }' "$log")
  passed=${counts%% *}
  echo
  if [ ${#not_run[@]} -gt 0 ]; then
    printf 'NOT RUN: %s\n' "${not_run[@]}"
  fi
  if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed step: %s\n' "${failed[@]}"
  elif [ "$passed" = 0 ]; then
    failed+=("no test ran")
    echo "no test ran"
  fi
  echo "$counts"
  [ ${#failed[@]} -eq 0 ]
}

main
