#!/usr/bin/env bash
# A job of SLURM, one process a GPU, that goes on by itself after its time limit and after a preemption:
#   sbatch launchers/slurm.sh low_label --method=simclr --batch_size=4096
# Change the lines of #SBATCH, or give them to sbatch: sbatch --nodes=4 --time=24:00:00 launchers/slurm.sh ...
#SBATCH --job-name=sslx
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=sslx-%j.log
# ntasks-per-node = gpus-per-node: jax gives the process with SLURM_LOCALID k the k-th GPU of its node. No --gpus-per-task:
# each process would then see a single GPU, numbered 0. TERM@120: 120 seconds before the limit every process gets SIGTERM,
# by which sslx saves a checkpoint and ends with 130.
set -uo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
trap : TERM # a preemption reaches this shell, too; it has to live on until the step has saved

# Installs once, before the processes start. SSLX_EXTRAS=cuda12 for an older driver, empty for CPUs.
extras=${SSLX_EXTRAS-cuda13}
launch=(./launch.sh ${extras:+--extras=$extras})
"${launch[@]}" "${1:?which experiment? sbatch launchers/slurm.sh low_label --method=simclr}" --help > /dev/null || exit

srun --kill-on-bad-exit=1 "${launch[@]}" "$@" &
step=$!
wait "$step"
status=$?
while kill -0 "$step" 2> /dev/null; do # a signal to this shell has ended the first wait
  wait "$step"
  status=$?
done
# 130: stopped by a signal, and what is done is saved. The same command goes on; after scancel the request is refused.
if [[ $status == 130 ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
