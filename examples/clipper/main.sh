#!/usr/bin/env bash
# Clipper's tutorial, step by step, with curl: nothing here knows that it is not Clipper that answers.
# Ports other than Clipper's: QUERY=… ADMIN=… RPC=… OWN_ADMIN=…
set -euo pipefail
cd "$(dirname "$0")"
QUERY=${QUERY:-1337} ADMIN=${ADMIN:-1339} RPC=${RPC:-7000} OWN_ADMIN=${OWN_ADMIN:-1338}

state=$(mktemp -d)
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$state"
}
trap finish EXIT

step() { printf '\n# %s\n' "$1"; }
ask() { curl -s "localhost:$1" -d "$2" && echo; }
# Tries for half a minute until a query is answered by a model.
answered() {
  for _ in $(seq 150); do
    [[ $(curl -s "localhost:$QUERY/$1/predict" -d "$2") == *'"default":false'* ]] && return
    sleep 0.2
  done
  echo "no answer of a model from $1" >&2
  return 1
}
container() {
  CLIPPER_MODEL_NAME=$1 CLIPPER_MODEL_VERSION=$2 CLIPPER_PORT=$RPC FACTOR=$3 node container.ts &
  pids+=($!)
}

echo "# Start it, with Clipper's ports for queries and containers"
# What `npx windjammer` runs; npx itself would not pass the end on.
windjammer=$(node -p 'require.resolve("windjammer/package.json").replace("package.json", "dist/core/cli/main.js")')
node "$windjammer" start --clipper-compat --state-dir "$state" --port "$QUERY" --admin-port "$OWN_ADMIN" \
  --clipper-admin-port "$ADMIN" --clipper-rpc-port "$RPC" >"$state/log" 2>&1 &
pids+=($!)
curl -s --retry 60 --retry-delay 1 --retry-all-errors "localhost:$ADMIN/admin/ping" && echo

step "Register an application: doubles in, -1.0 when there is no answer within a second"
ask "$ADMIN/admin/add_app" \
  '{"name":"hello-world","input_type":"doubles","default_output":"-1.0","latency_slo_micros":1000000}'
ask "$QUERY/hello-world/predict" '{"input": [1.1, 2.2, 3.3]}'

step "Deploy a model: register it, link it, and start its container"
ask "$ADMIN/admin/add_model" '{"model_name":"sum-model","model_version":"1","labels":[],"input_type":"doubles",
  "container_name":"NO_CONTAINER","model_data_path":"DEPRECATED","batch_size":-1}'
ask "$ADMIN/admin/add_model_links" '{"app_name":"hello-world","model_names":["sum-model"]}'
container sum-model 1 1
answered hello-world '{"input": [0.5]}'
ask "$QUERY/hello-world/predict" '{"input": [1.5, 2.25, 3.0]}'
ask "$QUERY/hello-world/predict" '{"input_batch": [[1.0, 2.0], [10.0, 20.0, 30.0]]}'

step "Update it: version 2 gives ten times as much"
ask "$ADMIN/admin/add_model" '{"model_name":"sum-model","model_version":"2","labels":[],"input_type":"doubles",
  "container_name":"NO_CONTAINER","model_data_path":"DEPRECATED","batch_size":-1}'
container sum-model 2 10
answered hello-world '{"input": [0.5]}'
ask "$QUERY/hello-world/predict" '{"input": [1.5, 2.25, 3.0]}'

step "Roll it back"
ask "$ADMIN/admin/set_model_version" '{"model_name":"sum-model","model_version":"1"}'
ask "$QUERY/hello-world/predict" '{"input": [1.5, 2.25, 3.0]}'

step "What is there"
ask "$ADMIN/admin/get_all_models" '{"verbose":false}'
ask "$ADMIN/admin/get_linked_models" '{"app_name":"hello-world"}'
ask "$ADMIN/admin/get_all_containers" '{"verbose":false}'
