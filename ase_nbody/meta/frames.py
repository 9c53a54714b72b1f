"""Adaptation without files: a potential and frames in, a potential and its information out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from ase import Atoms

from ase_nbody.data import labelled_dataset
from ase_nbody.data.dataset import LabelWarning
from ase_nbody.data.levels import check_one_level
from ase_nbody.meta.adapt import adapt
from ase_nbody.meta.model import StartModel, adapted_model
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.meta.start_level import nearest_start
from ase_nbody.model_file import ModelInformation
from ase_nbody.potential import Potential


def adapted_to_frames(
    start: Potential,
    information: ModelInformation | None,
    frames: Sequence[Atoms],
    level: str | None,
    settings: AdaptationSettings,
    auxiliary: Sequence[Atoms] | None = None,
    file: Path | None = None,
) -> tuple[Potential, ModelInformation]:
    """A potential adapted to labelled frames, on the CPU, and the information of its model.

    Args:
        start: is not changed.
        information: of the start; None where it has no file.
        frames: structures with labels.
        level: level of theory of the labels; None: what the frames say.
        settings: of the adaptation.
        auxiliary: structures with forces of a cheap level of theory; None: there are none.
        file: of the start, where that of its levels of theory is to be taken which is nearest to the labels.

    Raises:
        ValueError: labels of several levels of theory; see `labelled_dataset` and `adapt`.

    Warns:
        LabelWarning: what should be looked at in the labels, such as forces that do not fit the energies.
    """
    name = type(start.network).__name__ if information is None else information.name
    data = labelled_dataset(frames, further=start.further_properties)
    beside = None if auxiliary is None else labelled_dataset(auxiliary)
    check_one_level(data, level)
    for note in (*data.notes, *(() if beside is None else beside.notes)):
        warnings.warn(note, LabelWarning, stacklevel=3)  # the caller of `calculator.adapt`
    if file is not None:
        nearest, information, _ = nearest_start(file, data, settings)
        start = replace(nearest, over_inversion=start.over_inversion)
    with torch.enable_grad():
        adaptation = adapt(start, data, settings, lambda words: None, auxiliary=beside)
    origin = StartModel(replace(start), information, None, name)
    return adapted_model(adaptation, origin, data, name=f"{name}-adapted", level=level, auxiliary=beside)
