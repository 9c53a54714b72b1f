"""Uncertainties at the end of a training, of each of its levels of theory, and the surroundings that it had."""

from __future__ import annotations

from dataclasses import replace

from ase_nbody.calibration.calibrate import covered_surroundings, posterior_of_held_out
from ase_nbody.calibration.errors import CalibrationError
from ase_nbody.levels import alone_at_level, with_posterior
from ase_nbody.potential import Potential
from ase_nbody.readout_posterior import ReadoutPosterior
from ase_nbody.training.display import Display
from ase_nbody.training.levels import by_level
from ase_nbody.training.training_data import TrainingData


def with_uncertainties(potential: Potential, data: TrainingData, display: Display) -> tuple[Potential, list[str]]:
    """A trained potential with uncertainties at each level of theory that has labels for them, and with surroundings.

    A sentence is shown for each level that has none.

    Args:
        potential: as trained, with all levels.
        data: what it learnt, and what was set aside.
        display: shows the sentences.

    Returns:
        The potential, and what went wrong.
    """
    failures: list[str] = []
    if not potential.network.linear_readouts():
        return potential, failures
    for number, name in enumerate([level.name for level in data.levels] or [""]):
        what = f"uncertainties at {name}" if name else "uncertainties"
        try:
            potential = with_posterior(potential, number, _posterior(potential, data, number, name))
        except CalibrationError as error:
            display.say(f"no {what}: {error}")
        except Exception as error:  # out of memory, or whatever it is: the weights must not be lost
            failures.append(f"{what}: {str(error) or type(error).__name__}")
    if not any(potential.posteriors):
        return potential, failures
    try:
        learnt = [part for _, part in by_level(data.train, data.levels).values()]
        return replace(potential, surroundings=covered_surroundings(potential, learnt)), failures
    except Exception as error:  # likewise
        return potential, [*failures, f"surroundings: {str(error) or type(error).__name__}"]


def _posterior(potential: Potential, data: TrainingData, number: int, name: str) -> ReadoutPosterior:
    """Of one level.

    Raises:
        CalibrationError: there are no labels for it.
    """
    learnt, valid = (by_level(dataset, data.levels).get(name) for dataset in (data.train, data.valid))
    if learnt is None or valid is None:
        raise CalibrationError("none of its structures were learnt, or none were set aside for validation")
    return posterior_of_held_out(alone_at_level(potential, number), learnt[1], valid[1])
