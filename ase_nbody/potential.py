"""Potential and predict: reference energies, a network and a repulsion in eV, with forces and stress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from ase.data import atomic_numbers
from torch import Tensor

from ase_nbody.architectures.base import Gradients, Network, gradients_by_vectors
from ase_nbody.contacts import Table
from ase_nbody.graph import (
    Graph,
    Prediction,
    edge_vectors,
    inverted,
    stress_is_defined,
    sums_of_structures,
    volumes,
)
from ase_nbody.kernels.sums import node_sums
from ase_nbody.repulsion import Repulsion
from ase_nbody.timings import Timings


@dataclass(frozen=True)
class Potential:
    """A sum of reference energies, a network and a repulsion.

    The energy of an atom is reference_energies[element] + energy_scale * network(graph) + repulsion. There is no other
    additive constant, so an isolated atom has its reference energy.

    Attributes:
        network: atomic energies, zero for an atom alone.
        reference_energies: energy of each isolated element, eV.
        energy_scale: eV per unit of the network.
        repulsion: what acts between atoms that are closer than in the training; None: nothing.
        over_inversion: the energy is the mean over a structure and its mirror image, for networks that are not
            invariant under reflection. Every evaluation is then two.
    """

    network: Network
    reference_energies: Mapping[str, float]
    energy_scale: float = 1.0
    repulsion: Repulsion | None = None
    over_inversion: bool = False

    def __post_init__(self) -> None:
        missing = set(self.elements) - set(self.reference_energies)
        if missing:
            raise ValueError(f"no reference energy for {sorted(missing)}; give one for each of {self.elements}")

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols the potential knows."""
        return self.network.settings.elements

    @property
    def cutoff(self) -> float:
        """Largest distance between neighbours, angstrom."""
        return self.network.settings.cutoff

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the network's parameters."""
        return next(self.network.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device of the network's parameters."""
        return next(self.network.parameters()).device

    @property
    def contact_limits(self) -> Table | None:
        """Distances below which pairs are contacts, for neighbour lists; None without a repulsion."""
        return None if self.repulsion is None else self.repulsion.table

    def reference_energies_by_number(self) -> Tensor:
        """Reference energies by atomic number, (119,) float64 on the network's device, NaN where unknown, eV."""
        return _by_number(tuple(self.reference_energies.items()), self.device)


@lru_cache
def _by_number(energies: tuple[tuple[str, float], ...], device: torch.device) -> Tensor:
    table = torch.full((119,), torch.nan, dtype=torch.float64, device="cpu")
    for symbol, energy in energies:
        table[atomic_numbers[symbol]] = energy
    return table.to(device)


def predict(
    potential: Potential,
    graph: Graph,
    parameters: Mapping[str, Tensor] | None = None,
    *,
    differentiable: bool = False,
    timings: Timings | None = None,
) -> Prediction:
    """Energy, forces and stress of every structure in a graph.

    Args:
        potential: network, reference energies and scale.
        graph: structures on the potential's device and in its dtype.
        parameters: used in place of the network's own, by name (for adaptation).
        differentiable: keep the autograd graph, for losses on forces and stress.
        timings: where to add the time of the parts.

    Returns:
        Energies in eV summed in float64, forces in eV/angstrom, stress in eV/angstrom^3.

    The stress is (1/V) dE/d(strain) with ASE's sign (Knuth et al. 2015, doi 10.1016/j.cpc.2015.01.003), V the volume
    of the structure's own cell, also where some of its directions are not periodic. Gradients come from one autograd
    call, or from the architecture's own way where nothing is differentiated further.
    """
    if potential.over_inversion:
        one = _of_one_hand(potential)
        here, there = (
            predict(one, g, parameters, differentiable=differentiable, timings=timings)
            for g in (graph, inverted(graph))
        )
        return _mean_over_inversion(here, there)
    contacts = _contacts(potential, graph)
    gradients = None
    if parameters is None and not differentiable:
        if contacts is None:
            gradients = potential.network.gradients(graph, timings or Timings())
        else:
            gradients = _with_contacts(potential, graph, contacts, timings or Timings())
    if gradients is None:
        gradients = _differentiated(potential, graph, contacts, parameters, differentiable=differentiable)
    return _prediction(potential, graph, gradients)


def trainable_prediction(potential: Potential, graph: Graph) -> Prediction:
    """As `predict`, for a loss that is differentiated once and by the network's own parameters only.

    It goes the architecture's own way where it has one and no atoms are in contact, and else autograd's; the numbers
    are the same.
    """
    if potential.over_inversion:
        return _mean_over_inversion(
            *(trainable_prediction(_of_one_hand(potential), g) for g in (graph, inverted(graph)))
        )
    contacts = _contacts(potential, graph)
    gradients = potential.network.trainable_gradients(graph) if contacts is None else None
    if gradients is None:
        gradients = _differentiated(potential, graph, contacts, None, differentiable=torch.is_grad_enabled())
    return _prediction(potential, graph, gradients)


def atomic_energies(potential: Potential, graph: Graph) -> Tensor:
    """Energies of the atoms beyond their reference energies, (N,) float64, eV, differentiable by positions and cell."""
    if potential.over_inversion:
        first, second = (atomic_energies(_of_one_hand(potential), g) for g in (graph, inverted(graph)))
        return 0.5 * (first + second)
    contacts = _contacts(potential, graph)
    return _scaled_energies(potential, graph, contacts, None).double() * potential.energy_scale


def seen_by_network(potential: Potential, graph: Graph) -> Graph:
    """A graph as the network sees it: where the repulsion acts, with vectors that it lengthened."""
    contacts = _contacts(potential, graph)
    if contacts is None or potential.repulsion is None:
        return graph
    return potential.repulsion.acted_on(graph, contacts)[0]


def moves_of_seen(potential: Potential, graph: Graph, moves: Sequence[Tensor]) -> list[Tensor]:
    """Changes of the vectors that the network sees, from those of the vectors of the edges, (E, 3) each, angstrom."""
    contacts = _contacts(potential, graph)
    if contacts is None or potential.repulsion is None:
        return list(moves)
    stretching = potential.repulsion.stretching(graph, contacts)  # (K, 3, 3)
    return [move.index_put((contacts,), (stretching @ move[contacts].unsqueeze(2)).squeeze(2)) for move in moves]


def _of_one_hand(potential: Potential) -> Potential:
    return replace(potential, over_inversion=False)


def _mean_over_inversion(here: Prediction, there: Prediction) -> Prediction:
    """Of a structure and its inversion, whose forces have the other sign."""
    return Prediction(
        energy=0.5 * (here.energy + there.energy),
        energies=0.5 * (here.energies + there.energies),
        forces=0.5 * (here.forces - there.forces),
        stress=0.5 * (here.stress + there.stress),
    )


def _contacts(potential: Potential, graph: Graph) -> Tensor | None:
    """Edges on which the repulsion acts; None where it acts on none."""
    if potential.repulsion is None or (graph.contacts is not None and not len(graph.contacts)):
        return None
    contacts = potential.repulsion.contacts(graph)
    return contacts if len(contacts) else None


def _prediction(potential: Potential, graph: Graph, gradients: Gradients) -> Prediction:
    """Scale and reference energies put to a network's numbers."""
    scaled = gradients.energies.double() * potential.energy_scale  # (N,)
    energies = scaled + potential.reference_energies_by_number()[graph.atomic_numbers]
    energy = sums_of_structures(energies, graph)  # (B,)
    forces = -potential.energy_scale * gradients.positions
    return Prediction(energy=energy, energies=energies, forces=forces, stress=_stress(potential, graph, gradients))


def _stress(potential: Potential, graph: Graph, gradients: Gradients) -> Tensor:
    """The virial over the volume, (B, 3, 3); NaN where it is not defined."""
    if not bool(graph.pbc.any()):
        return torch.full_like(graph.cell, torch.nan)
    defined = stress_is_defined(graph)
    volume = torch.where(defined, volumes(graph), 1.0)  # (B,)
    stress = gradients.strain * (potential.energy_scale / volume)[:, None, None]
    return torch.where(defined[:, None, None], stress, torch.nan)


def _differentiated(
    potential: Potential,
    graph: Graph,
    contacts: Tensor | None,
    parameters: Mapping[str, Tensor] | None,
    *,
    differentiable: bool,
) -> Gradients:
    """Energies and gradients by autograd, by the vectors of the edges and by what a network does with positions."""
    vectors = edge_vectors(graph).detach().requires_grad_()
    positions = graph.positions.detach().requires_grad_()
    with torch.enable_grad():
        seen = replace(graph, positions=positions, vectors=vectors)
        energies = _scaled_energies(potential, seen, contacts, parameters)
        d_vectors, d_positions = torch.autograd.grad(
            energies.sum(), [vectors, positions], create_graph=differentiable, materialize_grads=True
        )
    if not differentiable:
        energies = energies.detach()
    by_vectors = gradients_by_vectors(graph, energies, vectors.detach(), d_vectors)
    return replace(by_vectors, positions=by_vectors.positions + d_positions)


def _scaled_energies(
    potential: Potential, graph: Graph, contacts: Tensor | None, parameters: Mapping[str, Tensor] | None
) -> Tensor:
    """Energies of network and repulsion in units of the energy scale, (N,)."""
    if contacts is None or potential.repulsion is None:
        return _network_energies(potential, graph, parameters)
    seen, left, repulsion = potential.repulsion.acted_on(graph, contacts)
    energies = _network_energies(potential, seen, parameters).double()
    return left * energies + repulsion / potential.energy_scale


def _with_contacts(potential: Potential, graph: Graph, contacts: Tensor, timings: Timings) -> Gradients | None:
    """Energies and gradients of network and repulsion, the network's by its own way; None where it has none or fades.

    The network gives gradients by the vectors that it sees. Those by the vectors themselves differ for contacts only.
    """
    assert potential.repulsion is not None
    if potential.repulsion.fades(graph, contacts):
        return None
    vectors = edge_vectors(graph)
    with torch.enable_grad():
        short = vectors[contacts].detach().requires_grad_()
        stretched, repulsion = potential.repulsion.of_vectors(graph, contacts, short)
    seen = vectors.index_put((contacts,), stretched.detach())
    found = potential.network.gradients(replace(graph, vectors=seen), timings)
    if found is None:
        return None
    assert found.vectors is not None
    upstream = [found.vectors[contacts], torch.full_like(repulsion, 1.0 / potential.energy_scale)]
    (d_short,) = torch.autograd.grad([stretched, repulsion], short, upstream)
    d_vectors = found.vectors.index_put((contacts,), d_short)  # (E, 3)
    of_atoms = node_sums(repulsion.detach(), graph.edges.receivers[contacts], graph.n_atoms)
    energies = found.energies.double() + of_atoms / potential.energy_scale
    return gradients_by_vectors(graph, energies, vectors, d_vectors)


def _network_energies(potential: Potential, graph: Graph, parameters: Mapping[str, Tensor] | None) -> Tensor:
    if parameters is None:
        energies: Tensor = potential.network(graph)
    else:
        energies = torch.func.functional_call(potential.network, dict(parameters), (graph,))
    return energies
