"""Layers and readouts of a model of mace as arrays; run in mace's own environment, see mace_export.py."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import torch

from ase_nbody.importers.e3nn_export import (
    POINTS,
    Arrays,
    UnsupportedError,
    coefficients,
    first_components,
    listed,
    matrix,
    unit_vectors,
)

INTERACTIONS = {
    "RealAgnosticInteractionBlock": "plain",
    "RealAgnosticResidualInteractionBlock": "residual",
    "RealAgnosticDensityInteractionBlock": "density",
    "RealAgnosticDensityResidualInteractionBlock": "density_residual",
    "RealAgnosticResidualNonLinearInteractionBlock": "nonlinear",
}


def irreps_of(linear: Any) -> tuple[Any, Any]:
    """Irreps before and after a linear layer."""
    return linear.irreps_in, linear.irreps_out


def interaction(block: Any, name: str, arrays: Arrays) -> dict[str, Any]:
    """Kind, irreps and paths of one layer; its matrices are put in the arrays."""
    kind, fold, skip = INTERACTIONS[type(block).__name__], block.conv_tp, block.skip_tp
    is_nonlinear, density = kind == "nonlinear", getattr(block, "density_fn", None)
    linear = block.linear_1 if is_nonlinear else block.linear
    arrays[f"{name}.before"] = matrix(block.linear_up, *irreps_of(block.linear_up))
    arrays[f"{name}.after"] = matrix(linear, *irreps_of(linear))
    if is_nonlinear:
        nonlinear_parts(block, name, arrays)
    else:
        arrays[f"{name}.own"] = by_element(skip)
    for number, instruction in enumerate(fold.instructions):
        arrays[f"{name}.path{number}"] = coefficients(fold, instruction)
    factors = (fold.irreps_in1, fold.irreps_in2, fold.irreps_out)
    return {
        "kind": kind,
        "below": listed(block.linear_up.irreps_in),
        "senders": listed(fold.irreps_in1),
        "fragments": listed(fold.irreps_out),
        "features": listed(block.irreps_out),
        "paths": [[int(n) for n in one[:3]] for one in fold.instructions],
        "path_irreps": [[str(f[n].ir) for f, n in zip(factors, i[:3], strict=True)] for i in fold.instructions],
        "own": [listed(skip.irreps_in if is_nonlinear else skip.irreps_in1), listed(skip.irreps_out)],
        "average_neighbours": float(block.avg_num_neighbors),
        "radial": radial_network(block, block.conv_tp_weights, f"{name}.radial", arrays),
        "density": 0 if density is None else radial_network(block, density, f"{name}.density", arrays),
    }


def by_element(product: Any) -> torch.Tensor:
    """Matrices of a product with one-hot vectors of elements, (rows, elements, columns).

    Its weights times a number for each irrep, which is found by applying it to one unit vector: to apply it to all
    takes minutes for 89 elements.
    """
    first, last = product.irreps_in1, product.irreps_out
    made = torch.zeros(first.num_irreps, product.irreps_in2.dim, last.num_irreps)
    rows, columns = (block_places(irreps) for irreps in (first, last))
    for _, instruction, weights in product.weight_views(yield_instruction=True):
        i, _, o = instruction[:3]
        row = unit_vectors(first, [first.slices()[i].start])
        element = torch.eye(product.irreps_in2.dim)[:1]
        seen = product(row, element)[0, first_components(last)][columns[o]]
        factor = (seen @ weights[0, 0]) / (weights[0, 0] @ weights[0, 0])
        made[rows[i], :, columns[o]] += weights * factor
    return made


def block_places(irreps: Any) -> list[slice]:
    """Where the single irreps of each block stand among all."""
    ends = [0, *accumulate(mul for mul, _ in irreps)]
    return [slice(a, b) for a, b in pairwise(ends)]


def nonlinear_parts(block: Any, name: str, arrays: Arrays) -> None:
    """What only a nonlinear interaction has."""
    for part, linear in (("own", block.skip_tp), ("residual", block.linear_res), ("turned", block.linear_2)):
        arrays[f"{name}.{part}"] = matrix(linear, *irreps_of(linear))
    arrays[f"{name}.divisor"] = torch.stack([block.alpha.detach(), block.beta.detach()])


def radial_network(block: Any, network: Any, name: str, arrays: Arrays) -> int:
    """Number of the matrices of a radial network, which are put in the arrays."""
    if type(network).__name__ == "FullyConnectedNet":
        layers = [getattr(network, f"layer{n}") for n in range(len(network.hs) - 1)]
        if any(layer.var_in != 1 or layer.var_out != 1 for layer in layers):
            raise UnsupportedError("a radial network of the model changes variances")
        for number, layer in enumerate(layers):
            arrays[f"{name}.{number}"] = layer.weight / layer.h_in**0.5
        return len(layers)
    linear = [part for part in network.net if hasattr(part, "in_features")]
    norms = [part for part in network.net if type(part).__name__ == "LayerNorm"]
    types = torch.eye(block.source_embedding.irreps_in.dim)
    senders, receivers = block.source_embedding(types), block.target_embedding(types)
    bessel = linear[0].in_features - senders.shape[1] - receivers.shape[1]
    parts = linear[0].weight.T.split([bessel, senders.shape[1], receivers.shape[1]])
    arrays |= {f"{name}.senders": senders @ parts[1], f"{name}.receivers": receivers @ parts[2]}
    for number, part in enumerate(linear):
        arrays[f"{name}.{number}"] = part.weight.T if number else parts[0]
        arrays[f"{name}.constants{number}"] = part.bias
    for number, norm in enumerate(norms):
        if norm.eps != 1e-5:
            raise UnsupportedError("a radial network of the model has norms with another eps than 1e-5")
        arrays |= {f"{name}.scales{number}": norm.weight, f"{name}.shifts{number}": norm.bias}
    return len(linear)


def product(block: Any, name: str, arrays: Arrays) -> dict[str, Any]:
    """Symmetric contractions of one layer: coupling tensors and weights of each result and number of factors."""
    contractions = getattr(block.symmetric_contractions, "contractions", None)
    if contractions is None:
        raise UnsupportedError(
            "the model is one of cuequivariance; convert it with mace's own mace.cli.convert_cueq_e3nn first"
        )
    arrays[f"{name}.products"] = matrix(block.linear, *irreps_of(block.linear))
    states = listed(block.linear.irreps_out)
    correlations = {one.correlation for one in contractions}
    if len(correlations) > 1 or max(correlations) > 3:
        raise UnsupportedError(f"the model has correlations {sorted(correlations)}; ase_nbody has one, at most 3")
    (correlation,) = correlations
    for (irrep, _), one in zip(states, contractions, strict=True):
        weights = [one.weights_max, *one.weights]
        for factors in range(1, correlation + 1):
            coupling = getattr(one, f"U_matrix_{factors}")
            components = coupling if irrep[0] != "0" else coupling[None]
            arrays[f"{name}.coupling.{irrep}.{factors}"] = components
            arrays[f"{name}.weights.{irrep}.{factors}"] = weights[correlation - factors]
    return {"states": states, "correlation": correlation}


def readouts(model: Any, heads: tuple[int, int], arrays: Arrays) -> dict[str, Any]:
    """What readouts there are; the numbers of one head, given by its place and their number, are put in the arrays."""
    head, count = heads
    kinds = [type(readout).__name__ for readout in model.readouts]
    *linear, last = model.readouts
    known = ("NonLinearReadoutBlock", "NonLinearBiasReadoutBlock")
    if set(kinds[:-1]) - {"LinearReadoutBlock"} or kinds[-1] not in known:
        raise UnsupportedError(
            f"the model has readouts {', '.join(kinds)}; linear ones and a last {known} are taken over"
        )
    if len(linear) not in (0, len(model.interactions) - 1):
        raise UnsupportedError(f"the model has {len(kinds)} readouts for {len(model.interactions)} layers")
    for number, readout in enumerate(linear):
        arrays[f"readout{number}"] = matrix(readout.linear, *irreps_of(readout.linear))[:, [head]]
    (act,) = last.non_linearity.acts
    gains = act(POINTS) / torch.nn.functional.silu(POINTS)
    if not torch.allclose(gains[0], gains[1]):
        raise UnsupportedError("the model's last readout has another nonlinearity than silu")
    inner = matrix(last.linear_1, *irreps_of(last.linear_1))
    width = inner.shape[1] // count
    own = slice(head * width, (head + 1) * width)
    arrays["inner"], arrays["gain"] = inner[:, own], gains[0]
    depth = 1 if kinds[-1] == known[0] else 2
    constant = torch.zeros(count)
    if depth == 2:
        middle, constants = affine(last.linear_mid)
        arrays["middle"], arrays["middle_constants"] = middle[own, own], constants[own]
        outer, constant = affine(last.linear_2)
    else:
        outer = matrix(last.linear_2, *irreps_of(last.linear_2))
    arrays["outer"], arrays["outer_constant"] = outer[own, [head]], constant[head]
    return {"readout_depth": depth, "readout_width": width, "linear_readouts": len(linear)}


def affine(linear: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrix and constants of a linear layer of invariants."""
    constants = linear(torch.zeros(1, linear.irreps_in.dim))[0]
    return linear(torch.eye(linear.irreps_in.dim)) - constants, constants
