"""Write what a model of the package `mace-torch` computes with, as plain arrays and JSON.

This file is run by the interpreter of mace's own environment, in a process of its own, with mace_export_layers.py and
e3nn_export.py beside it, and imports nothing else of ase_nbody. Beside the model are its energies,
forces and stress of some structures, to check an import.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols

from ase_nbody.importers.e3nn_export import (
    DIRECTIONS,
    REFUSED,
    Arrays,
    UnsupportedError,
    as_array,
    check_structures,
    listed,
    matrix,
)
from ase_nbody.importers.mace_export_layers import INTERACTIONS, interaction, irreps_of, product, readouts

SUPPORTED = "0.3."
AGNESI = {"q": 0.9183, "p": 4.5791, "a": 1.0805}
ZBL = {"a_exp": 0.300, "a_prefactor": 0.4543}
CHECKED = 8  # elements in the cluster that an import is checked with; models of 89 would make a large one


def exported(model: Any, head: str, structures: Sequence[Atoms]) -> dict[str, Any]:
    """A model in float64 and its predictions as NumPy arrays by name; "description" is JSON.

    Args:
        model: MACE or ScaleShiftMACE.
        head: level of theory of a model that has several; "" for one that has one.
        structures: whose elements are types of the model.

    Raises:
        UnsupportedError: the model has a part that ase_nbody has not, or the head is unknown.
    """
    number, dtype = head_number(model, head), str(next(model.parameters()).dtype).removeprefix("torch.")
    refuse(model)
    model = model.double()
    arrays: Arrays = {"embedding": matrix(model.node_embedding.linear, *irreps_of(model.node_embedding.linear))}
    layers = zip(model.interactions, model.products, strict=True)
    description = {
        "mace": version("mace-torch"),
        "elements": elements(model),
        "dtype": dtype,
        "heads": heads(model),
        "head": heads(model)[number],
        **edges(model, arrays),
        "layers": [
            {**interaction(block, f"layer{n}", arrays), **product(basis, f"layer{n}", arrays)}
            for n, (block, basis) in enumerate(layers)
        ],
        **readouts(model, (number, len(heads(model))), arrays),
        "n_structures": len(structures),
    }
    energies_by_element(model, number, arrays)
    for place, atoms in enumerate(structures):
        predictions(model, heads(model)[number], atoms, f"structure{place}", arrays)
    return {"description": np.array(json.dumps(description)), **{name: as_array(a) for name, a in arrays.items()}}


def elements(model: Any) -> list[str]:
    """Chemical symbols in the order of the model."""
    return [chemical_symbols[int(n)] for n in model.atomic_numbers]


def some(symbols: Sequence[str]) -> list[str]:
    """A few of many elements."""
    return list(symbols[:: -(-len(symbols) // CHECKED)])


def heads(model: Any) -> list[str]:
    """Levels of theory of the model."""
    return list(getattr(model, "heads", None) or ["Default"])


def head_number(model: Any, head: str) -> int:
    """Place of a head among those of the model.

    Raises:
        UnsupportedError: it is not there, or none was chosen where one must be.
    """
    known = heads(model)
    if head in known or (not head and len(known) == 1):
        return known.index(head) if head else 0
    came = f"not '{head}'" if head else "by --head"
    raise UnsupportedError(f"the model has the heads {', '.join(known)}: choose one of them, {came}")


def refuse(model: Any) -> None:
    """Named errors for what ase_nbody has not.

    Raises:
        UnsupportedError: there is some.
    """
    basis = model.radial_embedding.bessel_fn
    transform = getattr(model.radial_embedding, "distance_transform", None)
    first = listed(model.spherical_harmonics.irreps_out)
    parts = {
        "an embedding of charges, spins or other numbers of the structure": hasattr(model, "joint_embedding"),
        f"the radial basis {type(basis).__name__} (BesselBasis is taken over)": type(basis).__name__ != "BesselBasis",
        f"the distance transform {type(transform).__name__} (AgnesiTransform is taken over)": transform is not None
        and type(transform).__name__ != "AgnesiTransform",
        "harmonics without parity (use_so3)": first != [(f"{n}{'eo'[n % 2]}", 1) for n in range(len(first))],
        "states of its last layer that are not invariant (keep_last_layer_irreps)": len(listed_after(model, -1)) > 1,
    }
    present = [name for name, is_there in parts.items() if is_there]
    unknown = {type(block).__name__ for block in model.interactions} - INTERACTIONS.keys()
    present += [f"interactions of the kind {name} ({', '.join(INTERACTIONS)} are taken over)" for name in unknown]
    if present:
        raise UnsupportedError(f"the model has {' and '.join(present)}, which ase_nbody has not; choose another model")
    constant = basis.bessel_weights.double() * float(model.r_max) / np.pi
    if not torch.allclose(constant, torch.arange(1, len(constant) + 1).double(), rtol=1e-5):
        raise UnsupportedError("the roots of the model's Bessel functions were trained; those of ase_nbody are fixed")
    for part, constants in ((transform, AGNESI), (getattr(model, "pair_repulsion_fn", None), ZBL)):
        different = [n for n, value in constants.items() if part and abs(float(getattr(part, n)) - value) > 1e-6]
        if different:
            raise UnsupportedError(f"{type(part).__name__} of the model has trained constants {', '.join(different)}")


def listed_after(model: Any, number: int) -> list[tuple[str, int]]:
    """Irreps of the states that a layer makes."""
    return listed(model.products[number].linear.irreps_out)


def edges(model: Any, arrays: Arrays) -> dict[str, Any]:
    """Cutoff and radial basis; harmonics of some directions are put in the arrays."""
    radial = model.radial_embedding
    directions = torch.nn.functional.normalize(torch.tensor(DIRECTIONS, dtype=torch.float64))
    arrays |= {"directions": directions, "harmonics": model.spherical_harmonics(directions)}
    return {
        "cutoff": float(model.r_max),
        "bessel_functions": len(radial.bessel_fn.bessel_weights),
        "envelope_power": int(radial.cutoff_fn.p),
        "envelope_of_weights": not getattr(radial, "apply_cutoff", True),
        "distance_transform": "agnesi" if hasattr(radial, "distance_transform") else "none",
        "repulsion": hasattr(model, "pair_repulsion_fn"),
    }


def energies_by_element(model: Any, head: int, arrays: Arrays) -> None:
    """Reference energies, scale and shift of one head."""
    references = model.atomic_energies_fn.atomic_energies
    arrays["references"] = references if references.ndim == 1 else references[head]
    scaling = getattr(model, "scale_shift", None)
    for name, default in (("scale", 1.0), ("shift", 0.0)):
        values = torch.tensor(default) if scaling is None else getattr(scaling, name)
        arrays[name] = values.flatten()[head if values.numel() > 1 else 0]


def predictions(model: Any, head: str, atoms: Atoms, name: str, arrays: Arrays) -> None:
    """A structure and the model's energy, forces and stress of it."""
    calculators = import_module("mace.calculators")
    atoms = atoms.copy()
    atoms.calc = calculators.MACECalculator(models=[model], device="cpu", default_dtype="float64", head=head)
    arrays |= {f"{name}.numbers": atoms.numbers, f"{name}.positions": atoms.positions}
    arrays |= {f"{name}.cell": atoms.cell.array, f"{name}.pbc": atoms.pbc}
    arrays |= {f"{name}.energy": atoms.get_potential_energy(), f"{name}.forces": atoms.get_forces()}
    if atoms.pbc.all():
        arrays[f"{name}.stress"] = atoms.get_stress(voigt=False)


def loaded(path: str) -> Any:
    """The model of a file, by torch's pickle with mace's classes, which runs whatever code is in the file.

    Raises:
        UnsupportedError: there is no mace here, or another version, or the file has no model of energies.
    """
    try:
        found = version("mace-torch")
    except PackageNotFoundError as error:
        raise UnsupportedError(
            f"{sys.executable} has no package mace-torch; give --python of an environment with it"
        ) from error
    if not found.startswith(SUPPORTED):
        raise UnsupportedError(f"{sys.executable} has mace-torch {found}; models are read with mace-torch {SUPPORTED}x")
    import_module("mace")  # it lets torch load files of its own package
    # mace pickles its models whole, so none can be read without running code: here, not in ase_nbody's own process.
    model = torch.load(path, map_location="cpu", weights_only=False)
    if type(model).__name__ not in ("MACE", "ScaleShiftMACE"):
        raise UnsupportedError(f"the file has a {type(model).__name__}; a MACE or a ScaleShiftMACE is taken over")
    return model.eval()


def main() -> None:
    """Export the model in the first argument to the file in the second, for the head in the third."""
    source, target, head = sys.argv[1:]
    try:
        model = loaded(source)
        torch.set_default_dtype(torch.float64)  # of this process, which ends with the export: nothing to restore
        arrays = exported(model, head, check_structures(some(elements(model))))
    except UnsupportedError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
    np.savez(target, **arrays)


if __name__ == "__main__":
    main()
