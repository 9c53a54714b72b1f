"""AnalysisCalculator: what calculators say of a model at work, and of structures beside ASE's results."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from ase_nbody.descriptors import check_descriptors, descriptor_irreps, descriptors
from ase_nbody.devices import plain_torch
from ase_nbody.envelope import EnvelopeReport
from ase_nbody.evaluator import Evaluator
from ase_nbody.hessian import hessian
from ase_nbody.model_calculator import ModelCalculator
from ase_nbody.model_information import ModelInformation
from ase_nbody.neighbour_cache import NeighbourCache
from ase_nbody.potential import Potential
from ase_nbody.states import states
from ase_nbody.timings import Timings
from ase_nbody.uncertainties import MEMBERS, Uncertainty, check_uncertainty, uncertainties


class AnalysisCalculator(ModelCalculator):
    """A calculator of one potential, which answers questions on it and on structures; it is abstract.

    Attributes:
        evaluator: the potential at work.
        information: the model file's header; None where there is none.
    """

    evaluator: Evaluator
    information: ModelInformation | None

    @property
    def potential(self) -> Potential:
        """Reference energies, network and what else the energy is the sum of."""
        return self.evaluator.potential

    @property
    def evaluations(self) -> int:
        """Number of structures evaluated."""
        return self.evaluator.evaluations

    @property
    def excursions(self) -> list[EnvelopeReport]:
        """Reports of structures outside the training, the first of each kind and structure; none where ignored."""
        return self.evaluator.excursions.reports

    @property
    def neighbours(self) -> NeighbourCache:
        """The neighbour list and its counts of builds and reuses."""
        return self.evaluator.neighbours

    @property
    def timings(self) -> Timings:
        """Seconds spent on neighbours, evaluation and results, and how often."""
        return self.evaluator.timings

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
        with self.evaluator.lock:
            return self.evaluator.report(atoms, None if self.check_state(atoms) else self.results)

    @plain_torch()
    def get_hessian(self, atoms: Atoms) -> npt.NDArray[np.float64]:
        """Second derivatives of the energy by positions, (3N, 3N), eV/angstrom^2: what VibrationsData.from_2d takes.

        Raises:
            ValueError: a structure that cannot be evaluated.
        """
        return self.evaluator.answer(atoms, hessian).double().cpu().numpy()

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
        check_descriptors(self.potential)
        return self.evaluator.answer(atoms, partial(descriptors, invariant=invariant)).double().cpu().numpy()

    @property
    def descriptor_irreps(self) -> str:
        """Irreps of whole descriptors in e3nn's notation, such as "32x0e+32x1o+32x0e"; empty where there are none."""
        return descriptor_irreps(self.potential)

    @plain_torch()
    def get_states(self, atoms: Atoms) -> Any:
        """The covariant states of all subsystems, level by level, from the atoms to the whole.

        Raises:
            PropertyNotImplementedError: the architecture has no composition scheme.
            ValueError: a structure that cannot be evaluated.
        """
        return self.evaluator.answer(atoms, states)

    @plain_torch()
    def get_uncertainty(self, atoms: Atoms, members: int = MEMBERS) -> Uncertainty:
        """Standard deviations of energy, energies of atoms, forces and stress, calibrated on held-out structures.

        Args:
            atoms: N atoms.
            members: of a committee of readouts that fit the training data as well; each costs an evaluation.

        Raises:
            PropertyNotImplementedError: the model has none at its level of theory; `nbody calibrate` adds them.
            ValueError: a structure that cannot be evaluated, or too few members.

        Example:
            >>> from ase.build import molecule
            >>> from ase_nbody import NBodyCalculator
            >>> NBodyCalculator("organic").get_uncertainty(molecule("CH3CH2OH")).forces.shape
            (9, 3)
        """
        check_uncertainty(self.potential, str(self.parameters["model"]), self.information)
        return self.evaluator.answer(atoms, partial(uncertainties, members=members))[0]
