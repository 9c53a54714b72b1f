"""Reference energies of the elements: given, from isolated atoms, or by least squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from ase_nbody.data.dataset import Dataset
from ase_nbody.data.reading import read_dataset

# Nearest neighbours in crystals of the elements lie within 5.4 angstrom (caesium), interactions of models within 7.
ISOLATED_DISTANCE = 8.0
# Labels of one isolated atom that differ by more come from different methods or spin states.
ISOLATED_AGREEMENT = 0.01
# Compositions that differ by less than this share of an atom do not tell elements apart.
RANK_TOLERANCE = 1e-6
# Exponent of the Thomas-Fermi energy of a neutral atom, E = -0.7687 Z^(7/3) hartree (Lieb and Simon 1973,
# doi 10.1103/PhysRevLett.31.681).
THOMAS_FERMI_EXPONENT = 7.0 / 3.0


@dataclass(frozen=True)
class ReferenceEnergies:
    """Energy of each isolated element.

    Attributes:
        energies: by symbol, eV.
        source: a sentence that says where they come from.
        undetermined: elements whose values the data leave open, as the frames of one molecule do: only sums are known,
            and energies of other compositions are shifted by unknown constants.
    """

    energies: dict[str, float]
    source: str
    undetermined: tuple[str, ...]


def reference_energies(
    dataset: Dataset,
    elements: Sequence[str],
    isolated: Mapping[str, float] | None = None,
    isolated_source: str = "given",
    proportions: Mapping[str, float] | None = None,
) -> ReferenceEnergies:
    """Energy of each isolated element and where the values come from.

    Given values come first, then labelled isolated atoms of the dataset, then least squares of the remaining total
    energies per atom on the composition. Where compositions leave elements undetermined (the frames of one molecule),
    the solution nearest to energies in given proportions is taken, or proportional to Z^(7/3), the Thomas-Fermi law.

    Args:
        dataset: labelled structures.
        elements: chemical symbols that need a value.
        isolated: energies known already, eV.
        isolated_source: words that say where those come from.
        proportions: energies of all of the elements, such as those of a start, eV.

    Raises:
        ValueError: an element has no given value and does not occur with an energy; isolated atoms disagree.
    """
    given = {e: float(isolated[e]) for e in elements if isolated and e in isolated}
    atoms = {e: v for e, v in isolated_atoms(dataset).items() if e in elements and e not in given}
    known = {**given, **atoms}
    rest = [e for e in elements if e not in known]
    fitted, undetermined = _least_squares(dataset, rest, known, proportions) if rest else ({}, ())
    origins = (
        (isolated_source, given),
        ("isolated atoms in the data", atoms),
        ("least squares of total energies on the composition", [e for e in fitted if e not in undetermined]),
        (f"not determined by the compositions of the data, shared out {_shared_by(proportions)}", undetermined),
    )
    words = "; ".join(f"{', '.join(symbols)}: {origin}" for origin, symbols in origins if symbols)
    values = {**known, **fitted}
    return ReferenceEnergies({e: values[e] for e in elements}, f"reference energies of {words}", undetermined)


def isolated_atoms(dataset: Dataset) -> dict[str, float]:
    """Energies of the labelled isolated atoms of a dataset, eV by symbol.

    Raises:
        ValueError: two labels of one element differ by more than 0.01 eV.
    """
    energies: dict[str, float] = {}
    for atoms, labels in zip(dataset.structures, dataset.labels, strict=True):
        if labels.energy is None or not is_isolated_atom(atoms):
            continue
        symbol = chemical_symbols[atoms.numbers[0]]
        first = energies.setdefault(symbol, labels.energy)
        if abs(first - labels.energy) > ISOLATED_AGREEMENT:
            raise ValueError(
                f"isolated {symbol} has energies {first} and {labels.energy} eV in {dataset.source}; keep the one that "
                "belongs to the method of the other labels"
            )
    return energies


def isolated_energies(path: str | Path, energy_key: str | None = None) -> dict[str, float]:
    """Energies of the isolated atoms in a file, eV by symbol.

    Args:
        path: file of frames of one atom each.
        energy_key: name of the energies, as in `read_dataset`; none: found.

    Raises:
        ValueError: the file cannot be read, has no isolated atom, one has no energy, or its values disagree.
    """
    return all_isolated_energies(read_dataset(path, energy_key=energy_key))


def all_isolated_energies(dataset: Dataset) -> dict[str, float]:
    """Energies of the isolated atoms of a dataset, all of which must be labelled, eV by symbol.

    Raises:
        ValueError: there is no isolated atom, one has no energy, or values disagree.
    """
    single = dataset.subset(i for i, atoms in enumerate(dataset.structures) if is_isolated_atom(atoms))
    if not single:
        raise ValueError(
            f"{dataset.source}: no isolated atom with an energy; frames of one atom without pbc are expected"
        )
    energies = isolated_atoms(single)
    if lacking := [e for e in single.elements if e not in energies]:
        raise ValueError(
            f"{dataset.source}: isolated {', '.join(lacking)} without an energy ({dataset.label_source}); one key "
            "names the energies of all isolated atoms, give another, or label these atoms"
        )
    return energies


def is_isolated_atom(atoms: Atoms) -> bool:
    """Whether a structure is one atom further than 8 angstrom from its periodic images."""
    if len(atoms) != 1:
        return False
    if not atoms.pbc.any():
        return True
    cell, _ = minkowski_reduce(atoms.cell.array, pbc=atoms.pbc)
    return bool((np.linalg.norm(cell[atoms.pbc], axis=1) > ISOLATED_DISTANCE).all())


def without_isolated_atoms(dataset: Dataset) -> Dataset:
    """The structures that can teach a network something: its energy of an isolated atom is zero whatever it learns.

    Raises:
        ValueError: nothing would be left.
    """
    kept = [i for i, atoms in enumerate(dataset.structures) if not is_isolated_atom(atoms)]
    if not kept:
        raise ValueError(f"{dataset.source} has only isolated atoms; structures of several atoms are needed")
    return dataset if len(kept) == len(dataset) else dataset.subset(kept)


def _least_squares(
    dataset: Dataset, elements: Sequence[str], known: Mapping[str, float], proportions: Mapping[str, float] | None
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Energies of elements, and those of them that the compositions do not determine."""
    numbers = [atomic_numbers[e] for e in elements]
    fractions, energies = [], []
    for atoms, labels in zip(dataset.structures, dataset.labels, strict=True):
        counts = [int((atoms.numbers == z).sum()) for z in numbers]
        if labels.energy is None or not any(counts):
            continue
        others = [chemical_symbols[z] for z in atoms.numbers if z not in numbers]
        _check_known(others, known, dataset.source)
        fractions.append([c / len(atoms) for c in counts])
        energies.append((labels.energy - sum(known[e] for e in others)) / len(atoms))
    a = np.array(fractions).reshape(-1, len(elements))  # (S, n_elements)
    absent = [e for e, column in zip(elements, a.T, strict=True) if not column.any()]
    if absent:
        raise ValueError(
            f"no reference energy for {', '.join(absent)}: no structure of {dataset.source} with an energy has it; "
            "give the energy of the isolated atom"
        )
    shares = [atomic_numbers[e] ** THOMAS_FERMI_EXPONENT if proportions is None else proportions[e] for e in elements]
    values = _nearest_in_proportion(a, np.array(energies), np.array(shares))
    undetermined = tuple(e for e, is_free in zip(elements, _is_free(a), strict=True) if is_free)
    return dict(zip(elements, values.tolist(), strict=True)), undetermined


def _is_free(fractions: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which elements can change without a change of fractions @ energies, (n_elements,): the null space has them."""
    _, values, vectors = np.linalg.svd(np.linalg.qr(fractions, mode="r"))  # (rank,), (n_elements, n_elements)
    null = vectors[(values > RANK_TOLERANCE * values.max()).sum() :]  # (dimension, n_elements)
    return np.asarray(np.abs(null).max(axis=0, initial=0.0) > RANK_TOLERANCE)


def _check_known(symbols: Sequence[str], known: Mapping[str, float], source: str) -> None:
    missing = sorted(set(symbols) - set(known))
    if missing:
        raise ValueError(f"{source} has {', '.join(missing)}, which is not among the elements; add it to them")


def _nearest_in_proportion(
    fractions: NDArray[np.float64], energies: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    trial = fractions @ shares  # (S,)
    prior = shares * (trial @ energies) / (trial @ trial) if trial.any() else shares
    correction = np.linalg.lstsq(fractions, energies - fractions @ prior, rcond=RANK_TOLERANCE)[0]
    return np.asarray(prior + correction, dtype=np.float64)


def _shared_by(proportions: Mapping[str, float] | None) -> str:
    return "by Z^(7/3)" if proportions is None else "in the proportions of the start"
