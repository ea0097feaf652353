#!/usr/bin/env bash
# Trains on the hosts of a file, one a line with the number of its workers: "node1 slots=4".
#   scripts/hostfile.sh [--dry-run] hosts.txt --config=configs/cifar10_resnet18.py
# --dry-run prints the command in place of running it. See scripts/README.md.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() { printf 'layup: %s\n' "$*" >&2; exit 2; }

dry_run=
if [[ ${1:-} == --dry-run ]]; then dry_run=yes; shift; fi
hosts=${1:-}
[[ -f $hosts ]] || fail "the first argument must be a file of hosts, got '$hosts'; write one, such as 'node1 slots=4' a line"
shift
workers=$(awk '{ sub(/#.*/, "") } NF { n = 1; if (match($0, /slots=[0-9]+/)) n = substr($0, RSTART + 6, RLENGTH - 6); all += n }
  END { print all + 0 }' "$hosts")
((workers > 0)) || fail "the file of hosts must name at least one, got none in '$hosts'; write one a line"

run=()
if ((EUID == 0)); then run+=(env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1); fi
run+=("$root/.venv/bin/mpirun" --hostfile "$hosts" -n "$workers" --map-by slot --bind-to none --wdir "$root")
# Over ssh only these go along.
for name in $(compgen -e | grep -E '^(JAX|XLA|CUDA|NCCL|TFDS)_' || true); do run+=(-x "$name"); done
run+=("$root/.venv/bin/layup" train "$@")

if [[ -n $dry_run ]]; then printf '%q ' "${run[@]}"; echo; else exec "${run[@]}"; fi
