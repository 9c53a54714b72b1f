"""NBodyCalculator: a model as an ASE calculator."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    CalculatorSetupError,
    Parameters,
    PropertyNotImplementedError,
    all_changes,
)

from ase_nbody.devices import plain_torch, torch_device
from ase_nbody.graph import Graph, batch_graphs
from ase_nbody.hessian import hessian
from ase_nbody.kernels.workers import torch_threads
from ase_nbody.model_file import ModelInformation, load_model
from ase_nbody.models_directory import find_model
from ase_nbody.neighbours import NeighbourCache, neighbour_graph
from ase_nbody.potential import Potential, predict
from ase_nbody.results import Results, results_by_structure
from ase_nbody.structures import changed_parts, check_structure
from ase_nbody.timings import Timings

DTYPES = {"float64": torch.float64, "float32": torch.float32}
ATOMS_PER_BATCH = 1000
"""Atoms in one batch of calculate_many: enough to fill a device, and under 1 GB for the largest preset."""


class NBodyCalculator(Calculator):
    """ASE calculator of a trained model: energy, free energy, energies, forces and stress from one evaluation.

    `atoms` is never written to, and no state outside the calculator is changed. Threads may share a calculator;
    their evaluations then wait for each other.

    Args:
        model: name of a shipped model, path of a model file, or a Potential (which is copied).
        device: "cpu", "cuda", "cuda:1", ..., or "auto": cuda where there is one.
        dtype: "float64" or "float32", the precision of the network; energies are summed and returned in float64.
        skin: distance beyond the cutoff to which neighbour lists reach, so that they can be reused, angstrom.
        threads: threads that torch and the kernels use during an evaluation; torch's own number if None. One is best
            for small structures on a machine that is busy otherwise.
        **kwargs: `atoms`, `label` and `directory` of ASE's Calculator.

    Attributes:
        potential: network, reference energies and scale.
        information: the model file's header; None where a Potential was given.
        evaluations: number of structures evaluated.
        neighbours: the neighbour list and its counts of builds and reuses.
        timings: seconds spent on neighbours, evaluation and results, and how often.

    Raises:
        CalculatorSetupError: a device that is not there, or a value that is not allowed.
        ValueError: no such shipped model, or not a model file.
        FileNotFoundError: no such file.

    Results are in eV, eV/angstrom and eV/angstrom^3 with ASE's sign. The stress needs a cell that is periodic in
    three directions; without, asking for it raises PropertyNotImplementedError and the rest is there.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    @plain_torch()
    def __init__(
        self,
        model: str | os.PathLike[str] | Potential,
        *,
        device: str = "auto",
        dtype: str = "float64",
        skin: float = 0.5,
        threads: int | None = None,
        **kwargs: Any,
    ) -> None:
        _check_parameters(dtype, skin, threads)
        self.potential, self.information, name = _loaded(model, torch_device(device), DTYPES[dtype])
        self.evaluations = 0
        self.neighbours = NeighbourCache(self.potential.cutoff, skin)
        self.timings = Timings()
        self._lock = RLock()
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self.parameters = Parameters(model=name, device=device, dtype=dtype, skin=skin, threads=threads)

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Nothing can be set: a calculator's parameters are given when it is made.

        Raises:
            CalculatorSetupError: anything was given.
        """
        if kwargs:
            raise CalculatorSetupError(
                f"{sorted(kwargs)} cannot be set on an NBodyCalculator; make another one with model, device, dtype, "
                "skin or threads"
            )
        return {}

    def set_atoms(self, atoms: Atoms) -> None:
        """Called by `atoms.calc = ...`: refuses structures with elements that the model does not know.

        Raises:
            ValueError: an element is not in the model.
        """
        if len(atoms):
            # Elements alone: positions and cell may be set later.
            check_structure(Atoms(numbers=atoms.numbers), self.potential.elements)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What differs from the structure of the results, in any digit: `tol` is ASE's, and everything counts here."""
        return list(all_changes) if self.atoms is None else changed_parts(self.atoms, atoms)

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """A result by its ASE name, calculated if the structure has changed.

        Raises:
            PropertyNotImplementedError: not a property of this calculator, or a stress without a full cell.
        """
        with self._lock:
            structure = self.atoms if atoms is None else atoms
            if name == "stress" and structure is not None:
                _check_stress_is_defined(structure)
            return super().get_property(name, atoms, allow_calculation)  # type: ignore[no-untyped-call]

    @plain_torch()
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate the model once and fill `results` with all properties that the structure has.

        Raises:
            PropertyNotImplementedError: the stress was asked for without a full cell; the other results are there.
            ValueError: a structure that cannot be evaluated.
            CalculationFailed: the model gave no finite energy.
        """
        with self._lock:
            structure = self.atoms if atoms is None else atoms
            if structure is None:
                raise ValueError("there is no structure to calculate; give atoms")
            with self.timings.measure("neighbours"):
                check_structure(structure, self.potential.elements)
                graph = self.neighbours.graph(structure, dtype=self.potential.dtype, device=self.potential.device)
            self.atoms = structure.copy()
            self.results = self._results(graph)[0]
            if "stress" in properties:
                _check_stress_is_defined(structure)

    @plain_torch()
    def calculate_many(self, structures: Sequence[Atoms]) -> list[Results]:
        """Results of many structures, evaluated in batches; the same as one after another.

        Args:
            structures: any structures the model knows the elements of.

        Returns:
            For each structure a dictionary of energy, free_energy, energies, forces and, with a full cell, stress.

        Raises:
            ValueError: a structure that cannot be evaluated, with its number.
            CalculationFailed: the model gave no finite energy.
        """
        results: list[Results] = []
        for batch in _batches(structures):
            with self._lock, self.timings.measure("neighbours"):
                graph = batch_graphs([self._numbered_graph(number, structures[number]) for number in batch])
            results += self._results(graph)
        return results

    @plain_torch()
    def get_hessian(self, atoms: Atoms) -> npt.NDArray[np.float64]:
        """Second derivatives of the energy by positions, exact, (3N, 3N), eV/angstrom^2.

        Rows and columns run over atoms, then x, y, z, as ASE's VibrationsData.from_2d takes them.

        Raises:
            ValueError: a structure that cannot be evaluated.
        """
        graph = self._graph(atoms)
        with self._lock, torch_threads(self.parameters["threads"]):
            self.evaluations += 1
            return hessian(self.potential, graph).double().cpu().numpy()

    @plain_torch()
    def get_states(self, atoms: Atoms) -> Any:
        """The covariant states of all subsystems, level by level, from the atoms to the whole.

        Raises:
            PropertyNotImplementedError: the architecture has no composition scheme.
            ValueError: a structure that cannot be evaluated.
        """
        states: Callable[[Graph], Any] | None = getattr(self.potential.network, "states", None)
        if states is None:
            raise PropertyNotImplementedError(
                f"{type(self.potential.network).__name__} has no composition scheme, hence no states; use nbody"
            )
        graph = self._graph(atoms)
        with self._lock, torch_threads(self.parameters["threads"]):
            self.evaluations += 1
            return states(graph)

    @plain_torch()
    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"], state["neighbours"], state["timings"]
        state["potential"] = _copied(self.potential, torch.device("cpu"), self.potential.dtype)
        return state

    @plain_torch()
    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = RLock()
        self.neighbours = NeighbourCache(self.potential.cutoff, self.parameters["skin"])
        self.timings = Timings()
        self.potential = _copied(self.potential, torch_device(self.parameters["device"]), self.potential.dtype)

    def __repr__(self) -> str:
        chosen = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items() if name != "model")
        return f"{type(self).__name__}({self.parameters['model']!r}, {chosen})"

    def _get_name(self) -> str:
        return "nbody"

    def _results(self, graph: Graph) -> list[Results]:
        with self._lock, torch_threads(self.parameters["threads"]):
            self.evaluations += graph.n_structures
            with self.timings.measure("evaluation"):
                prediction = predict(self.potential, graph, timings=self.timings)
                if graph.positions.is_cuda:
                    torch.cuda.synchronize(graph.positions.device)
            with self.timings.measure("results"):
                return results_by_structure(prediction, graph)

    def _graph(self, atoms: Atoms) -> Graph:
        check_structure(atoms, self.potential.elements)
        return neighbour_graph(atoms, self.potential.cutoff, dtype=self.potential.dtype, device=self.potential.device)

    def _numbered_graph(self, number: int, atoms: Atoms) -> Graph:
        try:
            return self._graph(atoms)
        except ValueError as error:
            raise ValueError(f"structure {number}: {error}") from error


def _check_parameters(dtype: str, skin: float, threads: int | None) -> None:
    if dtype not in DTYPES:
        raise CalculatorSetupError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    if not (np.isfinite(skin) and skin >= 0):
        raise CalculatorSetupError(f"skin must be zero or a positive length in angstrom, not {skin!r}")
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise CalculatorSetupError(f"threads must be a whole number above zero, or None, not {threads!r}")


def _loaded(
    model: str | os.PathLike[str] | Potential, device: torch.device, dtype: torch.dtype
) -> tuple[Potential, ModelInformation | None, str]:
    if isinstance(model, Potential):
        return _copied(model, device, dtype), None, type(model.network).__name__
    potential, information = load_model(find_model(model), device=device, dtype=dtype)
    potential.network.requires_grad_(False)
    return potential, information, os.fspath(model)


def _copied(potential: Potential, device: torch.device, dtype: torch.dtype) -> Potential:
    network = copy.deepcopy(potential.network).to(device=device, dtype=dtype)
    return replace(potential, network=network.requires_grad_(False))


def _check_stress_is_defined(atoms: Atoms) -> None:
    if not atoms.pbc.all():
        raise PropertyNotImplementedError(
            f"the stress needs a cell that is periodic in three directions, and pbc is {atoms.pbc.tolist()}"
        )


def _batches(structures: Sequence[Atoms]) -> Iterator[list[int]]:
    batch: list[int] = []
    n_atoms = 0
    for number, atoms in enumerate(structures):
        if batch and n_atoms + len(atoms) > ATOMS_PER_BATCH:
            yield batch
            batch, n_atoms = [], 0
        batch.append(number)
        n_atoms += len(atoms)
    if batch:
        yield batch
