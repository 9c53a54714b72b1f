"""Whether stresses fit the energies and volumes that they come with, and what they look like if they do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, permutations

import numpy as np
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray

from ase_nbody.data.dataset import Labels
from ase_nbody.data.labels import has_stress

Floats = NDArray[np.float64]

# Divide by the first number to get the stress in ASE's sign and units.
GUESSES = {
    1.0 / GPa: "GPa",
    10.0 / GPa: "kbar",
    -1.0: "eV/angstrom^3 with the opposite sign",
    -1.0 / GPa: "GPa with the opposite sign",
    -10.0 / GPa: "kbar with the opposite sign (VASP's)",
}
# A guess holds if energies and stresses agree this well with it; another order of components needs more.
CORRELATION, CORRELATION_OF_ORDER = 0.95, 0.99
CORRELATION_OF_SIGN = 0.7  # a sign needs less than a number
_OPPOSITE = (
    "the sign of the stress looks like the opposite of ASE's (VASP's); a stretched crystal has a positive stress in ASE"
)
# Factor by which large strains and noise may change the ratio of the two.
TOLERANCE = 2.0
FEWEST, FEWEST_FOR_ORDER = 6, 10
# Strains and displacements (angstrom) between two frames whose energy difference the mean of their labels gives.
SMALLEST_STRAIN, LARGEST_STRAIN, LARGEST_MOVE = 1e-4, 0.1, 0.5
# eV per atom: stress times volume. At 100 GPa it is some 6 in a solid, and it falls to 1 at 10 GPa.
LARGE_VIRIAL = 15.0
# A spread of ln V that says how the stress depends on the volume.
SPREAD = 0.03
_OFF_DIAGONAL = ("yz", "xz", "xy")
_ROWS, _COLUMNS = [1, 0, 0], [2, 2, 1]


def implausible_stress(structures: Sequence[Atoms], labels: Sequence[Labels]) -> str | None:
    """A sentence on stresses that do not fit, with a guess of what they are; None where nothing is wrong.

    Three tests, the surest first. Between similar frames dE = V stress:strain - forces.moves, which gives unit, sign
    and order of the components. Stresses grow with the volume, or matter would collapse. Stress times volume is some
    eV per atom.

    Args:
        structures: all frames.
        labels: theirs; frames without stress do not count.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for i, (atoms, label) in enumerate(zip(structures, labels, strict=True)):
        if label.stress is not None and has_stress(atoms):
            groups[atoms.numbers.tobytes()].append(i)
    pairs = list(_similar(structures, labels, groups.values()))
    if len(pairs) >= FEWEST:
        decided, words = _from_work(pairs)
        if decided:
            return words
        if _works_against(pairs):
            size = _from_size(structures, labels)
            return f"{_OPPOSITE}: it works against the changes of the energy" + (
                "" if size is None else f"; and {size}"
            )
    full = [frames for frames in groups.values() if all(structures[i].pbc.all() for i in frames)]
    if any(_falls_with_volume(structures, labels, frames) for frames in full):
        return f"{_OPPOSITE}: it falls as the volume grows, where it must rise"
    return _from_size(structures, labels)


def _works_against(pairs: Sequence[tuple[float, Floats, Floats]]) -> bool:
    """Whether the work of the stress clearly has the opposite sign of the change of the energy, whatever its unit."""
    change = np.array([pair[0] for pair in pairs])  # (P,)
    work = np.array([(stress * strain).sum() for _, stress, strain in pairs])  # (P,)
    norm = np.sqrt((change @ change) * (work @ work))
    return bool(norm > 0.0 and change @ work < -CORRELATION_OF_SIGN * norm)


def _from_work(pairs: Sequence[tuple[float, Floats, Floats]]) -> tuple[bool, str | None]:
    """Whether similar frames tell, and what the work of the stress against the change of the energy says."""
    fits = {order: _fit(pairs, order) for order in permutations(range(3))}
    correlation, ratio = fits[0, 1, 2]
    if correlation > CORRELATION:
        return True, _guess(ratio, len(pairs))
    order = max(fits, key=lambda o: fits[o][0])
    if fits[order][0] < CORRELATION_OF_ORDER or len(pairs) < FEWEST_FOR_ORDER:
        return False, None
    names = [f"{_OFF_DIAGONAL[k]} where {name} is" for name, k in zip(_OFF_DIAGONAL, order, strict=True)]
    moved = ", ".join(words for k, words in enumerate(names) if order[k] != k)
    words = f"components of the stress are exchanged: with {moved} it would fit the changes of the energy between "
    words += f"{len(pairs)} pairs of similar frames, and it does not; ASE's order is xx yy zz yz xz xy"
    unit = _guess(fits[order][1], len(pairs))
    return True, words if unit is None else f"{words}; and {unit}"


def _fit(pairs: Sequence[tuple[float, Floats, Floats]], order: tuple[int, ...]) -> tuple[float, float]:
    """How well the work of the stress follows the change of the energy, 0 to 1, and their ratio.

    Args:
        pairs: change, stress and strain, as from `_similar`.
        order: which of yz, xz, xy is taken for each of them.
    """
    change = np.array([pair[0] for pair in pairs])  # (P,)
    stress, strain = (np.array([pair[k] for pair in pairs]) for k in (1, 2))  # (P, 3, 3)
    off_diagonal = stress[:, _ROWS, _COLUMNS][:, list(order)]  # (P, 3)
    work = np.einsum("pii,pii->p", stress, strain) + 2.0 * (off_diagonal * strain[:, _ROWS, _COLUMNS]).sum(axis=1)
    norm = np.sqrt((change @ change) * (work @ work))
    if norm == 0.0 or change @ work == 0.0:
        return 0.0, 0.0
    return float(abs(change @ work) / norm), float(work @ work / (change @ work))


def _guess(ratio: float, n_pairs: int) -> str | None:
    """What the ratio of stress times strain to the change of the energy says."""
    if 1.0 / TOLERANCE < ratio < TOLERANCE:
        return None
    words = f"between {n_pairs} pairs of similar frames, volume times stress times strain is {ratio:.4g} times the "
    words += "change of the energy, and must equal it"
    for factor, name in GUESSES.items():
        if 1.0 / TOLERANCE < ratio / factor < TOLERANCE:
            return f"the stress looks like {name}: divide it by {factor:.6g} ({words})"
    return f"the stress does not fit the energies: {words}"


def _from_size(structures: Sequence[Atoms], labels: Sequence[Labels]) -> str | None:
    """What the size of stress times volume says."""
    sizes = [
        (np.abs(label.stress).max(), np.abs(label.stress).max() * atoms.get_volume() / len(atoms))
        for atoms, label in zip(structures, labels, strict=True)
        if label.stress is not None
    ]
    if not sizes:
        return None
    stress, virial = np.median(np.array(sizes), axis=0)
    if virial < LARGE_VIRIAL:
        return None
    return (
        f"the stress is {stress:.3g} eV/angstrom^3 in the median, which is {stress / GPa:.3g} GPa and {virial:.3g} eV "
        f"per atom: it looks like kbar or GPa: divide by {10.0 / GPa:.6g} or {1.0 / GPa:.6g}, "
        "and change the sign if it is VASP's"
    )


def _similar(
    structures: Sequence[Atoms], labels: Sequence[Labels], groups: Iterable[list[int]]
) -> Iterator[tuple[float, Floats, Floats]]:
    """Change of the energy less that by the forces, volume times stress, and strain, of similar frames."""
    for frames in groups:
        volumes = [structures[i].get_volume() for i in frames]
        by_volume = [frames[k] for k in np.argsort(volumes)]
        neighbours = {(min(p), max(p)) for order in (frames, by_volume) for p in pairwise(order)}
        for i, j in sorted(neighbours):
            pair = _pair(structures[i], structures[j], labels[i], labels[j])
            if pair is not None:
                yield pair


def _pair(one: Atoms, two: Atoms, label: Labels, other: Labels) -> tuple[float, Floats, Floats] | None:
    if label.energy is None or other.energy is None or label.stress is None or other.stress is None:
        return None
    deformation = np.linalg.solve(one.cell.array, two.cell.array)  # rows: cell of two = cell of one @ deformation
    strain = 0.5 * (deformation + deformation.T) - np.eye(3)
    if not SMALLEST_STRAIN < np.abs(deformation - np.eye(3)).max() < LARGEST_STRAIN:
        return None
    steps = two.get_scaled_positions(wrap=False) - one.get_scaled_positions(wrap=False)
    moves = (steps - np.round(steps)) @ (0.5 * (one.cell.array + two.cell.array))  # (N, 3)
    if np.abs(moves).max() > (SMALLEST_STRAIN if label.forces is None or other.forces is None else LARGEST_MOVE):
        return None
    work = 0.0
    if label.forces is not None and other.forces is not None:
        work = float((0.5 * (label.forces + other.forces) * moves).sum())
    stress = 0.5 * (one.get_volume() * label.stress + two.get_volume() * other.stress)  # eV, (3, 3)
    return other.energy - label.energy + work, stress, strain


def _falls_with_volume(structures: Sequence[Atoms], labels: Sequence[Labels], frames: Sequence[int]) -> bool:
    if len(frames) < FEWEST:
        return False
    volumes = np.log([structures[i].get_volume() for i in frames])
    stresses = [label.stress for label in (labels[i] for i in frames) if label.stress is not None]
    pressures = np.trace(np.array(stresses), axis1=1, axis2=2)  # (frames,), minus three times the pressure
    if volumes.std() < SPREAD or pressures.std() == 0.0:
        return False
    return bool(np.corrcoef(volumes, pressures)[0, 1] < -CORRELATION)
