"""Batches gathered from long tensors are those that are put together sample by sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from ase_nbody.data import PackedSamples, batch_samples, batches_of_samples
from ase_nbody.data.dataset import Labels
from ase_nbody.data.graph_samples import Sample, targets
from ase_nbody.neighbours import neighbour_graph


def sample(atoms: Atoms, seed: int, stress: bool = False) -> Sample:
    generator = np.random.default_rng(seed)
    labels = Labels(
        energy=generator.normal(),
        forces=generator.normal(size=(len(atoms), 3)),
        stress=generator.normal(size=(3, 3)) if stress else None,
    )
    return Sample(neighbour_graph(atoms, 3.0), targets(atoms, labels))


def several() -> list[Sample]:
    structures = [
        molecule("H2O"),
        Atoms("H"),
        bulk("Si", cubic=True),
        molecule("CH3CH2OH"),
        Atoms("OHe", [[0] * 3, [9] * 3]),
    ]
    made = [sample(atoms, n, stress=bool(atoms.pbc.any())) for n, atoms in enumerate(structures)]
    groups = [
        torch.tensor([0, 0, 1]),
        torch.tensor([-1]),
        torch.full((8,), -1),
        torch.arange(9) // 2,
        torch.tensor([0, 1]),
    ]
    return [Sample(replace(s.graph, groups=g), s.targets) for s, g in zip(made, groups, strict=True)]


def assert_equal(found: object, expected: object) -> None:
    for field in fields(expected):  # type: ignore[arg-type]
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, torch.Tensor):
            assert one.dtype == other.dtype, field.name
            assert torch.equal(torch.nan_to_num(one, 7.0), torch.nan_to_num(other, 7.0)), field.name
        elif is_dataclass(other):
            assert_equal(one, other)
        elif isinstance(other, Mapping):
            assert list(one) == list(other)
            assert all(torch.equal(one[key].nan_to_num(7.0), value.nan_to_num(7.0)) for key, value in other.items())
        else:
            assert one == other, field.name


@pytest.mark.parametrize("chosen", [[0], [3, 0, 2], [4, 1, 3, 2, 0], [1, 1, 4]], ids=str)
def test_a_batch_is_what_its_samples_make_side_by_side(chosen):
    made = several()
    assert_equal(PackedSamples(made).batch(torch.tensor(chosen)), batch_samples([made[n] for n in chosen]))


def test_samples_of_several_structures_are_packed_as_one_by_one():
    made = several()
    leveled = [*made[:2], *(replace(s, level=1) for s in made[2:])]
    packed = PackedSamples([*leveled[:1], batch_samples(leveled[1:2]), batch_samples(leveled[2:])])
    assert packed.levels == PackedSamples(leveled).levels == (0, 0, 1, 1, 1)
    chosen = torch.tensor([4, 2, 3])
    assert_equal(packed.batch(chosen), PackedSamples(leveled).batch(chosen))


def test_without_groups_there_are_none_in_a_batch():
    made = [Sample(replace(s.graph, groups=None), s.targets) for s in several()]
    packed = PackedSamples(made)
    assert len(packed) == 5
    assert_equal(packed.batch(torch.tensor([2, 1])), batch_samples([made[2], made[1]]))


def test_no_sample_is_refused():
    with pytest.raises(ValueError, match="at least one structure"):
        PackedSamples([])


def test_batches_for_an_evaluation_are_as_large_as_allowed_and_of_one_level():
    made = [sample(molecule("H2O"), n) for n in range(7)]
    leveled = [*made[:5], *(replace(s, level=1) for s in made[5:])]
    assert [b.graph.n_structures for b in batches_of_samples(made, 6)] == [2, 2, 2, 1]
    assert [(b.graph.n_structures, b.level) for b in batches_of_samples(leveled, 6)] == [(2, 0), (2, 0), (1, 0), (2, 1)]
    assert [b.graph.n_structures for b in batches_of_samples(made, 2)] == [1] * 7
