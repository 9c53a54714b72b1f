"""Frames that no training should see: atoms on one spot, absurd forces and energies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ase_nbody.data.dataset import Labels
from ase_nbody.structures import cell_frame

# Angstrom. The shortest bond, of H2, is 0.74; nuclei this close have repelled each other with more than 100 eV.
SMALLEST_DISTANCE = 0.1
# eV/angstrom. Liquids at 5000 K and cells at 100 GPa have up to 100, atoms 0.3 angstrom too close some 1000.
LARGE_FORCE = 1000.0
# No network can learn beside such forces what the other frames say: they are mistakes or fill values.
IMPOSSIBLE_FORCE = 1e5
# eV per atom. Chemistry changes energies by up to 10 eV per atom, which breaks the strongest bonds.
LARGE_DEVIATION = 10.0
# Less is absurd where the others of a composition agree well: this many times their median deviation, and eV per atom.
DEVIATION_OF_OTHERS, SMALL_DEVIATION = 50.0, 1.0
# Frames of one composition that tell what is usual.
FEWEST_FRAMES = 5
# eV per atom. All electrons of the heaviest elements together are bound by 1.5e6 (Og).
IMPOSSIBLE_ENERGY = 1e7
_SHOWN = 10


def check_distances(atoms: Atoms) -> None:
    """Refuse atoms on one spot, or nearly, periodic images included.

    Args:
        atoms: a structure that passed `check_structure`.

    Raises:
        ValueError: two atoms are closer than 0.1 angstrom.
    """
    points, owners = _with_images(atoms)
    pairs = cKDTree(points).query_pairs(SMALLEST_DISTANCE, output_type="ndarray")
    if len(pairs):
        distances = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
        closest = distances.argmin()
        i, j = sorted(owners[pairs[closest]].tolist())
        raise ValueError(
            f"atoms {i} and {j} ({atoms.symbols[i]}, {atoms.symbols[j]}) are {distances[closest]:.3g} angstrom apart, "
            f"periodic images included; nuclei closer than {SMALLEST_DISTANCE} are no structure: repair or remove it"
        )


def check_size_of_labels(atoms: Atoms, labels: Labels) -> None:
    """Refuse labels of a size that no structure has, such as fill values.

    Raises:
        ValueError: a force is larger than 1e5 eV/angstrom, or an energy than 1e7 eV per atom.
    """
    if labels.forces is not None and (force := _largest(labels.forces)) > IMPOSSIBLE_FORCE:
        atom = np.linalg.norm(labels.forces, axis=1).argmax()
        raise ValueError(
            f"the force on atom {atom} is {force:.3g} eV/angstrom; more than {IMPOSSIBLE_FORCE:g} is no force that can "
            "be learnt: remove the frame, and look at the units"
        )
    if labels.energy is not None and abs(labels.energy) > IMPOSSIBLE_ENERGY * len(atoms):
        raise ValueError(
            f"the energy is {labels.energy:.3g} eV for {len(atoms)} atoms; remove it, and look at the units"
        )


def implausible_labels(structures: Sequence[Atoms], labels: Sequence[Labels]) -> list[str]:
    """Sentences that name the frames with forces beyond 1000 eV/angstrom, or energies far from others of their kind."""
    large = [i for i, x in enumerate(labels) if x.forces is not None and _largest(x.forces) > LARGE_FORCE]
    notes = []
    if large:
        worst = max(_largest(labels[i].forces) for i in large)
        notes.append(
            f"forces beyond {LARGE_FORCE:g} eV/angstrom, up to {worst:.3g}, in {numbered(large)}; look at these frames "
            "before a training on them"
        )
    far = sorted(_far_energies(structures, labels))
    if far:
        notes.append(
            f"energies far from the others of the same composition in {numbered([i for i, _ in far])}; "
            f"frame {far[0][0]} by {far[0][1]:+.3g} eV per atom"
        )
    return notes


def numbered(frames: Sequence[int]) -> str:
    """Frames by number, such as "2 frames (3, 17)"; of many the first ten."""
    shown = ", ".join(map(str, frames[:_SHOWN])) + (", ..." if len(frames) > _SHOWN else "")
    return f"frame {shown}" if len(frames) == 1 else f"{len(frames)} frames ({shown})"


def _largest(forces: NDArray[np.float64] | None) -> float:
    return 0.0 if forces is None else float(np.linalg.norm(forces, axis=1).max())


def _far_energies(structures: Sequence[Atoms], labels: Sequence[Labels]) -> Iterator[tuple[int, float]]:
    """Frame and deviation from the median energy per atom of its composition."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for i, (atoms, label) in enumerate(zip(structures, labels, strict=True)):
        if label.energy is not None and len(atoms) > 1:  # isolated atoms and crystals of one atom per cell differ
            groups[np.sort(atoms.numbers).tobytes()].append(i)
    for frames in (frames for frames in groups.values() if len(frames) >= FEWEST_FRAMES):
        energies = np.array([labels[i].energy for i in frames], dtype=np.float64) / len(structures[frames[0]])
        deviations = energies - np.median(energies)  # (frames,)
        limit = max(DEVIATION_OF_OTHERS * float(np.median(np.abs(deviations))), SMALL_DEVIATION)
        for i in np.flatnonzero(np.abs(deviations) > min(limit, LARGE_DEVIATION)).tolist():
            yield frames[i], float(deviations[i])


def _with_images(atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Positions in the cell with the images that lie just outside, (M, 3), and the atom of each, (M,)."""
    if not atoms.pbc.any():
        return atoms.positions, np.arange(len(atoms))
    frame = cell_frame(atoms.cell.array, atoms.pbc)
    inverse = np.linalg.inv(frame)
    fractions = atoms.positions @ inverse  # (N, 3)
    fractions[:, atoms.pbc] %= 1.0
    margins = SMALLEST_DISTANCE * np.linalg.norm(inverse, axis=0)  # (3,)
    owners = np.arange(len(atoms))
    for k in np.flatnonzero(atoms.pbc):
        near = np.flatnonzero(fractions[:, k] <= margins[k])
        fractions = np.concatenate([fractions, fractions[near] + np.eye(3)[k]])
        owners = np.concatenate([owners, owners[near]])
    return fractions @ frame, owners
