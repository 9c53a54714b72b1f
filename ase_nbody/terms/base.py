"""What every term of a potential is: atomic energies in eV, and how far apart the atoms are that it acts between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from pydantic import BaseModel
from torch import Tensor
from torch.nn import Parameter

from ase_nbody.architectures.base import Gradients, gradients_by_vectors
from ase_nbody.contacts import Table
from ase_nbody.graph import Graph, edge_vectors
from ase_nbody.predictions import Predicted, Property
from ase_nbody.timings import Timings


class EnergyTerm(ABC):
    """One summand of a potential's energy; it may wrap another one, to act on it.

    `atomic_energies` and `cutoff` are enough: autograd makes gradients, the Hessian and training of them. Tensors that
    a term needs are made on the graph's device and in its dtype. Energies depend on positions and cell through
    `edge_vectors(graph)` or `graph.positions`.

    Attributes:
        constant: the energies do not change with positions and cell, so that there are no gradients.
    """

    constant: bool = False

    @property
    @abstractmethod
    def cutoff(self) -> float:
        """Largest distance of edges that it acts over, angstrom; graphs have longer ones too, which give nothing."""

    @property
    def contact_limits(self) -> Table | None:
        """Distances below which edges are to be among the graph's contacts; None where it asks for none."""
        return None

    @abstractmethod
    def atomic_energies(self, graph: Graph) -> Tensor:
        """Energies of the atoms, (N,) float64, eV, differentiable by positions, cell and the graph's own vectors."""

    def gradients(self, graph: Graph, timings: Timings) -> Gradients | None:
        """Energies and gradients in eV without autograd, where there is a faster way; None where there is not.

        Where the graph brings vectors of its own, gradients by them are wanted, and the others are not used.
        """
        return None

    def trainable_gradients(self, graph: Graph) -> Gradients | None:
        """Energies and gradients in eV that can be differentiated once by the network's parameters, likewise."""
        return None

    def with_parameters(self, parameters: Mapping[str, Tensor]) -> EnergyTerm:
        """The term with other values of a network's parameters, by name; itself where it has no network."""
        return self

    def with_features(self) -> EnergyTerm:
        """The term whose `gradients` have the network's features too, where its way hands them out."""
        return self

    @property
    def learnt_parameters(self) -> dict[str, Parameter]:
        """What a training changes in it, by name; of terms beside the network, which a training knows."""
        return {}

    @property
    def properties(self) -> tuple[Property, ...]:
        """What it predicts beside energies and their gradients."""
        return ()

    def further_predictions(self, graph: Graph) -> tuple[Predicted, ...]:
        """Values of its `properties`, in their order."""
        return ()


@dataclass(frozen=True)
class TermKind:
    """An entry of the registry: how model files hold a term.

    Attributes:
        name: in the header of the file.
        settings: settings class; a term has its settings as its attribute `settings`.
        term: class of the term, built from its settings alone.
    """

    name: str
    settings: type[BaseModel]
    term: type[SavedTerm]


class SavedTerm(EnergyTerm):
    """A term that is made of nothing but settings, so that a model file can hold it.

    Args:
        settings: frozen.
    """

    def __init__(self, settings: BaseModel) -> None:
        self.settings = settings


def differentiated(term: EnergyTerm, graph: Graph, *, differentiable: bool) -> Gradients:
    """Energies and gradients of a term by autograd: by the vectors of the edges and by positions, eV and eV/angstrom.

    Args:
        term: any.
        graph: N atoms and E edges.
        differentiable: keep the autograd graph, for losses on forces and stress.
    """
    vectors = edge_vectors(graph).detach().requires_grad_()
    positions = graph.positions.detach().requires_grad_()
    with torch.enable_grad():
        energies = term.atomic_energies(replace(graph, positions=positions, vectors=vectors))
        d_vectors, d_positions = torch.autograd.grad(
            energies.sum(), [vectors, positions], create_graph=differentiable, materialize_grads=True
        )
    if not differentiable:
        energies = energies.detach()
    by_vectors = gradients_by_vectors(graph, energies, vectors.detach(), d_vectors)
    return replace(by_vectors, positions=by_vectors.positions + d_positions)
