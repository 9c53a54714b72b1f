"""The scripts that made organic-start: neighbours of many molecules at once, and ANI's networks in stacks."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule

from ase_nbody.graph import batch_graphs
from ase_nbody.neighbours import neighbour_graph

FOLDER = Path(__file__).parent.parent / "benchmarks" / "organic_start"
NAMES = ("CH3CH2OH", "H2O", "C6H6", "trans-butane")


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


def test_neighbours_of_molecules_are_those_of_each():
    from train_with_dynamics import molecules_graph

    structures = [molecule(name) for name in NAMES]
    expected = batch_graphs([neighbour_graph(atoms, 3.0) for atoms in structures])
    n_atoms = torch.tensor([len(atoms) for atoms in structures])
    found = molecules_graph(expected.atomic_numbers, expected.positions, n_atoms, 3.0)
    for field in fields(expected.edges):
        assert torch.equal(getattr(found.edges, field.name), getattr(expected.edges, field.name)), field.name
    for name in ("atomic_numbers", "positions", "cell", "pbc", "structure", "shifts"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def started():
    """Two trajectories, padded, and the committee that moves them."""
    pytest.importorskip("torchani")
    from dynamics import ELEMENTS, Batch, kept_committee, kept_networks

    structures = [molecule(name) for name in ("CH3CH2OH", "H2O")]
    start = {
        "species": [torch.tensor([ELEMENTS.index(n) for n in atoms.numbers], dtype=torch.int8) for atoms in structures],
        "positions": [torch.from_numpy(atoms.positions).float() for atoms in structures],
    }
    batch = Batch(start, torch.arange(2), "cpu", torch.Generator().manual_seed(0))
    return structures, batch, kept_committee(kept_networks(), "cpu")


def test_stacked_networks_give_the_labels_of_the_reference():
    structures, batch, committee = started()
    from dynamics import labels

    from ase_nbody.labelling.ani import ANIReference

    energies, forces, spreads = labels(committee, batch)
    for number, label in enumerate(ANIReference("ANI-1x").label(structures)):
        assert abs(float(energies[number]) - label.energy) < 1e-4
        assert np.abs(forces[number, : len(label.forces)].numpy() - label.forces).max() < 1e-4
        assert abs(float(spreads[number]) - label.extra_info["energy_spread"]) < 1e-4


def test_dynamics_keeps_the_temperature_and_frames_without_new_bonds():
    from ase.units import kB

    _, batch, committee = started()
    from dynamics import Kept, labels

    forces, ratios = committee.means(batch.species, batch.positions).forces[0], []
    freedom = 3 * (batch.species >= 0).sum(1)
    for _ in range(400):
        forces = batch.step(forces, committee)
        ratios.append(2 * batch.kinetic_energies() / (freedom * kB * batch.temperatures))
    assert np.allclose(torch.stack(ratios)[100:].mean(0), 1.0, atol=0.35)
    kept = Kept()
    batch.positions[1, 1] += 5.0  # water loses an atom
    kept.add(batch, labels(committee, batch))
    assert kept.arrays()["sizes"].tolist() == [9]


def test_rattled_geometries_keep_their_molecule_and_are_displaced_by_a_width_of_their_own(tmp_path):
    import dynamics
    from ase.io import read

    ethanol = molecule("CH3CH2OH")
    start = {
        "names": ["ethanol"] * 40,
        "species": [torch.tensor([dynamics.ELEMENTS.index(n) for n in ethanol.numbers], dtype=torch.int8)] * 40,
        "positions": [torch.from_numpy(ethanol.positions).float()] * 40,
    }
    torch.save(start, tmp_path / "start.pt")
    dynamics.rattled(argparse.Namespace(start=tmp_path / "start.pt", output=tmp_path / "rattled.xyz"))
    frames = read(tmp_path / "rattled.xyz", ":")
    assert len(frames) == 40 and all((frame.numbers == ethanol.numbers).all() for frame in frames)
    said = np.array([float(frame.info["sampled_by"].split()[1]) for frame in frames])
    found = np.array([(frame.positions - ethanol.positions).std() for frame in frames])
    assert said.min() >= 0.02 and said.max() <= 0.1 and np.ptp(said) > 0.04
    assert np.abs(found / said - 1).max() < 0.5
    assert abs(np.mean(found / said) - 1) < 0.1
