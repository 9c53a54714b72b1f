"""The laws that every potential must obey, each a function that returns by how much it is broken.

They see a potential only through a function that evaluates structures: energy in eV, energies of the atoms (N,), forces
(N, 3) in eV/angstrom and, where a structure is periodic, stress in eV/angstrom^3, six numbers in the order of Voigt.
Deviations are the largest of all of these, in their units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.verlet import VelocityVerlet
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Results = dict[str, Any]
Evaluate = Callable[[Sequence[Atoms]], list[Results]]

STEP = 1e-3  # angstrom, or strain: of five-point differences, whose error goes with its fourth power
STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))  # Abramowitz and Stegun, table 25.2
STRAINS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))  # the order of Voigt
FLOORS = np.array([1e-9, 1e-8, 1e-5])  # eV, eV/angstrom, eV/angstrom^2: rounding of jumps at the cutoff


def largest(*differences: Any) -> float:
    """The largest component of all; NaN where one is."""
    return float(np.max([np.abs(np.asarray(d)).max(initial=0.0) for d in differences]))


def difference(one: Results, other: Results) -> float:
    """The largest of all results; infinite where only one has a stress."""
    if ("stress" in one) != ("stress" in other):
        return np.inf
    names = [name for name in ("energy", "energies", "forces", "stress") if name in one]
    return largest(*(one[name] - other[name] for name in names))


def transformed(atoms: Atoms, matrix: Floats) -> Atoms:
    """The structure and its cell after x -> matrix x."""
    turned: Atoms = atoms.copy()
    turned.set_cell(atoms.cell.array @ matrix.T)
    turned.positions = atoms.positions @ matrix.T
    return turned


# --- symmetries -------------------------------------------------------------------------------------------------------


def change_under(evaluate: Evaluate, atoms: Atoms, matrix: Floats) -> float:
    """Energies stay, forces and stress turn with the structure."""
    before, after = evaluate([atoms])[0], evaluate([transformed(atoms, matrix)])[0]
    turned = {**before, "forces": before["forces"] @ matrix.T}
    if "stress" in before:
        stress = voigt_6_to_full_3x3_stress(before["stress"])
        turned["stress"] = full_3x3_to_voigt_6_stress(matrix @ stress @ matrix.T)
    return difference(after, turned)


def change_by_translation(evaluate: Evaluate, atoms: Atoms, shift: Floats) -> float:
    """Nothing depends on the origin."""
    moved = atoms.copy()
    moved.translate(shift)
    return difference(evaluate([moved])[0], evaluate([atoms])[0])


def change_by_permutation(evaluate: Evaluate, atoms: Atoms, order: NDArray[np.int64]) -> float:
    """Energies and forces go with their atoms."""
    before, after = evaluate([atoms])[0], evaluate([atoms[order]])[0]
    expected = {name: v[order] if name in ("energies", "forces") else v for name, v in before.items()}
    return difference(after, expected)


def change_by_moving_cells(evaluate: Evaluate, atoms: Atoms, cells: NDArray[np.int64]) -> float:
    """Atoms moved by whole periodic cells, (N, 3), change nothing."""
    moved = atoms.copy()
    moved.positions += (cells * atoms.pbc) @ atoms.cell.array
    return difference(evaluate([moved])[0], evaluate([atoms])[0])


def supercell_error(evaluate: Evaluate, atoms: Atoms, repeats: tuple[int, int, int]) -> float:
    """So many cells have so many times the energy; all else is repeated."""
    one, many = evaluate([atoms])[0], evaluate([atoms.repeat(repeats)])[0]
    n = int(np.prod(repeats))
    expected = {
        "energy": n * one["energy"],
        "energies": np.tile(one["energies"], n),
        "forces": np.tile(one["forces"], (n, 1)),
    }
    return difference(many, {**one, **expected})


def fragments_error(evaluate: Evaluate, one: Atoms, other: Atoms) -> float:
    """Fragments that are far apart do not feel each other; those of a network that groups atoms are groups apart."""
    both = one + other
    if "groups" in one.arrays:
        both.arrays["groups"][len(one) :] += both.arrays["groups"][: len(one)].max() + 1
    together, first, second = evaluate([both])[0], evaluate([one])[0], evaluate([other])[0]
    expected = {name: np.concatenate([first[name], second[name]]) for name in ("energies", "forces")}
    return difference(together, {**together, **expected, "energy": first["energy"] + second["energy"]})


def lone_atoms_error(evaluate: Evaluate, references: Mapping[str, float], *, periodic: bool = False) -> float:
    """Energy beyond the reference energy, forces and stress of one atom, also in a large cell if `periodic`."""
    found: list[Any] = []
    for cell in [None, [40.0, 41.0, 42.0]] if periodic else [None]:
        atoms = [Atoms(s, positions=[(0.1, 0.2, 0.3)], cell=cell, pbc=cell is not None) for s in references]
        for one, energy in zip(evaluate(atoms), references.values(), strict=True):
            found += [one["energy"] - energy, one["forces"], one.get("stress", 0.0)]
    return largest(*found)


def sum_error(evaluate: Evaluate, structures: Sequence[Atoms]) -> float:
    """The energy is the sum of the energies of the atoms."""
    return largest(*(one["energies"].sum() - one["energy"] for one in evaluate(structures)))


def batch_error(evaluate: Evaluate, structures: Sequence[Atoms]) -> float:
    """Structures evaluated together are as one by one."""
    singles = [evaluate([atoms])[0] for atoms in structures]
    return largest(*(difference(one, single) for one, single in zip(evaluate(structures), singles, strict=True)))


# --- slopes -----------------------------------------------------------------------------------------------------------


def force_error(evaluate: Evaluate, atoms: Atoms, components: Sequence[int] | None = None) -> float:
    """Forces are the slope of the energy, of all 3 N coordinates or those named."""
    chosen = range(3 * len(atoms)) if components is None else components
    slopes = _slopes([one["energy"] for one in evaluate(_displaced(atoms, chosen))])
    return largest(evaluate([atoms])[0]["forces"].reshape(-1)[[*chosen]] + slopes)


def stress_error(evaluate: Evaluate, atoms: Atoms) -> float:
    """Stress is the slope of the energy by symmetric strain, positions scaled with the cell, over the volume."""
    strained = []
    for i, j in STRAINS:
        for steps, _ in STENCIL:
            strain = np.zeros((3, 3))
            strain[i, j] += 0.5 * steps * STEP
            strain[j, i] += 0.5 * steps * STEP
            strained.append(transformed(atoms, np.eye(3) + strain))
    slopes = _slopes([one["energy"] for one in evaluate(strained)])
    return largest(evaluate([atoms])[0]["stress"] - slopes / atoms.get_volume())


def hessian_error(evaluate: Evaluate, atoms: Atoms, hessian: Any, components: Sequence[int] | None = None) -> float:
    """The larger of the asymmetry of a Hessian of 3 N rows and its deviation from differences of forces."""
    exact = np.asarray(hessian).reshape(3 * len(atoms), -1)
    chosen = range(3 * len(atoms)) if components is None else components
    slopes = -_slopes([one["forces"].reshape(-1) for one in evaluate(_displaced(atoms, chosen))])
    return largest(exact - exact.T, exact[[*chosen]] - slopes)


def roughness_at_cutoff(evaluate: Evaluate, symbols: Sequence[str], cutoff: float) -> Floats:
    """Jumps of E, F and dF/dr as an atom passes the cutoff of two others, over those ten times farther out, (3,).

    Where value, slope and curvature vanish at the cutoff they fall at least ten times; those of a jump do not.
    """
    coarse, fine = (_jumps(evaluate, symbols, cutoff, width) for width in (1e-2, 1e-3))
    ratios: Floats = (fine - FLOORS).clip(min=0) / np.maximum(coarse, FLOORS)
    return ratios


def _jumps(evaluate: Evaluate, symbols: Sequence[str], cutoff: float, width: float) -> Floats:
    """Changes of E, F and dF/dr over 2 `width` around the cutoff, (3,)."""
    structures = []
    for shift in (-1.0, -0.98, 0.98, 1.0):
        places = [(0, 0, 0), (0, 1.5, 0), (cutoff + shift * width, 0, 0)]
        structures.append(Atoms([symbols[k % len(symbols)] for k in range(3)], positions=places))
    found = evaluate(structures)
    forces = np.array([one["forces"].reshape(-1) for one in found])
    slopes = (forces[[1, 3]] - forces[[0, 2]]) / (0.02 * width)
    energy = abs(found[1]["energy"] - found[2]["energy"])
    return np.array([energy, largest(forces[1] - forces[2]), largest(slopes[1] - slopes[0])])


def _displaced(atoms: Atoms, components: Sequence[int]) -> list[Atoms]:
    """Structures with one coordinate after another moved along the stencil."""
    moved = []
    for component in components:
        for steps, _ in STENCIL:
            moved.append(atoms.copy())
            moved[-1].positions.reshape(-1)[component] += steps * STEP
    return moved


def _slopes(values: Sequence[Any]) -> Floats:
    """Of values along the stencil, one coordinate after another."""
    along = np.asarray(values, dtype=float).reshape(-1, len(STENCIL), *np.shape(values[0]))
    slopes: Floats = np.einsum("cs...,s->c...", along, [weight for _, weight in STENCIL]) / STEP
    return slopes


# --- dynamics ---------------------------------------------------------------------------------------------------------


def total_energies(calculator: Calculator, atoms: Atoms, timestep: float, duration: float, seed: int) -> Floats:
    """Total energy, eV, at each step of dynamics at constant energy from velocities of 300 K; times in fs."""
    moving = atoms.copy()
    moving.calc = calculator
    momenta = np.random.default_rng(seed).normal(size=(len(atoms), 3))
    moving.set_momenta(momenta * np.sqrt(300 * units.kB * atoms.get_masses())[:, None])
    dynamics = VelocityVerlet(moving, timestep=timestep * units.fs)
    return np.array([moving.get_total_energy() for _ in dynamics.irun(round(duration / timestep))])


def nve_ratio(calculator: Calculator, atoms: Atoms, timestep: float, duration: float, seed: int) -> float:
    """Ratio of the energy fluctuations of a time step and of its half at the same times: 4 where forces are slopes.

    Where nothing acts, so that rounding is all there is, it is 4 too.
    """
    coarse = total_energies(calculator, atoms, timestep, duration, seed)
    fine = total_energies(calculator, atoms, timestep / 2, duration, seed)[::2]
    return float(coarse.std() / fine.std()) if coarse.std() > FLOORS[0] else 4.0
