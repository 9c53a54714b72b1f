"""Evaluation: predictions of a potential beside the labels of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ase_nbody.contacts import larger_limits
from ase_nbody.data.dataset import Dataset
from ase_nbody.envelope import EnvelopeReport
from ase_nbody.envelope_check import EnvelopeCheck
from ase_nbody.graph import Graph
from ase_nbody.neighbours import batch_graph
from ase_nbody.potential import Potential, predict
from ase_nbody.predictions import ENERGY, Prediction, Property
from ase_nbody.results import Results, results_by_structure
from ase_nbody.structures import batches_of_structures
from ase_nbody.surroundings import with_surroundings_distances

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Compared:
    """Labels and predictions of one property side by side.

    Attributes:
        kind: what they are of.
        labels: (N, *shape) of atoms and else (S, *shape); NaN where there is none.
        predictions: likewise; NaN where a structure has none.
    """

    kind: Property
    labels: Floats
    predictions: Floats

    @property
    def errors(self) -> Floats:
        """Predictions less labels."""
        return self.predictions - self.labels


@dataclass(frozen=True)
class Evaluation:
    """Labels and predictions side by side, for S structures with N atoms in all.

    Attributes:
        n_atoms: atoms of each structure, (S,) int64.
        atomic_numbers: (N,) int64.
        reference_energies: sum of each structure's isolated-atom energies, (S,), eV.
        compared: every property that labels may be of.
        outside: reports of the structures that are outside the training of the model, by number, where looked for.
    """

    n_atoms: NDArray[np.int64]
    atomic_numbers: NDArray[np.int64]
    reference_energies: Floats
    compared: tuple[Compared, ...]
    outside: Mapping[int, EnvelopeReport] = field(default_factory=dict)

    def of(self, kind: Property) -> Compared:
        """Labels and predictions of one property.

        Raises:
            ValueError: it was not evaluated.
        """
        for compared in self.compared:
            if compared.kind == kind:
                return compared
        raise ValueError(f"no {kind.name} among {', '.join(c.kind.name for c in self.compared)}")

    @property
    def energy_errors_per_atom(self) -> Floats:
        """Of each structure, (S,), eV; NaN where there is no label."""
        return self.of(ENERGY).errors / self.n_atoms


def evaluation_of(
    potential: Potential, dataset: Dataset, *, batch_atoms: int = 500, check: EnvelopeCheck | None = None
) -> Evaluation:
    """Predictions of a potential for all structures of a dataset.

    Args:
        potential: on its own device and in its own dtype.
        dataset: labelled structures.
        batch_atoms: structures are predicted together up to this number of atoms.
        check: also looks which structures are outside the training; they are the keys of `Evaluation.outside`.

    Raises:
        ValueError: the dataset is empty, has elements that the potential does not know or labels of what it does not
            predict, or a prediction is not finite.
    """
    if len(dataset) == 0:
        raise ValueError("there is nothing to evaluate: the dataset is empty")
    check_elements(potential.elements, dataset)
    check_properties(potential, dataset)
    batches = batches_of_structures(dataset.structures, batch_atoms)
    evaluation = joined([_evaluated(potential, dataset.subset(batch), check) for batch in batches])
    _check_finite(evaluation, dataset.source)
    return evaluation


def check_elements(
    known: Sequence[str], dataset: Dataset, advice: str = "leave these structures out or choose another model"
) -> None:
    """Refuse structures with elements that a potential does not know.

    Args:
        known: symbols of the elements of the potential.
        dataset: structures.
        advice: what to do, for the error.

    Raises:
        ValueError: they are named.
    """
    unknown = sorted(set(dataset.elements) - set(known))
    if unknown:
        raise ValueError(
            f"{dataset.source} has {', '.join(unknown)}, which the model does not know ({', '.join(known)}); {advice}"
        )


def check_properties(potential: Potential, dataset: Dataset) -> None:
    """Refuse labels of what a potential does not predict.

    Raises:
        ValueError: they are named.
    """
    known = potential.labelled_properties
    unknown = [kind.name for kind in dataset.further_properties if kind not in known]
    if unknown:
        raise ValueError(
            f"{dataset.source} has labels of {', '.join(unknown)}, which the model does not predict as they are "
            f"described ({', '.join(kind.name for kind in known)}); read it with the properties of the model"
        )


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """One evaluation of several of the same properties, in their order; structures are numbered through."""
    first = np.cumsum([0, *(len(part.n_atoms) for part in parts)])
    return Evaluation(
        n_atoms=np.concatenate([part.n_atoms for part in parts]),
        atomic_numbers=np.concatenate([part.atomic_numbers for part in parts]),
        reference_energies=np.concatenate([part.reference_energies for part in parts]),
        compared=tuple(_joined(several) for several in zip(*(part.compared for part in parts), strict=True)),
        outside={int(first[i]) + n: report for i, part in enumerate(parts) for n, report in part.outside.items()},
    )


def _joined(several: Sequence[Compared]) -> Compared:
    labels, predictions = (
        np.concatenate(arrays) for arrays in zip(*((c.labels, c.predictions) for c in several), strict=True)
    )
    return Compared(several[0].kind, labels, predictions)


def not_predicted(evaluation: Evaluation) -> list[str]:
    """Sentences on labels of structures for which the model gives no such property; they do not count."""
    words = []
    for compared in evaluation.compared:
        left_out = np.isnan(compared.predictions) & ~np.isnan(compared.labels)
        if left_out.any():
            name, rows = compared.kind.name, int(left_out.reshape(len(left_out), -1).any(axis=1).sum())
            of = "atom" if compared.kind.per_atom else "structure"
            words.append(f"labels of {name} of {rows} {of}(s) are left out: the model has no {name} for them")
    return words


def labels_left_out(potential: Potential, dataset: Dataset) -> list[str]:
    """`not_predicted` of a dataset, each with its source; nothing is predicted where no such label is possible."""
    if all(kind.always for kind in dataset.further_properties):
        return []
    return [f"{dataset.source}: {words}" for words in not_predicted(evaluation_of(potential, dataset))]


def _check_finite(evaluation: Evaluation, source: str) -> None:
    structures = np.repeat(np.arange(len(evaluation.n_atoms)), evaluation.n_atoms)  # (N,)
    bad: dict[int, set[str]] = {}
    for kind, values in ((c.kind, c.predictions) for c in evaluation.compared if c.kind.always):
        rows = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
        for structure in structures[rows] if kind.per_atom else rows:
            bad.setdefault(int(structure), set()).add(kind.name)
    if bad:
        names = " or ".join(sorted(set().union(*bad.values())))
        raise ValueError(
            f"{source}: the model's {names} are not finite in {len(bad)} structure(s), of which number "
            f"{min(bad)} is the first; look for atoms on one spot there, or for a damaged model"
        )


def _evaluated(potential: Potential, dataset: Dataset, check: EnvelopeCheck | None) -> Evaluation:
    limits = larger_limits(potential.contact_limits, None if check is None else check.limits)
    graph = batch_graph(
        dataset.structures, potential.cutoff, dtype=potential.dtype, device=potential.device, limits=limits
    )
    prediction = predict(potential, graph, features=check is not None and potential.surroundings is not None)
    references = potential.reference_energies
    return Evaluation(
        n_atoms=np.array([len(atoms) for atoms in dataset.structures]),
        atomic_numbers=np.concatenate([atoms.numbers for atoms in dataset.structures]),
        reference_energies=np.array([sum(references[s] for s in atoms.symbols) for atoms in dataset.structures]),
        compared=tuple(_compared(kind, prediction, dataset) for kind in potential.labelled_properties),
        outside={} if check is None else check.excursions(graph, _envelope_results(prediction, potential, graph)),
    )


def _compared(kind: Property, prediction: Prediction, dataset: Dataset) -> Compared:
    pairs = zip(dataset.structures, dataset.labels, strict=True)
    labels = np.concatenate([labels.rows(kind, len(atoms)) for atoms, labels in pairs])
    return Compared(kind, labels, prediction.of(kind).detach().double().cpu().numpy())


def _envelope_results(prediction: Prediction, potential: Potential, graph: Graph) -> list[Results]:
    """What is compared with the training."""
    return with_surroundings_distances(results_by_structure(prediction, graph), potential, graph, prediction.features)
