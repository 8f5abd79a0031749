#!/usr/bin/env bash
# The same command on every worker of a Cloud TPU slice (gcloud must be logged in):
#   TPU=my-slice ZONE=us-central2-b launchers/tpu.sh low_label --method=simclr --batch_size=4096
# The checkout is copied to each worker first. The first worker writes the results, into --out on its disk. After a
# preemption the same line goes on, where that disk is kept; --out on a mounted bucket (gcsfuse) survives the slice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${TPU:?TPU=NAME of the slice}" "${ZONE:?ZONE=its zone}" "${1:?which experiment?}"

git archive --format=tar.gz --output=/tmp/sslx.tar.gz HEAD
gcloud compute tpus tpu-vm scp /tmp/sslx.tar.gz "$TPU:" --zone="$ZONE" --worker=all
# SSLX_DISTRIBUTED: the workers find one another by what jax knows of a Cloud TPU.
gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="
  mkdir -p sslx && tar -xzf sslx.tar.gz -C sslx && cd sslx &&
  SSLX_DISTRIBUTED=1 ./launch.sh --extras=tpu $(printf '%q ' "$@")"
