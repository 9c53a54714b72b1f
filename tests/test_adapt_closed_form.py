"""The closed form is the optimum that autograd sees, and its design matrix is that of the errors themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from adaptation import (
    ELEMENTS,
    REFERENCES,
    crystals_of,
    dataset_of,
    forces_of,
    frames_of,
    start_potential,
    teacher_of,
)
from ase import Atoms
from ase.build import bulk

from ase_nbody.architectures import architectures
from ase_nbody.data import Dataset, Labels, Sample, batch_samples, labelled_dataset, samples
from ase_nbody.meta.design import Design, blocks_of_errors, design, errors_by_readouts, forces_by_readouts, labelled
from ase_nbody.meta.fitting import copied
from ase_nbody.meta.references import with_reference_energies
from ase_nbody.meta.ridge import cross_validated, solve, with_readouts
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict, trainable_prediction
from ase_nbody.predictions import ENERGY, FORCES, LABELLED, STRESS
from ase_nbody.repulsion import Repulsion
from ase_nbody.training.loss import common_scale, errors, loss

WEIGHTS = common_scale({ENERGY: 10.0, FORCES: 1.0, STRESS: 0.1}, 0.3)
EXACT = 1e-9  # float64; broken laws differ by 1e-3 and more


def design_of(potential: Potential, prepared: Sequence[Sample]) -> Design:
    """The design matrix, of errors that were made in blocks."""
    return design([one for block in blocks_of_errors(potential, prepared) for one in block], WEIGHTS)


def test_the_design_matrix_is_the_change_of_the_errors_by_a_unit_of_each_readout() -> None:
    start = start_potential()
    data = labelled_dataset([*frames_of(start, 1), *frames_of(start, 1, "H2O"), *crystals_of(start, 2)])
    batch = batch_samples(samples(data, start.cutoff))
    columns = errors_by_readouts(start, batch)
    before = errors(trainable_prediction(start, batch.graph), batch.targets, batch.graph)
    assert len(before[STRESS]) == 18
    sizes = [readout.numel() for readout in start.network.linear_readouts()]
    assert columns[ENERGY].shape[-1] == sum(sizes)
    for level, number in ((0, 0), (0, 13), (1, 5), (1, 23)):
        changed = copied(start)
        with torch.no_grad():
            changed.network.linear_readouts()[level].view(-1)[number] += 1.0
        after = errors(trainable_prediction(changed, batch.graph), batch.targets, batch.graph)
        for kind in LABELLED:
            difference = (after[kind] - before[kind]).detach()
            column = columns[kind][..., level * sizes[0] + number]
            torch.testing.assert_close(column, difference, rtol=0, atol=EXACT)
            assert kind == STRESS or column.abs().max() > 1e-3


def test_stress_of_a_structure_without_a_period_has_no_rows() -> None:
    atoms = bulk("C", cubic=True)
    atoms.pbc = False
    labels = Labels(energy=0.0, stress=np.eye(3))
    batch = batch_samples(samples(Dataset((atoms, bulk("C")), (labels, labels), "memory", "0", "made"), 3.0))
    assert labelled(batch)[STRESS].flatten(1).any(dim=1).tolist() == [False, True]


def test_forces_of_contacts_change_as_the_network_sees_them() -> None:
    """With lengthened vectors, where a repulsion acts."""
    start = replace(start_potential(), repulsion=Repulsion({"C-O": 1.3, "C-H": 1.05, "H-O": 1.0}))
    close = Atoms("COH", [[0, 0, 0], [0.3, 0.4, 1.12], [0.9, -0.2, -0.4]])
    assert start.repulsion is not None
    graph = neighbour_graph(close, start.cutoff, dtype=torch.float64)
    contacts = start.repulsion.contacts(graph)
    assert len(contacts) == 4 and not start.repulsion.fades(graph, contacts)
    columns = forces_by_readouts(start, graph)
    changed = copied(start)
    with torch.no_grad():
        changed.network.linear_readouts()[1].view(-1)[5] += 1.0
    difference = (predict(changed, graph).forces - predict(start, graph).forces).detach()
    column = columns[..., start.network.linear_readouts()[0].numel() + 5]
    torch.testing.assert_close(column, difference, rtol=0, atol=1e-7)  # radial tables
    far = forces_by_readouts(replace(start, repulsion=None), graph)
    assert (far - columns).abs().max() > 1e-3 and difference.abs().max() > 1e-3


@pytest.mark.parametrize("strength", [1e-4, 1e-1])
def test_no_gradient_is_left_at_the_solution(strength: float) -> None:
    """Of the training's loss with the penalty, by the readouts and at the reference energies fitted last."""
    start = start_potential()
    teacher = teacher_of(start)
    data = labelled_dataset([*frames_of(teacher, 3), *frames_of(teacher, 3, "CH3OH"), *crystals_of(teacher, 2)])
    prepared = samples(data, start.cutoff)
    own = copied(with_reference_energies(start, data, prepared).potential)
    with_readouts(own.network, solve(design_of(own, prepared), strength))
    own = with_reference_energies(own, data, prepared).potential
    batch = batch_samples(prepared)
    value = loss(predict(own, batch.graph, differentiable=True), batch.targets, batch.graph, WEIGHTS)
    readouts = own.network.linear_readouts()
    gradients = torch.autograd.grad(value, readouts)
    for readout, gradient, begun in zip(readouts, gradients, start.network.linear_readouts(), strict=True):
        penalty = 2 * strength * (readout - begun).detach()
        assert penalty.abs().max() > 1e-6
        torch.testing.assert_close(gradient, -penalty, rtol=1e-6, atol=EXACT)


def mace_potential() -> Potential:
    """An untrained MACE, in float64: its features change by autograd."""
    mace = architectures()["mace"]
    settings = mace.settings(elements=ELEMENTS, cutoff=4.0, states="8x0e+8x1o", max_degree=2, radial_widths=(8,))
    network = mace.network(settings, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for readout in network.linear_readouts():
            readout *= 10.0
    return Potential(network, REFERENCES, energy_scale=0.3)


@pytest.mark.parametrize("build", [start_potential, mace_potential])
def test_a_level_that_differs_in_its_readouts_is_found_again(build: Callable[[], Potential]) -> None:
    start = build()
    teacher = teacher_of(start, readouts=1.4, others=0.0)
    data, unseen = dataset_of(teacher, 8), dataset_of(teacher, 3, seed=50)
    prepared = samples(data, start.cutoff)
    own = copied(with_reference_energies(start, data, prepared).potential)
    ridge = cross_validated(design_of(own, prepared))
    with_readouts(own.network, ridge.update)
    wanted = forces_of(teacher, unseen.structures)
    assert (forces_of(start, unseen.structures) - wanted).abs().max() > 0.05
    assert (forces_of(own, unseen.structures) - wanted).abs().max() < 1e-4
    assert ridge.held_out < 1e-5


def test_cross_validation_keeps_noise_out() -> None:
    """Where the labels are noise, readouts stay at the start; where they are not, they leave it."""
    generator = np.random.default_rng(0)
    matrix, structure = generator.normal(size=(60, 20)), np.repeat(np.arange(10), 6)
    noise = cross_validated(Design(matrix, generator.normal(size=60), structure))
    told = cross_validated(Design(matrix, -matrix @ np.ones(20), structure))
    assert np.abs(noise.update).max() < 0.1 and noise.held_out == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(told.update, 1.0, atol=1e-3)


def test_networks_without_linear_readouts_say_so() -> None:
    start = start_potential()
    settings = start.network.settings.model_copy(update={"radial": "strict"})
    strict = type(start.network)(settings, generator=torch.Generator().manual_seed(0))
    assert strict.linear_readouts() == []
    assert len(replace(start).network.linear_readouts()) == 2
