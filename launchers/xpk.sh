#!/usr/bin/env bash
# The same on a cluster of xpk (TPU slices or GPUs under Kubernetes), in a container image that holds the checkout at
# /sslx with its .venv (docker build -f launchers/Dockerfile):
#   CLUSTER=my-cluster TYPE=v5litepod-16 IMAGE=... launchers/xpk.sh low_label --method=simclr
set -euo pipefail
: "${CLUSTER:?CLUSTER=NAME}" "${TYPE:?TYPE=v5litepod-16}" "${IMAGE:?IMAGE=the container image}" "${1:?which experiment?}"
xpk workload create --cluster="$CLUSTER" --workload="sslx-$(date +%s)" --tpu-type="$TYPE" --num-slices="${SLICES:-1}" \
  --docker-image="$IMAGE" --max-restarts=20 \
  --command="cd /sslx && SSLX_DISTRIBUTED=1 ./launch.sh $(printf '%q ' "$@")"
