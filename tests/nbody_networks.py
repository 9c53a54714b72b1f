"""Networks and structures for the tests that compare ways of evaluation."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule

from ase_nbody.architectures import architectures
from ase_nbody.potential import Potential

SKIN = 0.7  # angstrom; brings edges beyond the cutoff

NETWORKS: list[dict[str, object]] = [
    {},
    {"preset": "medium", "channels": 16},
    {"preset": "large", "channels": 6},
    {"levels": 1},
    {"levels": 3, "max_degree_states": 2},
    {"body_order": 2},
    {"body_order": 3, "max_degree_edges": 4},
    {"max_degree_states": 0, "max_degree_products": 3},
    {"body_order": 2, "max_degree_edges": 1, "max_degree_states": 2},  # nothing makes states of degree 2
    {"radial_width": 5, "bessel_functions": 3, "envelope_power": 4, "channels": 1},
]


NEQUIP: list[dict[str, object]] = [
    {},
    {"parity": False, "max_degree": 2, "channels": 6},
    {"readout_depth": 2, "readout_activation": "mish", "embedding_channels": 5},
    {"layers": 1, "max_degree": 0, "readout_depth": 1},
    {"layers": 2, "max_degree": 3, "radial_depth": 2, "channels": 4},
    {"radial_depth": 0, "channels": 1},
]

ALL = [("nbody", settings) for settings in NETWORKS] + [("nequip", settings) for settings in NEQUIP]


def potential(dtype: torch.dtype, preset: str = "small", architecture: str = "nbody", **settings: object) -> Potential:
    its = architectures()[architecture]
    chosen = {"elements": ("H", "C", "O"), "cutoff": 3.5, "channels": 8, "average_neighbours": 9.0, **settings}
    network = its.network(its.settings(**{**its.presets[preset], **chosen}), torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # at the beginning scales are one and biases zero, so that none would be missed
        for name, parameter in network.named_parameters():
            if name.endswith(("own_scale", "bias")):
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    if architecture == "nequip":  # as imported ones have them: one for each element
        network.neighbour_scales.mul_(torch.tensor([0.8, 1.0, 1.3]))
        network.energy_scales.mul_(torch.tensor([1.1, 0.7, 1.4]))
    return Potential(network.to(dtype), {"H": -1.0, "C": -2.0, "O": -3.0}, energy_scale=2.0)


def rattled(atoms: Atoms, seed: int = 0) -> Atoms:
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(0, 0.08, atoms.positions.shape)
    return atoms


def structures() -> list[Atoms]:
    """A molecule, a crystal with a left-handed cell, a slab, an atom, and two atoms far apart."""
    crystal = bulk("C", "diamond", a=3.6, cubic=True)
    crystal.set_cell(crystal.cell[:] @ [[1, 0.1, 0], [0, 1, 0.2], [0, 0, -1]], scale_atoms=True)
    crystal.symbols[0] = "O"
    slab = molecule("CH3CH2OH", cell=[6, 6, 0], pbc=[True, True, False])
    found = [molecule("CH3CH2OH"), crystal, slab, Atoms("O"), Atoms("HC", [[0] * 3, [9, 0, 0]])]
    return [rattled(atoms, seed) for seed, atoms in enumerate(found)]
