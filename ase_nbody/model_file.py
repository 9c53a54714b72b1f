"""Model files: one `.safetensors` with the network's tensors and, in its header, everything else as JSON.

Nothing here imports torch until weights are saved or loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ase_nbody.files import replaced
from ase_nbody.model_information import (
    CHECKSUM_KEY,
    HEADER_KEY,
    SUFFIX,
    ModelFileError,
    ModelInformation,
    check_checksum,
    checksum,
    file_hash,
    package_versions,
    read_information,
)
from ase_nbody.model_records import DataFile, Envelope, TheoryLevel, Trial

if TYPE_CHECKING:
    import torch

    from ase_nbody.architectures.base import Architecture, Network
    from ase_nbody.potential import Potential

__all__ = [
    "DataFile",
    "Envelope",
    "ModelFileError",
    "ModelInformation",
    "TheoryLevel",
    "Trial",
    "change_information",
    "file_hash",
    "load_model",
    "load_model_with_levels",
    "model_information",
    "package_versions",
    "read_information",
    "save_model",
]


def model_information(
    potential: Potential, *, name: str, reference_energies_source: str, **fields: Any
) -> ModelInformation:
    """The information of a potential, to be saved with it.

    Args:
        potential: gives architecture, settings, elements, reference energies, scale, repulsion and further terms.
        name: name of the model.
        reference_energies_source: where the reference energies come from.
        **fields: any other field of ModelInformation.

    Raises:
        ValueError: the network's architecture is not in the registry, a term cannot be saved, or a field is unknown or
            of a wrong type.
    """
    from ase_nbody.model_knowledge import knowledge_records
    from ase_nbody.model_terms import term_records

    settings = potential.network.settings
    return ModelInformation(
        name=name,
        architecture=_architecture_of(potential.network).name,
        settings=settings.model_dump(mode="json"),
        elements=settings.elements,
        reference_energies={e: float(potential.reference_energies[e]) for e in settings.elements},
        reference_energies_source=reference_energies_source,
        energy_scale=float(potential.energy_scale),
        repulsion=None if potential.repulsion is None else dict(potential.repulsion.onsets),
        terms=term_records(potential.others),
        own_parameters=() if potential.network.theory is None else potential.network.theory.names,
        **knowledge_records(potential),
        **{
            "made_with": package_versions(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **fields,
        },
    )


def save_model(
    path: str | os.PathLike[str], potential: Potential, information: ModelInformation, *, force: bool = False
) -> Path:
    """Write a model file, under a temporary name first, with the weights in the dtype of the network.

    Args:
        path: file to write, ending in `.safetensors`.
        potential: what is saved.
        information: its header; see model_information.
        force: overwrite a file that is there.

    Returns:
        The path written.

    Raises:
        FileExistsError: the file is there and `force` is not given.
        FileNotFoundError: its folder is not there.
        ValueError: another suffix, or the information is not this potential's.
    """
    from safetensors.torch import save

    from ase_nbody.model_knowledge import tensors_beside

    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"a model file ends in '{SUFFIX}', not in '{path.suffix}': {path}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for the model file {path.name}; make it first")
    if path.exists() and not force:
        raise FileExistsError(f"{path} is there already; choose another name, or overwrite it with force")
    _check_same(information, model_information(potential, name="", reference_energies_source=""))
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in potential.network.state_dict().items()}
    tensors |= tensors_beside(potential)
    with replaced(path) as temporary:
        header = information.model_dump_json()
        metadata = {
            HEADER_KEY: header,
            CHECKSUM_KEY: checksum(header, {name: tensor.numpy() for name, tensor in tensors.items()}),
        }
        # Not save_file, which makes files that only their owner can read.
        temporary.write_bytes(save(tensors, metadata=metadata))
    return path


def load_model(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    level: str | None = None,
) -> tuple[Potential, ModelInformation]:
    """A model file's potential and its information, both of one level of theory; the information lists the others too.

    Args:
        path: file written by save_model, of this or any earlier format.
        device: where the network goes.
        dtype: dtype of the network's parameters; float64 if not given.
        level: one of the model's levels of theory; its first if not given.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: not a model file, damaged, of a newer format, of an unknown architecture or with other tensors.
        ValueError: the model has no such level.
    """
    from ase_nbody.levels import alone_at_level

    potential, information = load_model_with_levels(path, device=device, dtype=dtype)
    number = level_number(information, level)
    alone = alone_at_level(potential, number)
    if number == 0:
        return alone, information
    chosen = information.levels[number]
    known = {
        "method": chosen.name,
        "reference_energies": chosen.reference_energies,
        "reference_energies_source": chosen.reference_energies_source,
        "surroundings": None,
    }
    there = replace(alone, reference_energies=chosen.reference_energies, surroundings=None)
    return there, information.model_copy(update=known)


def level_number(information: ModelInformation, level: str | None) -> int:
    """Place of a level of theory among those of a model; 0 where none is named.

    Raises:
        ValueError: the model has no such level.
    """
    names = information.level_names
    if level is None:
        return 0
    if level not in names:
        raise ValueError(f"{information.name} has no level of theory '{level}'; it has {', '.join(names)}")
    return names.index(level)


def load_model_with_levels(
    path: str | os.PathLike[str], *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> tuple[Potential, ModelInformation]:
    """As `load_model`, with all levels of theory in the network, which is at the first."""
    import torch
    from safetensors.torch import load_file

    from ase_nbody.architectures.theory import add_levels
    from ase_nbody.model_knowledge import taken_knowledge
    from ase_nbody.model_terms import recorded_terms
    from ase_nbody.potential import Potential
    from ase_nbody.repulsion import Repulsion

    information = read_information(path)
    network = _network(information, path)
    if len(information.levels) > 1:
        add_levels(network, len(information.levels), information.own_parameters)
    network = network.to(dtype=dtype or torch.float64)
    tensors = load_file(path)
    posteriors, surroundings = taken_knowledge(path, tensors, information, network)
    _check_tensors(path, tensors, network.state_dict())
    check_checksum(path)
    network.load_state_dict(tensors)
    repulsion = None if information.repulsion is None else Repulsion(information.repulsion)
    network = network.to(device)
    others = recorded_terms(information.terms, path)
    scale = information.energy_scale
    references = information.reference_energies
    potential = Potential(network, references, scale, repulsion, others=others)
    return replace(potential, posteriors=posteriors, surroundings=surroundings), information


def change_information(path: str | os.PathLike[str], **changed: Any) -> None:
    """Rewrite a model file with other values in its information; its tensors stay as they are, at all levels.

    Raises:
        FileNotFoundError, ModelFileError: as of `load_model`.
    """
    from ase_nbody.model_knowledge import stored_dtype

    potential, information = load_model_with_levels(path, dtype=stored_dtype(path))
    save_model(path, potential, information.model_copy(update=changed), force=True)


def _architecture_of(network: Network) -> Architecture:
    from ase_nbody.architectures import architectures

    for architecture in architectures().values():
        if type(network) is architecture.network:
            return architecture
    raise ValueError(f"{type(network).__name__} is no registered architecture ({', '.join(architectures())})")


def _network(information: ModelInformation, path: str | os.PathLike[str]) -> Network:
    import torch

    from ase_nbody.architectures import architectures

    known = architectures()
    if information.architecture not in known:
        raise ModelFileError(
            f"{path} has architecture '{information.architecture}', which is not in this version of ase_nbody "
            f"({', '.join(known)}); upgrade ase_nbody"
        )
    architecture = known[information.architecture]
    try:
        settings = architecture.settings.model_validate(information.settings)
    except ValidationError as error:
        raise ModelFileError(
            f"the settings in {path} do not fit architecture '{architecture.name}': {error}"
        ) from error
    build: Callable[..., Network] = architecture.network
    return build(settings, generator=torch.Generator())


def _check_tensors(
    path: str | os.PathLike[str], found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> None:
    problems = [f"'{k}' is missing" for k in wanted if k not in found]
    problems += [f"'{k}' is not part of the network" for k in found if k not in wanted]
    problems += [
        f"'{k}' has shape {tuple(found[k].shape)}, not {tuple(wanted[k].shape)}"
        for k in wanted
        if k in found and found[k].shape != wanted[k].shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise ModelFileError(f"the tensors in {path} do not fit its settings: {shown}")


def _check_same(given: ModelInformation, actual: ModelInformation) -> None:
    fields = (
        "own_parameters",
        "architecture",
        "settings",
        "elements",
        "reference_energies",
        "energy_scale",
        "repulsion",
        "terms",
        "uncertainties",
        "surroundings",
        "format_version",
    )
    differing = [f for f in fields if getattr(given, f) != getattr(actual, f)]
    if differing:
        raise ValueError(
            f"the information is of another potential: {', '.join(differing)} differ; see model_information"
        )
