#!/usr/bin/env bash
# One model of water: bash benchmarks/accuracy/train_water.sh DATA NAME [options of nbody train]
# DATA is the folder with water_train.xyz and water_test.xyz; 20 of the 320 frames for training choose the best weights. The
# model goes to runs/accuracy/NAME. Gradients are clipped at 10, the default when these trainings began.
set -euo pipefail
data=$(cd "$1" && pwd) name=$2
shift 2
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p runs/accuracy
OMP_NUM_THREADS=1 .venv/bin/nbody train --data "$data/water_train.xyz" --n-valid 20 --test "$data/water_test.xyz" \
  --preset medium --threads 1 --gradient-clip 10 --output "runs/accuracy/$name.safetensors" "$@"
