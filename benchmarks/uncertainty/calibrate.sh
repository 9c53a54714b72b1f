#!/usr/bin/env bash
# Give a shipped model its uncertainties and surroundings: bash benchmarks/uncertainty/calibrate.sh NAME DATA OUTPUT, with DATA the
# folder that holds rmd17/, mlearn/, water/ and 3bpa/ as extended XYZ; for organic-start, with the files of ANI-1x labels that
# benchmarks/organic_start/README.md says how to make as further arguments. The validation structures are those of the training.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=$1 data=$2 output=$3
case $name in
  organic)
    files=()
    for molecule in aspirin benzene ethanol malonaldehyde toluene; do files+=(--data "$data/rmd17/${molecule}_train.xyz"); done
    files+=(--data benchmarks/reference/data/malonaldehyde_enol.xyz)
    ;;
  silicon) files=(--data "$data/mlearn/Si_train.xyz") ;;
  copper) files=(--data "$data/mlearn/Cu_train.xyz") ;;
  molybdenum) files=(--data "$data/mlearn/Mo_train.xyz" --data runs/accuracy/Mo_surfaces.xyz) ;; # by surfaces.py there
  water) files=(--data "$data/water/water_train.xyz") ;;
  3bpa) files=(--data "$data/3bpa/train_300K.xyz") ;;
  organic-start) # the second level first, in a file beside the output
    files=(--data data/organic/pbe_def2-svp.xyz.gz --data data/organic/pbe_def2-svp_broad.xyz.gz)
    others=()
    for file in "${@:4}"; do files+=(--also "$file") others+=(--data "$file"); done
    .venv/bin/nbody calibrate "$name" --level ANI-1x "${others[@]}" --threads 1 --output "$output.first.safetensors"
    name=$output.first.safetensors
    ;;
esac
.venv/bin/nbody calibrate "$name" "${files[@]}" --threads 1 --output "$output"
rm -f "$output.first.safetensors"
