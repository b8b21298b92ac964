#!/usr/bin/env bash
# Redis, Django and the Rust chat, all on this machine, until Ctrl-C:
#
#   python3 -m venv venv && venv/bin/pip install -r requirements.txt
#   PYTHON=venv/bin/python ./run.sh
#
# REDIS_PORT, DJANGO_PORT and RUST_PORT say where; MODE=pubsub takes the other of Django's backends; LANE=frame has
# the Rust chat send ready frames, which Django's members hear, and understand no events; CHAT_BIN is a chat that is built already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

redis_port=${REDIS_PORT:-6390} django_port=${DJANGO_PORT:-8000} rust_port=${RUST_PORT:-8001}
mode=${MODE:-core} lane=${LANE:-handler} python=${PYTHON:-python3}
export REDIS_URL="redis://127.0.0.1:$redis_port/0"
case "$mode" in
  core) export LAYER=core.RedisChannelLayer ;;
  pubsub) export LAYER=pubsub.RedisPubSubChannelLayer ;;
  *) echo "MODE must be core or pubsub" >&2; exit 2 ;;
esac
if [ -z "${CHAT_BIN:-}" ]; then
  cargo build --quiet -p chat
  target=$(cargo metadata --format-version 1 --no-deps \
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
  CHAT_BIN=$target/debug/chat
fi

started=()
trap 'kill "${started[@]}" 2>/dev/null || true; wait' EXIT
trap 'exit 0' INT TERM

answers() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Starts what is to listen on a port, and waits until it does.
start() {
  local port=$1
  shift
  "$@" &
  started+=($!)
  for _ in $(seq 300); do
    ! answers "$port" || return 0
    kill -0 "${started[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  echo "$1 does not listen on port $port" >&2
  exit 1
}

start "$redis_port" redis-server --port "$redis_port" --bind 127.0.0.1 --save "" --appendonly no --loglevel warning
start "$django_port" "$python" -m daphne -b 127.0.0.1 -p "$django_port" -v 0 project.asgi:application
start "$rust_port" "$CHAT_BIN" --listen "127.0.0.1:$rust_port" --layer "$REDIS_URL?mode=$mode" --lane "$lane"
echo "ready: Django http://127.0.0.1:$django_port/chat/lobby/ and Rust http://127.0.0.1:$rust_port/chat/lobby/"
# The first of them that ends ends all.
wait -n "${started[@]}"
