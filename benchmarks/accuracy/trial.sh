#!/usr/bin/env bash
# A trial of what is not in the package: bash benchmarks/accuracy/trial.sh trials/PATCH.patch SCRIPT.sh DATA NAME [options]
# The patch is put to a copy of the package as it was when the trials were made, in runs/trials, and a script of this folder,
# such as train_3bpa.sh DATA NAME, trains with that copy. Its models are for comparison only: the package cannot read them all.
set -euo pipefail
commit=25951af
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
patch=$folder/$1 script=$folder/$2
shift 2
cd "$folder/../.."
copy=runs/trials/$(basename "$patch" .patch)
rm -rf "$copy"
mkdir -p "$copy"
git archive "$commit" ase_nbody | tar -x -C "$copy"
git apply --directory="$copy" "$patch"
PYTHONPATH=$PWD/$copy bash "$script" "$@"
