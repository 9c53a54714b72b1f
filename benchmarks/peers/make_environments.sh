#!/usr/bin/env bash
# One environment per peer, since their pins of e3nn differ: bash benchmarks/peers/make_environments.sh [FOLDER]
set -euo pipefail
folder=${1:-runs/peers}
for peer in mace-torch==0.3.16 nequip==0.19.1; do
  name=${peer%%[-=]*}
  python3 -m venv "$folder/$name"
  "$folder/$name/bin/pip" install --quiet torch==2.13.0
  "$folder/$name/bin/pip" install --quiet "$peer"
done
