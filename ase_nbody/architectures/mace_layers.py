"""Parameters and steps of one layer of a MACE network."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor, nn

from ase_nbody.algebra import natural_irreps, product_table
from ase_nbody.algebra.polynomials import basis, coefficients
from ase_nbody.architectures.mace_radial import (
    ElementRadialNetwork,
    MaceRadial,
    density_hidden,
    weights_hidden,
)
from ase_nbody.architectures.mace_settings import SCALAR, MaceSettings, layer_shapes
from ase_nbody.nn.mixing import random_matrix
from ase_nbody.nn.nequip_layers import E3NN_SIGMOID_GAIN, E3NN_SILU_GAIN
from ase_nbody.steps import (
    Activate,
    ActivationFunction,
    Block,
    Contract,
    ContractSymmetric,
    Divide,
    Mix,
    MixByElement,
    StateIrreps,
    Step,
    StepWeights,
)
from ase_nbody.steps.weights import Hidden, Radial

DENSITY_WIDTH = 64  # of the density's radial network in nonlinear interactions
SAMPLED = 6  # elements whose radial functions decide how fine tables are


class MaceLayer(nn.Module):
    """Parameters of one layer.

    Args:
        settings: of the network.
        number: of the layer.
        generator: source of the initial weights.
    """

    def __init__(self, settings: MaceSettings, number: int, generator: torch.Generator) -> None:
        super().__init__()
        self.settings, self.shapes = settings, layer_shapes(settings, number)
        self.kind = settings.interaction_of(number)
        shapes, is_nonlinear = self.shapes, self.kind == "nonlinear"
        network = ElementRadialNetwork if is_nonlinear else MaceRadial
        self.radial = network(settings, settings.radial_widths, generator)
        columns = shapes.product.n_paths * shapes.edge_channels
        self.last = random_matrix(self.radial.rows, columns, generator)
        self.before = _matrices(shapes.before, shapes.senders, generator)
        self.after = _matrices(shapes.messages, shapes.features, generator)
        if "density" in self.kind or is_nonlinear:
            self.density = network(settings, (DENSITY_WIDTH,) if is_nonlinear else (), generator)
            self.density_last = random_matrix(self.density.rows, 1, generator)
            self.density_weight = nn.Parameter(torch.tensor(1.0, dtype=torch.float32))
        if is_nonlinear:
            self.residual = _matrices(shapes.senders, shapes.features, generator)
            self.after_gates = _matrices(shapes.messages, shapes.gates, generator)
            self.residual_gates = _matrices(shapes.senders, shapes.gates, generator)
            self.turned = _matrices(shapes.features, shapes.features, generator)
        elements = len(settings.elements)
        sides = {"plain": (shapes.features, shapes.features), "density": (shapes.features, shapes.features)}
        source, target = sides.get(self.kind, (shapes.before, shapes.after))
        self.own = _matrices(source, target, generator, 0 if is_nonlinear else elements)
        self.contraction = self._contraction(elements if settings.contraction_by_element else 1, generator)
        self.products = _matrices(shapes.after, shapes.after, generator)

    def _contraction(self, sets: int, generator: torch.Generator) -> nn.ParameterDict:
        """Weights of polynomials by result and number of factors, (sets, polynomials, C)."""
        table, channels = self.shapes.polynomials, self.shapes.features[0].columns
        made = {}
        for result in table.results:
            for factors in table.orders:
                count = len(basis(table.irreps, factors, result))
                values = torch.randn(sets, count, channels, generator=generator, dtype=torch.float32)
                made[f"{result}_{factors}"] = nn.Parameter(values / max(count, 1))
        return nn.ParameterDict(made)

    def coefficients(self) -> Tensor:
        """Coefficients of the monomials of the symmetric contraction, (T, terms C)."""
        table, made = self.shapes.polynomials, []
        for result in table.results:
            for factors in table.orders:
                weights = self.contraction[f"{result}_{factors}"]
                values = torch.from_numpy(coefficients(table, result, factors)).to(weights)
                made.append(torch.einsum("tpc,pk->tkc", weights, values))
        return torch.cat(made, dim=1).flatten(1).expand(len(self.settings.elements), -1)


def _matrices(
    source: StateIrreps, target: StateIrreps, generator: torch.Generator, elements: int = 0
) -> nn.ParameterDict:
    """Matrices between the blocks of equal irrep, (rows, columns), or (elements, rows, columns)."""
    rows = {block.irrep: block.columns for block in source}
    made = {}
    for block in target:
        if block.irrep in rows:
            matrix = random_matrix(rows[block.irrep], block.columns * (elements or 1), generator)
            if elements:
                matrix = nn.Parameter(matrix.detach().view(-1, elements, block.columns).transpose(0, 1).contiguous())
            made[str(block.irrep)] = matrix
    return nn.ParameterDict(made)


def layer_steps(layer: MaceLayer, number: int, below: str, irreps_of: dict[str, StateIrreps]) -> Iterator[Step]:
    """Messages, their mixing, the symmetric contraction, and what of the state below is added.

    The state "ones" is one number 1 of each atom, of which densities are sums.
    """
    own, kind = layer.shapes, layer.kind
    senders, messages, features, products, states = (
        f"{name}{number}" for name in ("senders", "messages", "features", "products", "states")
    )
    irreps_of |= {senders: own.senders, messages: own.messages, features: own.features}
    irreps_of |= {products: own.after, states: own.after}
    by_kind = layer.settings.by_pair
    yield Mix(below, senders, f"before{number}")
    yield Contract(senders, messages, own.product, own.edge_channels, f"radial{number}", by_kind=by_kind)
    if kind == "nonlinear":
        yield from _nonlinear(layer, number, irreps_of)
    else:
        yield from _linear(layer, number, irreps_of)
    channels = own.features[0].columns
    yield ContractSymmetric(features, products, own.polynomials, channels, f"contraction{number}")
    yield Mix(products, states, f"products{number}")
    if kind == "nonlinear":
        yield Mix(below, states, f"own{number}")
    elif "residual" in kind:
        yield MixByElement(below, states, f"own{number}")


def _linear(layer: MaceLayer, number: int, irreps_of: dict[str, StateIrreps]) -> Iterator[Step]:
    """From messages to features; in the plain kinds mixed once more by element."""
    messages, mixed, features = f"messages{number}", f"mixed{number}", f"features{number}"
    is_plain, has_density = "residual" not in layer.kind, "density" in layer.kind
    states = [mixed] * (is_plain or has_density) + [f"divided{number}"] * (is_plain and has_density) + [features]
    irreps_of |= dict.fromkeys(states, layer.shapes.features)
    yield Mix(messages, states[0], f"after{number}")
    if has_density:
        yield _density(layer, number, irreps_of)
        yield Divide(states[0], f"density{number}", states[1])
    if is_plain:
        yield MixByElement(states[-2], features, f"own{number}")


def _nonlinear(layer: MaceLayer, number: int, irreps_of: dict[str, StateIrreps]) -> Iterator[Step]:
    """From messages to features through gates, with what neighbours see of the atom added before."""
    names = ("senders", "messages", "features", "density", "active")
    senders, messages, features, density, active = (f"{name}{number}" for name in names)
    targets = {"": layer.shapes.features} | ({"_gates": layer.shapes.gates} if layer.shapes.gates else {})
    yield _density(layer, number, irreps_of)
    for end, irreps in targets.items():
        raw, mixed = f"raw{end}{number}", f"mixed{end}{number}"
        irreps_of |= {raw: irreps, mixed: irreps}
        yield Mix(messages, raw, f"after{end}{number}")
        yield Divide(raw, density, mixed)
        yield Mix(senders, mixed, f"residual{end}{number}")
    irreps_of[active] = layer.shapes.features
    silu, sigmoid = ActivationFunction("silu", E3NN_SILU_GAIN), ActivationFunction("sigmoid", E3NN_SIGMOID_GAIN)
    functions = (silu, *[sigmoid] * (len(layer.shapes.features) - 1))
    yield Activate(f"mixed{number}", f"mixed_gates{number}" if layer.shapes.gates else "", active, functions)
    yield Mix(active, features, f"turned{number}")


def _density(layer: MaceLayer, number: int, irreps_of: dict[str, StateIrreps]) -> Contract:
    density = f"density{number}"
    irreps_of["ones"] = irreps_of[density] = (Block(SCALAR, 1),)
    table = product_table((SCALAR,), natural_irreps(layer.settings.max_degree), (SCALAR,))
    return Contract("ones", density, table, 1, density, by_kind=layer.settings.by_pair)


def layer_weights(layer: MaceLayer, number: int, weights: StepWeights) -> None:
    """Put the weights of one layer's steps among the others."""
    factor = 1.0 if hasattr(layer, "density") else 1 / layer.settings.average_neighbours
    settings = layer.settings
    weights.radial[f"radial{number}"] = _radial(weights_hidden(layer.radial), layer.last.double() * factor, settings)
    for name, module in layer.named_children():
        if isinstance(module, nn.ParameterDict) and name != "contraction":
            weights.matrices |= {f"{name}{number}_{irrep}": matrix for irrep, matrix in module.items()}
    weights.vectors[f"contraction{number}"] = layer.coefficients()
    if hasattr(layer, "density"):
        hidden = density_hidden(layer.density, layer.density_last)
        weights.radial[f"density{number}"] = _radial(hidden, layer.density_weight.double().view(1, 1), settings)


def _radial(hidden: Hidden, last: Tensor, settings: MaceSettings) -> Radial:
    """Radial weights of all kinds of edges; tables are as fine as pairs of some elements, small to large, need."""
    if not settings.by_pair:
        return Radial(hidden, _shared(last), same_hidden=True)
    count = len(settings.elements)
    by_size = sorted(range(count), key=lambda number: covalent_radii[atomic_numbers[settings.elements[number]]])
    places = sorted({round(place) for place in torch.linspace(0, count - 1, SAMPLED).tolist()})
    sampled = tuple(by_size[place] * (count + 1) for place in places)
    return Radial(hidden, _shared(last), sampled=sampled)


def _shared(last: Tensor) -> Callable[[list[int]], Tensor]:
    """The last matrix, the same for all kinds of edges."""
    return lambda kinds: last.expand(len(kinds), *last.shape)
