"""How the weights of a model of the package `nequip` become those of our own NequIP network.

Theirs, as nequip_export.py writes them, have a row or a column for every single irrep, in e3nn's order; ours have
blocks of equal channels. Where the two differ, the difference goes into the weights:

- irreps with fewer channels are filled up with zeros, which stay zero through all layers;
- Clebsch-Gordan coefficients and harmonics differ by a sign for each path and degree, which, with the normalisation of
  the path, goes into the last matrix of the radial network;
- the gains of their nonlinearities, relative to ours, go into the rows of the matrices after them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.algebra.tables import coefficients
from ase_nbody.architectures.nequip import NequipNetwork
from ase_nbody.math import spherical_harmonics
from ase_nbody.nn.element_mixing import ElementMixing
from ase_nbody.nn.mixing import Mixing
from ase_nbody.nn.nequip_layers import E3NN_SILU_GAIN, E3NN_TANH_GAIN, NequipInteraction
from ase_nbody.nn.perceptron import Perceptron

Arrays = Mapping[str, NDArray[Any]]
Numbers = NDArray[np.float64]
Described = Mapping[str, Any]
_SAME = {"float64": 1e-10, "float32": 1e-5}  # rounding errors of coefficients of order one


def copy_weights(network: NequipNetwork, described: Described, arrays: Arrays) -> None:
    """Set all parameters of a network, in place.

    Args:
        network: of the settings that give the model's irreps, in float64.
        described: the model, as nequip_export.py describes it.
        arrays: its matrices.

    Raises:
        ValueError: its coefficients or harmonics are not ours up to a factor.
    """
    tolerance = _SAME[described["dtype"]]
    _set(network.embedding, arrays["embedding"])
    signs = harmonic_factors(arrays, network.settings.max_degree, tolerance)
    gains = {"0e": 1.0}
    for number, (layer, one) in enumerate(zip(network.layers, described["layers"], strict=True)):
        assert isinstance(layer, NequipInteraction)
        own = {name.partition(".")[2]: a for name, a in arrays.items() if name.startswith(f"layer{number}.")}
        _copy_radial(layer, one, own, path_factors(layer, one, own, signs, tolerance))
        first = layer.radial.weights[0]
        first.mul_(float(arrays["basis_factor"]) * network.settings.cutoff**2 / (2 * np.pi))
        _copy_mixing(layer, one, own, gains)
        gains = {irrep: _relative_gain(one, irrep) for irrep, _ in (*one["scalars"], *one["gated"])}
    channels = described["layers"][-1]["scalars"][0][1]
    matrices = [arrays[f"readout.{n}"] for n in range(described["readout"]["matrices"])]
    matrices[0] = spread(matrices[0] * gains["0e"], 0, [slice(0, channels)], network.settings.channels)
    _copy_perceptron(network.readout, matrices)


def harmonic_factors(arrays: Arrays, max_degree: int, tolerance: float) -> dict[str, float]:
    """By irrep, the factor between their harmonics and ours."""
    ours = spherical_harmonics(torch.as_tensor(arrays["directions"]), max_degree).numpy()
    factors = {}
    for degree in range(max_degree + 1):
        block = slice(degree**2, (degree + 1) ** 2)
        name = f"{degree}{'eo'[degree % 2]}"
        factors[name] = _factor(arrays["harmonics"][:, block], ours[:, block], tolerance, f"harmonics {name}")
    return factors


def path_factors(
    layer: NequipInteraction, described: Described, arrays: Arrays, harmonics: Mapping[str, float], tolerance: float
) -> dict[int, float]:
    """By number of their path, the factor between their product of states and harmonics and ours."""
    factors = {}
    for path, number in zip(layer.table.paths, _their_paths(layer, described), strict=True):
        names = described["path_irreps"][number]
        ours = coefficients(layer.table, path)
        what = f"Clebsch-Gordan coefficients {' x '.join(names[:2])} -> {names[2]}"
        factors[number] = _factor(arrays[f"path{number}"], ours, tolerance, what) * harmonics[names[1]]
    return factors


def spread(matrix: NDArray[Any], axis: int, blocks: Sequence[slice], width: int) -> Numbers:
    """Blocks of an axis in another order, each filled up with zeros to `width`."""
    parts = []
    for block in blocks:
        part = np.moveaxis(matrix, axis, 0)[block].astype(np.float64)
        parts.append(np.concatenate([part, np.zeros((width - len(part), *part.shape[1:]))]))
    return np.moveaxis(np.concatenate(parts), 0, axis)


def _their_paths(layer: NequipInteraction, described: Described) -> list[int]:
    """For each of our paths, the number of theirs."""
    first, second = layer.table.first_irreps, layer.table.second_irreps
    ours = [[str(first[p.first]), str(second[p.second]), str(p.irrep)] for p in layer.table.paths]
    if sorted(ours) != sorted(described["path_irreps"]):
        raise ValueError("the model's layers have other paths than those of nequip in ase_nbody")
    return [described["path_irreps"].index(names) for names in ours]


def _blocks(sizes: Sequence[int]) -> list[slice]:
    ends = [0, *accumulate(sizes)]
    return [slice(a, b) for a, b in pairwise(ends)]


def _named_blocks(listed: Sequence[tuple[str, int]]) -> dict[str, slice]:
    return dict(zip([name for name, _ in listed], _blocks([size for _, size in listed]), strict=True))


def _copy_radial(layer: NequipInteraction, described: Described, arrays: Arrays, factors: Mapping[int, float]) -> None:
    """The radial network; columns of its last matrix are ordered by path."""
    sizes = [described["states"][path[0]][1] for path in described["paths"]]
    columns, order = _blocks(sizes), _their_paths(layer, described)
    channels = layer.shape.channels
    matrices = [arrays[f"radial.{n}"] for n in range(described["radial"]["matrices"])]
    last = spread(matrices[-1], 1, [columns[n] for n in order], channels)
    matrices[-1] = last * np.repeat([factors[n] for n in order], channels)
    _copy_perceptron(layer.radial, matrices)


def _copy_mixing(layer: NequipInteraction, described: Described, arrays: Arrays, gains: Mapping[str, float]) -> None:
    """Self-interaction before and after the convolution, and the self-connection."""
    channels = layer.shape.channels
    rows = _named_blocks(described["states"])
    gain = np.concatenate([np.full(size, gains[irrep]) for irrep, size in described["states"]])
    for irrep, weight in layer.before.weights.items():
        block = [rows[irrep]]
        _set(weight, spread(spread(arrays["before"] * gain[:, None], 0, block, channels), 1, block, channels))
    columns, gates = _columns(described, [str(i) for i in layer.shape.gated])
    _copy_after(layer, described, arrays["after"], (layer.after, columns))
    _copy_after(layer, described, arrays["after"], (layer.after_gates, {"0e": gates}))
    if layer.own is None and "own" in arrays:
        raise ValueError(
            "the first layer of the model adds the atom's own state (learnable_shift), so that an atom alone has an "
            "interaction energy; nequip in ase_nbody has no such term"
        )
    own = arrays["own"] * gain[:, None, None] if "own" in arrays else None
    _copy_own(layer, rows, own, (layer.own, columns))
    _copy_own(layer, rows, own, (layer.own_gates, {"0e": gates}))


def _copy_after(
    layer: NequipInteraction,
    described: Described,
    matrix: NDArray[Any],
    to: tuple[Mixing | None, Mapping[str, list[slice]]],
) -> None:
    """Rows are ordered by path, columns those given for each irrep."""
    slots = _blocks([size for _, size in described["fragments"]])
    used = [slots[described["paths"][n][2]] for n in _their_paths(layer, described)]
    mixing, columns = to
    for irrep, weight in mixing.weights.items() if mixing is not None else ():
        rows = [s for s, path in zip(used, layer.table.paths, strict=True) if str(path.irrep) == irrep]
        made = spread(matrix, 1, columns[irrep], layer.shape.channels_out)
        _set(weight, spread(made, 0, rows, layer.shape.channels))


def _copy_own(
    layer: NequipInteraction,
    rows: Mapping[str, slice],
    matrices: Numbers | None,
    to: tuple[ElementMixing | None, Mapping[str, list[slice]]],
) -> None:
    """Zero where the model has no self-connection."""
    mixing, columns = to
    for irrep, weight in mixing.weights.items() if mixing is not None else ():
        if matrices is None:
            weight.zero_()
        else:
            made = spread(matrices, 2, columns[irrep], layer.shape.channels_out)
            _set(weight, spread(made, 0, [rows[irrep]], layer.shape.channels))


def _columns(described: Described, gated: Sequence[str]) -> tuple[dict[str, list[slice]], list[slice]]:
    """Columns of each irrep and of the gates, which stand behind the even scalars in the order of their irreps."""
    outputs = _named_blocks(described["outputs"])
    scalars = dict(described["scalars"])
    sizes = [size for _, size in described["gated"]]
    start = outputs["0e"].start + scalars["0e"]
    ends = [slice(start + b.start, start + b.stop) for b in _blocks(sizes)]
    gates = dict(zip([irrep for irrep, _ in described["gated"]], ends, strict=True))
    outputs["0e"] = slice(outputs["0e"].start, start)
    return {irrep: [block] for irrep, block in outputs.items()}, [gates[irrep] for irrep in gated]


def _relative_gain(described: Described, irrep: str) -> float:
    theirs = described["gains"].get(irrep, described["gains"].get("gates"))
    return float(theirs) / (E3NN_TANH_GAIN if irrep == "0o" else E3NN_SILU_GAIN)


def _factor(theirs: NDArray[Any], ours: NDArray[Any], tolerance: float, what: str) -> float:
    factor = float((theirs * ours).sum() / (ours * ours).sum())
    if not np.allclose(theirs, factor * ours, rtol=0, atol=tolerance):
        raise ValueError(f"the model's {what} are not ours times a number, so its weights cannot be taken over")
    return factor


def _copy_perceptron(perceptron: Perceptron, matrices: Sequence[NDArray[Any]]) -> None:
    for weight, matrix in zip(perceptron.weights, matrices, strict=True):
        _set(weight, matrix)


def _set(parameter: Tensor, values: NDArray[Any]) -> None:
    if parameter.shape != values.shape:
        raise ValueError(
            f"a matrix of the model has shape {values.shape} where ase_nbody's has {tuple(parameter.shape)}"
        )
    parameter.copy_(torch.as_tensor(np.ascontiguousarray(values)))
