"""A toy pair network and Lennard-Jones data for tests of the training."""

from __future__ import annotations

import io
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from rich.console import Console
from torch import Tensor, nn

from ase_nbody.architectures import Architecture, Network, NetworkSettings
from ase_nbody.graph import Graph, edge_vectors
from ase_nbody.stopping import StopRequest
from ase_nbody.training.settings import TrainingSettings, training_settings

QUIET = Console(file=io.StringIO())


class PairSettings(NetworkSettings):
    """Settings of the toy network."""

    channels: int = 8


class PairNetwork(Network):
    """Atomic energies as sums of a learned function of distances that vanishes smoothly at the cutoff."""

    settings: PairSettings

    def __init__(self, settings: PairSettings, *, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        self.first = nn.Parameter(torch.randn(settings.channels, 8, generator=generator))
        self.second = nn.Parameter(0.1 * torch.randn(settings.channels, generator=generator))

    def forward(self, graph: Graph) -> Tensor:
        """Atomic energies, (N,)."""
        distances = torch.linalg.vector_norm(edge_vectors(graph), dim=1)  # (E,)
        x = distances / self.settings.cutoff
        orders = torch.arange(1, 9, device=x.device, dtype=x.dtype)
        basis = torch.sin(torch.pi * orders * x[:, None]) / x[:, None] * (1 - x[:, None] ** 2) ** 2  # (E, 8)
        energies = torch.tanh(basis @ self.first.T) @ self.second  # (E,)
        return energies.new_zeros(graph.n_atoms).index_add(0, graph.edges.receivers, energies)

    def mixing_matrices(self) -> list[nn.Parameter]:
        """One of both parameters, so that both optimizers are at work."""
        return [self.first]


PAIR = Architecture(
    name="pair",
    source="made for this test",
    settings=PairSettings,
    network=PairNetwork,
    presets={"small": {"channels": 8}, "medium": {"channels": 16}, "large": {"channels": 32}},
)


def argon_frames(n: int, seed: int = 0) -> list[Atoms]:
    """Shaken argon crystals of 4 atoms with Lennard-Jones labels."""
    generator = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("Ar", "fcc", a=5.3 * generator.uniform(0.97, 1.05), cubic=True)
        atoms.positions += generator.normal(scale=0.15, size=(4, 3))
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.1, rc=6.0, smooth=True)
        results = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


def pair_settings(data: Path | list[Path], output: Path, **more: Any) -> TrainingSettings:
    values: dict[str, Any] = {
        "data": data,
        "output": output,
        "architecture": "pair",
        "model": {"cutoff": 6.0},
        "device": "cpu",
        "dtype": "float64",
        "batch_size": 4,
        "learning_rate": 0.01,
        **more,
    }
    if "minutes" not in values:
        values.setdefault("epochs", 6)
    return training_settings(values)


class StopAfter(StopRequest):
    """A stop request that is made in a given step."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    @property
    def signal(self) -> int:
        """SIGTERM once the loop has asked often enough."""
        self.left -= 1
        return signal.SIGTERM if self.left <= 0 else 0
