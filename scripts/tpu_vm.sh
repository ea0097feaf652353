#!/usr/bin/env bash
# Trains on a slice of several TPU VMs: one worker per host, on all of its chips. On any host of the slice:
#   scripts/tpu_vm.sh [--dry-run] --config=configs/imagenet_resnet50.py
# --dry-run prints the command in place of running it. HOSTS=10.0.0.2,10.0.0.3 and CHIPS=4 (of a host) stand
# for what is else asked of the slice. See scripts/README.md.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
metadata=http://metadata.google.internal/computeMetadata/v1/instance/attributes/worker-network-endpoints

fail() { printf 'layup: %s\n' "$*" >&2; exit 2; }

case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit ;; esac
dry_run=
if [[ ${1:-} == --dry-run ]]; then dry_run=yes; shift; fi
# "unknown:unknown:10.164.0.5,unknown:unknown:10.164.0.6"
hosts=${HOSTS:-$(curl -sf --max-time 5 -H Metadata-Flavor:Google "$metadata" | sed 's/[^,]*://g' || true)}
[[ -n $hosts ]] || fail "the slice must name its hosts, got no answer; set HOSTS=ADDRESS,ADDRESS"
[[ $hosts =~ ^[^,[:space:]]+(,[^,[:space:]]+)*$ ]] || fail "hosts must be ADDRESS,ADDRESS, got '$hosts'; correct HOSTS"
chips=${CHIPS:-$(find /dev -maxdepth 2 \( -path '/dev/accel[0-9]*' -o -path '/dev/vfio/[0-9]*' \) | wc -l)}
case $chips in
  1) bounds=1,1,1 ;;
  4) bounds=2,2,1 ;;
  8) bounds=2,4,1 ;;
  *) fail "a host must have 1, 4 or 8 chips, found $chips; run this on a TPU VM, or set CHIPS" ;;
esac
workers=$(tr , '\n' <<<"$hosts" | grep -c .)

# libtpu would join all hosts of the slice into one system, whose processes must run the same program and die
# together. With these each host is a system of its own: one process, the first, with all of its chips.
run=("$root/.venv/bin/mpirun" --host "$hosts" -n "$workers" --map-by ppr:1:node --bind-to none --wdir "$root"
  --mca btl_tcp_if_exclude "127.0.0.0/8,172.17.0.0/16"  # Docker's bridge has one address on all hosts
  -x "TPU_PROCESS_BOUNDS=1,1,1" -x "TPU_CHIPS_PER_PROCESS_BOUNDS=$bounds"
  -x "TPU_VISIBLE_CHIPS=$(seq -s, 0 $((chips - 1)))" -x CLOUD_TPU_TASK_ID=0
  -x TPU_PROCESS_ADDRESSES=localhost:8476 -x TPU_PROCESS_PORT=8476
  -x TPU_WORKER_ID=0 -x TPU_WORKER_HOSTNAMES=localhost -x "JAX_PLATFORMS=tpu,cpu"
  "$root/.venv/bin/layup" train "--config.local_devices=$chips" --config.transport.data_plane=host "$@")

if [[ -n $dry_run ]]; then printf '%q ' "${run[@]}"; echo; else exec "${run[@]}"; fi
