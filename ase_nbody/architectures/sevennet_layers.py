"""What a SevenNet network is made of: settings, the parameters of its layers, and the steps of a layer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from ase_nbody.algebra import Irrep, Irreps, ProductTable, natural_irreps, product_table
from ase_nbody.architectures.base import NetworkSettings
from ase_nbody.architectures.nequip_steps import gate_functions
from ase_nbody.architectures.stepped import radial
from ase_nbody.nn.mixing import random_matrix
from ase_nbody.nn.nequip_layers import SCALARS
from ase_nbody.steps import Activate, Block, Contract, Embed, Mix, StateIrreps, Step, StepWeights
from ase_nbody.steps.dual_perceptron import PerceptronLayers
from ase_nbody.steps.radial import RadialNetwork
from ase_nbody.steps.state_irreps import parse_state_irreps
from ase_nbody.steps.weights import Hidden

_SCALAR = SCALARS[0]


class SevenNetSettings(NetworkSettings):
    """Settings of a SevenNet network."""

    states: tuple[str, ...] = Field(
        default=("64x0e", "64x0e+32x1o+16x2e", "64x0e+32x1o+16x2e", "64x0e"),
        min_length=2,
        description="irreps of the states before the first layer and after each, invariant ones first",
    )
    max_degree: int = Field(default=2, ge=0, le=4, description="highest degree of the harmonics")
    parity: bool = Field(
        default=True, description="harmonics 0e, 1o, 2e, ...; else 0e, 1e, 2e, ...: mirror images differ"
    )
    unit_vectors: bool = Field(
        default=True, description="harmonics of unit vectors; else of relative vectors in angstrom, times r^l"
    )
    bessel_functions: int = Field(default=8, ge=1, description="radial basis functions, with trained roots")
    radial_widths: tuple[int, ...] = Field(default=(64, 64), description="widths of the radial networks")
    envelope: Literal["polynomial", "xplor"] = Field(default="polynomial", description="cutoff envelope")
    envelope_power: int = Field(default=6, ge=3, description="power of the polynomial envelope")
    envelope_start: float | None = Field(
        default=None, gt=0, description="distance from which on the XPLOR envelope falls, angstrom"
    )
    biases: bool = Field(default=False, description="constants are added before and after messages")

    @field_validator("states")
    @classmethod
    def _readable(cls, states: tuple[str, ...]) -> tuple[str, ...]:
        for text in states:
            irreps = [block.irrep for block in parse_state_irreps(text)]
            if irreps[0] != _SCALAR or len(set(irreps)) < len(irreps):
                raise ValueError(f"states must begin with 0e and name each irrep once, as '64x0e+32x1o', not {text!r}")
        for text in (states[0], states[-1]):
            if len(parse_state_irreps(text)) > 1:
                raise ValueError(f"the first and the last states are invariant, as '64x0e', not {text!r}")
        return states


def _harmonics(settings: SevenNetSettings) -> Irreps:
    natural = natural_irreps(settings.max_degree)
    return natural if settings.parity else tuple(Irrep(irrep.degree, 1) for irrep in natural)


class SevenNetLayer(nn.Module):
    """Parameters of one layer.

    Args:
        settings: of the network.
        irreps: of the states before and after it.
        generator: source of the initial weights, of variance 1 / rows.
    """

    def __init__(
        self, settings: SevenNetSettings, irreps: tuple[StateIrreps, StateIrreps], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.irreps, self.irreps_out = irreps
        gated = [block for block in self.irreps_out if block.irrep.degree > 0]
        self.gates: StateIrreps = (Block(_SCALAR, sum(block.columns for block in gated)),) if gated else ()
        wanted = tuple(block.irrep for block in self.irreps_out)
        harmonics = _harmonics(settings)
        self.sources = tuple(block for block in self.irreps if _leads_to(block.irrep, harmonics, wanted))
        self.tables: dict[Irrep, ProductTable] = {
            block.irrep: product_table((block.irrep,), harmonics, wanted) for block in self.sources
        }
        columns = {block.irrep: self.tables[block.irrep].n_paths * block.columns for block in self.sources}
        widths = (settings.bessel_functions, *settings.radial_widths)
        self.hidden = nn.ParameterList(random_matrix(a, b, generator) for a, b in pairwise(widths))
        self.last = nn.ParameterDict({str(i): random_matrix(widths[-1], n, generator) for i, n in columns.items()})
        self.before = nn.ParameterDict(
            {str(b.irrep): random_matrix(b.columns, b.columns, generator) for b in self.sources}
        )
        self.after = nn.ParameterDict()
        for block in self.sources:
            table = self.tables[block.irrep]
            for irrep, paths in zip(table.output_irreps, table.output_multiplicities, strict=True):
                self.after[f"{block.irrep}_{irrep}"] = random_matrix(
                    paths * block.columns, self.width(irrep), generator
                )
        own = {b.irrep: b.columns for b in self.irreps if b.irrep in wanted}
        self.own = nn.ParameterDict({str(i): random_matrix(n, self.width(i), generator) for i, n in own.items()})
        self.has_biases = settings.biases
        if settings.biases:
            self.before_bias = nn.Parameter(torch.zeros(self.irreps[0].columns, dtype=torch.float32))
            self.after_bias = nn.Parameter(torch.zeros(self.width(_SCALAR), dtype=torch.float32))

    def width(self, irrep: Irrep) -> int:
        """Columns of an irrep after the layer, those of the gates behind the even scalars."""
        columns = next(block.columns for block in self.irreps_out if block.irrep == irrep)
        return columns + sum(block.columns for block in self.gates) * (irrep == _SCALAR)


def _leads_to(irrep: Irrep, harmonics: Irreps, wanted: Irreps) -> bool:
    """Whether the products with harmonics contain an irrep that is wanted."""
    return any(made in wanted for harmonic in harmonics for made in irrep.products(harmonic))


def layer_steps(
    layer: SevenNetLayer, number: int, below: str, irreps_of: dict[str, StateIrreps], *, biases: bool
) -> Iterator[Step]:
    """One layer: a contraction for each irrep of the states, since they have different channels."""
    mixed, states, gates = f"mixed{number}", f"states{number}", f"gates{number}" if layer.gates else ""
    irreps_of[mixed] = irreps_of[states] = layer.irreps_out
    if gates:
        irreps_of[gates] = layer.gates
    targets = {"after": mixed, "after_gates": gates} if gates else {"after": mixed}
    sources = {block: (f"senders{number}_{block.irrep}", f"messages{number}_{block.irrep}") for block in layer.sources}
    for block, (senders, _) in sources.items():
        irreps_of[senders] = (block,)
        yield Mix(below, senders, f"before{number}")
        if biases and block.irrep == _SCALAR:
            yield Embed(senders, f"before_bias{number}")
    for block, (senders, messages) in sources.items():
        table, columns = layer.tables[block.irrep], block.columns
        paths = zip(table.output_irreps, table.output_multiplicities, strict=True)
        irreps_of[messages] = tuple(Block(irrep, columns * count) for irrep, count in paths)
        yield Contract(senders, messages, table, columns, f"radial{number}_{block.irrep}", by_kind=False)
    for block, (_, messages) in sources.items():
        for name, target in targets.items():
            if name == "after" or _SCALAR in layer.tables[block.irrep].output_irreps:
                yield Mix(messages, target, f"{name}{number}_{block.irrep}")
    for name, target in targets.items():
        yield Mix(below, target, f"{name.replace('after', 'own')}{number}")
        if biases:
            yield Embed(target, f"{name}_bias{number}")
    yield Activate(mixed, gates, states, gate_functions(tuple(block.irrep for block in layer.irreps_out)))


def layer_weights(
    layer: SevenNetLayer, number: int, weights: StepWeights, hidden: Hidden, layers: PerceptronLayers, factor: Tensor
) -> None:
    """Put the weights of one layer's steps among the others.

    `hidden` and `layers` are its hidden layers, and `factor` multiplies its messages.
    """
    n_types = round(len(weights.kind_of_pair) ** 0.5)
    scalars = layer.irreps_out[0].columns
    for block in layer.sources:
        irrep = str(block.irrep)
        last: Tensor = layer.last[irrep]
        if layers.powers > 1:
            last = _by_degree(last, layer.tables[block.irrep], layers.powers)
        network = RadialNetwork(layers, last, factor)
        weights.radial[f"radial{number}_{irrep}"] = radial(hidden, network, same_hidden=True)
        weights.matrices[f"before{number}_{irrep}"] = layer.before[irrep]
    for name, matrix in layer.after.items():
        source, _, irrep = name.partition("_")
        _put(weights, f"after{{}}{number}_{source}", irrep, matrix, scalars)
    for irrep, matrix in layer.own.items():
        _put(weights, f"own{{}}{number}", irrep, matrix, scalars)
    if layer.has_biases:
        weights.vectors[f"before_bias{number}"] = layer.before_bias.expand(n_types, -1)
        weights.vectors[f"after_bias{number}"] = layer.after_bias[:scalars].expand(n_types, -1)
        weights.vectors[f"after_gates_bias{number}"] = layer.after_bias[scalars:].expand(n_types, -1)


def _by_degree(last: Tensor, table: ProductTable, powers: int) -> Tensor:
    """The last matrix for hidden layers times r^0, r^1, ...: a path takes the power that is its harmonics' degree."""
    degrees = torch.tensor([table.second_irreps[path.second].degree for path in table.paths])
    degrees = degrees.repeat_interleave(last.shape[1] // table.n_paths)
    chosen = functional.one_hot(degrees, powers).T.to(last)  # (powers, paths C)
    return (chosen.unsqueeze(1) * last).flatten(0, 1)


def _put(weights: StepWeights, name: str, irrep: str, matrix: Tensor, scalars: int) -> None:
    """A matrix to states, and where it is one to invariants, its columns of the gates apart."""
    is_scalar = irrep == str(_SCALAR)
    weights.matrices[f"{name.format('')}_{irrep}"] = matrix[:, :scalars] if is_scalar else matrix
    if is_scalar and matrix.shape[1] > scalars:
        weights.matrices[f"{name.format('_gates')}_{irrep}"] = matrix[:, scalars:]
