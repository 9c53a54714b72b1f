"""Evaluator: a potential at work, with the threads, neighbour lists, times and training envelope that go with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, TypeVar

import torch
from ase import Atoms
from torch import Tensor

from ase_nbody.contacts import larger_limits
from ase_nbody.devices import plain_torch, torch_device
from ase_nbody.envelope import EnvelopeReport
from ase_nbody.envelope_check import EnvelopeCheck
from ase_nbody.excursions import Excursions
from ase_nbody.graph import Graph
from ase_nbody.known_surroundings import DISTANCES
from ase_nbody.model_information import ModelInformation
from ase_nbody.model_records import Envelope
from ase_nbody.neighbour_cache import NeighbourCache
from ase_nbody.neighbours import batch_graph, neighbour_graph
from ase_nbody.potential import Potential, copied_potential, predict
from ase_nbody.results import Results, results_by_structure
from ase_nbody.structures import batches_of_structures, check_structure
from ase_nbody.surroundings import SurroundingsWatch, with_surroundings_distances
from ase_nbody.thread_count import using_threads
from ase_nbody.timings import Timings

Answer = TypeVar("Answer")

ATOMS_PER_BATCH = 1000
"""Atoms in one batch of `results_of_many`: enough to fill a device, and under 1 GB for the largest preset."""


@dataclass(frozen=True)
class EvaluatorSettings:
    """How an evaluator works.

    Attributes:
        device: as the user chose it, for copies that are opened elsewhere.
        skin: of neighbour lists, angstrom.
        threads: that torch and the kernels use; torch's own number if None.
        outside: "warn", "raise" or "ignore", as in NBodyCalculator.
    """

    device: str
    skin: float
    threads: int | None
    outside: str


class Evaluator:
    """Evaluates structures; threads that share it wait for each other.

    Copies, pickled ones too, have a network, neighbour lists and timings of their own.

    Args:
        potential: on its device, in its dtype.
        information: header of the model's file, whose envelope results are compared with; None where there is none.
        settings: how it works.

    Attributes:
        potential: as given.
        settings: as given.
        evaluations: number of structures evaluated.
        excursions: of structures outside the training.
        timings: seconds spent on neighbours, evaluation and results, and how often.
        neighbours: the neighbour list of a moving structure and its counts of builds and reuses.
        limits: distances below which edges are contacts; None where nobody asks for any.
        envelope_check: compares results with what the training covered.
        lock: held during evaluations.
    """

    def __init__(self, potential: Potential, information: ModelInformation | None, settings: EvaluatorSettings) -> None:
        self.potential = potential
        self.settings = settings
        self.evaluations = 0
        self.excursions = Excursions(settings.outside)
        self._envelope = Envelope() if information is None else information.envelope
        self._prepare()

    def _prepare(self) -> None:
        """Make what copies do not share."""
        potential = self.potential
        self.lock = RLock()
        self._watch = SurroundingsWatch(potential)
        self.timings = Timings()
        references = potential.reference_energies_by_number().cpu().numpy()
        self.envelope_check = EnvelopeCheck(self._envelope, references, potential.network.settings.cutoff)
        self.limits = larger_limits(self.envelope_check.limits, potential.contact_limits)
        self.neighbours = NeighbourCache(potential.cutoff, self.settings.skin, self.limits)

    @plain_torch()
    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("lock", "timings", "envelope_check", "limits", "neighbours", "_watch"):
            del state[name]
        state["potential"] = copied_potential(self.potential, torch.device("cpu"), self.potential.dtype)
        return state

    @plain_torch()
    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.potential = copied_potential(self.potential, torch_device(self.settings.device), self.potential.dtype)
        self._prepare()

    def graph(self, atoms: Atoms) -> Graph:
        """A structure with a neighbour list of its own.

        Raises:
            ValueError: a structure that cannot be evaluated.
        """
        potential = self.potential
        check_structure(atoms, potential.elements)
        return neighbour_graph(
            atoms, potential.cutoff, dtype=potential.dtype, device=potential.device, limits=self.limits
        )

    def moving_graph(self, atoms: Atoms) -> Graph:
        """A structure with the neighbour list of the last one, as long as that is complete; it raises as `graph`."""
        with self.timings.measure("neighbours"):
            check_structure(atoms, self.potential.elements)
            return self.neighbours.graph(atoms, dtype=self.potential.dtype, device=self.potential.device)

    def results(self, graph: Graph) -> list[Results]:
        """ASE's results of each structure.

        Raises:
            CalculationFailed: the model gave no finite energy.
        """
        with self.lock, using_threads(self.settings.threads):
            self.evaluations += graph.n_structures
            with self.timings.measure("evaluation"):
                prediction = predict(self.potential, graph, timings=self.timings, features=self._looks)
                if graph.positions.is_cuda:
                    torch.cuda.synchronize(graph.positions.device)
            with self.timings.measure("results"):
                results = results_by_structure(prediction, graph)
                return self._with_distances(results, graph, prediction.features)

    def _with_distances(self, results: list[Results], graph: Graph, features: Tensor | None) -> list[Results]:
        """With distances of the atoms' surroundings, where they are compared with the training."""
        if not self._looks:
            return results
        if graph.n_structures > 1:
            return with_surroundings_distances(results, self.potential, graph, features)
        return [{**results[0], DISTANCES: self._watch.distances(graph, features).copy()}]

    @property
    def _looks(self) -> bool:
        return self.potential.surroundings is not None and self.settings.outside != "ignore"

    def results_of_many(self, structures: Sequence[Atoms]) -> list[Results]:
        """Results of structures that are evaluated in batches, and compared with the training.

        Raises:
            OutsideTrainingError: a structure is outside the training, and `outside` is "raise".
            ValueError: a structure that cannot be evaluated, with its number.
            CalculationFailed: the model gave no finite energy.
        """
        results: list[Results] = []
        for batch in batches_of_structures(structures, ATOMS_PER_BATCH):
            with self.lock, self.timings.measure("neighbours"):
                graph = self._batch([structures[number] for number in batch], batch)
            results += self.compared_results(graph, batch)
        return results

    def compared_results(self, graph: Graph, numbers: Sequence[int] | None = None) -> list[Results]:
        """Results that are compared with the training; `numbers` are those of a list given by the user.

        Raises:
            OutsideTrainingError: a structure is outside the training, and `outside` is "raise".
            CalculationFailed: the model gave no finite energy.
        """
        results = self.results(graph)
        if self.settings.outside != "ignore":
            self.excursions.note(graph, self.envelope_check.excursions(graph, results), numbers)
        return results

    def report(self, atoms: Atoms, known: Results | None) -> EnvelopeReport:
        """Where a structure stands in what the training covered, by its results, evaluated where they are not known."""
        graph = self.graph(atoms)
        results = known or self.results(graph)[0]
        if DISTANCES not in results:
            results = with_surroundings_distances([results], self.potential, graph, None)[0]
        return self.envelope_check.reports(graph, [results])[0]

    def answer(self, atoms: Atoms, question: Callable[[Potential, Graph], Answer]) -> Answer:
        """What a function makes of the potential and a structure, counted as an evaluation.

        Raises:
            ValueError: a structure that cannot be evaluated.
        """
        graph = self.graph(atoms)
        with self.lock, using_threads(self.settings.threads):
            self.evaluations += 1
            return question(self.potential, graph)

    def _batch(self, structures: Sequence[Atoms], numbers: Sequence[int]) -> Graph:
        potential = self.potential
        return batch_graph(
            structures,
            potential.cutoff,
            dtype=potential.dtype,
            device=potential.device,
            limits=self.limits,
            elements=potential.elements,
            numbers=numbers,
        )
