#!/usr/bin/env bash
# One model of one element: bash benchmarks/accuracy/train_mlearn.sh DATA Si|Mo|Cu NAME [options of nbody train]
# DATA is the folder with Si_train.xyz, Si_test.xyz, ... of mlearn. Some stress labels of Si have two components exchanged
# (benchmarks/silicon_stress.py), so stress weighs little. The model goes to runs/accuracy/NAME, the surfaces among the training
# structures to runs/accuracy/Mo_surfaces.xyz and the like, for options that count them more often.
# Gradients are clipped at 10, the default when these trainings began.
set -euo pipefail
data=$(cd "$1" && pwd) symbol=$2 name=$3
shift 3
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p runs/accuracy
surfaces=runs/accuracy/${symbol}_surfaces.xyz
[ -e "$surfaces" ] || .venv/bin/python benchmarks/accuracy/surfaces.py "$data" "$symbol" "$surfaces"
OMP_NUM_THREADS=1 .venv/bin/nbody train --data "$data/${symbol}_train.xyz" --test "$data/${symbol}_test.xyz" \
  --preset medium --stress-weight 0.01 --threads 1 --gradient-clip 10 --output "runs/accuracy/$name.safetensors" "$@"
