"""Structures along the torsion N-C-C-C of 3-aminopropionitrile, every 30 degrees, the rest relaxed; to be labelled.

python examples/few_shot/torsion.py fifty.xyz torsion.xyz
"""

import argparse
from pathlib import Path

from ase import Atoms
from ase.constraints import FixInternals
from ase.io import read, write
from ase.optimize import BFGS

from ase_nbody import NBodyCalculator

TORSION = (0, 1, 2, 3)  # N-C-C-C
TURNING = (3, 4, 9, 10)  # CN and both H of the second carbon
STEP = 30  # degrees


def main(structures: Path, output: Path) -> None:
    """Scan from trans to cis with the start as it is, and write the structures.

    Raises:
        FileExistsError: the output is there.
    """
    if output.exists():
        raise FileExistsError(f"'{output}' is there and is not overwritten; name another file, or remove it")
    atoms = read(structures)
    atoms.calc = NBodyCalculator("organic-start", level="ANI-1x", outside="ignore")
    scan = [relaxed(atoms, angle) for angle in range(180, -1, -STEP)]
    write(output, scan)
    print(f"{len(scan)} structures in {output}")


def relaxed(atoms: Atoms, angle: float) -> Atoms:
    """The structure with its torsion at an angle, degrees, and all else relaxed; `atoms` goes on from there."""
    atoms.set_constraint()
    atoms.set_dihedral(*TORSION, angle, indices=TURNING)
    atoms.set_constraint(FixInternals(dihedrals_deg=[[angle, list(TORSION)]]))
    if not BFGS(atoms, logfile=None).run(fmax=0.02, steps=300):
        raise SystemExit(f"the structure at {angle}° did not relax in 300 steps")
    return Atoms(atoms.symbols, atoms.positions, info={"torsion": angle})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path, help="the first one is where the scan starts")
    parser.add_argument("output", type=Path)
    chosen = parser.parse_args()
    main(chosen.structures, chosen.output)
