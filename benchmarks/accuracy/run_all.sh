#!/usr/bin/env bash
# Every training of README.md, and at the end some that were not run yet: bash benchmarks/accuracy/run_all.sh DATA [JOBS]
# DATA is the folder that holds 3bpa/, rmd17/, mlearn/ and water/ as extended XYZ; JOBS trainings run side by side on one
# core each (2). What is done is skipped and what was interrupted goes on, so the same command resumes; models, logs,
# histories and learning curves go to runs/accuracy. Then: python benchmarks/accuracy/report.py
set -euo pipefail
data=$(cd "$1" && pwd) jobs=${2:-2}
cd "$(dirname "${BASH_SOURCE[0]}")"

bpa() { echo "$1: train_3bpa.sh $data/3bpa $*"; }
rmd() { echo "$3: train_rmd17.sh $data/rmd17 $*"; }
mlearn() { echo "$2: train_mlearn.sh $data/mlearn $*"; }
water() { echo "$1: train_water.sh $data/water $*"; }
trial() { echo "$3: trial.sh trials/$1.patch train_$2.sh $data/$2 ${*:3}"; } # PATCH 3bpa|water NAME OPTIONS

list() {
  # important ones first
  local size="--set channels=64 --set max_degree_states=2 --set radial_width=32"
  for molecule in aspirin toluene benzene malonaldehyde ethanol; do
    rmd $molecule 1000 ${molecule}_1000 --epochs 300 --batch-size 5 $size
  done
  for molecule in ethanol aspirin malonaldehyde toluene benzene; do
    rmd $molecule 50 ${molecule}_50 --epochs 600 --batch-size 2 $size
  done
  mlearn Cu copper_medium --epochs 40 --batch-size 2
  local degree4="--set max_degree_edges=4 --set max_degree_products=3"
  local atoms="--isolated-atoms benchmarks/accuracy/mlearn_atoms.xyz"
  mlearn Cu copper_short --epochs 12 --batch-size 2 --gradient-clip 1 --set cutoff=4.2 $degree4 $atoms
  mlearn Cu copper_atom --epochs 30 --batch-size 1 --gradient-clip 1 --set cutoff=4.2 $degree4 $atoms
  mlearn Cu copper_bessel4 --epochs 30 --batch-size 1 --gradient-clip 1 --set cutoff=4.2 --set bessel_functions=4 $degree4 $atoms
  mlearn Si silicon_fitted --epochs 40 --batch-size 2 $degree4
  # what was tried on 3BPA: first sizes, of which the preset medium is one, then all else with 64 channels and states of degree 1
  local short="--epochs 40 --batch-size 2"
  bpa medium $short
  bpa states2_radial64 $short --set channels=64
  bpa states2_radial64_channels32 $short --set channels=32
  local first="--set channels=64 --set max_degree_states=1 --set radial_width=32"
  bpa plain $short $first
  bpa clip1 $short $first --gradient-clip 1
  bpa adamw $short $first --optimizer adamw
  bpa strict $short $first --set radial=strict
  # likewise with the energies of isolated atoms for reference, with which the first of these trials were made
  short="$short --isolated-atoms $data/3bpa/iso_atoms.xyz $first"
  bpa isolated $short
  bpa isolated_envelope6 $short --set envelope_power=6
  bpa isolated_envelope3 $short --set envelope_power=3
  bpa isolated_envelope2 $short --set envelope_power=2
  bpa isolated_states2_envelope3 $short --set max_degree_states=2 --set envelope_power=3
  bpa isolated_states2_envelope6 $short --set max_degree_states=2 --set envelope_power=6
  bpa isolated_order3_envelope3 $short --set body_order=3 --set envelope_power=3
  bpa isolated_radial64 $short --set radial_width=64
  bpa isolated_cutoff4.5 $short --set cutoff=4.5
  bpa isolated_cutoff6 $short --set cutoff=6
  bpa isolated_energy500 $short --energy-weight 500
  # the preset with 32 channels in 20 passes: settings, and trials of what is not in the package
  short="--epochs 20 --batch-size 2 --set channels=32"
  bpa short $short
  bpa short_seed2 $short --seed 2
  for patch in third_factor schedule_free pair_networks element_products batches_grow flat_then_linear; do
    trial $patch 3bpa $patch $short
  done
  trial molecules 3bpa molecules $short --set molecules_cutoff=8 # and groups of atoms, with a cutoff of their own
  # likewise the preset small, whose trainings take a quarter of the time
  short="--epochs 20 --batch-size 2 --preset small"
  bpa small $short
  bpa small_levels1 $short --set levels=1
  bpa small_levels3 $short --set levels=3
  bpa small_edges3 $short --set max_degree_edges=3
  trial huber 3bpa huber_small $short
  trial norms 3bpa norms --epochs 40 --batch-size 2 --set channels=32
  echo "norms_ethanol_50: trial.sh trials/norms.patch train_rmd17.sh $data/rmd17 ethanol 50 norms_ethanol_50 --epochs 600" \
    "--batch-size 2 $size"
  # a level of molecules with a cutoff of its own
  water water_short --epochs 10 --batch-size 2 --preset small
  water water_long --epochs 17 --batch-size 2 --preset small
  trial molecules water molecules_water --epochs 10 --batch-size 2 --preset small --set molecules_cutoff=8
  # on molybdenum
  short="--epochs 25 --batch-size 2"
  local surfaces="--data runs/accuracy/Mo_surfaces.xyz"
  mlearn Mo mo_degree4 $short $degree4
  mlearn Mo mo_surfaces $short $degree4 $(printf -- "$surfaces %.0s" {1..9})
  mlearn Mo mo_atom $short $degree4 $atoms
  mlearn Mo mo_atom_long --epochs 60 --batch-size 2 $degree4 $atoms
  mlearn Mo mo_atom_surfaces5 $short $degree4 $atoms $(printf -- "$surfaces %.0s" {1..4})
  mlearn Mo mo_atom_surfaces5_long --epochs 60 --batch-size 2 $degree4 $atoms $(printf -- "$surfaces %.0s" {1..4})
  # not run yet
  short="--epochs 20 --batch-size 2 --preset small"
  bpa small_seed2 $short --seed 2
  bpa small_products3 $short --set max_degree_products=3
  bpa small_bessel3 $short --set bessel_functions=3
  bpa small_bessel8 $short --set bessel_functions=8
  bpa small_rate_high $short --learning-rate 0.01
  bpa small_rate_low $short --learning-rate 0.002
  bpa small_batch1 $short --batch-size 1
  bpa small_batch5 $short --batch-size 5
  bpa small_energy1 $short --energy-weight 1
  bpa small_energy100 $short --energy-weight 100
  bpa small_ema999 $short --ema-decay 0.999
  for patch in decay_mixing bernstein energies_late no_amsgrad linear_decay; do
    trial $patch 3bpa ${patch}_small $short
  done
}

run() {
  name=${1%%: *} command=${1#*: }
  log=../../runs/accuracy/$name.log
  if [ -e "../../runs/accuracy/$name.safetensors" ]; then return; fi
  echo "$name"
  # shellcheck disable=SC2086
  bash $command >> "$log" 2>&1 || echo "$name failed, see $log"
}
export -f run

mkdir -p ../../runs/accuracy
list | xargs -d '\n' -P "$jobs" -I {} bash -c 'run "$1"' _ {}
