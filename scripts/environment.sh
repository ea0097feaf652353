#!/usr/bin/env bash
# Makes .venv ready to run layup_jax (`make env`). A second run returns at once; an interrupted one
# is resumed. Packages come from wherever pip is configured to look.
# PYTHON=python3.12 chooses the interpreter; CUDA_PATH=/dev leaves out mpi4jax's CUDA part.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'layup: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }
digest() { cksum | cut -d' ' -f1; }
install() {
  .venv/bin/python -m pip install -qq --disable-pip-version-check --root-user-action=ignore \
    --constraint constraints.txt "$@"
}

# The folder of a CUDA toolkit that mpi4jax can build with and a GPU can use, else /dev: an existing
# folder without include/ and lib/ keeps mpi4jax from following an nvcc that it finds on PATH.
cuda_toolkit() {
  local nvcc root; nvcc=$(command -v nvcc || true)
  root=${CUDA_PATH:-${CUDA_HOME:-${nvcc:+$(dirname "$(dirname "$(readlink -f "$nvcc")")")}}}
  if [[ -e $root/include/cuda_runtime.h && (-e /dev/nvidiactl || -e /dev/dxg) ]] &&
    [[ -e $root/lib64/libcudart.so || -e $root/lib/libcudart.so ]]; then echo "$root"; else echo /dev; fi
}

stamp=.venv/.complete-$({ pwd -P && cat pyproject.toml constraints.txt scripts/environment.sh; } | digest)
if [[ -e $stamp && -x .venv/bin/python ]]; then exit 0; fi
rm -f .venv/.complete-*
supported='import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))'
if ! .venv/bin/python -c "$supported" 2>/dev/null; then
  python=${PYTHON:-python3}
  "$python" -c "$supported" 2>/dev/null || fail "needs Python 3.11 or newer with its venv module," \
    "got $("$python" --version 2>/dev/null || echo none); install one (python3-venv) or name one: make env PYTHON=python3.12"
  say "creating .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
fi
.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
headers=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
"${OMPI_CC:-cc}" -x c++ -fsyntax-only "-I$headers" - <<<$'#include <vector>\n#include <Python.h>' 2>/dev/null ||
  fail "mpi4jax needs a C++ compiler and Python's headers, found no working pair; install g++ and python3-dev"

say "installing packages (a few minutes the first time)"
install -r /dev/stdin setuptools wheel Cython nanobind <<<"$(.venv/bin/python -c 'import pathlib, tomllib
project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
print(*(line for line in wanted if not line.startswith("mpi4jax")), sep="\n")')"

toolkit=$(cuda_toolkit)
built=.venv/.mpi4jax-$({ echo "$toolkit" && cat constraints.txt; } | digest)
if [[ ! -e $built ]]; then
  rm -f .venv/.mpi4jax-*
  if [[ $toolkit == /dev ]]; then part="without CUDA (no usable toolkit with a GPU)"; else part="with CUDA from $toolkit"; fi
  say "compiling mpi4jax $part"
  PATH=$PWD/.venv/bin:$PATH CUDA_PATH=$toolkit install --no-build-isolation --no-deps --no-cache-dir --force-reinstall mpi4jax
  touch "$built"
fi
# Open MPI's one-sided libfabric component, which two-sided messages never use, sleeps for a second
# at each start of a worker.
settings=.venv/etc/openmpi-mca-params.conf
if [[ -e $settings ]] && ! grep -q '^btl *=' "$settings"; then echo 'btl = ^ofi' >>"$settings"; fi
# compat: puts the repository itself on the path, so that a package added later is found too.
install --no-build-isolation --no-deps --config-settings editable_mode=compat --editable .
touch "$stamp"
say "environment complete in .venv"
