#!/usr/bin/env bash
# Starts a Docker engine on a bare Debian machine without systemd, or finds the one that runs. Needs root.
# Prints its address on the last line; `start-engine.sh stop` ends the one this script started.
set -euo pipefail
socket=${DOCKER_SOCK:-/var/run/docker.sock}
data=${DOCKER_DATA:-/var/lib/docker}

answers() { curl -fs --max-time 2 --unix-socket "$socket" http://docker/_ping >/dev/null 2>&1; }

if [ "${1:-start}" = stop ]; then
  [ -e "$data.started" ] || exit 0
  pid=$(cat "$data.started")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 150); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  rm -f "$data.started"
  exit 0
fi
if answers; then echo "unix://$socket"; exit 0; fi

if ! command -v dockerd >/dev/null || ! command -v iptables >/dev/null || ! command -v curl >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q >/dev/null || true
  apt-get install -yq --no-install-recommends docker.io iptables ca-certificates curl >/dev/null
fi
mkdir -p "$data" "$(dirname "$socket")"
own=()
[ "$socket" = /var/run/docker.sock ] || own=(--exec-root "$data.exec" --pidfile "$data.pid")
setsid dockerd --data-root "$data" -H "unix://$socket" "${own[@]}" >"$data.log" 2>&1 </dev/null &
echo $! >"$data.started"
for _ in $(seq 300); do
  if answers; then echo "unix://$socket"; exit 0; fi
  sleep 0.1
done
tail -20 "$data.log" >&2
exit 1
