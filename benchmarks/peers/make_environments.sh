#!/usr/bin/env bash
# One environment per peer, since their pins of e3nn differ: bash benchmarks/peers/make_environments.sh [FOLDER]
# Then nequip's model is compiled with its own tools, for evaluation in both dtypes and for training in float32 (torch
# keeps that in $TORCHINDUCTOR_CACHE_DIR). It takes a quarter of an hour and needs a C++ compiler. The code is for as
# many threads as torch has while it is compiled: OMP_NUM_THREADS if that is set, 2 otherwise.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:-runs/peers}"
folder=$(cd "${1:-runs/peers}" && pwd)
for peer in mace-torch==0.3.16 nequip==0.19.1 torch_geometric==2.8.1; do
  name=${peer%%[-=]*}
  python3 -m venv "$folder/$name"
  "$folder/$name/bin/pip" install --quiet torch==2.13.0
  "$folder/$name/bin/pip" install --quiet "$peer"
done
python3 -m venv "$folder/symmetrix" # which makes its models of mace-torch's, and wants a C++20 compiler when it runs
"$folder/symmetrix/bin/pip" install --quiet torch==2.13.0 mace-torch==0.3.16 symmetrix-xl==0.1.1
"$folder/torch_geometric/bin/pip" install --quiet scipy # which its DimeNet imports and does not ask for

export TORCHINDUCTOR_CACHE_DIR=$folder/inductor OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
bash "$here/compile_nequip.sh" "$folder" float32 float64 || echo "nequip was not compiled; the comparison will say so" >&2
echo '{"do": "train", "structure": "toluene"}' |
  "$folder/nequip/bin/python" "$here/worker.py" "nequip compiled" float32 "$OMP_NUM_THREADS"
