"""MACE: messages whose symmetric products are states of many bodies (Batatia et al. 2022, arXiv:2206.07697).

Equations and normalisations are those of the package mace-torch 0.3.16, so that its weights can be taken over
(`nbody import mace`). The network is its list of steps: autograd follows their torch functions, the compiled
evaluation their code. Energies are counted from those of isolated atoms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from ase_nbody.architectures.base import Architecture, Gradients, Work, types_of_numbers
from ase_nbody.architectures.evaluation import CompiledEvaluation
from ase_nbody.architectures.mace_layers import MaceLayer, layer_steps, layer_weights
from ase_nbody.architectures.mace_repulsion import repulsion_energies, with_repulsion
from ase_nbody.architectures.mace_settings import SCALAR, MaceSettings
from ase_nbody.architectures.stepped import SteppedNetwork
from ase_nbody.graph import Graph
from ase_nbody.nn.active_edges import active_edges
from ase_nbody.nn.mixing import random_matrix
from ase_nbody.nn.nequip_layers import E3NN_SILU_GAIN
from ase_nbody.steps import (
    Activate,
    ActivationFunction,
    Block,
    Description,
    Embed,
    Mix,
    Readout,
    StateIrreps,
    Step,
    StepWeights,
)
from ase_nbody.steps.forward import atomic_energies, isolated_energies
from ase_nbody.steps.readout import Shift
from ase_nbody.timings import Timings

SINGLE_TABLES = (5, 1e-8)
"""Products of three sums of radial functions have three times their errors: with cubic splines to 1e-6, as elsewhere,
forces of 5 eV/angstrom had errors of 9e-5 in float32, with these of 7e-6, as by autograd."""


class MaceNetwork(SteppedNetwork):
    """Element embeddings, layers of messages and symmetric contractions, and a readout of each.

    Args:
        settings: of the network.
        generator: source of the initial weights.
    """

    energy_scales: Tensor

    def __init__(self, settings: MaceSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings: MaceSettings = settings
        elements = len(settings.elements)
        self.register_buffer("type_of_number", types_of_numbers(settings.elements), persistent=False)
        self.register_buffer("energy_scales", torch.ones(elements, dtype=torch.float32))
        self.layers = nn.ModuleList(MaceLayer(settings, number, generator) for number in range(settings.layers))
        channels, width = self._layers()[0].shapes.before[0].columns, settings.readout_width
        self.embedding = nn.Parameter(torch.randn(elements, channels, generator=generator, dtype=torch.float32))
        linear = settings.layers - 1 if settings.readout_of_all_layers else 0
        self.readouts = nn.ParameterList(random_matrix(channels, 1, generator) for _ in range(linear))
        self.inner = random_matrix(channels, width, generator)
        if settings.readout_depth == 2:
            self.middle = random_matrix(width, width, generator)
            self.middle_constants = nn.Parameter(torch.zeros(width, dtype=torch.float32))
        self.outer = random_matrix(width, 1, generator)
        self._evaluation = CompiledEvaluation()

    def forward(self, graph: Graph) -> Tensor:
        """Atomic energies, (N,)."""
        types = self.type_of_number[graph.atomic_numbers]
        edges = active_edges(graph, self.settings.cutoff)
        vectors = edges.distances, edges.directions
        energies = atomic_energies(self.description(), self.step_weights(), types, edges.pairs, vectors)
        if self.settings.repulsion:
            energies = energies + repulsion_energies(graph, self.settings.envelope_power).to(energies.dtype)
        return energies

    def description(self) -> Description:
        """Its steps."""
        return self._described(Shift("isolated"))

    def _described(self, *more: Step) -> Description:
        """The interaction and more steps."""
        settings, irreps_of = self.settings, dict[str, StateIrreps]()
        steps = (*self._interaction(irreps_of), *more)
        return Description(
            states=tuple(irreps_of.items()),
            steps=steps,
            n_types=len(settings.elements),
            max_degree=settings.max_degree,
            single_tables=SINGLE_TABLES,
            power=1 if settings.distance_transform == "none" else 2,
        )

    def _interaction(self, irreps_of: dict[str, StateIrreps]) -> Iterator[Step]:
        """All steps but that which takes off the energies of isolated atoms; adds the irreps of states."""
        layers = self._layers()
        irreps_of["leaves"] = layers[0].shapes.before
        yield Embed("leaves", "embedding")
        if any(hasattr(layer, "density") for layer in layers):
            irreps_of["ones"] = (Block(SCALAR, 1),)
            yield Embed("ones", "ones")
        below = "leaves"
        for number, layer in enumerate(layers):
            yield from layer_steps(layer, number, below, irreps_of)
            below = f"states{number}"
            if number < len(self.readouts):
                yield Readout(below, f"energies{number}")
        yield from self._last_readout(below, irreps_of)

    def _last_readout(self, source: str, irreps_of: dict[str, StateIrreps]) -> Iterator[Step]:
        functions, states = (ActivationFunction("silu", E3NN_SILU_GAIN),), source
        for name in ("inner", "middle")[: self.settings.readout_depth]:
            active = f"{name}_active"
            irreps_of[name] = irreps_of[active] = (Block(SCALAR, self.settings.readout_width),)
            yield Mix(source, name, name)
            if name == "middle":
                yield Embed(name, "middle_constants")
            yield Activate(name, "", active, functions)
            source = active
        yield Readout(source, "energies", hidden_from=states)

    def _layers(self) -> list[MaceLayer]:
        return [layer for layer in self.layers if isinstance(layer, MaceLayer)]

    def step_weights(self, elements: Iterable[int] | None = None) -> StepWeights:
        """Weights of these steps. Edges are of as many kinds as there are elements of senders, or pairs of elements."""
        count = len(self.settings.elements)
        pairs = torch.arange(count**2, device=self.embedding.device)
        weights = StepWeights(pairs if self.settings.by_pair else pairs % count)
        scales = self.energy_scales.unsqueeze(1)
        weights.vectors["embedding"] = self.embedding
        weights.vectors["ones"] = torch.ones_like(scales)
        for number, layer in enumerate(self._layers()):
            layer_weights(layer, number, weights)
        for number, readout in enumerate(self.readouts):
            weights.vectors[f"energies{number}"] = scales * readout[:, 0]
        weights.matrices[f"inner_{SCALAR}"] = self.inner
        if self.settings.readout_depth == 2:
            weights.matrices[f"middle_{SCALAR}"] = self.middle
            weights.vectors["middle_constants"] = self.middle_constants.expand(count, -1)
        weights.vectors["energies"] = scales * self.outer[:, 0]
        isolated = isolated_energies(self._described(), weights, self.embedding, elements)
        weights.vectors["isolated"] = -isolated.unsqueeze(1)
        return weights

    def gradients(self, graph: Graph, timings: Timings, *, features: bool = False) -> Gradients | None:
        """Energies and gradients by compiled phases on the CPU."""
        if self.embedding.device.type != "cpu":
            return None
        found = self._evaluation(self, graph, timings, features=features)
        return with_repulsion(found, graph, self.settings.envelope_power) if self.settings.repulsion else found

    def gradients_with_readouts(
        self, graph: Graph, readouts: Mapping[str, Tensor], timings: Timings
    ) -> Gradients | None:
        """The same phases with other readouts."""
        if self.embedding.device.type != "cpu":
            return None
        found = self._evaluation.with_readouts(self, graph, readouts, timings)
        return with_repulsion(found, graph, self.settings.envelope_power) if self.settings.repulsion else found

    def linear_readouts(self) -> list[nn.Parameter]:
        """The last matrix of each layer's readout; a repulsion inside the network stays as it is."""
        return [*self.readouts, self.outer]

    def work(self, graph: Graph) -> Mapping[str, Work] | None:
        """What each phase multiplies and touches."""
        return self._evaluation.work(self, graph) if self.embedding.device.type == "cpu" else None


ARCHITECTURE = Architecture(
    name="mace",
    source="Batatia et al. 2022, MACE, arXiv:2206.07697",
    settings=MaceSettings,
    network=MaceNetwork,
    presets={
        "small": {"states": "32x0e", "max_degree": 2, "radial_widths": (32, 32)},
        "medium": {},
        "large": {"states": "128x0e+128x1o"},
    },
)
