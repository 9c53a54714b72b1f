"""organic-start on molecules outside its lists: minima, vibrations, torsions, pairs and broken bonds, beside PBE.

    nbody sample data/organic/held_out.csv --with tblite:GFN2-xTB --kinds conformers --number 1 --output minima.xyz
    python benchmarks/organic_start/trials.py structures minima.xyz structures.xyz     # minima by PBE: minutes of PySCF
    nbody label structures.xyz --with pyscf:PBE/def2-svp --option unrestricted=true --option grid_level=1 \
        --output labelled.xyz
    python benchmarks/organic_start/trials.py compare MODEL labelled.xyz [--write]

`trials.xyz.gz` are the labels that were made. Scans are rigid: model and PBE are compared on the same structures.
--write keeps what was found in the model file.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.io import read, write
from ase.optimize import BFGS

from ase_nbody import NBodyCalculator
from ase_nbody.labelling import reference
from ase_nbody.labelling.sampling.bonds import bond_graph
from ase_nbody.labelling.sampling.normal_modes import vibrations
from ase_nbody.model_file import Trial, change_information
from ase_nbody.models_directory import find_model

LARGEST = 6  # heavy atoms of a molecule whose minimum is compared
VIBRATING = ("allyl hydroperoxide",)
TORSIONS = {"succinonitrile": (1, 2, 3, 4), "crotonaldehyde": (1, 2, 3, 4)}  # atoms in the order of the SMILES
BONDS = {"allyl hydroperoxide": (3, 4), "2-nitropropane": (1, 3)}
ACCEPTOR = ("dimethylformamide", 3, 4)  # its C=O, which water donates a hydrogen to
STACKED = "isoprene"
DISPLACEMENT = 0.01  # angstrom
ANGLES = np.arange(0.0, 360.0, 30.0)
STRETCHES = np.array([0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.75, 2.0, 2.5])
DISTANCES = np.array([1.7, 1.8, 1.9, 2.0, 2.1, 2.3, 2.6, 3.0, 4.0, 6.0])  # O...H, angstrom
LAYERS = np.array([3.0, 3.3, 3.6, 3.9, 4.2, 4.6, 5.0, 6.0, 8.0])
FMAX = 0.02  # eV/angstrom
LEVEL = "pyscf:PBE/def2-svp"


def structures(minima: Sequence[Atoms]) -> Iterator[Atoms]:
    """Minima by PBE and what is compared around them, each with the name of its trial."""
    small = [atoms for atoms in minima if (atoms.numbers > 1).sum() <= LARGEST]
    with ProcessPoolExecutor(2) as pool:
        relaxed = {atoms.info["name"]: atoms for atoms in pool.map(minimum, small)}
    for atoms in relaxed.values():
        yield named(atoms, "minimum")
    for name in VIBRATING:
        for component in np.ndindex(len(relaxed[name]), 3):
            for sign in (1, -1):
                moved = relaxed[name].copy()
                moved.positions[component] += sign * DISPLACEMENT
                yield named(moved, "vibrations")
    for name, (_, first, second, _) in TORSIONS.items():
        side = bond_graph(relaxed[name]).side(first, second)
        axis = relaxed[name].positions[second] - relaxed[name].positions[first]
        for angle in ANGLES:
            turned, part = relaxed[name].copy(), relaxed[name][side]
            part.rotate(angle, axis, center=relaxed[name].positions[first])
            turned.positions[side] = part.positions
            yield named(turned, "torsion", angle)
    for name, (first, second) in BONDS.items():
        side = bond_graph(relaxed[name]).side(first, second)
        bond = relaxed[name].positions[second] - relaxed[name].positions[first]
        for stretch in STRETCHES:
            pulled = relaxed[name].copy()
            pulled.positions[side] += (stretch - 1.0) * bond
            yield named(pulled, "bond", stretch)
    yield from pairs(relaxed)


def minimum(atoms: Atoms) -> Atoms:
    """The nearest minimum by PBE."""
    relaxed: Atoms = atoms.copy()
    relaxed.calc = reference(LEVEL, {"grid_level": "1"}).calculator()
    if not BFGS(relaxed, logfile=None).run(fmax=FMAX, steps=200):
        raise SystemExit(f"{atoms.info['name']}: no minimum within 200 steps")
    relaxed.calc = None  # which cannot be sent to another process
    return relaxed


def pairs(relaxed: dict[str, Atoms]) -> Iterator[Atoms]:
    """A hydrogen bond, and two molecules above each other, at several distances."""
    name, carbon, oxygen = ACCEPTOR
    direction = relaxed[name].positions[oxygen] - relaxed[name].positions[carbon]
    direction /= np.linalg.norm(direction)
    for distance in DISTANCES:
        water = molecule("H2O")
        water.rotate(water.positions[1] - water.positions[0], -direction, center=water.positions[0])
        water.positions += relaxed[name].positions[oxygen] + distance * direction - water.positions[1]
        yield named(relaxed[name] + water, "pair", distance, f"{name} - water, C=O...H-O")
    flat = relaxed[STACKED]
    normal = np.linalg.svd(flat.positions - flat.positions.mean(axis=0))[2][-1]
    for distance in LAYERS:
        above = flat.copy()
        above.rotate(180, normal, center="COP")
        above.positions += distance * normal
        yield named(flat + above, "pair", distance, f"{STACKED} - {STACKED}, stacked")


def named(atoms: Atoms, trial: str, place: float = 0.0, name: str | None = None) -> Atoms:
    """The structure alone, with what it is for."""
    info = {"name": name or atoms.info["name"], "trial": trial, "place": float(place)}
    return Atoms(atoms.numbers, atoms.positions, info=info)


def trials(calculator: NBodyCalculator, labelled: Sequence[Atoms]) -> Iterator[Trial]:
    """What a model gives for the labelled structures, beside the labels."""
    groups: dict[tuple[str, str], list[Atoms]] = defaultdict(list)
    for atoms in labelled:
        groups[atoms.info["trial"], atoms.info["name"]].append(atoms)
    for (trial, name), frames in groups.items():
        if trial == "minimum":
            yield relaxation(calculator, name, frames[0])
        elif trial == "vibrations":
            yield frequencies(calculator, name, frames, groups["minimum", name][0])
        else:
            yield scan(calculator, trial, name, frames)


def relaxation(calculator: NBodyCalculator, name: str, start: Atoms) -> Trial:
    """The model's minimum next to that of PBE."""
    relaxed = start.copy()
    relaxed.calc = calculator
    converged = BFGS(relaxed, logfile=None).run(fmax=FMAX, steps=300)
    errors = [abs(relaxed.get_distance(i, j) - start.get_distance(i, j)) for i, j in bond_graph(start).pairs]
    remark = "" if converged else "no minimum within 300 steps"
    quantity = "largest error of a bond, Å"
    return Trial(
        structure=f"{name}, relaxed", quantity=quantity, model=round(max(errors), 3), reference=None, remark=remark
    )


def frequencies(calculator: NBodyCalculator, name: str, frames: Sequence[Atoms], at: Atoms) -> Trial:
    """Harmonic frequencies at the minimum of PBE, both by the same differences of forces."""
    found = [one["forces"] for one in calculator.calculate_many(frames)]
    ours, theirs = (wavenumbers(at, forces) for forces in (found, [atoms.get_forces() for atoms in frames]))
    error = float(np.abs(ours - theirs).mean())
    remark = f"{len(theirs)} of {theirs.min():.0f} to {theirs.max():.0f}, mean difference {(ours - theirs).mean():+.0f}"
    quantity = "MAE of harmonic frequencies, 1/cm"
    return Trial(structure=name, quantity=quantity, model=round(error, 1), reference=None, remark=remark)


def wavenumbers(at: Atoms, forces: Sequence[np.ndarray]) -> np.ndarray:
    """Harmonic frequencies, 1/cm, of forces of structures displaced forth and back along each coordinate."""
    forward, backward = np.reshape(forces, (-1, 2, 3 * len(at))).swapaxes(0, 1)
    hessian = (backward - forward) / (2 * DISPLACEMENT)
    found: np.ndarray = np.sort(vibrations(at, 0.5 * (hessian + hessian.T))[0]) / units.invcm
    return found


def scan(calculator: NBodyCalculator, trial: str, name: str, frames: Sequence[Atoms]) -> Trial:
    """Energies along a scan: a barrier, the depth of a minimum or the energy to break a bond."""
    ours = np.array([one["energy"] for one in calculator.calculate_many(frames)])
    theirs = np.array([atoms.get_potential_energy() for atoms in frames])
    quantity, sizes = {
        "torsion": ("highest along a rigid torsion, eV", [e.max() - e.min() for e in (ours, theirs)]),
        "pair": ("lowest energy, eV", [e.min() - e[-1] for e in (ours, theirs)]),
        "bond": (f"energy to stretch it {STRETCHES[-1]:g} times, eV", [e[-1] - e.min() for e in (ours, theirs)]),
    }[trial]
    ours, theirs = ours - ours[theirs.argmin()], theirs - theirs.min()
    at = frames[int(np.abs(ours - theirs).argmax())].info["place"]
    remark = f"largest error along the scan {np.abs(ours - theirs).max():.3f} eV, at {at:g}"
    words = name if trial == "pair" else f"{name}, {trial} of {bond_words(frames[0], trial)}"
    return Trial(
        structure=words,
        quantity=quantity,
        model=round(float(sizes[0]), 3),
        reference=round(float(sizes[1]), 3),
        remark=remark,
    )


def bond_words(atoms: Atoms, trial: str) -> str:
    """Symbols of the bond that a torsion turns around, or that is stretched."""
    name = atoms.info["name"]
    first, second = TORSIONS[name][1:3] if trial == "torsion" else BONDS[name]
    return f"{atoms.symbols[first]}-{atoms.symbols[second]}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("structures")
    making.add_argument("minima", type=Path)
    making.add_argument("output", type=Path)
    comparing = commands.add_parser("compare")
    comparing.add_argument("model")
    comparing.add_argument("labelled", type=Path)
    comparing.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    if chosen.command == "structures":
        write(chosen.output, list(structures(read(chosen.minima, ":"))), format="extxyz")
        return
    calculator = NBodyCalculator(chosen.model, device="cpu", threads=1, outside="ignore")
    found = list(trials(calculator, read(chosen.labelled, ":")))
    for one in found:
        print(f"{one.structure:52s} {one.quantity:38s} {one.model} {one.reference} {one.remark}")
    if chosen.write:
        change_information(find_model(chosen.model), trials=tuple(found))


if __name__ == "__main__":
    main()
