#!/usr/bin/env bash
# One row of README.md: bash benchmarks/accuracy/train_3bpa.sh DATA NAME [options of nbody train]
# DATA is the folder with train_300K.xyz and train_mixedT.xyz of 3BPA; the model goes to runs/accuracy/NAME. Reference energies
# are fitted: with those of iso_atoms.xyz (--isolated-atoms) 4.9 eV per atom are left for the network, and errors are larger.
# Gradients are clipped at 10, the default when these trainings began.
set -euo pipefail
data=$(cd "$1" && pwd) name=$2
shift 2
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p runs/accuracy
.venv/bin/python benchmarks/accuracy/split_3bpa.py "$data" runs/accuracy
tests=()
for temperature in 300K 600K 1200K; do tests+=(--test "runs/accuracy/3bpa_mixedT_$temperature.xyz"); done
OMP_NUM_THREADS=1 .venv/bin/nbody train --data "$data/train_300K.xyz" --n-valid 50 \
  "${tests[@]}" --preset medium --seed 1 --threads 1 --gradient-clip 10 --output "runs/accuracy/$name.safetensors" "$@"
