#!/usr/bin/env bash
# Every training of README.md: bash benchmarks/accuracy/run_all.sh DATA [JOBS]
# DATA is the folder that holds 3bpa/, rmd17/, mlearn/ and water/ as extended XYZ; JOBS trainings run side by side on one
# core each (2). What is done is skipped and what was interrupted goes on, so the same command resumes; models, logs,
# histories and learning curves go to runs/accuracy. Then: python benchmarks/accuracy/report.py
set -euo pipefail
data=$(cd "$1" && pwd) jobs=${2:-2}
cd "$(dirname "${BASH_SOURCE[0]}")"

bpa() { echo "$1: train_3bpa.sh $data/3bpa $*"; }
rmd() { echo "$3: train_rmd17.sh $data/rmd17 $*"; }
mlearn() { echo "$2: train_mlearn.sh $data/mlearn $*"; }

list() {
  # important ones first
  for molecule in aspirin toluene benzene malonaldehyde ethanol; do
    rmd $molecule 1000 ${molecule}_1000 --epochs 300 --batch-size 5 --set max_degree_states=2
  done
  for molecule in ethanol aspirin malonaldehyde toluene benzene; do
    rmd $molecule 50 ${molecule}_50 --epochs 1500 --batch-size 2
  done
  mlearn Cu copper --epochs 40 --batch-size 2
  # what was tried on 3BPA
  bpa muon --epochs 40 --batch-size 2
  bpa adamw --epochs 40 --batch-size 2 --optimizer adamw
  bpa bessel8 --epochs 40 --batch-size 2 --set bessel_functions=8
  bpa bessel3 --epochs 40 --batch-size 2 --set bessel_functions=3
  bpa rate_high --epochs 40 --batch-size 2 --learning-rate 0.01
  bpa rate_low --epochs 40 --batch-size 2 --learning-rate 0.002
  bpa products3 --epochs 40 --batch-size 2 --set max_degree_products=3
  bpa states2 --epochs 40 --batch-size 2 --set max_degree_states=2
  bpa order3 --epochs 40 --batch-size 2 --set body_order=3
  bpa batch1 --epochs 40 --batch-size 1
  bpa batch5 --epochs 40 --batch-size 5
  bpa narrow --epochs 40 --batch-size 2 --set channels=32
  bpa levels3 --epochs 40 --batch-size 2 --set levels=3
  bpa strict --epochs 40 --batch-size 2 --set radial=strict
  # and on molybdenum
  mlearn Mo mo_one_level --epochs 25 --batch-size 2 --set levels=1
  mlearn Mo mo_degree3 --epochs 25 --batch-size 2
  mlearn Mo mo_degree4 --epochs 25 --batch-size 2 --set max_degree_edges=4 --set max_degree_products=3
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
