#!/usr/bin/env bash
# Makes hosts on this machine for `layup train --hosts=virtual`, changes their rates, takes them away:
# up N [--rate RATE] [--slow RANK:RATE] | limit [--rate RATE] [--slow RANK:RATE] | status | down.
# What it does is in layup_jax/virtual_cluster.py, which experiments use too.
set -euo pipefail
root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
if [[ ! -x $root/.venv/bin/python ]]; then
  echo "layup: virtual hosts need $root/.venv, found none; run 'make env'" >&2
  exit 2
fi
PYTHONPATH=$root exec "$root/.venv/bin/python" -m layup_jax.virtual_cluster "$@"
