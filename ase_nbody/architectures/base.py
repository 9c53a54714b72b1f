"""What every architecture is: settings, a network from Graph to atomic energies, and presets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ase.data import atomic_numbers, chemical_symbols
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from ase_nbody.graph import Graph, sums_of_structures
from ase_nbody.kernels.sums import receiver_sums, sender_sums
from ase_nbody.nn.mixing import Mixing
from ase_nbody.steps.state_irreps import StateIrreps
from ase_nbody.timings import Timings


class NetworkSettings(BaseModel):
    """Settings that every architecture has. Frozen; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    elements: tuple[str, ...] = Field(description="chemical symbols the network knows, in the order of its weights")
    cutoff: float = Field(default=5.0, gt=0, description="largest distance between neighbours, angstrom")
    average_neighbours: float = Field(
        default=12.0,
        gt=0,
        description="mean number of neighbours in the training data; sums over neighbours are divided by its root",
    )

    @field_validator("elements")
    @classmethod
    def _known_symbols(cls, elements: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [e for e in elements if atomic_numbers.get(e, 0) < 1]
        if not elements or unknown:
            raise ValueError(f"elements must be chemical symbols such as 'H', not {unknown or elements}")
        if len(set(elements)) != len(elements):
            raise ValueError(f"elements must differ from each other: {elements}")
        return elements


def types_of_numbers(elements: Sequence[str]) -> Tensor:
    """Place of each atomic number among the elements, -1 where it is none of them, (119,) int64."""
    types = torch.full((len(chemical_symbols),), -1, dtype=torch.int64)
    types[[atomic_numbers[element] for element in elements]] = torch.arange(len(elements))
    return types


@dataclass(frozen=True)
class Gradients:
    """Atomic energies and the gradients of their sum, in units of the potential's energy scale.

    Attributes:
        energies: (N,).
        positions: gradients by positions, (N, 3), 1/angstrom.
        strain: by one symmetric strain of each structure, (B, 3, 3).
        vectors: by the vectors of the edges, (E, 3), 1/angstrom, where the graph brought its own.
        features: what the energies are read out of, (N, F): the scalars of `steps.features.atom_features` side by side,
            zero for atoms without neighbours, where they were asked for and this way hands them out.
    """

    energies: Tensor
    positions: Tensor
    strain: Tensor
    vectors: Tensor | None = None
    features: Tensor | None = None


def gradients_by_vectors(graph: Graph, energies: Tensor, vectors: Tensor, d_vectors: Tensor) -> Gradients:
    """Gradients by positions and strain from those by the vectors of the edges.

    A vector is that from the receiver to the sender, and a symmetric strain acts on all of them.

    Args:
        graph: whose edges they are.
        energies: passed on, (N,).
        vectors: (E, 3), angstrom.
        d_vectors: gradients by them, (E, 3), 1/angstrom.
    """
    d_positions = sender_sums(d_vectors, graph.edges) - receiver_sums(d_vectors, graph.edges)
    outer = vectors.unsqueeze(2) * d_vectors.unsqueeze(1)  # (E, 3, 3)
    d_strain = sums_of_structures(receiver_sums(outer, graph.edges), graph)
    return Gradients(energies, d_positions, 0.5 * (d_strain + d_strain.transpose(1, 2)))


@dataclass(frozen=True)
class Work:
    """What a part of an evaluation must do.

    Attributes:
        multiply_adds: of numbers; an addition alone counts nothing, a multiplication alone as much.
        bytes: of the arrays of atoms and edges that it reads and writes, each counted once; weights and tables stay in
            caches and count nothing.
    """

    multiply_adds: float
    bytes: float


class LevelsOfTheory(nn.Module):
    """Values of some of a network's parameters at the levels of theory after the first, whose are the network's own.

    Args:
        names: of the parameters.
        values: of these parameters, by level.
    """

    def __init__(self, names: tuple[str, ...], values: Sequence[Sequence[Tensor]]) -> None:
        super().__init__()
        self.names = names
        self.values = nn.ParameterList(nn.Parameter(value) for level in values for value in level)

    @property
    def n_levels(self) -> int:
        """Number of levels, the first among them."""
        return 1 + len(self.values) // len(self.names)

    def of_level(self, number: int) -> list[nn.Parameter]:
        """Values of a level after the first, in the order of the names."""
        start = (number - 1) * len(self.names)
        return list(self.values)[start : start + len(self.names)]


class Network(nn.Module, ABC):
    """A graph's atomic energies, without units, reference energies or forces.

    The energy of an atom without neighbours is zero. Energies depend on `graph.positions` and `graph.cell`
    through edge vectors only, so one autograd call gives forces and stress.
    """

    settings: NetworkSettings
    theory: LevelsOfTheory | None
    """Where it has several levels of theory; see `architectures.theory`."""
    invariant_under_reflection: bool = True
    """Whether mirror images have the same energy."""
    has_smooth_slopes: bool = True
    """Whether second derivatives of the energy have no jumps, as they have where an envelope sets in abruptly."""

    def __init__(self) -> None:
        super().__init__()
        self.theory = None

    @abstractmethod
    def forward(self, graph: Graph) -> Tensor:
        """Atomic energies, (N,), in units of the potential's energy scale."""

    def gradients(self, graph: Graph, timings: Timings, *, features: bool = False) -> Gradients | None:
        """Energies and gradients without autograd, where an architecture has a faster way; None where it has not.

        Where the graph brings vectors of its own, gradients by them are wanted, and those by positions and strain are
        not used.

        Args:
            graph: structures.
            timings: where to add the time of the parts.
            features: `Gradients.features` are wanted too. Energies and gradients stay the same bit for bit; a way that
                makes no features leaves them None.
        """
        return None

    def gradients_with_readouts(
        self, graph: Graph, readouts: Mapping[str, Tensor], timings: Timings
    ) -> Gradients | None:
        """As `gradients`, with other values of all linear readouts, by name; None where there is no faster way."""
        return None

    def trainable_gradients(self, graph: Graph) -> Gradients | None:
        """Energies and gradients that can be differentiated once by the network's parameters, likewise."""
        return None

    def mixing_matrices(self) -> list[nn.Parameter]:
        """Matrices (rows, columns) that mix channels, which an optimizer may step along as wholes."""
        return [weight for module in self.modules() if isinstance(module, Mixing) for weight in module.weights.values()]

    def linear_readouts(self) -> list[nn.Parameter]:
        """Parameters that the energies are a linear function of, all of them together; none where that is not known."""
        return []

    def named_readouts(self) -> dict[str, nn.Parameter]:
        """The linear readouts by their names, in the same order."""
        names = {id(parameter): name for name, parameter in self.named_parameters()}
        return {names[id(readout)]: readout for readout in self.linear_readouts()}

    def with_elements(self, nearest: Mapping[str, str]) -> Network | None:
        """A network that knows more elements, whose weights begin as those of known ones; None where there is no way.

        Args:
            nearest: known element by new element.
        """
        return None

    def read_out_irreps(self) -> list[StateIrreps]:
        """Shapes of the states that energies are read out of, level by level; none where there are no such states."""
        return []

    def read_out_states(self, graph: Graph) -> list[tuple[Tensor, ...]]:
        """These states of all atoms, as they are read out: blocks (N, 2l + 1, columns) of each."""
        raise NotImplementedError(f"{type(self).__name__} has no states that energies are read out of")

    def readout_features(self, graph: Graph, tangents: Sequence[Tensor]) -> Iterator[Tensor]:
        """Derivatives of each structure's energy by the linear readouts, (B, readouts), and their tangents.

        Args:
            graph: structures.
            tangents: of the vectors of the edges, (E, 3) each, angstrom; one more item comes for each.
        """
        raise NotImplementedError(f"{type(self).__name__} has no linear readouts")

    @property
    def n_invariants(self) -> int:
        """Number of `atom_invariants`; 0 where there are none."""
        return 0

    def atom_invariants(self, graph: Graph) -> Tensor:
        """Invariant features of all atoms that energies are read out of, level by level, (N, F)."""
        raise NotImplementedError(f"{type(self).__name__} has no features that energies are read out of")

    def work(self, graph: Graph) -> Mapping[str, Work] | None:
        """What the parts of `gradients` do for a graph without edges beyond the cutoff; None where it is not known."""
        return None


@dataclass(frozen=True)
class Architecture:
    """An entry of the registry.

    Attributes:
        name: the word after `--architecture`.
        source: the publication it follows.
        settings: its settings class.
        network: its network class, built from a settings object and a torch.Generator.
        presets: settings of "small", "medium" and "large".
    """

    name: str
    source: str
    settings: type[NetworkSettings]
    network: type[Network]
    presets: Mapping[str, Mapping[str, Any]]
