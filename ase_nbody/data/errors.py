"""Errors of a potential on a dataset, in the units and names of the field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_nbody.contacts import larger_limits
from ase_nbody.data.dataset import Dataset
from ase_nbody.data.shifts import CompositionShift, composition_shifts, without_shift
from ase_nbody.envelope import EnvelopeReport
from ase_nbody.envelope_check import EnvelopeCheck
from ase_nbody.graph import Graph, batch_graphs
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict
from ase_nbody.predictions import Prediction
from ase_nbody.results import Results, results_by_structure
from ase_nbody.surroundings import with_surroundings_distances

Floats = NDArray[np.float64]
MILLI = 1e3


@dataclass(frozen=True)
class Evaluation:
    """Labels and predictions side by side, for S structures with N atoms in all; NaN where there is no label.

    Attributes:
        n_atoms: atoms of each structure, (S,) int64.
        atomic_numbers: (N,) int64.
        reference_energies: sum of each structure's isolated-atom energies, (S,), eV.
        energy_labels: total energies, (S,), eV.
        energy_predictions: (S,), eV.
        force_labels: (N, 3), eV/angstrom.
        force_predictions: (N, 3), eV/angstrom.
        stress_labels: (S, 3, 3), eV/angstrom^3.
        stress_predictions: (S, 3, 3), eV/angstrom^3.
        outside: reports of the structures that are outside the training of the model, by number, where looked for.
    """

    n_atoms: NDArray[np.int64]
    atomic_numbers: NDArray[np.int64]
    reference_energies: Floats
    energy_labels: Floats
    energy_predictions: Floats
    force_labels: Floats
    force_predictions: Floats
    stress_labels: Floats
    stress_predictions: Floats
    outside: Mapping[int, EnvelopeReport] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorReport:
    """Mean absolute and root mean square errors; None where nothing is labelled.

    Energies are of whole structures and per atom, forces and stress over components. Units stand in the names: meV,
    meV/angstrom, meV/angstrom^3. Errors without shift are those less the mean error per atom of their composition
    (proportions of the elements); structures that are alone in their composition have none and do not count.

    Attributes:
        n_structures: structures, labelled or not.
        n_compositions: compositions of the structures with an energy label.
        n_structures_without_shift: structures that the errors without shift count.
    """

    n_structures: int
    energy_rmse_mev: float | None
    energy_mae_mev: float | None
    energy_rmse_mev_per_atom: float | None
    energy_mae_mev_per_atom: float | None
    n_compositions: int
    n_structures_without_shift: int
    energy_rmse_mev_without_shift: float | None
    energy_mae_mev_without_shift: float | None
    energy_rmse_mev_per_atom_without_shift: float | None
    energy_mae_mev_per_atom_without_shift: float | None
    forces_rmse_mev_per_angstrom: float | None
    forces_mae_mev_per_angstrom: float | None
    stress_rmse_mev_per_cubic_angstrom: float | None
    stress_mae_mev_per_cubic_angstrom: float | None
    forces_mae_by_element: dict[str, float]

    def to_json_dict(self) -> dict[str, Any]:
        """The report as plain numbers, strings and dictionaries."""
        return asdict(self)


def evaluate(
    potential: Potential, dataset: Dataset, *, batch_atoms: int = 500, check: EnvelopeCheck | None = None
) -> tuple[ErrorReport, Evaluation]:
    """Predictions of a potential for all structures of a dataset, and their errors.

    Args:
        potential: on its own device and in its own dtype.
        dataset: labelled structures.
        batch_atoms: structures are predicted together up to this number of atoms.
        check: also looks which structures are outside the training; they are the keys of `Evaluation.outside`.

    Raises:
        ValueError: the dataset is empty, has elements that the potential does not know, or a prediction is not finite.
    """
    if len(dataset) == 0:
        raise ValueError("there is nothing to evaluate: the dataset is empty")
    check_elements(potential, dataset)
    batches = list(_batches(dataset, batch_atoms))
    evaluation = joined([_evaluated(potential, dataset.subset(batch), check) for batch in batches])
    _check_finite(evaluation, dataset.source)
    return error_report(evaluation), evaluation


def check_elements(
    potential: Potential, dataset: Dataset, advice: str = "leave these structures out or choose another model"
) -> None:
    """Refuse structures with elements that a potential does not know.

    Args:
        potential: knows some elements.
        dataset: structures.
        advice: what to do, for the error.

    Raises:
        ValueError: they are named.
    """
    unknown = sorted(set(dataset.elements) - set(potential.elements))
    if unknown:
        raise ValueError(
            f"{dataset.source} has {', '.join(unknown)}, which the model does not know "
            f"({', '.join(potential.elements)}); {advice}"
        )


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """One evaluation of several, in their order; structures are numbered through."""
    arrays = [name for name in Evaluation.__dataclass_fields__ if name != "outside"]
    first = np.cumsum([0, *(len(part.n_atoms) for part in parts)])
    outside = {int(first[i]) + n: report for i, part in enumerate(parts) for n, report in part.outside.items()}
    return Evaluation(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in arrays}, outside=outside)


def error_report(evaluation: Evaluation) -> ErrorReport:
    """Errors of predictions, over what is labelled."""
    energy = evaluation.energy_predictions - evaluation.energy_labels  # (S,)
    shifts, n_compositions = _shifts(evaluation)
    rest = without_shift(energy / evaluation.n_atoms, shifts)  # (S,)
    forces = evaluation.force_predictions - evaluation.force_labels  # (N, 3)
    stress = evaluation.stress_predictions - evaluation.stress_labels  # (S, 3, 3)
    by_element = {
        chemical_symbols[z]: _mae(forces[evaluation.atomic_numbers == z]) for z in np.unique(evaluation.atomic_numbers)
    }
    return ErrorReport(
        n_structures=len(energy),
        energy_rmse_mev=_rmse(energy),
        energy_mae_mev=_mae(energy),
        energy_rmse_mev_per_atom=_rmse(energy / evaluation.n_atoms),
        energy_mae_mev_per_atom=_mae(energy / evaluation.n_atoms),
        n_compositions=n_compositions,
        n_structures_without_shift=len(_labelled(rest)),
        energy_rmse_mev_without_shift=_rmse(rest * evaluation.n_atoms),
        energy_mae_mev_without_shift=_mae(rest * evaluation.n_atoms),
        energy_rmse_mev_per_atom_without_shift=_rmse(rest),
        energy_mae_mev_per_atom_without_shift=_mae(rest),
        forces_rmse_mev_per_angstrom=_rmse(forces),
        forces_mae_mev_per_angstrom=_mae(forces),
        stress_rmse_mev_per_cubic_angstrom=_rmse(stress),
        stress_mae_mev_per_cubic_angstrom=_mae(stress),
        forces_mae_by_element={symbol: mae for symbol, mae in by_element.items() if mae is not None},
    )


def _check_finite(evaluation: Evaluation, source: str) -> None:
    forces = np.isfinite(evaluation.force_predictions).all(axis=1)  # (N,)
    structures = np.repeat(np.arange(len(evaluation.n_atoms)), evaluation.n_atoms)  # (N,)
    bad = sorted({*np.flatnonzero(~np.isfinite(evaluation.energy_predictions)), *structures[~forces]})
    if bad:
        raise ValueError(
            f"{source}: the model's energy or forces are not finite in {len(bad)} structure(s), of which number "
            f"{bad[0]} is the first; look for atoms on one spot there, or for a damaged model"
        )


def energy_shifts(evaluation: Evaluation) -> list[CompositionShift]:
    """The mean error of the energies of each composition that at least two structures have."""
    return _shifts(evaluation)[0]


def _shifts(evaluation: Evaluation) -> tuple[list[CompositionShift], int]:
    errors = (evaluation.energy_predictions - evaluation.energy_labels) / evaluation.n_atoms  # (S,)
    return composition_shifts(errors, evaluation.n_atoms, evaluation.atomic_numbers)


def _batches(dataset: Dataset, batch_atoms: int) -> Iterator[list[int]]:
    batch: list[int] = []
    n_atoms = 0
    for i, atoms in enumerate(dataset.structures):
        if batch and n_atoms + len(atoms) > batch_atoms:
            yield batch
            batch, n_atoms = [], 0
        batch.append(i)
        n_atoms += len(atoms)
    yield batch


def _evaluated(potential: Potential, dataset: Dataset, check: EnvelopeCheck | None) -> Evaluation:
    limits = larger_limits(potential.contact_limits, None if check is None else check.limits)
    graph = batch_graphs(
        [
            neighbour_graph(atoms, potential.cutoff, dtype=potential.dtype, device=potential.device, limits=limits)
            for atoms in dataset.structures
        ]
    )
    prediction = predict(potential, graph, features=check is not None and potential.surroundings is not None)
    outside = {} if check is None else check.excursions(graph, _compared(prediction, potential, graph))
    pairs = list(zip(dataset.structures, dataset.labels, strict=True))
    references = potential.reference_energies
    return Evaluation(
        n_atoms=np.array([len(atoms) for atoms, _ in pairs]),
        atomic_numbers=np.concatenate([atoms.numbers for atoms, _ in pairs]),
        reference_energies=np.array([sum(references[s] for s in atoms.symbols) for atoms, _ in pairs]),
        energy_labels=np.array([np.nan if x.energy is None else x.energy for _, x in pairs]),
        energy_predictions=prediction.energy.cpu().numpy(),
        force_labels=np.concatenate([np.full((len(a), 3), np.nan) if x.forces is None else x.forces for a, x in pairs]),
        force_predictions=prediction.forces.detach().double().cpu().numpy(),
        stress_labels=np.stack([np.full((3, 3), np.nan) if x.stress is None else x.stress for _, x in pairs]),
        stress_predictions=prediction.stress.detach().double().cpu().numpy(),
        outside=outside,
    )


def _compared(prediction: Prediction, potential: Potential, graph: Graph) -> list[Results]:
    """What is compared with the training."""
    return with_surroundings_distances(results_by_structure(prediction, graph), potential, graph, prediction.features)


def _labelled(differences: Floats) -> Floats:
    return differences[~np.isnan(differences)]


def _rmse(differences: Floats) -> float | None:
    labelled = _labelled(differences)
    return float(np.sqrt(np.mean(labelled**2))) * MILLI if labelled.size else None


def _mae(differences: Floats) -> float | None:
    labelled = _labelled(differences)
    return float(np.mean(np.abs(labelled))) * MILLI if labelled.size else None
