"""`nbody import`: a model of another package as a model file of this one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ase_nbody.cli.options import Force


class Origin(StrEnum):
    """Packages that models are imported from."""

    NEQUIP = "nequip"


def import_model(
    origin: Annotated[Origin, typer.Argument(help="Package that made the model.", show_default=False)],
    package: Annotated[
        Path,
        typer.Argument(help="Its file: a checkpoint (.ckpt) or a packaged model (.nequip.zip).", show_default=False),
    ],
    output: Annotated[Path, typer.Option(help="Model file to write, *.safetensors.", show_default=False)],
    python: Annotated[
        Path,
        typer.Option(
            help="Python interpreter of an environment with nequip 0.19.x, which opens the file. "
            "Opening a checkpoint or a package runs code in it: take only files that you trust.",
            show_default=False,
        ),
    ],
    method: Annotated[
        str | None, typer.Option(help="Level of theory of its training data.", show_default=False)
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the model.", show_default=False)] = None,
    force: Force = False,
) -> None:
    """Turn a model of nequip into a model file, and check that energies, forces and stress are the same."""
    from ase_nbody.cli.inputs import check_outputs
    from ase_nbody.cli.nequip_import import exported_model, imported_potential, largest_difference
    from ase_nbody.cli.output import say
    from ase_nbody.model_file import file_hash, model_information, save_model
    from ase_nbody.model_information import SUFFIX

    if output.suffix != SUFFIX:
        raise ValueError(f"--output is a model file and ends in '{SUFFIX}', not '{output.name}'")
    check_outputs([output], force)
    exported = exported_model(package, python)
    potential = imported_potential(exported)
    made_by = f"{origin.value} {exported.description['nequip']}"
    information = model_information(
        potential,
        name=output.stem,
        reference_energies_source=f"energy shifts of types in {package.name}",
        method=method,
        licence=licence,
        training={"imported_from": made_by, "file": package.name, "sha256": file_hash(package)},
    )
    save_model(output, potential, information, force=force)
    difference = largest_difference(potential, exported)
    say(f"{output}: {', '.join(potential.elements)}, from {made_by}; largest relative difference {difference:.1e}")
