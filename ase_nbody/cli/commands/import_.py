"""`nbody import`: a model of another package as a model file of this one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ase_nbody.cli.options import Force, ModelOutput

if TYPE_CHECKING:
    from ase_nbody.potential import Potential


class Origin(StrEnum):
    """Packages that models are imported from."""

    NEQUIP = "nequip"
    SEVENNET = "sevennet"
    MACE = "mace"


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What `nbody import` is told; None where it is not."""

    origin: Annotated[Origin, typer.Argument(help="Package that made the model.", show_default=False)]
    package: Annotated[
        Path,
        typer.Argument(
            help="Its file: a checkpoint (.ckpt) or a packaged model (.nequip.zip) of nequip, a checkpoint (.pth) of "
            "sevenn, a model (.model) of mace.",
            show_default=False,
        ),
    ]
    output: ModelOutput
    python: Annotated[
        Path | None,
        typer.Option(
            help="For nequip and mace: Python interpreter of an environment with nequip 0.19.x or mace-torch 0.3.x, "
            "which opens the file in a process of its own. Such a file holds pickles, and opening it runs the code in "
            "them: take only files that you trust. Checkpoints of sevenn are read without running code.",
            show_default=False,
        ),
    ] = None
    modality: Annotated[
        str | None,
        typer.Option(
            help="For sevenn's models of several levels of theory: which one, such as PBE.", show_default=False
        ),
    ] = None
    head: Annotated[
        str | None,
        typer.Option(help="For mace's models of several levels of theory: which one.", show_default=False),
    ] = None
    method: Annotated[str | None, typer.Option(help="Level of theory of its training data.", show_default=False)] = None
    licence: Annotated[str | None, typer.Option(help="Licence of the model.", show_default=False)] = None
    force: Force = False


def import_model(options: ImportOptions) -> None:
    """Turn a model of nequip, SevenNet or MACE into a model file.

    Energies, forces and stress of a model of nequip or MACE are compared with its own package's before it is written.
    """
    from ase_nbody.cli.inputs import check_outputs
    from ase_nbody.model_information import SUFFIX

    output = options.output
    if output.suffix != SUFFIX:
        raise ValueError(f"--output is a model file and ends in '{SUFFIX}', not '{output.name}'")
    check_outputs([output], options.force)
    _write(options, _imported(options))


def _imported(options: ImportOptions) -> tuple[Potential, str, str]:
    """A potential, which program made it and a remark."""
    origin, package, python = options.origin, options.package, options.python
    modality, head = options.modality, options.head
    if modality is not None and origin is not Origin.SEVENNET:
        raise ValueError(f"models of {origin.value} have no modalities: leave --modality out")
    if head is not None and origin is not Origin.MACE:
        raise ValueError(f"models of {origin.value} have no heads: leave --head out")
    if origin is Origin.SEVENNET:
        return _from_sevennet(package, python, modality)
    if python is None:
        raise ValueError(
            f"a model of {origin.value} is opened by its own package: name its interpreter, --python ENV/bin/python"
        )
    return _from_nequip(package, python) if origin is Origin.NEQUIP else _from_mace(package, python, head)


def _write(options: ImportOptions, imported: tuple[Potential, str, str]) -> None:
    """Write a potential, which program made it and a remark go with it."""
    from ase_nbody.cli.output import say
    from ase_nbody.model_file import file_hash, model_information, save_model

    potential, made_by, remark = imported
    information = model_information(
        potential,
        name=options.output.stem,
        reference_energies_source=f"energies of isolated atoms in {options.package.name}",
        method=options.method or options.modality or options.head,
        licence=options.licence,
        training={"imported_from": made_by, "file": options.package.name, "sha256": file_hash(options.package)},
    )
    save_model(options.output, potential, information, force=options.force)
    elements = potential.elements
    named = ", ".join(elements) if len(elements) <= 10 else f"{len(elements)} elements"
    say(f"{options.output}: {named}, from {made_by}{remark}")


def _from_nequip(package: Path, python: Path) -> tuple[Potential, str, str]:
    from ase_nbody.importers.exported import largest_difference
    from ase_nbody.importers.nequip import exported_model, imported_potential

    exported = exported_model(package, python)
    potential = imported_potential(exported)
    difference = largest_difference(potential, exported)
    return potential, f"nequip {exported.description['nequip']}", f"; largest relative difference {difference:.1e}"


def _from_mace(package: Path, python: Path, head: str | None) -> tuple[Potential, str, str]:
    from dataclasses import replace

    from ase_nbody.importers.exported import largest_difference
    from ase_nbody.importers.mace import exported_model, imported_potential

    exported = exported_model(package, python, head)
    potential, dtype = imported_potential(exported), exported.description["dtype"]
    remark = f"; largest relative difference {largest_difference(potential, exported):.1e} in float64"
    if dtype == "float32":
        potential = replace(potential, network=potential.network.float())
    return potential, f"mace-torch {exported.description['mace']}", f"{remark}, weights in {dtype} as there"


def _from_sevennet(package: Path, python: Path | None, modality: str | None) -> tuple[Potential, str, str]:
    from dataclasses import replace

    from ase_nbody.importers.sevennet import imported_potential, read_checkpoint

    if python is not None:
        raise ValueError("checkpoints of sevenn are read without sevenn: leave --python out")
    checkpoint = read_checkpoint(package)
    potential = imported_potential(checkpoint, modality)
    version = checkpoint.config["version"]
    return replace(potential, network=potential.network.float()), f"sevenn {version}", ", weights in float32 as there"
