#!/usr/bin/env bash
# Tests and measurements on a GPU, below ten minutes: bash benchmarks/gpu/run.sh [FOLDER] [--device cpu --sizes small]
# PYTHON, MACE_PYTHON, NEQUIP_PYTHON and SEVENN_PYTHON name the interpreters of ase_nbody and, where they are there, of its peers, each
# with torch for CUDA. Logs and JSON lines go to FOLDER, runs/gpu if not given; report.py makes tables of them.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
folder=${1:-$root/runs/gpu}
shift || true
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python=${PYTHON:-$root/.venv/bin/python}
cd "$root" || exit 1
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
# mace-torch's e3nn reads its own constants in a way that newer versions of torch refuse unless told
export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1

if command -v nvidia-smi >/dev/null; then
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$folder/card.txt"
fi
timeout 200 "$python" -m pytest -q -n 8 -p no:cacheprovider tests/test_cuda.py tests/test_cuda_kernels.py 2>&1 | tee "$folder/tests.log"
export PYTHONPATH=$PYTHONPATH:$root/benchmarks/peers
rm -f "$folder"/*.jsonl
measure() { # INTERPRETER PACKAGE OPTIONS; what was measured until the time is over counts
  [[ -x $(command -v "$1") ]] || { echo "$2: no interpreter $1" >&2; return; }
  timeout 100 "$1" -W ignore "$here/measure.py" "$2" --output "$folder/$2.jsonl" "${@:3}" 2>"$folder/$2.log"
}
measure "$python" ase_nbody "$@"
measure "${MACE_PYTHON:-$root/runs/peers/mace/bin/python}" mace "$@"
measure "${NEQUIP_PYTHON:-$root/runs/peers/nequip/bin/python}" nequip "$@"
measure "${SEVENN_PYTHON:-$root/runs/peers/sevenn/bin/python}" sevenn "$@"
if [[ -f $folder/card.txt ]]; then
  for structure in water-3993 water-52728; do
    timeout 30 "$python" -W ignore "$here/step_profile.py" "nbody medium" "$structure" cuda >"$folder/profile-$structure.txt" 2>&1
  done
fi
"$python" "$here/report.py" "$folder"/*.jsonl | tee "$folder/tables.md"
