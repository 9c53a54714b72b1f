#!/usr/bin/env bash
# One model of one molecule: bash benchmarks/accuracy/train_rmd17.sh DATA MOLECULE N NAME [options of nbody train]
# DATA is the folder with MOLECULE_train.xyz and MOLECULE_test.xyz of rMD17 (1000 frames each). N, 50 or 1000, frames are
# used, evenly spaced in the file; 5 or 50 of them choose the best weights. The model goes to runs/accuracy/NAME.
# Gradients are clipped at 10, the default when these trainings began.
set -euo pipefail
data=$(cd "$1" && pwd) molecule=$2 n=$3 name=$4
shift 4
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p runs/accuracy
.venv/bin/ase convert --force --image-number "::$((1000 / n))" "$data/${molecule}_train.xyz" "runs/accuracy/${molecule}_$n.xyz"
OMP_NUM_THREADS=1 .venv/bin/nbody train --data "runs/accuracy/${molecule}_$n.xyz" --n-valid "$((n == 1000 ? 50 : 5))" \
  --test "$data/${molecule}_test.xyz" --preset medium --seed 1 --threads 1 \
  --gradient-clip 10 --output "runs/accuracy/$name.safetensors" "$@"
