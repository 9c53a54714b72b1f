"""Whether forces fit the energies that they come with, and what they look like if they do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree, Rydberg, kcal, kJ, mol
from numpy.typing import NDArray

from ase_nbody.data.dataset import Labels

Floats = NDArray[np.float64]

# The work of the forces is so many times the change of the energy, where the labels are these.
GUESSES = {
    Hartree: "energies in hartree",
    Rydberg: "energies in rydberg",
    mol / kcal: "forces in kcal/mol/angstrom",
    mol / kJ: "forces in kJ/mol/angstrom",
    Bohr / Hartree: "forces in hartree/bohr",
    Bohr: "energies in hartree and forces in hartree/bohr",
    kcal / mol: "energies in kcal/mol",
    kJ / mol: "energies in kJ/mol",
}
NEAR = 1.1  # a guess holds within this factor
# Within this factor of 1 nothing is wrong: data of molecules, liquids and metals that are right have 0.77 to 1.36.
RIGHT = 1.5
# A ratio holds if work and changes agree this well with it; a sign needs less. Dynamics at 500 K has 0.82 and more.
CORRELATION, CORRELATION_OF_SIGN = 0.9, 0.7
FEWEST = 5  # pairs that tell
# Angstrom, between two frames: the trapezoidal rule is wrong beyond the largest; frames within the smallest are copies.
LARGEST_MOVE, SMALLEST_MOVE = 0.5, 1e-6
# Energies of similar frames differ by no more than so many times what the larger of their forces could do on the way,
# or eV per atom; two levels of theory differ by more for each heavy atom.
BEYOND, SMALL_CHANGE = 3.0, 0.1
# Frames that are looked at: of one composition, of all, and so few that all pairs have no more atoms.
MOST_OF_ONE, MOST, MOST_ATOMS = 100, 2000, 5_000_000
SAME_CELL = 1e-4


class Pair(NamedTuple):
    """Two similar frames.

    Attributes:
        frames: their numbers.
        change: of the energy, eV.
        work: that the mean of their forces asks for, eV.
        most: that the larger of their forces could do on the way, eV; 0 where they are copies.
        n_atoms: of each.
    """

    frames: tuple[int, int]
    change: float
    work: float
    most: float
    n_atoms: int


def implausible_forces(structures: Sequence[Atoms], labels: Sequence[Labels]) -> str | None:
    """A sentence on forces that do not fit the energies, with a guess of what they are; None where nothing is wrong.

    Between similar frames of the same atoms dE = - forces.moves with the mean of the forces of both, the trapezoidal
    rule, after the rotation or reflection that brings one closest to the other. This gives the sign, and the ratio of
    the units.

    Args:
        structures: all frames.
        labels: theirs; frames without an energy and forces do not count.
    """
    pairs = list(_similar(structures, labels))
    moved = [pair for pair in pairs if pair.most > 0.0]
    change = np.array([pair.change / pair.most for pair in moved])  # (P,)
    work = np.array([pair.work / pair.most for pair in moved])  # (P,)
    norm = np.sqrt((change @ change) * (work @ work))
    correlation = change @ work / norm if len(moved) >= FEWEST and norm > 0.0 else 0.0
    if correlation < -CORRELATION_OF_SIGN:
        return (
            "the sign of the forces looks like that of the gradient, the opposite of ASE's: between "
            f"{len(moved)} pairs of similar frames they work against the changes of the energy; multiply them by -1"
        )
    if correlation > CORRELATION:
        return _guess(float(work @ work / (change @ work)), len(moved))
    return _unexplained(pairs)


def _guess(ratio: float, n_pairs: int) -> str | None:
    """What the ratio of the work to the change of the energy says."""
    if 1.0 / RIGHT < ratio < RIGHT:
        return None
    looks = [name for factor, name in GUESSES.items() if 1.0 / NEAR < ratio / factor < NEAR]
    words = f"; they look like {', or '.join(looks)}" if looks else ""
    return (
        f"forces do not fit the energies: between {n_pairs} pairs of similar frames their work is {ratio:.4g} times "
        f"the change of the energy, and must equal it{words}: convert them to eV and eV/angstrom"
    )


def _unexplained(pairs: Sequence[Pair]) -> str | None:
    """What energies of similar frames say that differ by more than any forces between them could do."""
    far = [pair for pair in pairs if abs(pair.change) > max(BEYOND * pair.most, SMALL_CHANGE * pair.n_atoms)]
    if not far:
        return None
    of_all = set.intersection(*(set(pair.frames) for pair in far))
    if any(all(pair in far for pair in pairs if n in pair.frames) for n in of_all):
        return None  # one frame is off, which `implausible_labels` tells
    worst = max(far, key=lambda pair: abs(pair.change))
    return (
        f"energies of similar frames differ by more than forces can explain, in {len(far)} of {len(pairs)} pairs: "
        f"frames {worst.frames[0]} and {worst.frames[1]} by {worst.change:+.3g} eV, where forces give "
        f"{worst.most:.2g} eV at most; they may be of different methods or electronic states: do not learn them as one"
    )


def _similar(structures: Sequence[Atoms], labels: Sequence[Labels]) -> Iterator[Pair]:
    """The nearest frame of each frame of the same atoms, and a copy of it if there is one."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for i, (atoms, label) in enumerate(zip(structures, labels, strict=True)):
        if label.energy is not None and label.forces is not None:
            groups[atoms.numbers.tobytes() + atoms.pbc.tobytes()].append(i)
    left = MOST
    for frames in sorted(groups.values(), key=len, reverse=True):
        most = int(min(MOST_OF_ONE, (MOST_ATOMS / len(structures[frames[0]])) ** 0.5, left))
        if most < 2:
            return
        spread = np.linspace(0, len(frames) - 1, min(len(frames), most)).round().astype(int)
        left -= len(spread)
        yield from _nearest([frames[k] for k in spread], structures, labels)


def _nearest(frames: Sequence[int], structures: Sequence[Atoms], labels: Sequence[Labels]) -> Iterator[Pair]:
    """Pairs of some frames of the same atoms, each once."""
    forces = np.array([labels[i].forces for i in frames])  # (F, N, 3)
    sizes = np.linalg.norm(forces, axis=2)  # (F, N)
    for k in range(1, len(frames)):
        moves, turned = _moves([structures[i] for i in frames[:k]], structures[frames[k]], forces[:k])  # (k, N, 3)
        lengths = np.linalg.norm(moves, axis=2)  # (k, N)
        largest = lengths.max(axis=1)  # (k,)
        moved = (largest > SMALLEST_MOVE) & (largest < LARGEST_MOVE)
        distances = np.where(moved, (lengths**2).sum(axis=1), np.inf)
        copies = np.flatnonzero(largest <= SMALLEST_MOVE)
        for n in [*copies[:1], *([int(distances.argmin())] if moved.any() else [])]:
            i, j = frames[n], frames[k]
            change = _energy(labels[j]) - _energy(labels[i])
            work = -float((0.5 * (turned[n] + forces[k]) * moves[n]).sum())
            most = float(np.maximum(sizes[n], sizes[k]) @ lengths[n]) if n not in copies else 0.0
            yield Pair((i, j), change, work, most, len(lengths[n]))


def _energy(label: Labels) -> float:
    assert label.energy is not None  # frames without are left out
    return label.energy


def _moves(ones: Sequence[Atoms], two: Atoms, forces: Floats) -> tuple[Floats, Floats]:
    """Moves of the atoms from some frames to one, angstrom, and the forces, turned with the frames; each (F, N, 3)."""
    positions = np.array([one.positions for one in ones])
    if not two.pbc.any():
        centred = positions - positions.mean(axis=1, keepdims=True)
        target = two.positions - two.positions.mean(axis=0)
        rotations = _rotations(centred, target)
        return target - centred @ rotations, forces @ rotations
    cell = two.cell.complete().array
    steps = (two.positions - positions) @ np.linalg.inv(cell)
    moves = (steps - np.round(steps) * two.pbc) @ cell
    changes = np.array([np.abs(one.cell.array - two.cell.array).max() for one in ones])  # (F,)
    moves[changes > SAME_CELL * np.abs(cell).max()] = np.inf
    return moves, forces


def _rotations(ones: Floats, two: Floats) -> Floats:
    """Rotations of rows, (F, 3, 3), that bring centred positions closest to others (Kabsch 1976).

    Reflections are among them: a mirror image has the same energy, and the mirror images of the forces.
    """
    left, _, right = np.linalg.svd(ones.transpose(0, 2, 1) @ two)
    return np.asarray(left @ right, dtype=np.float64)
