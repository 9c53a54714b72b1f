"""Write what a model of the package `nequip` computes with, as plain arrays and JSON.

This file is run by the interpreter of nequip's own environment, in a process of its own, with e3nn_export.py beside it,
and imports nothing else of ase_nbody. Beside the model are its energies, forces and stress of some structures, to check
an import.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers

from ase_nbody.importers.e3nn_export import (
    DIRECTIONS,
    POINTS,
    REFUSED,
    Arrays,
    UnsupportedError,
    as_array,
    check_structures,
    coefficients,
    listed,
    matrix,
    own_matrices,
)

SUPPORTED = "0.19."
BEFORE = ("type_embed", "spharm", "edge_norm", "bessel_encode", "factor")
AFTER = ("per_atom_energy_readout", "per_type_energy_scale_shift", "total_energy_sum")


def exported(model: Any, structures: Sequence[Atoms]) -> dict[str, Any]:
    """A model and its predictions as NumPy arrays by name; "description" is JSON.

    Args:
        model: nequip's GraphModel.
        structures: whose elements are types of the model.

    Raises:
        UnsupportedError: the model has a part that ase_nbody has not.
    """
    modules = energy_modules(model)
    layers = [module for name, module in modules.items() if name.endswith("_convnet")]
    arrays: Arrays = {"embedding": modules["type_embed"].embed_module.weight}
    description = {
        "nequip": version("nequip"),
        "type_names": list(model.type_names),
        "dtype": str(model.model_dtype).removeprefix("torch."),
        **edges(modules, arrays),
        "layers": [interaction(layer, f"layer{n}", arrays) for n, layer in enumerate(layers)],
        "readout": perceptron(modules["per_atom_energy_readout"].mlp_module, "readout", arrays),
        "n_structures": len(structures),
    }
    types = len(model.type_names)
    arrays["neighbour_scales"] = layers[0].conv.avg_num_neighbors_norm.norm_const.flatten().expand(types)
    shift = modules["per_type_energy_scale_shift"]
    arrays["energy_scales"] = shift.scales.flatten().expand(types) if shift.has_scales else torch.ones(types)
    arrays["energy_shifts"] = shift.shifts.flatten().expand(types) if shift.has_shifts else torch.zeros(types)
    for number, atoms in enumerate(structures):
        predictions(model, atoms, f"structure{number}", arrays)
    return {"description": np.array(json.dumps(description)), **{name: as_array(a) for name, a in arrays.items()}}


def energy_modules(model: Any) -> dict[str, Any]:
    """The steps of the energy model by name.

    Raises:
        UnsupportedError: they are not those of NequIPGNNModel.
    """
    chain = getattr(getattr(model, "model", None), "func", None)
    modules = dict(chain.named_children()) if chain is not None else {}
    layers = [f"layer{n}_convnet" for n in range(len(modules) - len(BEFORE) - len(AFTER))]
    expected = [*BEFORE, *layers, *AFTER]
    if not layers or list(modules) != expected:
        strange = [name for name in modules if name not in expected] or list(modules) or [type(model).__name__]
        raise UnsupportedError(
            f"the model is not a plain NequIPGNNModel, it has {', '.join(strange)}; pair potentials and other "
            "architectures, such as Allegro, cannot be imported"
        )
    unknown = [name for name in model.type_names if atomic_numbers.get(name, 0) < 1]
    if unknown:
        raise UnsupportedError(f"the model's types {unknown} are no chemical symbols")
    return modules


def edges(modules: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    """Cutoff and radial basis; harmonics of some directions are put in the arrays."""
    basis, norm = modules["bessel_encode"], modules["edge_norm"]
    orders = as_array(basis.bessel_weights).ravel()
    if norm._per_edge_type:
        raise UnsupportedError("the model has a cutoff for each pair of types; ase_nbody has one for all")
    if not np.array_equal(orders, np.arange(1, len(orders) + 1)):
        raise UnsupportedError("the roots of the model's Bessel functions were trained; those of ase_nbody are fixed")
    if modules["type_embed"].do_categorical_graph_field_embed:
        raise UnsupportedError("the model embeds numbers of the whole structure, such as a charge; ase_nbody does not")
    directions = torch.nn.functional.normalize(torch.tensor(DIRECTIONS, dtype=torch.float64))
    arrays["directions"], arrays["harmonics"] = directions, modules["spharm"].sh(directions)
    arrays["basis_factor"] = modules["factor"].factor
    return {"cutoff": norm.r_max, "bessel_functions": len(orders), "envelope_power": basis.cutoff.p}


def interaction(layer: Any, name: str, arrays: Arrays) -> dict[str, Any]:
    """Irreps, paths and gains of one layer; its matrices are put in the arrays."""
    conv, gate, product = layer.conv, layer.equivariant_nonlin, layer.conv.tp_scatter.tp
    if layer.resnet or not hasattr(gate, "act_gates"):
        raise UnsupportedError("the model's layers have a residual connection or a nonlinearity other than the gate")
    states, fragments, outputs = product.irreps_in1, product.irreps_out, gate.irreps_in
    arrays[f"{name}.before"] = matrix(conv.linear_1, states, states)
    arrays[f"{name}.after"] = matrix(conv.linear_2, fragments, outputs)
    if conv.sc is not None:
        arrays[f"{name}.own"] = own_matrices(conv.sc, states, outputs)
    for number, instruction in enumerate(product.instructions):
        arrays[f"{name}.path{number}"] = coefficients(product, instruction)
    factors = (states, product.irreps_in2, fragments)
    return {
        "states": listed(states),
        "fragments": listed(fragments),
        "scalars": listed(gate.irreps_scalars),
        "gated": listed(gate.irreps_gated),
        "outputs": listed(outputs),
        "gains": gains(gate),
        "paths": [[int(number) for number in instruction[:3]] for instruction in product.instructions],
        "path_irreps": [[str(f[n].ir) for f, n in zip(factors, i[:3], strict=True)] for i in product.instructions],
        "radial": perceptron(conv.edge_mlp, f"{name}.radial", arrays),
    }


def gains(gate: Any) -> dict[str, float]:
    """By what nonlinearities are multiplied: of each kind of scalar, and of the gates."""
    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "0e": torch.nn.functional.silu,
        "0o": torch.tanh,
        "gates": torch.nn.functional.silu,
    }
    named = [(str(irrep), act) for (_, irrep), act in zip(gate.irreps_scalars, gate.act_scalars.acts, strict=True)]
    named += [("gates", act) for act in gate.act_gates.acts]
    found: dict[str, float] = {}
    for name, act in named:
        ratios = act(POINTS) / functions[name](POINTS)
        if not torch.allclose(ratios[0], ratios[1]):
            raise UnsupportedError("the model's gates have other nonlinearities than silu (even) and tanh (odd)")
        found[name] = float(ratios[0])
    return found


def perceptron(module: Any, name: str, arrays: Arrays) -> dict[str, Any]:
    """Activation and number of matrices of nequip's ScalarMLPFunction; matrices are put in the arrays."""
    if type(module.mlp).__name__ == "DeepLinearMLP":
        arrays[f"{name}.0"] = torch.linalg.multi_dot(list(module.mlp.weights)) * module.mlp.alpha
        return {"matrices": 1, "activation": "silu"}
    linear = [step for step in module.mlp if hasattr(step, "weight")]
    activations = {type(step).__name__.lower() for step in module.mlp if not hasattr(step, "weight")}
    if any(step.bias is not None for step in linear) or not activations <= {"silu", "mish", "gelu"}:
        raise UnsupportedError(f"a network of scalars has biases or nonlinearities ({', '.join(sorted(activations))})")
    for number, step in enumerate(linear):
        arrays[f"{name}.{number}"] = step.weight * step.alpha
    return {"matrices": len(linear), "activation": next(iter(activations), "silu")}


def predictions(model: Any, atoms: Atoms, name: str, arrays: Arrays) -> None:
    """A structure and the model's energy, forces and stress of it."""
    data_module, transforms = import_module("nequip.data"), import_module("nequip.data.transforms")
    data = data_module.from_ase(atoms)
    cutoff = float(model.metadata["r_max"])
    mapper = transforms.ChemicalSpeciesToAtomTypeMapper(list(model.type_names))
    for transform in (mapper, transforms.NeighborListTransform(r_max=cutoff)):
        data = transform(data)
    found = model(data)
    arrays |= {f"{name}.numbers": atoms.numbers, f"{name}.positions": atoms.positions}
    arrays |= {f"{name}.cell": atoms.cell.array, f"{name}.pbc": atoms.pbc}
    arrays |= {f"{name}.energy": found["total_energy"].flatten()[0], f"{name}.forces": found["forces"]}
    if atoms.pbc.all():
        arrays[f"{name}.stress"] = found["stress"].reshape(3, 3)


def loaded(path: str) -> Any:
    """The model of a checkpoint or a package, by nequip's own functions.

    Raises:
        UnsupportedError: there is no nequip here, or another version.
    """
    try:
        found = version("nequip")
    except PackageNotFoundError as error:
        raise UnsupportedError(
            f"{sys.executable} has no package nequip; give --python of an environment with it"
        ) from error
    if not found.startswith(SUPPORTED):
        raise UnsupportedError(f"{sys.executable} has nequip {found}; models are read with nequip {SUPPORTED}x")
    import_module("nequip.utils.global_state").set_global_state()
    model = import_module("nequip.model.saved_models.load_utils").load_saved_model(path)
    return model.cpu().eval()


def main() -> None:
    """Export the model in the first argument to the file in the second."""
    source, target = sys.argv[1:]
    try:
        model = loaded(source)
        torch.set_default_dtype(model.model_dtype)  # of this process, which ends with the export: nothing to restore
        arrays = exported(model, check_structures(list(model.type_names)))
    except UnsupportedError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
    np.savez(target, **arrays)


if __name__ == "__main__":
    main()
