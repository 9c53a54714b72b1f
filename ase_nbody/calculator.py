"""NBodyCalculator: a model as an ASE calculator."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
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

from ase_nbody.calculator_inputs import (
    DTYPES,
    batches_of_structures,
    check_parameters,
    check_stress_is_defined,
    copied_potential,
    loaded_potential,
)
from ase_nbody.contacts import larger_limits
from ase_nbody.descriptors import descriptor_irreps, descriptors
from ase_nbody.devices import plain_torch, torch_device
from ase_nbody.envelope import EnvelopeReport, OutsideTrainingError, OutsideTrainingWarning
from ase_nbody.envelope_check import EnvelopeCheck
from ase_nbody.graph import Graph, batch_graphs
from ase_nbody.hessian import hessian
from ase_nbody.kernels.workers import torch_threads
from ase_nbody.model_file import Envelope
from ase_nbody.neighbour_cache import NeighbourCache
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict
from ase_nbody.results import Results, results_by_structure
from ase_nbody.structures import changed_parts, check_structure
from ase_nbody.timings import Timings


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
        outside: what happens where a structure is outside what the model was trained on: "warn" (an
            OutsideTrainingWarning, once for each kind and structure), "raise" (an OutsideTrainingError) or "ignore".
        level: level of theory, for a model that has several; its first if not given. `information.levels` lists them.
        average_over_inversion: take the mean over a structure and its mirror image, for models such as `universal`
            whose networks are not invariant under reflection; an evaluation then costs two.
        **kwargs: `atoms`, `label` and `directory` of ASE's Calculator.

    Attributes:
        potential: network, reference energies and scale.
        information: the model file's header; None where a Potential was given.
        evaluations: number of structures evaluated.
        neighbours: the neighbour list and its counts of builds and reuses.
        timings: seconds spent on neighbours, evaluation and results, and how often.
        envelope_check: compares results with what the training covered.
        excursions: reports of structures outside the training, the first of each kind and structure; not kept where
            `outside` is "ignore".

    Raises:
        CalculatorSetupError: a device that is not there, or a value that is not allowed.
        ValueError: no such shipped model, or not a model file.
        FileNotFoundError: no such file.

    Results are in eV, eV/angstrom and eV/angstrom^3 with ASE's sign. The stress is defined where the cell
    has three vectors and at least one direction is periodic: the virial over the volume of that cell. Elsewhere asking
    for it raises PropertyNotImplementedError, and the rest is there.
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
        outside: str = "warn",
        level: str | None = None,
        average_over_inversion: bool = False,
        **kwargs: Any,
    ) -> None:
        check_parameters(dtype, skin, threads, outside)
        self.potential, self.information, name = loaded_potential(model, torch_device(device), DTYPES[dtype], level)
        if average_over_inversion:
            self.potential = replace(self.potential, over_inversion=True)
        self.evaluations = 0
        self.excursions: list[EnvelopeReport] = []
        self.timings = Timings()
        self._lock = RLock()
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self.parameters = Parameters(
            model=name,
            device=device,
            dtype=dtype,
            skin=skin,
            threads=threads,
            outside=outside,
            level=level,
            average_over_inversion=average_over_inversion,
        )
        self._said: set[tuple[str, bytes]] = set()
        self._prepare()

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
            PropertyNotImplementedError: not a property of this calculator, or a stress that is not defined.
        """
        with self._lock:
            structure = self.atoms if atoms is None else atoms
            if name == "stress" and structure is not None:
                check_stress_is_defined(structure)
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
            PropertyNotImplementedError: the stress was asked for and is not defined; the other results are there.
            OutsideTrainingError: the structure is outside the training, and `outside` is "raise".
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
            self.atoms, self.results = structure.copy(), {}
            results = self._results(graph)
            self._look_outside(graph, results)
            self.results = results[0]
            if "stress" in properties:
                check_stress_is_defined(structure)

    @plain_torch()
    def calculate_many(self, structures: Sequence[Atoms]) -> list[Results]:
        """Results of many structures, evaluated in batches; the same as one after another.

        Args:
            structures: any structures the model knows the elements of.

        Returns:
            For each structure a dictionary of energy, free_energy, energies, forces and, where it is defined, stress.

        Raises:
            OutsideTrainingError: a structure is outside the training, and `outside` is "raise".
            ValueError: a structure that cannot be evaluated, with its number.
            CalculationFailed: the model gave no finite energy.
        """
        results: list[Results] = []
        for batch in batches_of_structures(structures):
            with self._lock, self.timings.measure("neighbours"):
                graph = batch_graphs([self._numbered_graph(number, structures[number]) for number in batch])
            some = self._results(graph)
            self._look_outside(graph, some, batch)
            results += some
        return results

    @plain_torch()
    def adapt(
        self,
        frames: Sequence[Atoms],
        *,
        level: str | None = None,
        method: str = "choose",
        minutes: float = 5.0,
        steps: int | None = None,
        seed: int = 0,
        accept_worse: bool = False,
    ) -> NBodyCalculator:
        """A new calculator, of this model adapted to labelled structures; this one stays as it is. See `nbody adapt`.

        Args:
            frames: about fifty structures with energies and forces, in their calculators or under names.
            level: level of theory of the labels, kept in the information of the new calculator.
            method: what is changed: "start" (reference energies only), "readout", "radial", "low-rank", "all", or
                "choose", the one with the lowest errors on held-out structures.
            minutes: budget on the wall clock.
            steps: steps of each training, in place of minutes.
            seed: of what is held out, of the order and of random weights.
            accept_worse: take the model also where the start or a training from scratch is better.

        Raises:
            ValueError: no labels, too few structures, new elements that are refused, or a model that would be
                worse.
        """
        from ase_nbody.meta.frames import adapted_to_frames
        from ase_nbody.meta.settings import AdaptationSettings

        chosen = {"method": method, "minutes": minutes, "steps": steps, "seed": seed, "accept_worse": accept_worse}
        settings = AdaptationSettings.model_validate(chosen)
        with self._lock, torch_threads(self.parameters["threads"]):
            potential, information = adapted_to_frames(self.potential, self.information, frames, level, settings)
        names = ("device", "dtype", "skin", "threads", "outside", "average_over_inversion")
        given = {name: self.parameters[name] for name in names}
        calculator = NBodyCalculator(potential, **given)
        calculator.information = information
        calculator._prepare()
        return calculator

    @plain_torch()
    def get_envelope(self, atoms: Atoms) -> EnvelopeReport:
        """Where a structure stands in what the training data cover: distances, forces and energy.

        Raises:
            ValueError: a structure that cannot be evaluated.

        Example:
            >>> from ase.build import molecule
            >>> from ase_nbody import NBodyCalculator
            >>> NBodyCalculator("organic").get_envelope(molecule("CH3CH2OH")).inside
            True
        """
        graph = self._graph(atoms)
        with self._lock:
            known = self.results if self.results and not self.check_state(atoms) else self._results(graph)[0]
            return self.envelope_check.reports(graph, [known])[0]

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
    def get_descriptors(self, atoms: Atoms, invariant: bool = True) -> npt.NDArray[np.float64]:
        """Features of each atom, (N, F): the states that the network reads its energies out of, level by level.

        Where the readouts are linear, energies are sums of the invariant ones times numbers of the element.

        Args:
            atoms: N atoms.
            invariant: the channels that do not change when the structure is rotated or reflected; else the whole
                states, which turn with it: of each level the irreps that `descriptor_irreps` names, of each irrep the
                channels one after another, of each channel 2l + 1 components in e3nn's order.

        Raises:
            PropertyNotImplementedError: the network has no such states.
            ValueError: a structure that cannot be evaluated.

        Example:
            >>> from ase.build import molecule
            >>> from ase_nbody import NBodyCalculator
            >>> NBodyCalculator("organic").get_descriptors(molecule("CH3CH2OH")).shape
            (9, 96)
        """
        if not self.descriptor_irreps:
            raise PropertyNotImplementedError(
                f"{type(self.potential.network).__name__} with these settings is not a list of steps, hence it has no "
                "descriptors; use another model (nbody models lists them)"
            )
        graph = self._graph(atoms)
        with self._lock, torch_threads(self.parameters["threads"]):
            self.evaluations += 1
            return descriptors(self.potential, graph, invariant=invariant).double().cpu().numpy()

    @property
    def descriptor_irreps(self) -> str:
        """Irreps of the descriptors that are not invariant, in e3nn's notation, such as "32x0e+32x1o+32x0e".

        Empty where the network has none.
        """
        return descriptor_irreps(self.potential)

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
        del state["_lock"], state["neighbours"], state["timings"], state["envelope_check"], state["_limits"]
        state["potential"] = copied_potential(self.potential, torch.device("cpu"), self.potential.dtype)
        return state

    @plain_torch()
    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = RLock()
        self.timings = Timings()
        self.potential = copied_potential(self.potential, torch_device(self.parameters["device"]), self.potential.dtype)
        self._prepare()

    def __repr__(self) -> str:
        chosen = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items() if name != "model")
        return f"{type(self).__name__}({self.parameters['model']!r}, {chosen})"

    def _get_name(self) -> str:
        return "nbody"

    def _prepare(self) -> None:
        """Make what follows from potential, information and parameters."""
        envelope = Envelope() if self.information is None else self.information.envelope
        references = self.potential.reference_energies_by_number().cpu().numpy()
        self.envelope_check = EnvelopeCheck(envelope, references, self.potential.cutoff)
        self._limits = larger_limits(self.envelope_check.limits, self.potential.contact_limits)
        self.neighbours = NeighbourCache(self.potential.cutoff, self.parameters["skin"], self._limits)

    def _look_outside(self, graph: Graph, results: Sequence[Results], numbers: Sequence[int] | None = None) -> None:
        """Warn or raise where structures are outside the training; `numbers` are those of a list given by the user."""
        outside = self.parameters["outside"]
        if outside == "ignore":
            return
        for place, report in self.envelope_check.excursions(graph, results).items():
            if numbers is not None:
                report = replace(report, formula=f"structure {numbers[place]} ({report.formula})")
            if outside == "raise":
                raise OutsideTrainingError(report)
            atoms = graph.structure == place
            structure = graph.atomic_numbers[atoms].cpu().numpy().tobytes() + bytes(graph.pbc[place].tolist())
            new = {(kind, structure) for kind in report.kinds} - self._said
            if new:
                self._said |= new
                self.excursions.append(report)
                warnings.warn(str(report), OutsideTrainingWarning, stacklevel=2)

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
        return neighbour_graph(
            atoms,
            self.potential.cutoff,
            dtype=self.potential.dtype,
            device=self.potential.device,
            limits=self._limits,
        )

    def _numbered_graph(self, number: int, atoms: Atoms) -> Graph:
        try:
            return self._graph(atoms)
        except ValueError as error:
            raise ValueError(f"structure {number}: {error}") from error
