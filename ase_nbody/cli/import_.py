"""`nbody import`: a model of another package as a model file of this one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ase_nbody.cli.options import Force

if TYPE_CHECKING:
    from ase_nbody.potential import Potential


class Origin(StrEnum):
    """Packages that models are imported from."""

    NEQUIP = "nequip"
    SEVENNET = "sevennet"


def import_model(
    origin: Annotated[Origin, typer.Argument(help="Package that made the model.", show_default=False)],
    package: Annotated[
        Path,
        typer.Argument(
            help="Its file: a checkpoint (.ckpt) or a packaged model (.nequip.zip) of nequip, a checkpoint (.pth) of "
            "sevenn.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(help="Model file to write, *.safetensors.", show_default=False)],
    python: Annotated[
        Path | None,
        typer.Option(
            help="For nequip: Python interpreter of an environment with nequip 0.19.x, which opens the file. "
            "Opening a checkpoint or a package runs code in it: take only files that you trust. Checkpoints of sevenn "
            "are read without running code.",
            show_default=False,
        ),
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(
            help="For sevenn's models of several levels of theory: which one, such as PBE.", show_default=False
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Level of theory of its training data.", show_default=False)
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the model.", show_default=False)] = None,
    force: Force = False,
) -> None:
    """Turn a model of nequip or SevenNet into a model file.

    Energies, forces and stress of a model of nequip are compared with nequip's own before it is written.
    """
    from ase_nbody.cli.inputs import check_outputs
    from ase_nbody.model_information import SUFFIX

    if output.suffix != SUFFIX:
        raise ValueError(f"--output is a model file and ends in '{SUFFIX}', not '{output.name}'")
    check_outputs([output], force)
    read = _from_nequip if origin is Origin.NEQUIP else _from_sevennet
    _write(output, package, read(package, python, modality), method or modality, licence, force=force)


def _write(
    output: Path,
    package: Path,
    imported: tuple[Potential, str, str],
    method: str | None,
    licence: str | None,
    *,
    force: bool,
) -> None:
    """Write a potential, which program made it and a remark go with it."""
    from ase_nbody.cli.output import say
    from ase_nbody.model_file import file_hash, model_information, save_model

    potential, made_by, remark = imported
    information = model_information(
        potential,
        name=output.stem,
        reference_energies_source=f"energies of isolated atoms in {package.name}",
        method=method,
        licence=licence,
        training={"imported_from": made_by, "file": package.name, "sha256": file_hash(package)},
    )
    save_model(output, potential, information, force=force)
    elements = potential.elements
    named = ", ".join(elements) if len(elements) <= 10 else f"{len(elements)} elements"
    say(f"{output}: {named}, from {made_by}{remark}")


def _from_nequip(package: Path, python: Path | None, modality: str | None) -> tuple[Potential, str, str]:
    from ase_nbody.cli.nequip_import import exported_model, imported_potential
    from ase_nbody.importers.exported import largest_difference

    if python is None:
        raise ValueError("a model of nequip is opened by nequip itself: name its interpreter, --python ENV/bin/python")
    if modality is not None:
        raise ValueError("models of nequip have no modalities: leave --modality out")
    exported = exported_model(package, python)
    potential = imported_potential(exported)
    difference = largest_difference(potential, exported)
    return potential, f"nequip {exported.description['nequip']}", f"; largest relative difference {difference:.1e}"


def _from_sevennet(package: Path, python: Path | None, modality: str | None) -> tuple[Potential, str, str]:
    from dataclasses import replace

    from ase_nbody.importers.sevennet import imported_potential, read_checkpoint

    if python is not None:
        raise ValueError("checkpoints of sevenn are read without sevenn: leave --python out")
    checkpoint = read_checkpoint(package)
    potential = imported_potential(checkpoint, modality)
    version = checkpoint.config["version"]
    return replace(potential, network=potential.network.float()), f"sevenn {version}", ", weights in float32 as there"
