#!/bin/sh
# Sample structures of all molecules and pairs, and label them by ANI-1x (H, C, N and O) and GFN2-xTB: some 300,000.
#
#     sh data/organic/make_cheap.sh [FOLDER] [PROCESSES] [LISTS] [NUMBER]
#
# FOLDER (data/organic/cheap if not given) is not committed. Stopped or killed, the same command goes on; what is done
# is not done again. LISTS is a folder with other lists of the same names, and NUMBER how many structures are made of
# each system (150 of a molecule of H, C, N and O, 120 of a pair, 40 of the others if not given), to try it.
# GFN2-xTB is spin-polarised: radicals and triplets are covered, singlets are as without.
# Needs: pip install rdkit tblite, and pip install --no-deps torchani==2.0 with lark-parser.
set -eu
folder=${1:-$(dirname "$0")/cheap}
processes=${2:-2}
lists=${3:-$(dirname "$0")}
number=${4:-}
mkdir -p "$folder"

sample() { # list, structures of each system, further options
    list=$1 each=$2
    shift 2
    [ -f "$folder/$list.xyz" ] || nbody sample "$lists/$list.csv" --with tblite:GFN2-xTB --option spin_polarization=1.0 \
        --number "$each" --seed 0 --processes "$processes" --output "$folder/$list.xyz" "$@"
}

label() { # list, name of the labels, calculator, further options
    list=$1 name=$2 calculator=$3
    shift 3
    [ -f "$folder/$list-$name.xyz" ] || nbody label "$folder/$list.xyz" --with "$calculator" --processes "$processes" \
        --output "$folder/$list-$name.xyz" "$@"
}

others=molecules_halogens_sulfur_phosphorus
sample molecules "${number:-150}"
sample dimers "${number:-120}" --kinds dimers,md,normal-modes,rattle
sample $others "${number:-40}"
for list in molecules dimers; do
    label $list ani-1x ani:ANI-1x
done
for list in molecules dimers $others; do
    label $list xtb tblite:GFN2-xTB --option spin_polarization=1.0 --time-limit 120
done
