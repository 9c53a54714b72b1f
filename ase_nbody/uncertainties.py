"""Standard deviations of predictions, from a committee of readouts that the training data fit as well.

Energies are linear in the readouts, so that what data leave open of these is a Gaussian with a closed form (last-layer
prediction rigidity; Bigi et al. 2024, doi 10.1088/2632-2153/ad805f), calibrated on held-out structures. Members are
drawn from it, and differences of their forces and stress follow as those of any model (Kellner and Ceriotti 2024, doi
10.1088/2632-2153/ad594a).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from ase.calculators.calculator import PropertyNotImplementedError
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.graph import Graph, bounds_of_structures
from ase_nbody.model_information import ModelInformation
from ase_nbody.potential import Potential, predict
from ase_nbody.predictions import Prediction
from ase_nbody.readout_posterior import ReadoutPosterior

Floats = NDArray[np.float64]
MEMBERS = 32
"""Of a committee: standard deviations of so many are themselves uncertain by an eighth, 1/sqrt(2 members)."""


@dataclass(frozen=True)
class Uncertainty:
    """Standard deviations of a model's predictions for one structure, calibrated on held-out structures.

    They are of the model's errors beside its level of theory, and know nothing of the errors of that.

    Attributes:
        energy: eV.
        energies: of the energy of each atom, (N,), eV.
        forces: of components, (N, 3), eV/angstrom.
        stress: xx, yy, zz, yz, xz, xy, (6,), eV/angstrom^3; None where it is not defined.
    """

    energy: float
    energies: Floats
    forces: Floats
    stress: Floats | None

    @property
    def largest_force(self) -> float:
        """The largest norm of the standard deviations of an atom's force, eV/angstrom."""
        return float(np.linalg.norm(self.forces, axis=1).max())


def check_uncertainty(potential: Potential, model: str, information: ModelInformation | None) -> ReadoutPosterior:
    """What a potential's training left open.

    Args:
        potential: at one level of theory.
        model: its name, for the error.
        information: header of its file, which names the level; None where there is none.

    Raises:
        PropertyNotImplementedError: it is not known.
    """
    if potential.posterior is not None:
        return potential.posterior
    if words := no_readouts(potential):
        raise PropertyNotImplementedError(words)
    name, several = (None, False) if information is None else (information.method, bool(information.levels))
    level = "its level of theory" if name is None else f"the level of theory '{name}'"
    option = f" --level '{name}'" if several else ""
    raise PropertyNotImplementedError(
        f"{model} has no uncertainties at {level}: it was made without labels of it, or before they were kept; "
        f"nbody calibrate{option} adds them, from labelled structures"
    )


def no_readouts(potential: Potential) -> str:
    """That a network has no linear readouts, and what to do; empty where it has some."""
    if potential.network.linear_readouts():
        return ""
    return (
        f"{type(potential.network).__name__} with these settings has no linear readouts, from which uncertainties "
        "could follow; take a model of the architecture nbody, sevennet or mace, or nequip without hidden layers in "
        "its readout"
    )


def uncertainties(potential: Potential, graph: Graph, members: int = MEMBERS) -> list[Uncertainty]:
    """Standard deviations of the predictions for each structure.

    Args:
        potential: with a posterior.
        graph: structures on its device, in its dtype.
        members: of the committee, at least 2.

    Raises:
        ValueError: too few members.
    """
    assert potential.posterior is not None
    if members < 2:
        raise ValueError(f"members={members}: a committee has at least 2 members; {MEMBERS} are the default")
    record = potential.posterior.record
    ours, squares = predict(potential, graph), None
    for theirs in committee_predictions(potential, graph, members):
        new = [(b.double() - a.double()).square() for a, b in zip(_parts(ours), _parts(theirs), strict=True)]
        squares = new if squares is None else [a + b for a, b in zip(squares, new, strict=True)]
    assert squares is not None
    factors = (record.energy_factor, record.energy_factor, record.forces_factor, record.stress_factor)
    deviations = [
        factor * (square / members).sqrt().cpu().numpy() for factor, square in zip(factors, squares, strict=True)
    ]
    return _of_structures(deviations, graph)


def committee_predictions(potential: Potential, graph: Graph, members: int) -> Iterator[Prediction]:
    """What each member of the committee predicts, before calibration.

    Args:
        potential: with a posterior.
        graph: structures on its device, in its dtype.
        members: how many.
    """
    assert potential.posterior is not None
    readouts = potential.network.named_readouts()
    for change in potential.posterior.changes(members):
        yield predict(potential, graph, _changed(readouts, change))


def _changed(readouts: Mapping[str, Tensor], change: Floats) -> dict[str, Tensor]:
    """Readouts moved by numbers for all of them, one after another."""
    parts = np.split(change, np.cumsum([r.numel() for r in readouts.values()])[:-1])
    return {
        name: readout.detach() + torch.from_numpy(part).to(readout).view_as(readout)
        for (name, readout), part in zip(readouts.items(), parts, strict=True)
    }


def _parts(prediction: Prediction) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return prediction.energy, prediction.energies, prediction.forces, prediction.stress


def _of_structures(deviations: list[Floats], graph: Graph) -> list[Uncertainty]:
    bounds = bounds_of_structures(graph)
    energy, energies, forces, stress = deviations
    voigt = stress.reshape(-1, 9)[:, [0, 4, 8, 5, 2, 1]]  # (B, 6)
    return [
        Uncertainty(float(energy[n]), energies[a:b], forces[a:b], None if np.isnan(voigt[n]).any() else voigt[n])
        for n, (a, b) in enumerate(pairwise(bounds))
    ]
