"""Pairs of atoms closer than a cutoff on a GPU: atoms in bins, candidates from the bins around each."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.edges import EdgeList
from ase_nbody.pairs import periodic_box
from ase_nbody.structures import cell_heights, reduced_cell

FEWEST_ATOMS = 500
"""Below, the list on the CPU takes about as long as the launches of this one."""
FEWEST_BINS = 3
"""In a periodic direction: every neighbour then has one image only within the cutoff."""
_MOST_BINS_PER_ATOM = 10  # else nearly all bins are empty
_CANDIDATES = 2**25  # at once; each takes about 150 bytes


def binned_pairs(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    cutoff: float,
    device: torch.device | str,
) -> tuple[EdgeList, Tensor] | None:
    """The pairs of `pairs.neighbour_pairs`, in its order, found on a device.

    Args:
        positions: (N, 3), angstrom, wrapped or not; shifts belong to them.
        cell: rows, (3, 3), angstrom; rows without pbc are not used.
        pbc: (3,).
        cutoff: angstrom.
        device: where they are found.

    Returns:
        The edges and their shifts, (E, 3) float64; None where this way does not pay or does not serve: few atoms, a
        cell that is short of three cutoffs, or a box that is nearly empty.
    """
    short, whole = reduced_cell(cell, pbc)
    box, origin = periodic_box(positions, short, pbc, cutoff)
    bins = np.maximum(cell_heights(box) // cutoff, 1).astype(np.int64)
    few = len(positions) < FEWEST_ATOMS or bool((bins[pbc] < FEWEST_BINS).any())
    if few or bins.prod() > _MOST_BINS_PER_ATOM * len(positions):
        return None
    atoms = _Binned(positions - origin, box, pbc, bins, device)
    per_block = max(1, int(_CANDIDATES * bins.prod() / (27 * len(positions))))
    blocks = torch.split(torch.arange(len(positions), device=device), per_block)
    found = [atoms.pairs(block, cutoff) for block in blocks]
    receivers, senders, steps = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = torch.argsort(receivers * len(positions) + senders)
    edges = _edge_list(receivers[order], senders[order], len(positions))
    return edges, steps[order].double() @ torch.as_tensor(whole, dtype=torch.float64, device=device)


class _Binned:
    """Atoms sorted by the bin they are in.

    Args:
        positions: (N, 3), angstrom.
        box: rows, (3, 3), angstrom.
        pbc: (3,).
        bins: along each row.
        device: of the tensors.
    """

    def __init__(
        self,
        positions: NDArray[np.float64],
        box: NDArray[np.float64],
        pbc: NDArray[np.bool_],
        bins: NDArray[np.int64],
        device: torch.device | str,
    ) -> None:
        self.positions = torch.as_tensor(positions, device=device)
        self.box, self.pbc, self.bins = (torch.as_tensor(a, device=device) for a in (box, pbc, bins))
        fractions = torch.as_tensor(positions @ np.linalg.inv(box), device=device)
        self.cells = torch.where(self.pbc, fractions.floor(), 0.0).to(torch.int64)  # (N, 3)
        places = ((fractions - self.cells) * self.bins).to(torch.int64)
        self.places = torch.minimum(places.clamp(min=0), self.bins - 1)  # (N, 3)
        numbers = self._numbers(self.places)
        self.order = torch.argsort(numbers)
        self.counts = torch.bincount(numbers, minlength=int(bins.prod()))
        self.starts = self.counts.cumsum(0) - self.counts
        steps = torch.arange(-1, 2, device=device)
        self.around = torch.cartesian_prod(steps, steps, steps)  # (27, 3)

    def pairs(self, receivers: Tensor, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
        """Receivers, senders and steps in whole boxes of all pairs of some receivers, unsorted."""
        places = self.places[receivers].unsqueeze(1) + self.around  # (R, 27, 3)
        wraps = torch.div(places, self.bins, rounding_mode="floor")
        numbers = self._numbers(places - wraps * self.bins)  # (R, 27)
        counts = torch.where(((wraps == 0) | self.pbc).all(dim=2), self.counts[numbers], 0).flatten()
        bin_of = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)  # (M,)
        within = torch.arange(len(bin_of), device=counts.device) - (counts.cumsum(0) - counts)[bin_of]
        senders = self.order[self.starts[numbers.flatten()[bin_of]] + within]
        receivers = receivers[bin_of // len(self.around)]
        steps = wraps.flatten(0, 1)[bin_of] + self.cells[receivers] - self.cells[senders]  # (M, 3)
        vectors = self.positions[senders] - self.positions[receivers] + steps.double() @ self.box
        itself = (receivers == senders) & (steps == 0).all(dim=1)
        close = ((vectors.square().sum(dim=1) < cutoff**2) & ~itself).nonzero().squeeze(1)
        return receivers[close], senders[close], steps[close]

    def _numbers(self, places: Tensor) -> Tensor:
        return (places[..., 0] * self.bins[1] + places[..., 1]) * self.bins[2] + places[..., 2]


def _edge_list(receivers: Tensor, senders: Tensor, n_atoms: int) -> EdgeList:
    """CSR form of pairs sorted by receiver; nothing is checked."""
    return EdgeList(
        senders=senders,
        receivers=receivers,
        receiver_offsets=_offsets(receivers, n_atoms),
        sender_order=torch.argsort(senders, stable=True),
        sender_offsets=_offsets(senders, n_atoms),
    )


def _offsets(nodes: Tensor, n_nodes: int) -> Tensor:
    counts = torch.bincount(nodes, minlength=n_nodes)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
