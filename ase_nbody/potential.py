"""Potential and predict: a network's energies in eV, with forces and stress from one autograd call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from ase.data import atomic_numbers
from torch import Tensor

from ase_nbody.architectures.base import EdgeGradients, Network
from ase_nbody.graph import Graph, Prediction


@dataclass(frozen=True)
class Potential:
    """A network and what turns its numbers into eV.

    The energy of an atom is reference_energies[element] + energy_scale * network(graph). There is no other additive
    constant, so an isolated atom has its reference energy.

    Attributes:
        network: atomic energies, zero for an atom alone.
        reference_energies: energy of each isolated element, eV.
        energy_scale: eV per unit of the network.
    """

    network: Network
    reference_energies: Mapping[str, float]
    energy_scale: float = 1.0

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

    def reference_energies_by_number(self) -> Tensor:
        """Reference energies by atomic number, (119,) float64 on the network's device, NaN where unknown, eV."""
        table = torch.full((119,), torch.nan, dtype=torch.float64)
        for symbol, energy in self.reference_energies.items():
            table[atomic_numbers[symbol]] = energy
        return table.to(self.device)


def predict(
    potential: Potential,
    graph: Graph,
    parameters: Mapping[str, Tensor] | None = None,
    *,
    differentiable: bool = False,
) -> Prediction:
    """Energy, forces and stress of every structure in a graph.

    Args:
        potential: network, reference energies and scale.
        graph: structures on the potential's device and in its dtype.
        parameters: used in place of the network's own, by name (for adaptation).
        differentiable: keep the autograd graph, for losses on forces and stress.

    Returns:
        Energies in eV summed in float64, forces in eV/angstrom, stress in eV/angstrom^3.

    The stress is (1/V) dE/d(strain) with ASE's sign (Knuth et al. 2015, doi 10.1016/j.cpc.2015.01.003). Gradients come
    from one autograd call, or from the architecture's own way where nothing is differentiated further.
    """
    gradients = None
    if parameters is None and not differentiable:
        gradients = potential.network.edge_gradients(graph)
    if gradients is not None:
        energies, d_positions, d_strain = _collected(graph, gradients)
    else:
        energies, d_positions, d_strain = _differentiated(potential, graph, parameters, differentiable=differentiable)
    scaled = energies.double() * potential.energy_scale  # (N,)
    energies = scaled + potential.reference_energies_by_number()[graph.atomic_numbers]
    energy = energies.new_zeros(graph.n_structures).index_add(0, graph.structure, energies)  # (B,)
    stress = torch.full_like(graph.cell, torch.nan)
    if d_strain is not None:
        volume = torch.linalg.det(graph.cell).abs()[:, None, None]
        full_cell = graph.pbc.all(dim=1)[:, None, None]
        stress = torch.where(full_cell, d_strain * (potential.energy_scale / volume), stress)
    return Prediction(energy=energy, energies=energies, forces=-potential.energy_scale * d_positions, stress=stress)


def _collected(graph: Graph, found: EdgeGradients) -> tuple[Tensor, Tensor, Tensor | None]:
    """Energies with gradients by positions and strain from those by edge vectors, in the network's units."""
    d_positions = torch.zeros_like(graph.positions)
    d_positions.index_add_(0, found.edges.senders, found.gradients)
    d_positions.index_add_(0, found.edges.receivers, found.gradients, alpha=-1)
    if not bool(graph.pbc.all(dim=1).any()):
        return found.energies, d_positions, None
    outer = found.gradients.unsqueeze(2) * found.vectors.unsqueeze(1)  # (E, 3, 3)
    d_strain = torch.zeros_like(graph.cell).index_add_(0, graph.structure[found.edges.receivers], outer)
    return found.energies, d_positions, 0.5 * (d_strain + d_strain.transpose(1, 2))


def _differentiated(
    potential: Potential, graph: Graph, parameters: Mapping[str, Tensor] | None, *, differentiable: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The same by autograd: one symmetric strain per structure acts on positions and cell."""
    positions = graph.positions.detach().requires_grad_()
    inputs = [positions]
    strained = replace(graph, positions=positions)
    if bool(graph.pbc.all(dim=1).any()):
        strain = torch.zeros_like(graph.cell, requires_grad=True)  # (B, 3, 3)
        inputs.append(strain)
        strained = _strained(strained, strain)
    with torch.enable_grad():
        energies = _network_energies(potential, strained, parameters)
        gradients = torch.autograd.grad(energies.sum(), inputs, create_graph=differentiable)
    if not differentiable:
        energies = energies.detach()
    return energies, gradients[0], gradients[1] if len(gradients) == 2 else None


def _network_energies(potential: Potential, graph: Graph, parameters: Mapping[str, Tensor] | None) -> Tensor:
    if parameters is None:
        energies: Tensor = potential.network(graph)
    else:
        energies = torch.func.functional_call(potential.network, dict(parameters), (graph,))
    return energies


def _strained(graph: Graph, strain: Tensor) -> Graph:
    with torch.enable_grad():
        symmetric = 0.5 * (strain + strain.transpose(1, 2))
        positions = graph.positions + torch.bmm(graph.positions.unsqueeze(1), symmetric[graph.structure]).squeeze(1)
        return replace(graph, positions=positions, cell=graph.cell + torch.bmm(graph.cell, symmetric))
