#!/usr/bin/env bash
# nequip's model with random weights, compiled with its own tools: bash benchmarks/peers/compile_nequip.sh FOLDER DTYPE..., of the
# environments that make_environments.sh makes. It takes minutes and needs a C++ compiler. The code is for OMP_NUM_THREADS threads.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(cd "$1" && pwd)
nequip=$folder/nequip
export TORCHINDUCTOR_CACHE_DIR=$folder/inductor
PYTHONPATH=$here "$nequip/bin/python" -c "
from ase.io import write
from structures import labelled, rattled, silicon
write('$nequip/frames.xyz', labelled(rattled(silicon(2), 2)))"
for dtype in "${@:2}"; do
  rm -rf "${nequip:?}/$dtype" # a step of training makes the checkpoint that nequip-compile wants
  "$nequip/bin/nequip-train" -cp "$here" -cn nequip "hydra.run.dir=$nequip/$dtype" "dtype=$dtype" "frames=$nequip/frames.xyz"
  "$nequip/bin/nequip-compile" "$nequip/$dtype/last.ckpt" "$nequip/$dtype-$OMP_NUM_THREADS.nequip.pt2" \
    --mode aotinductor --device cpu --target ase
done
