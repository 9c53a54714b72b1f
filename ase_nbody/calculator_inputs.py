"""What a calculator is given: its parameters, model and structures."""

from __future__ import annotations

import os

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import CalculatorSetupError, PropertyNotImplementedError

from ase_nbody.model_file import ModelInformation, load_model
from ase_nbody.models_directory import find_model
from ase_nbody.potential import Potential, copied_potential

OUTSIDE = ("warn", "raise", "ignore")
DTYPES = {"float64": torch.float64, "float32": torch.float32}


def check_parameters(dtype: str, skin: float, threads: int | None, outside: str) -> None:
    """Refuse parameters of a calculator that are not allowed.

    Raises:
        CalculatorSetupError: saying which and what is allowed.
    """
    if outside not in OUTSIDE:
        raise CalculatorSetupError(f"outside must be one of {', '.join(OUTSIDE)}, not {outside!r}")
    if dtype not in DTYPES:
        raise CalculatorSetupError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    if not (np.isfinite(skin) and skin >= 0):
        raise CalculatorSetupError(f"skin must be zero or a positive length in angstrom, not {skin!r}")
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise CalculatorSetupError(f"threads must be a whole number above zero, or None, not {threads!r}")


def loaded_potential(
    model: str | os.PathLike[str] | Potential, device: torch.device, dtype: torch.dtype, level: str | None
) -> tuple[Potential, ModelInformation | None, str]:
    """Potential, header and name of a model that is given by name, path or as a Potential (which is copied).

    Raises:
        CalculatorSetupError: a level of theory is named for a Potential.
        ValueError: no such model or level of theory, or the file is no model.
    """
    if isinstance(model, Potential):
        if level is not None:
            raise CalculatorSetupError(
                f"a Potential has one level of theory; leave out level={level!r}, or give a file"
            )
        return copied_potential(model, device, dtype), None, type(model.network).__name__
    potential, information = load_model(find_model(model), device=device, dtype=dtype, level=level)
    potential.network.requires_grad_(False)
    return potential, information, os.fspath(model)


def check_stress_is_defined(atoms: Atoms) -> None:
    """Refuse structures without a stress.

    Raises:
        PropertyNotImplementedError: no direction is periodic, or the cell has no volume.
    """
    if not atoms.pbc.any():
        raise PropertyNotImplementedError(
            "the stress needs a periodic direction, and pbc is [False, False, False]; set atoms.cell and atoms.pbc, or "
            "do not ask for it: a molecule has none"
        )
    if atoms.cell.volume == 0:
        raise PropertyNotImplementedError(
            f"the stress needs a cell of three vectors, and the cell is {atoms.cell.array.tolist()}; give directions "
            "without atoms beyond a length, such as atoms.center(vacuum=10, axis=2) for a slab"
        )
