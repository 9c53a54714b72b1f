"""`nbody train` with the frames of `dynamics.py` besides its files: neighbours are found on the device, in seconds.

    python benchmarks/organic_start/train_with_dynamics.py benchmarks/organic_start/organic_start.yaml dynamics.npz

The settings name files of every level, from which elements, reference energies, the validation structures and the
envelope of the model come; the frames are learnt at the last level.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ase_nbody.data import PackedSamples, Sample, batches_of_samples, samples
from ase_nbody.edges import EdgeList
from ase_nbody.graph import Graph
from ase_nbody.potential import Potential
from ase_nbody.predictions import ENERGY, FORCES, STRESS, Targets
from ase_nbody.training.objective import LabelledStructures
from ase_nbody.training.run import labelled_structures, train
from ase_nbody.training.settings import TrainingSettings, training_settings
from ase_nbody.training.training_data import DTYPES, TrainingData

BLOCK = 4096  # frames whose neighbours are found together


def with_frames(
    settings: TrainingSettings, frames: Sequence[Path], data: TrainingData, potential: Potential, device: torch.device
) -> LabelledStructures:
    """The objective of an ordinary training, and the frames."""
    objective = labelled_structures(settings, replace(data, train=data.train.subset(range(1))), potential, device)
    own = samples(data.train, potential.cutoff, dtype=DTYPES[settings.dtype])
    made = [batch.to(device) for batch in batches_of_samples(own, 100_000)]
    for path in frames:
        made += blocks(dict(np.load(path)), data, potential, device, DTYPES[settings.dtype])
    packed = PackedSamples(made, device)
    print(f"{len(packed)} structures, {len(own)} of them from files", flush=True)
    return replace(objective, samples=packed)


def blocks(
    frames: np.lib.npyio.NpzFile, data: TrainingData, potential: Potential, device: torch.device, dtype: torch.dtype
) -> Iterator[Sample]:
    """Frames with their neighbours, some thousand a sample; energies as with the first level's reference energies."""
    level = len(data.levels) - 1
    first, own = data.levels[0].reference_energies, data.levels[level].reference_energies
    shifts = torch.zeros(100, dtype=torch.float64)
    for number, symbol in enumerate(chemical_symbols[:100]):
        shifts[number] = first.get(symbol, torch.nan) - own.get(symbol, torch.nan)
    sizes = frames["sizes"].tolist()
    numbers, positions, forces = (torch.from_numpy(frames[key]) for key in ("numbers", "positions", "forces"))
    parts = zip(*(whole.split(sizes) for whole in (numbers.long(), positions, forces)), strict=True)
    energies = torch.from_numpy(frames["energies"])
    together = list(parts)
    for begin in range(0, len(sizes), BLOCK):
        z, r, f = (torch.cat(parts) for parts in zip(*together[begin : begin + BLOCK], strict=True))
        n_atoms = torch.tensor(sizes[begin : begin + BLOCK], device=device)
        graph = molecules_graph(z.to(device), r.to(device, dtype), n_atoms, potential.cutoff)
        shift = torch.zeros(len(n_atoms), dtype=torch.float64, device=device)
        shift.index_add_(0, graph.structure, shifts[z].to(device))
        labels = Targets(
            {
                ENERGY: energies[begin : begin + BLOCK].to(device) + shift,
                FORCES: f.to(device, dtype),
                STRESS: torch.full((len(n_atoms), 3, 3), torch.nan, dtype=dtype, device=device),
            }
        )
        yield Sample(graph, labels, level)


def molecules_graph(numbers: Tensor, positions: Tensor, n_atoms: Tensor, cutoff: float) -> Graph:
    """Structures without cells, and all pairs of their atoms closer than the cutoff, as `neighbour_graph` finds them.

    Args:
        numbers: atomic numbers of all atoms, (N,).
        positions: angstrom, (N, 3).
        n_atoms: of each structure, (B,).
        cutoff: angstrom.
    """
    device, n_structures = positions.device, len(n_atoms)
    padded = pad_sequence(positions.split(n_atoms.tolist()), batch_first=True, padding_value=torch.inf)  # (B, A, 3)
    squared = (padded[:, :, None] - padded[:, None]).square().sum(-1)  # NaN or infinite where there is no atom
    near = (squared < cutoff**2) & ~torch.eye(padded.shape[1], dtype=torch.bool, device=device)
    structures, receivers, senders = near.nonzero(as_tuple=True)
    begins = n_atoms.cumsum(0) - n_atoms
    receivers, senders = receivers + begins[structures], senders + begins[structures]
    counts = receivers.bincount(minlength=len(numbers))
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    edges = EdgeList(
        senders, receivers, offsets, senders.argsort(stable=True), offsets
    )  # a neighbour has its neighbour
    return Graph(
        atomic_numbers=numbers,
        positions=positions,
        cell=torch.zeros(n_structures, 3, 3, dtype=positions.dtype, device=device),
        pbc=torch.zeros(n_structures, 3, dtype=torch.bool, device=device),
        structure=torch.arange(n_structures, device=device).repeat_interleave(n_atoms),
        edges=edges,
        shifts=positions.new_zeros(len(receivers), 3),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path, help="YAML, as for nbody train")
    parser.add_argument("frames", type=Path, nargs="+", help="of dynamics.py, *.npz")
    parser.add_argument("--device")
    parser.add_argument("--minutes", type=float)
    chosen = parser.parse_args()
    given = {name: getattr(chosen, name) for name in ("device", "minutes") if getattr(chosen, name) is not None}
    settings = training_settings(given, chosen.settings)
    train(settings, objective_of=partial(with_frames, settings, chosen.frames))


if __name__ == "__main__":
    main()
