"""Labelled structures of malonaldehyde's enol along its proton transfer, at rMD17's level of theory.

rMD17's malonaldehyde is the diketo tautomer, which has no O-H bond. This script relaxes the enol with its internal
hydrogen bond and the symmetric saddle point between it and its mirror image, draws structures around the path, and
labels them with PBE/def2-SVP (pyscf, `pip install 'ase_nbody[reference]'`). Energies are shifted by one constant to
rMD17's. Frames that are in the output already are not computed again.

    python benchmarks/reference/malonaldehyde_enol.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import covalent_radii
from ase.io import read, write
from ase.optimize import BFGS
from ase.units import Bohr, Hartree

# The planar enol O=C-C=C-O-H, in angstrom. Exchanging the two halves (O1 C1 H1 with O2 C2 H2) gives the product.
SYMBOLS = "O C C C O H H H H".split()  # O1 C1 C0 C2 O2, hydrogens of C1, C0, C2, and the proton on O2
POSITIONS = [
    (-1.27, 1.22, 0.0), (-1.22, -0.02, 0.0), (0.0, -0.77, 0.0), (1.19, -0.09, 0.0), (1.27, 1.23, 0.0),
    (-2.15, -0.62, 0.0), (0.01, -1.85, 0.0), (2.16, -0.58, 0.0), (0.36, 1.62, 0.0),
]  # fmt: skip
PARTNERS = [4, 3, 2, 1, 0, 7, 6, 5, 8]
PROTON = 8

# pyscf's energies less rMD17's, from another program: 1.22 to 1.44 meV on four frames of rMD17's malonaldehyde, whose
# forces agree within 0.4 to 0.7 meV/angstrom on average (--offset prints both).
ENERGY_OFFSET = 0.0013  # eV
TEST_EVERY = 7  # one frame in seven is held out


class PySCF(Calculator):
    """PBE/def2-SVP with density fitting, for ASE; starts from the density of the structure before."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    density = None

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        from pyscf import dft, gto

        super().calculate(atoms, properties, system_changes)
        basis = gto.M(
            atom=list(zip(self.atoms.get_chemical_symbols(), self.atoms.positions, strict=True)),
            basis="def2-svp",
            verbose=0,
        )
        ground = dft.RKS(basis, xc="pbe").density_fit()
        ground.grids.level = 3
        ground.conv_tol, ground.conv_tol_grad = 1e-8, 3e-5  # hartree
        energy = ground.kernel(dm0=self.density) * Hartree
        if not ground.converged:
            raise RuntimeError("the self-consistent field did not converge")
        self.density = ground.make_rdm1()
        gradient = ground.nuc_grad_method()
        gradient.grid_response = True
        self.results = {"energy": energy - ENERGY_OFFSET, "forces": -gradient.kernel() * Hartree / Bohr}


def reactant() -> Atoms:
    """The relaxed enol, its oxygen atoms on a line along x."""
    atoms = Atoms(SYMBOLS, POSITIONS)
    relax(atoms)
    return aligned(atoms)


def saddle(minimum: Atoms) -> Atoms:
    """The symmetric stationary point: forces on a symmetric structure are symmetric, so relaxation stays on it."""
    atoms = minimum.copy()
    atoms.positions = (minimum.positions + mirrored(minimum.positions)) / 2
    relax(atoms)
    return aligned(atoms)


def relax(atoms: Atoms) -> None:
    atoms.calc = PySCF()
    with BFGS(atoms) as optimizer:
        optimizer.run(fmax=0.03, steps=60)


def aligned(atoms: Atoms) -> Atoms:
    """A copy without calculator whose oxygen atoms lie at (-x, 0, 0) and (x, 0, 0), in the plane z = 0."""
    turned = Atoms(atoms.symbols, atoms.positions - (atoms.positions[0] + atoms.positions[4]) / 2)
    turned.rotate(turned.positions[4] - turned.positions[0], "x")
    return turned


def mirrored(positions: np.ndarray) -> np.ndarray:
    """Positions (atoms, 3) with both halves exchanged, in angstrom."""
    return (positions * [-1, 1, 1])[PARTNERS]


def point(minimum: Atoms, middle: Atoms, frame: float, proton: float) -> np.ndarray:
    """Positions between the reactant (-1), the saddle (0) and the product (1), the proton by itself; (atoms, 3)."""
    ends = {side: minimum.positions if side < 0 else mirrored(minimum.positions) for side in (-1, 1)}
    positions = middle.positions + abs(frame) * (ends[1 if frame > 0 else -1] - middle.positions)
    along = middle.positions + abs(proton) * (ends[1 if proton > 0 else -1] - middle.positions)
    positions[PROTON] = along[PROTON]
    return positions


def bent(positions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Positions after a random smooth deformation: 2 % of strain, and bending and twisting out of the plane."""
    strained = positions @ (np.eye(3) + random.normal(scale=0.02, size=(3, 3)))
    x, y = positions[:, 0], positions[:, 1]
    strained[:, 2] += np.stack([x * x, x * y, y * y], axis=1) @ random.normal(scale=0.06, size=3)
    return strained


def structures(minimum: Atoms, middle: Atoms) -> list[tuple[str, np.ndarray]]:
    """Kind and positions of all structures, in a random order that is always the same."""
    random = np.random.default_rng(0)
    drawn = []
    for along in np.repeat(np.linspace(-1, 1, 13), 5):
        noise = random.normal(scale=random.uniform(0.02, 0.10), size=(len(SYMBOLS), 3))
        drawn.append(("path", point(minimum, middle, along, along) + noise))
    for _ in range(22):
        place = point(minimum, middle, random.uniform(-1.8, 1.8), random.uniform(-1.1, 1.1))
        drawn.append(("hydrogen bond", place + random.normal(scale=0.03, size=place.shape)))
    for _ in range(26):
        place = bent(minimum.positions, random)
        drawn.append(("minimum", place + random.normal(scale=0.04, size=place.shape)))
    return [("stationary", minimum.positions), ("stationary", middle.positions)] + [
        drawn[i] for i in random.permutation(len(drawn))
    ]


def crowded(positions: np.ndarray) -> bool:
    """Whether two atoms are so close that the structure, with forces above 30 eV/angstrom, teaches nothing of use."""
    atoms = Atoms(SYMBOLS, positions)
    radii = covalent_radii[atoms.numbers]
    nearness = atoms.get_all_distances() / (radii[:, None] + radii)
    return bool(nearness[np.triu_indices(len(atoms), 1)].min() < 0.75)


def main(output: Path) -> None:
    """Label what is missing; every seventh structure goes to the file of held-out structures."""
    test = output.with_name(output.stem + "_test.xyz")
    there = {frame.info["number"]: frame for path in (output, test) if path.exists() for frame in read(path, ":")}
    minimum = there[0] if 0 in there else reactant()
    middle = there[1] if 1 in there else saddle(minimum)
    calculator = PySCF()
    for number, (kind, positions) in enumerate(structures(minimum, middle)):
        if number in there or crowded(positions):
            continue
        atoms = Atoms(SYMBOLS, positions, info={"number": number, "kind": kind})
        energy, forces = calculator.get_potential_energy(atoms), calculator.get_forces(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        write(test if number % TEST_EVERY == TEST_EVERY - 1 else output, atoms, format="extxyz", append=True)
        print(f"{number} {kind}: {energy:.4f} eV, largest force {np.abs(forces).max():.2f} eV/Å", flush=True)


def print_offset(path: Path) -> None:
    """Differences between this level and the labels of some frames of rMD17's malonaldehyde."""
    calculator = PySCF()
    for frame in read(path, "::250"):
        energy = calculator.get_potential_energy(frame) + ENERGY_OFFSET - frame.get_potential_energy()
        forces = np.abs(calculator.get_forces(frame) - frame.get_forces()).mean()
        print(f"energy differs by {1e3 * energy:.2f} meV, forces by {1e3 * forces:.2f} meV/Å on average", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data" / "malonaldehyde_enol.xyz")
    parser.add_argument("--offset", type=Path, help="rMD17's malonaldehyde: print the differences instead")
    arguments = parser.parse_args()
    print_offset(arguments.offset) if arguments.offset else main(arguments.output)
