#!/bin/sh
# Auxiliary labels for few_shot.py: 500 structures of each molecule of rMD17 by dynamics with GFN2-xTB at 500 K, and its forces.
#
#     sh benchmarks/few_shot/auxiliary.sh DATA FOLDER [MOLECULE ...]
#
# DATA has MOLECULE_train.xyz, of which the first structure is the beginning; FOLDER gets MOLECULE_auxiliary.xyz. What is
# there is not made again. Needs: pip install tblite.
set -eu
data=$1 folder=$2
shift 2
[ $# -gt 0 ] || set -- aspirin ethanol malonaldehyde toluene benzene
mkdir -p "$folder"
for molecule; do
    [ ! -f "$folder/${molecule}_auxiliary.xyz" ] || continue
    ase convert -f -n 0 "$data/${molecule}_train.xyz" "$folder/$molecule.xyz"
    nbody sample "$folder/$molecule.xyz" --with tblite:GFN2-xTB --kinds md --temperature 500 --number 500 --force \
        --output "$folder/${molecule}_sampled.xyz"
    nbody label "$folder/${molecule}_sampled.xyz" --with tblite:GFN2-xTB --output "$folder/${molecule}_auxiliary.xyz"
done
