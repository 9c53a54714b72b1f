"""From settings and data to a network: what is checked and built before the first step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import ValidationError

from ase_nbody.architectures import Architecture, Network, NetworkSettings, architectures
from ase_nbody.architectures.theory import add_levels, number_of_levels, own_parameters
from ase_nbody.data import (
    Statistics,
    statistics,
)
from ase_nbody.training.settings import TrainingSettings
from ase_nbody.training.training_data import DTYPES, TrainingData

# Put in where they are given, unlike in checkpoints that did not have them.
_UNSAID = ("levels", "own_parts", "start_level", "further_weights", "further_keys")
PLACEHOLDER = ("H",)  # the elements are not known before the data are read


def check_network(settings: TrainingSettings) -> None:
    """Refuse settings of a network that cannot be built, whatever its elements will be.

    Raises:
        ValueError: the architecture, or one of its settings, is not known or has a value that is not allowed.
    """
    if settings.start is None:
        architecture = _architecture(settings)
        chosen = _network_settings(architecture, _chosen(settings, architecture, PLACEHOLDER))
        network = _built(architecture, chosen, settings.seed)
        if settings.levels:
            own_parameters(network, settings.own_parts)


def build_network(settings: TrainingSettings, data: TrainingData) -> tuple[Network, Statistics]:
    """The start's network, or one of the architecture and preset with random weights; and statistics at its cutoff.

    Raises:
        ValueError: as `check_network`.
    """
    if data.start is not None:
        started = data.start.potential.network
        _add_levels(started, settings, data)
        return started, statistics(data.train, data.references, started.settings.cutoff)
    architecture = _architecture(settings)
    chosen = _chosen(settings, architecture, tuple(data.references))
    cutoff = _network_settings(architecture, chosen).cutoff
    of_training = statistics(data.train, data.references, cutoff)
    complete = _network_settings(
        architecture, {"average_neighbours": max(of_training.average_neighbours, 1.0), **chosen}
    )
    network = _built(architecture, complete, settings.seed).to(DTYPES[settings.dtype])
    _add_levels(network, settings, data)
    return network, of_training


def _add_levels(network: Network, settings: TrainingSettings, data: TrainingData) -> None:
    if len(data.levels) > number_of_levels(network):
        known = network.theory
        names = own_parameters(network, settings.own_parts) if known is None else known.names
        add_levels(network, len(data.levels), names)


def training_origin(settings: TrainingSettings, data: TrainingData) -> dict[str, Any]:
    """What decides a training, as JSON values by name: settings that change its numbers, and hashes of its files."""
    elsewhere = {
        *("output", "force", "device", "data", "valid", "test", "start", *_UNSAID),
        *("isolated_atoms", "isolated_energy_key"),
        *("checkpoint_seconds", "validation_atoms", "method", "licence", "repulsion"),
        *("purpose", "not_for"),
    }
    chosen = settings.model_dump(mode="json", exclude=elsewhere)
    for name in ("further_weights", "further_keys"):
        if getattr(settings, name):
            chosen[name] = dict(getattr(settings, name))
    if settings.levels:
        chosen |= {"own_parts": settings.own_parts, "levels": [level.model_dump() for level in data.levels]}
    return {
        **chosen,
        "data": data.train.sha256,
        "valid": data.valid.sha256,
        "reference_energies": data.references,
        "start": None if data.start is None else data.start.sha256,
    }


def _architecture(settings: TrainingSettings) -> Architecture:
    known = architectures()
    if settings.architecture not in known:
        raise ValueError(f"there is no architecture '{settings.architecture}'; known are {', '.join(known)}")
    return known[settings.architecture]


def _chosen(settings: TrainingSettings, architecture: Architecture, elements: tuple[str, ...]) -> dict[str, Any]:
    return {"elements": elements, **architecture.presets[settings.preset], **settings.model}


def _built(architecture: Architecture, settings: NetworkSettings, seed: int) -> Network:
    build: Callable[..., Network] = architecture.network
    return build(settings, generator=torch.Generator().manual_seed(seed))


def _network_settings(architecture: Architecture, chosen: Mapping[str, Any]) -> NetworkSettings:
    try:
        return architecture.settings(**chosen)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
        raise ValueError(
            f"settings of architecture '{architecture.name}': {problems}; it has "
            f"{', '.join(architecture.settings.model_fields)}"
        ) from None
