"""Composition schemes: how a system is made of subsystems (Kondor 2018, definitions 1 to 3), as data.

Gates see children, parents and relative vectors only, so one gate serves every scheme.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from ase_nbody.edges import EdgeList, edge_list
from ase_nbody.graph import Graph, edge_vectors


@dataclass(frozen=True)
class Level:
    """The nodes of one level above the atoms.

    Attributes:
        children: nodes of the level below (senders) that each node of this level (receivers) is made of.
        vectors: r_child - r_parent of each of these pairs, (E, 3), angstrom.
        positions: r of each node, (n_nodes, 3), angstrom.
        node_of_atom: the node that carries the energy of each atom, (N,) int64.
        contains_itself: node n of the level below is a child of node n too, at distance zero.
    """

    children: EdgeList
    vectors: Tensor
    positions: Tensor
    node_of_atom: Tensor
    contains_itself: bool

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return self.positions.shape[0]


@dataclass(frozen=True)
class CompositionScheme:
    """Atoms, levels of subsystems, and one root per structure whose children are all nodes of the last level.

    Definition 1 is checked on construction: leaves are single atoms; every node has children; every node is a child of
    the level above, so that the root holds all atoms. The part of a node is the union of its children's parts, hence
    a descendant's part is contained in its ancestors'.

    Attributes:
        structure: structure of each atom, (N,) int64.
        atom_positions: (N, 3), angstrom.
        levels: from the one above the atoms to the one below the root.

    Raises:
        ValueError: Definition 1 does not hold.
    """

    structure: Tensor
    atom_positions: Tensor
    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        below = self.structure.shape[0]
        for number, level in enumerate(self.levels, start=1):
            _check_level(level, number, below)
            below = level.n_nodes

    def parts(self, number: int) -> sparse.csr_array:
        """Atoms of each node of a level, a boolean matrix (n_nodes, N); level 0 is the atoms themselves."""
        part = sparse.eye_array(self.structure.shape[0], dtype=bool, format="csr")
        for level in self.levels[:number]:
            part = (_incidence(level) @ part).astype(bool)
        return sparse.csr_array(part)


def _check_level(level: Level, number: int, below: int) -> None:
    children = level.children
    if (children.n_senders, children.n_receivers) != (below, level.n_nodes):
        raise ValueError(
            f"level {number} takes {children.n_senders} children to {children.n_receivers} nodes, but the levels have "
            f"{below} and {level.n_nodes} nodes"
        )
    if level.contains_itself:
        if below != level.n_nodes:
            raise ValueError(f"level {number} has {level.n_nodes} nodes; to contain themselves they must be {below}")
        return
    childless = torch.nonzero(children.receiver_offsets.diff() == 0).flatten()
    orphans = torch.nonzero(children.sender_offsets.diff() == 0).flatten()
    if len(childless):
        raise ValueError(f"nodes {childless.tolist()[:5]} of level {number} have no children (Definition 1)")
    if len(orphans):
        raise ValueError(
            f"nodes {orphans.tolist()[:5]} below level {number} have no parent, so the root misses atoms (Definition 1)"
        )


def _incidence(level: Level) -> sparse.csr_array:
    offsets, senders = level.children.receiver_offsets.cpu().numpy(), level.children.senders.cpu().numpy()
    shape = (level.n_nodes, level.children.n_senders)
    incidence = sparse.csr_array((np.ones(len(senders), dtype=bool), senders, offsets), shape=shape)
    return incidence + sparse.eye_array(*shape, dtype=bool) if level.contains_itself else incidence


def neighbourhoods(graph: Graph, n_levels: int) -> CompositionScheme:
    """At every level one node per atom, whose children are the nodes within the cutoff, itself among them."""
    level = Level(
        children=graph.edges,
        vectors=edge_vectors(graph),
        positions=graph.positions,
        node_of_atom=torch.arange(graph.n_atoms, device=graph.positions.device),
        contains_itself=True,
    )
    return CompositionScheme(graph.structure, graph.positions, (level,) * n_levels)


def fragments(graph: Graph) -> CompositionScheme:
    """Atoms, then groups of them about their centroids, then each structure about the mean of its groups.

    The groups are `graph.groups`, or the bonded components where it has none. Meant for finite systems: relative
    vectors do not look for periodic images.

    Raises:
        ValueError: a structure is periodic, or a group spans structures.
    """
    if bool(graph.pbc.any()):
        raise ValueError("a fragments scheme is for finite systems; this structure has periodic directions")
    groups = _groups(graph)
    structure = graph.structure
    order = torch.argsort(groups, stable=True)
    n_groups = int(groups.max()) + 1
    group_structure = torch.zeros_like(groups[:n_groups]).index_copy(0, groups, structure)
    if not torch.equal(group_structure[groups], structure):
        raise ValueError("a group of atoms spans two structures; number groups through the batch")
    to_groups = edge_list(order, groups[order], graph.n_atoms, n_groups)
    centroids = _means(graph.positions, groups, n_groups)
    group_order = torch.argsort(group_structure, stable=True)
    to_root = edge_list(group_order, group_structure[group_order], n_groups, graph.n_structures)
    centres = _means(centroids, group_structure, graph.n_structures)
    return CompositionScheme(
        structure,
        graph.positions,
        (
            Level(to_groups, _relative(graph.positions, centroids, to_groups), centroids, groups, False),
            Level(to_root, _relative(centroids, centres, to_root), centres, structure, False),
        ),
    )


def _groups(graph: Graph) -> Tensor:
    """Group of each atom, numbered without gaps: those given, and bonded components in structures without."""
    if graph.groups is None:
        return bonded_groups(graph)
    if not bool((graph.groups < 0).any()):
        return graph.groups
    bonded = bonded_groups(graph) + graph.groups.max() + 1
    numbered: Tensor = torch.unique(torch.where(graph.groups < 0, bonded, graph.groups), return_inverse=True)[1]
    return numbered


def _relative(children: Tensor, parents: Tensor, edges: EdgeList) -> Tensor:
    return children[edges.senders] - parents[edges.receivers]


def _means(positions: Tensor, node: Tensor, n_nodes: int) -> Tensor:
    sums = positions.new_zeros(n_nodes, 3).index_add(0, node, positions)
    return sums / torch.bincount(node, minlength=n_nodes).unsqueeze(1)


def bonded_groups(graph: Graph) -> Tensor:
    """Bonded components of the structures, the group of each atom counted through the batch, (N,) int64.

    Bonds are edges shorter than 1.2 times the sum of ASE's covalent radii.
    """
    senders, receivers = graph.edges.senders.cpu().numpy(), graph.edges.receivers.cpu().numpy()
    radii = covalent_radii[graph.atomic_numbers.cpu().numpy()]
    lengths = edge_vectors(graph).detach().norm(dim=1).cpu().numpy()
    bonded = lengths < 1.2 * (radii[senders] + radii[receivers])
    shape = (graph.n_atoms, graph.n_atoms)
    bonds = sparse.coo_array((np.ones(bonded.sum()), (receivers[bonded], senders[bonded])), shape=shape)
    _, component = sparse.csgraph.connected_components(bonds, directed=False)
    return torch.as_tensor(component, dtype=torch.int64, device=graph.structure.device)


@dataclass(frozen=True)
class LevelStates:
    """The covariant states of the subsystems of one level.

    Attributes:
        atoms: atoms of each subsystem, ascending indices.
        positions: (n_nodes, 3), angstrom.
        irreps: of one state, in e3nn's notation, such as "64x0e+64x1o".
        states: (n_nodes, dimension of irreps), laid out as e3nn lays out these irreps.
    """

    atoms: tuple[NDArray[np.int64], ...]
    positions: NDArray[np.floating]
    irreps: str
    states: NDArray[np.floating]
