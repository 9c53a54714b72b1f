"""Descriptors of atoms: the states that a network reads energies out of."""

from __future__ import annotations

import torch
from ase.calculators.calculator import PropertyNotImplementedError
from torch import Tensor

from ase_nbody.graph import Graph, inverted
from ase_nbody.potential import Potential, seen_by_network
from ase_nbody.steps.state_irreps import Block

Blocks = list[tuple[Block, Tensor]]


def descriptors(potential: Potential, graph: Graph, *, invariant: bool) -> Tensor:
    """The states of all atoms that energies are read out of, level by level, (N, F) in the potential's dtype.

    Where its energies are means over inversion, so are these: of the states of a mirror image, odd ones with the other
    sign.

    Args:
        potential: its repulsion only lengthens what the network sees of contacts.
        graph: structures on its device, in its dtype.
        invariant: the invariant channels; else whole states, irrep by irrep and channel by channel, as
            `descriptor_irreps` says.

    Raises:
        NotImplementedError: the network has no such states.
    """
    seen = seen_by_network(potential, graph)
    blocks = _blocks(potential, seen, invariant=invariant)
    if potential.over_inversion:
        mirrored = _blocks(potential, inverted(seen), invariant=invariant)
        blocks = [
            (block, 0.5 * (here + block.irrep.parity * there))
            for (block, here), (_, there) in zip(blocks, mirrored, strict=True)
        ]
    return torch.cat([rows.transpose(1, 2).flatten(1) for _, rows in blocks], dim=1)  # channel, then component


def descriptor_irreps(potential: Potential) -> str:
    """Irreps of covariant descriptors in e3nn's notation, such as "32x0e+32x1o+32x0e"; empty where there are none."""
    states = potential.network.read_out_irreps()
    return "+".join(f"{block.columns}x{block.irrep}" for irreps in states for block in irreps)


def check_descriptors(potential: Potential) -> None:
    """Refuse a network without descriptors.

    Raises:
        PropertyNotImplementedError: as said.
    """
    if not descriptor_irreps(potential):
        raise PropertyNotImplementedError(
            f"{type(potential.network).__name__} with these settings is not a list of steps, hence it has no "
            "descriptors; use another model (nbody models lists them)"
        )


def _blocks(potential: Potential, graph: Graph, *, invariant: bool) -> Blocks:
    """Blocks of all states, one after another; or the first of each, which is the invariant one that is read out."""
    network = potential.network
    states = zip(network.read_out_irreps(), network.read_out_states(graph), strict=True)
    pairs = [list(zip(irreps, blocks, strict=True)) for irreps, blocks in states]
    return [pair for of_state in pairs for pair in (of_state[:1] if invariant else of_state)]
