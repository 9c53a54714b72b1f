"""SevenNet: NequIP with other numbers of channels for each irrep (Park et al. 2024, doi 10.1021/acs.jctc.4c00190).

Equations and normalisations are those of the package `sevenn` 0.13, so that its weights can be taken over
(`nbody import sevennet`). The network is its list of steps: autograd follows their torch functions, the compiled
evaluation their code. Energies are counted from those of isolated atoms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ase_nbody.architectures.base import Architecture, Gradients, Work, types_of_numbers
from ase_nbody.architectures.evaluation import CompiledEvaluation
from ase_nbody.architectures.sevennet_layers import (
    SevenNetLayer,
    SevenNetSettings,
    layer_steps,
    layer_weights,
)
from ase_nbody.architectures.stepped import SteppedNetwork
from ase_nbody.graph import Graph
from ase_nbody.math.radial import smooth_envelope
from ase_nbody.nn.active_edges import active_edges
from ase_nbody.nn.mixing import random_matrix
from ase_nbody.nn.nequip_layers import E3NN_SILU_GAIN
from ase_nbody.steps import Description, Embed, Readout, StateIrreps, Step, StepWeights
from ase_nbody.steps.dual_perceptron import PerceptronLayers, SlopedEnvelope, sloped_polynomial
from ase_nbody.steps.forward import atomic_energies, isolated_energies
from ase_nbody.steps.readout import Shift
from ase_nbody.steps.state_irreps import parse_state_irreps
from ase_nbody.steps.weights import Hidden
from ase_nbody.timings import Timings

SINGLE_TABLES = (5, 1e-6)
"""Degree and accuracy in float32. With cubic splines to 1e-6, as elsewhere, whose slopes are worse, forces of 11
eV/angstrom had errors of 3e-5; with these of 1e-5 (SevenNet-0) and 2e-5 (l3i5), where autograd has 1e-5. Finer grids
lose to rounding: neighbouring coefficients are nearly equal."""


class SevenNetNetwork(SteppedNetwork):
    """Element embeddings, interaction layers, and a linear readout.

    Args:
        settings: of the network.
        generator: source of the initial weights.
    """

    energy_scales: Tensor
    message_factors: Tensor
    invariant_under_reflection = False

    def __init__(self, settings: SevenNetSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings: SevenNetSettings = settings
        self.has_smooth_slopes = settings.envelope != "xplor"
        elements, irreps = len(settings.elements), [parse_state_irreps(text) for text in settings.states]
        self.register_buffer("type_of_number", types_of_numbers(settings.elements), persistent=False)
        self.register_buffer("energy_scales", torch.ones(elements, dtype=torch.float32))
        embedding = torch.randn(elements, irreps[0][0].columns, generator=generator, dtype=torch.float32)
        self.embedding = nn.Parameter(embedding)
        orders = torch.arange(1, settings.bessel_functions + 1, dtype=torch.float32)
        self.roots = nn.Parameter(orders * (math.pi / settings.cutoff))
        self.layers = nn.ModuleList(SevenNetLayer(settings, pair, generator) for pair in pairwise(irreps))
        factor = torch.tensor(settings.average_neighbours**-0.5, dtype=torch.float32)
        self.register_buffer("message_factors", factor.repeat(len(self.layers)))
        self.readout = random_matrix(irreps[-1][0].columns, 1, generator)
        self._evaluation = CompiledEvaluation()

    def forward(self, graph: Graph) -> Tensor:
        """Atomic energies, (N,)."""
        types = self.type_of_number[graph.atomic_numbers]
        edges = active_edges(graph, self.settings.cutoff)
        vectors = edges.distances, edges.directions
        return atomic_energies(self.description(), self.step_weights(), types, edges.pairs, vectors)

    def description(self) -> Description:
        """Its steps."""
        return self._described(Shift("isolated"))

    def _described(self, *more: Step) -> Description:
        """The interaction and more steps."""
        settings, irreps_of = self.settings, dict[str, StateIrreps]()
        steps = (*self._interaction(irreps_of), *more)
        breaks = (settings.envelope_start or 0.0,) if settings.envelope == "xplor" else ()
        n_types = len(settings.elements)
        power: Literal[1, 2] = 1 if breaks else 2  # roots of breaks are at no knots
        return Description(tuple(irreps_of.items()), steps, n_types, settings.max_degree, breaks, SINGLE_TABLES, power)

    def _interaction(self, irreps_of: dict[str, StateIrreps]) -> Iterator[Step]:
        """All steps but that which takes off the energies of isolated atoms; adds the irreps of states."""
        irreps_of["leaves"] = parse_state_irreps(self.settings.states[0])
        yield Embed("leaves", "embedding")
        below = "leaves"
        for number, layer in enumerate(self._layers()):
            yield from layer_steps(layer, number, below, irreps_of, biases=self.settings.biases)
            below = f"states{number}"
        yield Readout(below, "energies")

    def _layers(self) -> list[SevenNetLayer]:
        return [layer for layer in self.layers if isinstance(layer, SevenNetLayer)]

    def step_weights(self, elements: Iterable[int] | None = None) -> StepWeights:
        """Weights of these steps. Edges are of as many kinds as there are elements of senders."""
        n_types = len(self.settings.elements)
        weights = StepWeights(torch.arange(n_types**2, device=self.embedding.device) % n_types)
        powers, envelope = 1 if self.settings.unit_vectors else self.settings.max_degree + 1, self._sloped_envelope()
        weights.vectors["embedding"] = self.embedding
        weights.vectors["energies"] = self.energy_scales.unsqueeze(1) * self.readout[:, 0]
        for number, layer in enumerate(self._layers()):
            layers = PerceptronLayers(
                self.roots, self.settings.cutoff, envelope, list(layer.hidden), gain=E3NN_SILU_GAIN, powers=powers
            )
            layer_weights(layer, number, weights, self._hidden(layer), layers, self.message_factors[number])
        isolated = isolated_energies(self._described(), weights, self.embedding, elements)
        weights.vectors["isolated"] = -isolated.unsqueeze(1)
        return weights

    def _sloped_envelope(self) -> SlopedEnvelope:
        """The envelope with its slope."""
        settings = self.settings
        if settings.envelope == "xplor":
            return lambda r: _sloped_xplor(r, settings.envelope_start or 0.0, settings.cutoff)
        return sloped_polynomial(settings.cutoff, settings.envelope_power)

    def _hidden(self, layer: SevenNetLayer) -> Hidden:
        """The last hidden layer of a radial network, the same for all kinds of edges."""
        settings = self.settings

        def hidden(distances: Tensor, kinds: list[int], piece: int) -> Tensor:
            r, roots = distances.unsqueeze(1), self.roots.double()
            values = roots * (2 / settings.cutoff) * torch.sinc(r * roots / math.pi)  # 2 sin(k r) / (c r)
            values = values * _envelope(r, settings, piece)
            for matrix in layer.hidden:
                values = functional.silu(values @ matrix.double()) * E3NN_SILU_GAIN
            if not settings.unit_vectors:
                values = torch.cat([values * r**degree for degree in range(settings.max_degree + 1)], dim=1)
            return values.unsqueeze(1).expand(-1, len(kinds), -1)

        return hidden

    def gradients(self, graph: Graph, timings: Timings, *, features: bool = False) -> Gradients | None:
        """Energies and gradients by compiled phases on the CPU."""
        on_cpu = self.embedding.device.type == "cpu"
        return self._evaluation(self, graph, timings, features=features) if on_cpu else None

    def gradients_with_readouts(
        self, graph: Graph, readouts: Mapping[str, Tensor], timings: Timings
    ) -> Gradients | None:
        """The same phases with other readouts."""
        if not (self.embedding.device.type == "cpu"):
            return None
        return self._evaluation.with_readouts(self, graph, readouts, timings)

    def linear_readouts(self) -> list[nn.Parameter]:
        """The readout."""
        return [self.readout]

    def work(self, graph: Graph) -> Mapping[str, Work] | None:
        """What each phase multiplies and touches."""
        return self._evaluation.work(self, graph) if self.embedding.device.type == "cpu" else None


def _envelope(r: Tensor, settings: SevenNetSettings, piece: int) -> Tensor:
    """Of distances (angstrom): polynomial, or 1 and then, in the second piece, HOOMD's XPLOR polynomial."""
    if settings.envelope == "polynomial":
        return smooth_envelope(r, settings.cutoff, settings.envelope_power)
    if piece == 0:
        return torch.ones_like(r)
    return _xplor(r, settings.envelope_start or 0.0, settings.cutoff)


def _xplor(r: Tensor, start: float, cutoff: float) -> Tensor:
    """HOOMD's XPLOR polynomial of distances from `start` on, angstrom."""
    squared, begin, end = r.square(), start**2, cutoff**2
    return (end - squared) ** 2 * (end + 2 * squared - 3 * begin) / (end - begin) ** 3


def _sloped_xplor(r: Tensor, start: float, cutoff: float) -> tuple[Tensor, Tensor]:
    """HOOMD's XPLOR envelope up to the cutoff, and its slope, 1/angstrom."""
    squared, begin, end = r.square(), start**2, cutoff**2
    slopes = 12 * r * (end - squared) * (begin - squared) / (end - begin) ** 3
    inside = r < start
    return torch.where(inside, 1.0, _xplor(r, start, cutoff)), torch.where(inside, 0.0, slopes)


ARCHITECTURE = Architecture(
    name="sevennet",
    source="Park et al. 2024, SevenNet, doi 10.1021/acs.jctc.4c00190",
    settings=SevenNetSettings,
    network=SevenNetNetwork,
    presets={
        "small": {"states": ("32x0e", "32x0e+16x1o", "32x0e"), "max_degree": 1},
        "medium": {},
        "large": {"states": ("128x0e", *("128x0e+64x1o+32x2e",) * 4, "128x0e")},
    },
)
