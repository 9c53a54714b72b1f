"""NBodyCalculator: a model as an ASE calculator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Parameters, all_changes

from ase_nbody.analysis_calculator import AnalysisCalculator
from ase_nbody.calculator_inputs import DTYPES, check_parameters, check_stress_is_defined, loaded_potential
from ase_nbody.devices import plain_torch, torch_device
from ase_nbody.evaluator import Evaluator, EvaluatorSettings
from ase_nbody.model_information import ModelInformation
from ase_nbody.models_directory import find_model
from ase_nbody.potential import Potential
from ase_nbody.results import Results
from ase_nbody.structures import check_structure
from ase_nbody.thread_count import using_threads


class NBodyCalculator(AnalysisCalculator):
    """ASE calculator of a trained model: energy, free energy, energies, forces and stress from one evaluation.

    `atoms` is never written to, and nothing outside the calculator is changed. Threads that share one take turns.

    Args:
        model: name of a shipped model, path of a model file, or a Potential (which is copied).
        device: "cpu", "cuda", "cuda:1", ..., or "auto": cuda where there is one.
        dtype: "float64" or "float32", the precision of the network; energies are summed and returned in float64.
        skin: distance beyond the cutoff to which neighbour lists reach, so that they can be reused, angstrom.
        threads: that torch and the kernels use; torch's own number if None. One is best for small structures on a
            machine that is busy otherwise.
        outside: what happens where a structure is outside what the model was trained on: "warn" (an
            OutsideTrainingWarning, once for each kind and structure), "raise" (an OutsideTrainingError) or "ignore".
        level: level of theory, for a model that has several; its first if not given. `information.levels` lists them.
        average_over_inversion: take the mean over a structure and its mirror image, for models such as `universal`
            whose networks are not invariant under reflection; an evaluation then costs two.
        **kwargs: `atoms`, `label` and `directory` of ASE's Calculator.

    Attributes:
        information: the model file's header; None where a Potential was given.

    Raises:
        CalculatorSetupError: a device that is not there, or a value that is not allowed.
        ValueError: no such shipped model, or not a model file.
        FileNotFoundError: no such file.

    Results are in eV, eV/angstrom and eV/angstrom^3 with ASE's sign. The stress is the virial over the volume of the
    cell, of three vectors and with a periodic direction; elsewhere asking for it raises PropertyNotImplementedError.
    What terms of the model predict beside these is in the results by its name.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012
    made_by = "NBodyCalculator(model, device=..., dtype=..., skin=..., threads=...)"

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
        potential, self.information, name = loaded_potential(model, torch_device(device), DTYPES[dtype], level)
        if average_over_inversion:
            potential = replace(potential, over_inversion=True)
        settings = EvaluatorSettings(device, skin, threads, outside)
        self.evaluator = Evaluator(potential, self.information, settings)
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        given = {"model": name, "device": device, "dtype": dtype} | asdict(settings)
        self.parameters = Parameters(given, level=level, average_over_inversion=average_over_inversion)
        self.implemented_properties = [*self.implemented_properties, *(p.name for p in potential.further_properties)]

    def set_atoms(self, atoms: Atoms) -> None:
        """Called by `atoms.calc = ...`: refuses structures with elements that the model does not know.

        Raises:
            ValueError: an element is not in the model.
        """
        if len(atoms):
            # Elements alone: positions and cell may be set later.
            check_structure(Atoms(numbers=atoms.numbers), self.potential.elements)

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """A result by its ASE name, calculated if the structure has changed.

        Raises:
            PropertyNotImplementedError: not a property of this calculator, or a stress that is not defined.
        """
        with self.evaluator.lock:
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
        with self.evaluator.lock:
            structure = self.atoms if atoms is None else atoms
            if structure is None:
                raise ValueError("there is no structure to calculate; give atoms")
            graph = self.evaluator.moving_graph(structure)
            self.atoms, self.results = structure.copy(), {}
            self.results = self.evaluator.compared_results(graph)[0]
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
        return self.evaluator.results_of_many(structures)

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
        auxiliary: Sequence[Atoms] | None = None,
    ) -> NBodyCalculator:
        """A new calculator, of this model adapted to labelled structures; this one stays as it is. See `nbody adapt`.

        A model of several levels of theory is taken at the one that this calculator names, else at the nearest.

        Args:
            frames: about fifty structures with energies and forces, in their calculators or under names; labels of
                stress, and of what terms of the model predict, are learnt too.
            level: level of theory of the labels, kept in the information of the new calculator.
            method: what is changed: "start" (reference energies only), "readout", "radial", "low-rank", "all", or
                "choose", the one with the lowest errors on held-out structures.
            minutes: budget on the wall clock.
            steps: steps of each training, in place of minutes.
            seed: of what is held out, of the order and of random weights.
            accept_worse: take the model also where the start or a training from scratch is better.
            auxiliary: more structures of the same system with forces by a cheap method, which are learnt beside.

        Raises:
            ValueError: no labels, labels of several levels of theory without `level`, too few structures, new elements
                that are refused, or a model that would be worse.

        Warns:
            LabelWarning: what should be looked at in the labels, such as forces that do not fit the energies.
        """
        from ase_nbody.meta.frames import adapted_to_frames
        from ase_nbody.meta.settings import AdaptationSettings

        chosen = {"method": method, "minutes": minutes, "steps": steps, "seed": seed, "accept_worse": accept_worse}
        settings = AdaptationSettings.model_validate(chosen)
        with self.evaluator.lock, using_threads(self.parameters["threads"]):
            potential, information = adapted_to_frames(
                self.potential, self.information, frames, level, settings, auxiliary, self._file_of_levels()
            )
        kept = {name: value for name, value in self.parameters.items() if name not in ("model", "level")}
        calculator = NBodyCalculator(potential, **kept)
        calculator._inform(information)
        return calculator

    def _file_of_levels(self) -> Path | None:
        """The model file, where it has several levels of theory and none was named."""
        several = self.information is not None and len(self.information.levels) > 1
        return find_model(self.parameters["model"]) if several and self.parameters["level"] is None else None

    def __repr__(self) -> str:
        chosen = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items() if name != "model")
        return f"{type(self).__name__}({self.parameters['model']!r}, {chosen})"

    def __copy__(self) -> NBodyCalculator:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__, evaluator=copy(self.evaluator))
        return other

    def _inform(self, information: ModelInformation) -> None:
        """Take the header of a file for a model that came without."""
        self.information = information
        self.evaluator = Evaluator(self.potential, information, self.evaluator.settings)
