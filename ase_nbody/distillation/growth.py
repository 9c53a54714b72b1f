"""Growth: how far a student is from its teacher on its own dynamics, and which of those structures it learns next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from ase_nbody.data import ErrorReport, evaluate, labelled_dataset
from ase_nbody.devices import torch_device
from ase_nbody.envelope_check import EnvelopeCheck
from ase_nbody.labelling.sampling.settings import SampleSettings
from ase_nbody.model_file import load_model
from ase_nbody.predictions import FORCES

VALIDATION = 0.1
"""Part of the labelled structures that chooses weights and is never learnt."""


@dataclass(frozen=True)
class Disagreement:
    """A student beside its teacher on S structures.

    Attributes:
        report: errors of the student.
        largest: error of the force on the worst atom of each structure, (S,), eV/angstrom.
        mean_force: mean absolute force component of the teacher, eV/angstrom.
        outside: numbers of the structures outside the student's envelope.
    """

    report: ErrorReport
    largest: NDArray[np.float64]
    mean_force: float
    outside: frozenset[int]


def disagreement(student: Path, frames: Sequence[Atoms], device: str) -> Disagreement:
    """Compare a student with the labels of its teacher.

    Args:
        student: its model file.
        frames: with energies and forces of the teacher in their calculators.
        device: that computes.

    Raises:
        ValueError: there is no structure, or the student's forces are not finite.
    """
    potential, information = load_model(student, device=torch_device(device), dtype=torch.float32)
    references = potential.reference_energies_by_number().cpu().numpy()
    check = EnvelopeCheck(information.envelope, references, potential.cutoff)
    report, evaluation = evaluate(potential, labelled_dataset(frames, "the student's own dynamics"), check=check)
    forces = evaluation.of(FORCES)
    errors = np.linalg.norm(forces.errors, axis=1)  # (N,)
    bounds = np.cumsum(evaluation.n_atoms)[:-1]
    largest = np.array([part.max() for part in np.split(errors, bounds)])
    mean_force = float(np.abs(forces.labels).mean())
    return Disagreement(report, largest, mean_force, frozenset(evaluation.outside))


def learnable(frames: Sequence[Atoms], lowest_energy: float) -> list[int]:
    """Numbers of the structures within the limits of sampling: dynamics of a poor student makes others as well.

    Args:
        frames: with energies and forces of the teacher in their calculators.
        lowest_energy: of the first sample, eV per atom.
    """
    limits = SampleSettings()
    highest = lowest_energy + limits.energy_per_atom
    return [
        number
        for number, frame in enumerate(frames)
        if frame.get_potential_energy() / len(frame) <= highest
        and np.linalg.norm(frame.get_forces(), axis=1).max() <= limits.largest_force
    ]


def validation_numbers(n_structures: int, generator: np.random.Generator) -> list[int]:
    """Numbers of the structures that are set aside, drawn at random, one at least where there are any.

    Args:
        n_structures: how many there are.
        generator: source of the numbers.
    """
    count = min(max(1, round(VALIDATION * n_structures)), n_structures)
    return sorted(generator.choice(n_structures, count, replace=False).tolist())


def picked(compared: Disagreement, candidates: Sequence[int], number: int) -> list[int]:
    """Which structures are learnt next: those outside the envelope, then those of the largest disagreement.

    Args:
        compared: student and teacher.
        candidates: numbers of structures that may be learnt.
        number: how many are wanted.

    Returns:
        Numbers, as many as wanted or all candidates, in ascending order.
    """
    order = sorted(candidates, key=lambda n: (n not in compared.outside, -compared.largest[n]))
    return sorted(order[:number])
