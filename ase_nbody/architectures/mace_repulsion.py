"""The nuclear repulsion of MACE's models: Ziegler, Biersack and Littmark's, ended at the sum of covalent radii."""

from __future__ import annotations

from dataclasses import replace

import torch
from ase.data import covalent_radii
from torch import Tensor

from ase_nbody.architectures.base import Gradients, gradients_by_vectors
from ase_nbody.graph import Graph, edge_vectors
from ase_nbody.kernels.sums import node_sums
from ase_nbody.math.radial import smooth_envelope

# As written in mace-torch 0.3.16, mace/modules/radial.py, whose screening length is half that of ZBL (math/zbl.py).
COEFFICIENTS = (0.1818, 0.5099, 0.2802, 0.02817)
EXPONENTS = (3.2, 0.9423, 0.4028, 0.2016)
SCREENING_LENGTH = 0.4543 * 0.529  # angstrom
SCREENING_POWER = 0.300
COULOMB = 14.3996  # eV angstrom


def repulsion_energies(graph: Graph, envelope_power: int) -> Tensor:
    """Half the repulsion of each pair at both of its atoms, (N,) float64, eV, differentiable by positions and cell.

    Args:
        graph: structures.
        envelope_power: of the polynomial that ends it.
    """
    vectors = edge_vectors(graph)
    edges = _short(graph, vectors)
    energies = _edge_energies(graph, edges, vectors[edges], envelope_power)
    return node_sums(energies, graph.edges.receivers[edges], graph.n_atoms)


def with_repulsion(found: Gradients, graph: Graph, envelope_power: int) -> Gradients:
    """Energies and gradients with those of the repulsion added, which acts on few edges."""
    vectors = edge_vectors(graph)
    edges = _short(graph, vectors)
    if not len(edges):
        return found
    with torch.enable_grad():
        short = vectors[edges].detach().requires_grad_()
        energies = _edge_energies(graph, edges, short, envelope_power)
        (d_short,) = torch.autograd.grad(energies.sum(), short)
    d_vectors = torch.zeros_like(vectors).index_copy(0, edges, d_short)
    of_atoms = node_sums(energies.detach(), graph.edges.receivers[edges], graph.n_atoms)
    added = gradients_by_vectors(graph, found.energies.double() + of_atoms, vectors, d_vectors)
    return replace(
        found,
        energies=added.energies,
        positions=found.positions + added.positions,
        strain=found.strain + added.strain,
        vectors=None if found.vectors is None else found.vectors + d_vectors,
    )


def _short(graph: Graph, vectors: Tensor) -> Tensor:
    """Numbers of the edges on which it acts, (K,)."""
    is_short: Tensor = vectors.detach().double().norm(dim=1) < _ends(graph)
    return is_short.nonzero().squeeze(1)


def _ends(graph: Graph) -> Tensor:
    """Sums of the covalent radii, (E,) float64, angstrom."""
    radii = torch.as_tensor(covalent_radii, device=graph.positions.device)[graph.atomic_numbers]
    return radii[graph.edges.receivers] + radii[graph.edges.senders]


def _edge_energies(graph: Graph, edges: Tensor, vectors: Tensor, envelope_power: int) -> Tensor:
    """Half the repulsion of some edges, (K,) float64, eV."""
    distances = vectors.double().norm(dim=1)
    first, second = (graph.atomic_numbers[n[edges]].double() for n in (graph.edges.receivers, graph.edges.senders))
    scaled = distances * (first**SCREENING_POWER + second**SCREENING_POWER) / SCREENING_LENGTH
    screening = sum(c * torch.exp(-k * scaled) for c, k in zip(COEFFICIENTS, EXPONENTS, strict=True))
    envelope = smooth_envelope(distances / _ends(graph)[edges], 1.0, envelope_power)
    energies: Tensor = 0.5 * COULOMB * first * second * screening / distances * envelope
    return energies
