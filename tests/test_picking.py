"""Picks: the spread is that of a committee, and what is picked teaches most and is no structure twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from adaptation import forces_of, frames_of, start_potential
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from command_line import run_command, tiny_model
from nbody_networks import potential as network_potential

from ase_nbody.cli.runs.sample_run import guide, pick_settings
from ase_nbody.data import labelled_dataset
from ase_nbody.labelling.sampling.picking import Picker, picker
from ase_nbody.labelling.sampling.settings import PickSettings
from ase_nbody.meta.committee import SMALLEST_NOISE, Committee, committee
from ase_nbody.meta.fitting import copied
from ase_nbody.meta.ridge import with_readouts
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, trainable_prediction

RESOLUTION = 0.02  # angstrom


def rattled(seed: int, size: float, name: str = "CH3OH") -> Atoms:
    atoms = molecule(name)
    atoms.rattle(size, seed=seed)
    return atoms


def forces_alone(potential: Potential, structures: Sequence[Atoms]) -> list[Atoms]:
    """Structures with a potential's forces under a name, and no energies."""
    frames = [atoms.copy() for atoms in structures]
    for atoms in frames:
        atoms.arrays["REF_forces"] = forces_of(potential, [atoms]).numpy()
    return frames


def committee_of(potential: Potential, structures: Sequence[Atoms]) -> Committee:
    return committee(potential, labelled_dataset(forces_alone(potential, structures)))


def linear_forces(one: Committee, atoms: Atoms) -> np.ndarray:
    return one.forces_by_readouts(neighbour_graph(atoms, one.potential.cutoff, dtype=torch.float64))


KNOWN = [rattled(seed, 0.05) for seed in range(4)]


def test_the_spread_is_that_of_members_drawn_from_the_posterior() -> None:
    start, atoms = start_potential(), rattled(9, 0.1)
    one = committee_of(start, KNOWN)
    graph = neighbour_graph(atoms, start.cutoff, dtype=torch.float64)
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(len(one.covariance)), one.covariance, size=100)
    forces, member = [], copied(one.potential)
    for change in draws:
        with_readouts(member.network, change)
        forces.append(trainable_prediction(member, graph).forces.detach().numpy())
        with_readouts(member.network, -change)
    expected = np.sqrt(np.var(forces, axis=0).sum(axis=1)).max()
    assert one.spread(linear_forces(one, atoms)) == pytest.approx(expected, rel=0.1)  # of 100 members
    assert expected > 5 * SMALLEST_NOISE


def test_after_a_pick_it_is_the_committee_that_learnt_it() -> None:
    """Where labels have the least noise, as those of the potential itself."""
    start, atoms = start_potential(), rattled(9, 0.1)
    before, learnt = committee_of(start, KNOWN), committee_of(start, [*KNOWN, atoms])
    assert before.noise == learnt.noise == SMALLEST_NOISE
    after = before.after(linear_forces(before, atoms))
    scale = np.abs(before.covariance).max()
    assert np.abs(before.covariance - learnt.covariance).max() > 1e-4 * scale
    np.testing.assert_allclose(after.covariance, learnt.covariance, rtol=0, atol=1e-9 * scale)


def test_the_noise_is_the_error_of_the_forces() -> None:
    start = start_potential()
    frames = forces_alone(start, KNOWN)
    for number, atoms in enumerate(frames):
        atoms.arrays["REF_forces"] += np.random.default_rng(number).normal(0, 0.05, (len(atoms), 3))
    one = committee(start, labelled_dataset(frames))
    assert one.noise == pytest.approx(0.05, rel=0.2)
    known = linear_forces(one, KNOWN[0])
    assert one.spread(known) > 2 * committee_of(start, KNOWN).spread(known)


def test_readouts_without_labels_are_as_large_as_the_own_ones() -> None:
    """Of elements that no known structure has."""
    start = start_potential()
    one = committee_of(start, [rattled(seed, 0.05, "CH4") for seed in range(2)])
    first = start.network.linear_readouts()[0].detach()
    row = first.shape[1] * 2  # oxygen's
    assert one.covariance[row, row] == pytest.approx(float(first.square().mean()))
    assert one.covariance[0, 0] < one.covariance[row, row]


def test_distorted_structures_have_larger_spreads_than_known_ones() -> None:
    one = committee_of(start_potential(), KNOWN)
    known, near, far = (
        one.spread(linear_forces(one, atoms)) for atoms in (KNOWN[0], rattled(9, 0.05), rattled(9, 0.2))
    )
    assert known < near < far and far > 5 * known


def picker_of(number: int) -> Picker:
    return Picker(committee_of(start_potential(), KNOWN), KNOWN, number, RESOLUTION)


def test_picks_are_greedy() -> None:
    """Each has the largest spread of all that are left, where those before it are labelled."""
    chosen, pool = picker_of(4), [rattled(seed, size) for seed in range(10, 14) for size in (0.05, 0.1, 0.2)]
    picked = chosen.picked(pool)
    current, left, expected = chosen.committee, list(pool), []
    for _ in range(4):
        spreads = [current.spread(linear_forces(current, atoms)) for atoms in left]
        best = left.pop(int(np.argmax(spreads)))
        expected.append((best, max(spreads)))
        current = current.after(linear_forces(current, best))
    for atoms, (wanted, spread) in zip(picked, expected, strict=True):
        assert np.array_equal(atoms.positions, wanted.positions)
        assert atoms.info["spread"] == pytest.approx(spread, rel=1e-8)
    assert all("spread" not in atoms.info for atoms in pool)
    by_first = sorted(pool, key=lambda a: -chosen.committee.spread(linear_forces(chosen.committee, a)))[:4]
    assert {a.positions.tobytes() for a in by_first} != {a.positions.tobytes() for a in picked}


def test_no_structure_is_picked_twice_nor_a_known_one() -> None:
    one, other = rattled(20, 0.15), rattled(21, 0.15)
    turned, nearly, known = one[::-1], other.copy(), KNOWN[2].copy()
    turned.rotate(70, (1, 2, 3))
    nearly.rattle(0.002, seed=3)
    picked = picker_of(9).picked([known, one, turned, other, nearly])
    assert sorted(a.positions.tobytes() for a in picked) == sorted(a.positions.tobytes() for a in (one, other))
    assert picker_of(9).picked([known]) == []


def test_many_batches_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = [rattled(seed, 0.1, name) for seed in range(3) for name in ("CH3OH", "H2O", "C2H6")]
    whole = picker_of(9).picked(pool)
    monkeypatch.setattr("ase_nbody.labelling.sampling.picking.BATCH_ATOMS", 7)
    for one, other in zip(whole, picker_of(9).picked(pool), strict=True):
        assert one == other and one.info["spread"] == pytest.approx(other.info["spread"], rel=1e-8)


# --- what cannot be ---------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    start = start_potential()
    with pytest.raises(ValueError, match=r"frames has N, which the model does not know \(H, C, O\); give the labelled"):
        committee(start, labelled_dataset(frames_of(start_potential((*start.elements, "N")), 2, "CH3CN")))
    no_forces = forces_alone(start, KNOWN[:1])
    no_forces[0].info["REF_energy"] = 1.0
    del no_forces[0].arrays["REF_forces"]
    with pytest.raises(ValueError, match="frames has no forces"):
        committee(start, labelled_dataset(no_forces))
    hidden = network_potential(torch.float64, architecture="nequip", readout_depth=1)
    with pytest.raises(ValueError, match="NequipNetwork with these settings has no linear readouts"):
        committee(hidden, labelled_dataset(forces_alone(hidden, KNOWN[:1])))
    with pytest.raises(ValueError, match="element 'N' is not in this model"):
        picker_of(1).picked([rattled(0, 0.1, "CH3CN")])
    with pytest.raises(ValueError, match=r"none\.xyz"):
        picker(PickSettings(1, str(tiny_model(tmp_path, ("H", "C"))), tmp_path / "none.xyz"), RESOLUTION)


def test_options_that_do_not_come_together() -> None:
    assert pick_settings(None, "mine", None) is None
    assert pick_settings(3, "mine", Path("k.xyz")) == PickSettings(3, "mine", Path("k.xyz"))
    for given, words in (
        ((None, "mine", Path("k.xyz")), "--known is for --pick N"),
        ((3, None, Path("k.xyz")), "--pick needs --model MODEL"),
        ((3, "mine", None), "--pick needs --known FILE"),
    ):
        with pytest.raises(ValueError, match=words):
            pick_settings(*given)
    assert [guide(None, None), guide(None, "mine"), guide("ase:EMT", "mine")] == [
        "tblite:GFN2-xTB",
        "model:mine",
        "ase:EMT",
    ]


# --- the command ------------------------------------------------------------------------------------------------------


def test_sample_picks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    nbody = partial(run_command, monkeypatch, capsys)
    model = tiny_model(tmp_path, ("H", "C", "O"))
    write("known.xyz", forces_alone(start_potential(), [rattled(1, 0.05, "C2H6"), rattled(2, 0.05, "C2H6")]))
    sampling = ("sample", "C2H6", "--with", "ase:EMT", "--number", 8, "--kinds", "rattle", "--processes", 1)
    picking = (*sampling, "--output", "picked.xyz", "--model", model, "--pick", 4)
    status, _, err = nbody(*picking)
    assert status == 1 and err.startswith("Error: --pick needs --known FILE")
    status, _, err = nbody(*picking, "--known", "nowhere.xyz")
    assert status == 1 and "nowhere.xyz" in err and not Path("picked.parts").exists()
    with monkeypatch.context() as nothing:
        nothing.setattr(Picker, "picked", lambda self, structures: [])
        status, _, err = nbody(*picking, "--known", "known.xyz")
    assert status == 1 and "none is left to pick" in err and not Path("picked.xyz").exists()
    status, out, _ = nbody(*picking, "--known", "known.xyz")
    picked = read("picked.xyz", ":")
    assert status == 0 and "structures    4 in picked.xyz" in out and "picked        of 8; spread" in out
    assert len({atoms.positions.tobytes() for atoms in picked}) == 4
    assert all(atoms.info["spread"] > 0 and atoms.info["sampled_by"] and atoms.calc is None for atoms in picked)
    report = json.loads(Path("picked-sampled.json").read_text())
    assert report["picked"]["spreads"] == pytest.approx([atoms.info["spread"] for atoms in picked])
    assert report["picked"]["number"] == 4 and report["picked"]["known"] == "known.xyz"
