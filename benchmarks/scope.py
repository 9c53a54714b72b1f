"""What the shipped models are for: each on structures outside its training, beside what is known of these.

    scope.py MODEL...            prints the trials
    scope.py MODEL... --write    and keeps them and the words below in the model files, for `make cards`

Molecules are relaxed from ASE's G2 geometries (MP2(full)/6-31G(d), Curtiss et al. 1997, doi 10.1063/1.473182), which
are also the reference of their bonds. Experiments are cited where they stand.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import covalent_radii
from ase.optimize import BFGS

from ase_nbody import NBodyCalculator
from ase_nbody.model_file import Trial, change_information
from ase_nbody.models_directory import find_model


@dataclass(frozen=True)
class Scope:
    """What is tried with a model, and what is said of it in words.

    Attributes:
        purpose: what the model is for.
        not_for: what it is not for.
        molecules: names in the G2 set that are relaxed.
        bonds: molecule, two bonded atoms, and the bond energy from experiment, eV: the bond is pulled apart.
        dimer: whether two water molecules are pulled apart.
        pair: element and bond length from experiment, angstrom, of a molecule of two atoms.
        vacancy: crystal and formation energy of a vacancy from experiment, eV.
    """

    purpose: str
    not_for: str
    molecules: tuple[str, ...] = ()
    bonds: tuple[tuple[str, int, int, float], ...] = ()
    dimer: bool = False
    pair: tuple[str, float] | None = None
    vacancy: tuple[str, float] | None = None


# Bond energies at 298 K: Luo, Comprehensive Handbook of Chemical Bond Energies, CRC Press 2007.
ETHANE = ("C2H6", 0, 1, 3.90)
METHANOL = ("CH3OH", 1, 3, 4.56)
WATER = ("H2O", 0, 1, 5.15)
# Bond lengths: Huber and Herzberg, Constants of Diatomic Molecules, 1979; Mo2: Hopkins et al. 1983, doi
# 10.1063/1.445935. Vacancies: Ehrhart in Landolt-Boernstein III/25, 1991; silicon: Dannefaer et al. 1986, doi
# 10.1103/PhysRevLett.56.2195.
SCOPES = {
    "organic": Scope(
        purpose=(
            "single unstrained molecules of C, H and O near their minima and up to about 500 K: alcohols, ethers, "
            "aldehydes, ketones, carboxylic acids, esters, alkanes and arenes"
        ),
        not_for=(
            "alkenes, alkynes, allenes and ketenes, small rings, radicals, H2, O2 and peroxides, hydrogen bonds "
            "between molecules, liquids and crystals, and bonds that break"
        ),
        molecules=(
            *("CH3CH2OH", "CH3OH", "CH3OCH3", "H2CO", "CH3CHO", "CH3COCH3", "HCOOH", "CH3COOH", "HCOOCH3", "OCHCHO"),
            *("CH4", "C2H6", "C3H8", "isobutane", "C6H6", "H2O", "C2H4", "C3H6_Cs", "butadiene", "C3H4_D2d", "H2CCO"),
            *("C4H4O", "C2H2", "C3H4_C3v", "C3H6_D3h", "cyclobutane", "CH2OCH2", "CO", "CO2", "H2", "O2", "H2O2"),
        ),
        bonds=(ETHANE, METHANOL),
        dimer=True,
    ),
    "3bpa": Scope(
        purpose="one molecule, 3-(benzyloxy)pyridin-2-amine, alone and at about 300 K",
        not_for="other molecules, whatever their elements, and bonds that break",
        molecules=("C6H6", "C5H5N", "CH3OCH3", "H3CNH2", "C2H6", "CH3OH", "H2O", "NH3", "HCN"),
        bonds=(ETHANE,),
    ),
    "water": Scope(
        purpose="liquid water at its density and about 330 K",
        not_for="single molecules, clusters, vapour, ice, ions, H2, O2 and H2O2, and bonds that break",
        molecules=("H2O", "H2", "O2", "H2O2"),
        bonds=(WATER,),
        dimer=True,
    ),
    "silicon": Scope(
        "the diamond crystal of silicon, strained, hot or molten, with vacancies and surfaces",
        "molecules and clusters, other elements beside silicon",
        pair=("Si", 2.246),
        vacancy=("Si", 3.6),
    ),
    "copper": Scope(
        "the fcc crystal of copper, strained, hot or molten, with vacancies and surfaces",
        "molecules and clusters, other elements beside copper",
        pair=("Cu", 2.220),
        vacancy=("Cu", 1.28),
    ),
    "molybdenum": Scope(
        "the bcc crystal of molybdenum, strained, hot or molten, with vacancies and surfaces",
        "molecules and clusters, other elements beside molybdenum",
        pair=("Mo", 1.929),
        vacancy=("Mo", 3.0),
    ),
}
FMAX = 0.02  # eV/angstrom
STEPS = 300
WATER_DIMER = -0.218  # eV, Tschumper et al. 2002, doi 10.1063/1.1408302
WATER_DIMER_DISTANCE = 2.91  # angstrom, the same
FAR = 6.0  # angstrom: fragments that are this far apart count as separate


def main() -> None:
    """Print the trials of the models that are named, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", choices=SCOPES, metavar="MODEL")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.models:
        calculator = NBodyCalculator(name, device="cpu", outside="ignore")
        trials = []
        for trial in all_trials(calculator, SCOPES[name]):
            print(
                f"{name:12s} {trial.structure:42s} {trial.quantity:38s} {trial.model} {trial.reference} {trial.remark}"
            )
            trials.append(trial)
        if arguments.write:
            scope = SCOPES[name]
            change_information(find_model(name), trials=tuple(trials), purpose=scope.purpose, not_for=scope.not_for)


def all_trials(calculator: NBodyCalculator, scope: Scope) -> Iterator[Trial]:
    """Every trial of a model."""
    for name in scope.molecules:
        yield relaxation(calculator, name)
    for name, first, second, energy in scope.bonds:
        yield broken_bond(calculator, name, first, second, energy)
    if scope.dimer:
        yield from water_dimer(calculator)
    if scope.pair is not None:
        yield pair_of_atoms(calculator, *scope.pair)
    if scope.vacancy is not None:
        yield vacancy(calculator, *scope.vacancy)


def relaxation(calculator: NBodyCalculator, name: str) -> Trial:
    """A molecule relaxed: its bonds against those of G2."""
    start = molecule(name)
    bonds = bonded_pairs(start)
    atoms, remark = relaxed(calculator, start)
    if set(bonded_pairs(atoms)) != set(bonds):
        remark = join(remark, "other bonds than before")
    error = max(abs(atoms.get_distance(i, j) - start.get_distance(i, j)) for i, j in bonds)
    return Trial(
        structure=f"{name}, relaxed",
        quantity="largest error of a bond, Å",
        model=round(error, 3),
        reference=None,
        remark=remark,
    )


def broken_bond(calculator: NBodyCalculator, name: str, first: int, second: int, energy: float) -> Trial:
    """The energy to pull two parts of a molecule apart, frozen as they are."""
    atoms, remark = relaxed(calculator, molecule(name))
    before = evaluated(calculator, atoms)
    side = part_beyond(atoms, first, second)
    direction = atoms.positions[second] - atoms.positions[first]
    atoms.positions[side] += direction / np.linalg.norm(direction) * FAR
    bond = "-".join(sorted((atoms.symbols[first], atoms.symbols[second])))
    return Trial(
        structure=f"{name}, {bond} bond broken",
        quantity="energy to break it, eV",
        model=round(evaluated(calculator, atoms) - before, 2),
        reference=energy,
        remark=remark or outside(calculator, atoms),
    )


def water_dimer(calculator: NBodyCalculator) -> Iterator[Trial]:
    """Two water molecules with a hydrogen bond: distance and energy of the minimum along a scan."""
    donor, acceptor = molecule("H2O"), molecule("H2O")
    donor.rotate(donor.positions[1] - donor.positions[0], "x", center=donor.positions[0])
    donor.positions -= donor.positions[0]
    acceptor.rotate(-90, "y")
    acceptor.positions -= acceptor.positions[0]
    apart = 2 * evaluated(calculator, molecule("H2O"))
    distances = np.arange(2.4, 6.0, 0.02)
    energies, dimers = [], []
    for distance in distances:
        moved = acceptor.copy()
        moved.rotate(180, "z")
        moved.positions += [distance, 0, 0]
        dimers.append(donor + moved)
        energies.append(evaluated(calculator, dimers[-1]) - apart)
    lowest = int(np.argmin(energies))
    remark = join("" if 0 < lowest < len(distances) - 1 else "no minimum", outside(calculator, dimers[lowest]))
    words = "water dimer, rigid molecules"
    distance, energy = round(float(distances[lowest]), 2), round(float(energies[lowest]), 3)
    yield Trial(
        structure=words, quantity="O-O distance, Å", model=distance, reference=WATER_DIMER_DISTANCE, remark=remark
    )
    yield Trial(structure=words, quantity="interaction energy, eV", model=energy, reference=WATER_DIMER, remark=remark)


def pair_of_atoms(calculator: NBodyCalculator, symbol: str, length: float) -> Trial:
    """A molecule of two atoms."""
    atoms, remark = relaxed(calculator, Atoms(2 * symbol, [[0, 0, 0], [0, 0, length]]))
    found = round(float(atoms.get_distance(0, 1)), 3)
    return Trial(structure=f"{symbol}2, relaxed", quantity="bond, Å", model=found, reference=length, remark=remark)


def vacancy(calculator: NBodyCalculator, symbol: str, energy: float) -> Trial:
    """One atom of a relaxed crystal taken away, atoms relaxed."""
    crystal = bulk(symbol, cubic=True)
    whole = crystal * ((3, 3, 3) if len(crystal) == 4 or symbol == "Mo" else (2, 2, 2))
    whole, _ = relaxed(calculator, whole)
    hole = whole.copy()
    del hole[0]
    hole, remark = relaxed(calculator, hole)
    per_atom = evaluated(calculator, whole) / len(whole)
    found = evaluated(calculator, hole) - len(hole) * per_atom
    words = f"{symbol}, one of {len(whole)} atoms taken away"
    return Trial(structure=words, quantity="vacancy, eV", model=round(found, 2), reference=energy, remark=remark)


def relaxed(calculator: NBodyCalculator, start: Atoms) -> tuple[Atoms, str]:
    """The structure at a minimum, and what is to be said of it."""
    atoms = start.copy()
    atoms.calc = calculator
    warned = outside(calculator, atoms)
    converged = BFGS(atoms, logfile=None).run(fmax=FMAX, steps=STEPS)
    return atoms, join("" if converged else f"no minimum within {STEPS} steps", warned or outside(calculator, atoms))


def evaluated(calculator: NBodyCalculator, atoms: Atoms) -> float:
    """Energy, eV."""
    return float(calculator.calculate_many([atoms])[0]["energy"])


def outside(calculator: NBodyCalculator, atoms: Atoms) -> str:
    """Whether the model says that it is outside its training."""
    report = calculator.get_envelope(atoms)
    return "" if report.inside else f"the model warns: {', '.join(sorted(report.kinds))}"


def bonded_pairs(atoms: Atoms) -> list[tuple[int, int]]:
    """Atoms closer than 1.3 times the sum of their covalent radii."""
    radii = covalent_radii[atoms.numbers]
    distances = atoms.get_all_distances()
    near = distances < 1.3 * (radii[:, None] + radii[None, :])
    return [(i, j) for i in range(len(atoms)) for j in range(i) if near[i, j]]


def part_beyond(atoms: Atoms, first: int, second: int) -> list[int]:
    """Atoms on the side of the second end of a bond."""
    bonds = [pair for pair in bonded_pairs(atoms) if set(pair) != {first, second}]
    side = {second}
    for _ in range(len(atoms)):
        side |= {i for pair in bonds for i in pair if side & set(pair)}
    return sorted(side)


def join(*words: str) -> str:
    """Remarks, one after another."""
    return "; ".join(word for word in words if word)


if __name__ == "__main__":
    main()
