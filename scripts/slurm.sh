#!/usr/bin/env bash
# Trains in a SLURM allocation: one worker per GPU, on nodes without GPUs one per node, or as many tasks as
# were asked for. From the repository's root:
#   sbatch --nodes=2 --gpus-per-node=4 --exclusive scripts/slurm.sh --config=configs/cifar10_resnet18.py
# --dry-run as first argument prints the command in place of running it. See scripts/README.md.
#
# mpirun starts the workers, through srun, because the Open MPI of .venv then meets its own PMIx: that of
# srun is another version, or missing, from cluster to cluster, and each worker would be alone.
set -euo pipefail

fail() { printf 'layup: %s\n' "$*" >&2; exit 2; }

case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;; esac
dry_run=
if [[ ${1:-} == --dry-run ]]; then dry_run=yes; shift; fi
[[ -n ${SLURM_JOB_ID:-} ]] ||
  fail "this needs a SLURM allocation, found none; put 'sbatch --nodes=N' (or salloc) before $0"
root=${SLURM_SUBMIT_DIR:-$PWD}  # sbatch runs a copy of this file elsewhere
[[ -x $root/.venv/bin/mpirun ]] ||
  fail "a job is submitted from the root of the repository, got $root; cd there, run 'make env' and submit again"

nodes=${SLURM_JOB_NUM_NODES:-1}
if [[ -n ${SLURM_NTASKS:-} ]]; then
  place=(-n "$SLURM_NTASKS" --map-by slot:oversubscribe)  # mpirun knows how many each node has
else
  each=${SLURM_GPUS_ON_NODE:-1}
  place=(-n $((nodes * each)) --map-by "ppr:$each:node:oversubscribe")
fi
# Whatever the cluster makes its default, steps see the environment of this script.
run=(env SLURM_EXPORT_ENV=ALL)
if ((EUID == 0)); then run+=(OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1); fi
# Workers take their own GPU and cores of what the node offers them: layup_jax/host.py.
run+=("$root/.venv/bin/mpirun" "${place[@]}" --bind-to none --wdir "$root" "$root/.venv/bin/layup" train "$@")

if [[ -n $dry_run ]]; then printf '%q ' "${run[@]}"; echo; else exec "${run[@]}"; fi
