"""Auxiliary labels of a cheap level of theory beside the few that a start is adapted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import pytest
import torch
from adaptation import ELEMENTS, dataset_of, forces_of, frames_of, start_potential, teacher_of
from command_line import run_command

from ase_nbody import NBodyCalculator
from ase_nbody.architectures import architectures
from ase_nbody.cli.card import card
from ase_nbody.data import Dataset, PackedSamples
from ase_nbody.meta.adapt import Adaptation, adapt
from ase_nbody.meta.auxiliary import WithAuxiliary, add_auxiliary_level, auxiliary_readouts, auxiliary_samples
from ase_nbody.meta.fitting import copied, prepared
from ase_nbody.meta.groups import parameter_groups
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.model_file import load_model, model_information, save_model
from ase_nbody.potential import Potential
from ase_nbody.predictions import FORCES
from ase_nbody.training.objective import LabelledStructures

START = start_potential()
TEACHER = teacher_of(START, readouts=1.0)
CHEAP = teacher_of(START, readouts=0.97)  # it shares all but readouts with the teacher
DATA = dataset_of(TEACHER, 8)
AUXILIARY = dataset_of(CHEAP, 60, seed=500)


def adapted(
    auxiliary: Dataset | None, start: Potential = START, said: list[str] | None = None, **given: Any
) -> Adaptation:
    chosen = {"method": "all", "steps": 60, "learning_rate": 0.005, "auxiliary_weight": 1.0, "accept_worse": True}
    settings = AdaptationSettings.model_validate({**chosen, **given})
    return adapt(start, DATA, settings, (said or []).append, auxiliary=auxiliary)


def errors(found: Adaptation) -> dict[str, float]:
    """Of forces on held-out structures, by candidate."""
    return {row.candidate.name: row.report.of(FORCES).mae or 0.0 for row in found.rows}


def weights(found: Adaptation) -> Sequence[torch.Tensor]:
    return [parameter.detach() for parameter in found.referenced.potential.network.parameters()]


@pytest.mark.parametrize("method", ["all", "radial", "low-rank"])
def test_forces_of_a_level_that_shares_most_weights_lower_the_errors(method: str) -> None:
    without, beside = (errors(adapted(auxiliary, method=method)) for auxiliary in (None, AUXILIARY))
    assert beside[method] < 0.9 * without[method]
    assert beside["start"] == without["start"]
    assert beside["scratch"] == without["scratch"]  # it does without


def test_the_model_has_one_level_and_the_start_stays() -> None:
    before = forces_of(START, DATA.structures)
    found = adapted(AUXILIARY, steps=5)
    network = found.referenced.potential.network
    assert network.theory is None
    assert network.state_dict().keys() == START.network.state_dict().keys()
    assert START.network.theory is None and torch.equal(forces_of(START, DATA.structures), before)


def test_auxiliary_labels_change_what_is_shared_and_readouts_of_their_own() -> None:
    own = replace(copied(START), network=copied(START).network.requires_grad_(True))
    add_auxiliary_level(own.network)
    structures = prepared(DATA, own)
    weights = structures.weights(AdaptationSettings(), own.energy_scale)
    alone = LabelledStructures(PackedSamples(structures.samples), [], weights)
    others = LabelledStructures(PackedSamples(auxiliary_samples(AUXILIARY, own)), [], weights)
    gradients = []
    for objective in (alone, WithAuxiliary(alone.samples, [], weights, others, 0)):
        own.network.zero_grad()
        value = objective.gradient(own, torch.arange(5), 0)
        assert value == pytest.approx(alone.gradient(copied(own), torch.arange(5), 0))
        gradients.append({n: torch.zeros(1) if p.grad is None else p.grad for n, p in own.network.named_parameters()})
    changed = {name for name, gradient in gradients[0].items() if not torch.equal(gradient, gradients[1][name])}
    assert changed.isdisjoint(own.network.named_readouts())
    assert auxiliary_readouts(own.network).keys() <= changed
    assert set(parameter_groups(own.network)["radial"]) <= changed


def test_beside_each_batch_are_half_as_many_and_others_in_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    structures = prepared(DATA, START)
    packed, weights = PackedSamples(structures.samples), structures.weights(AdaptationSettings(), 1.0)
    others = LabelledStructures(PackedSamples(auxiliary_samples(AUXILIARY, START)), [], weights)
    drawn: list[list[int]] = []

    def gradient(self: LabelledStructures, potential: Potential, chosen: torch.Tensor, epoch: int) -> float:
        if self is others:
            drawn.append(chosen.tolist())
        return 0.0

    monkeypatch.setattr(LabelledStructures, "gradient", gradient)
    objective = WithAuxiliary(packed, [], weights, others, 0)
    for size, epoch in ((5, 0), (5, 0), (5, 1), (1, 0)):
        objective.gradient(START, torch.arange(size), epoch)
    assert [len(set(numbers)) for numbers in drawn] == [2, 2, 2, 1]
    assert drawn[0] == drawn[1] != drawn[2]


def test_energies_of_auxiliary_structures_are_not_used() -> None:
    shifted = replace(AUXILIARY, labels=tuple(replace(labels, energy=7.0) for labels in AUXILIARY.labels))
    one, other = (weights(adapted(auxiliary, steps=5)) for auxiliary in (AUXILIARY, shifted))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_their_weight_decides_and_each_has_a_turn() -> None:
    none = weights(adapted(None, steps=5))
    for weight, same in ((1e-9, True), (0.3, False)):
        beside = weights(adapted(AUXILIARY, steps=5, auxiliary_weight=weight))
        changes = max(float((a - b).abs().max()) for a, b in zip(none, beside, strict=True))
        assert (changes < 1e-4) == same
    few = AUXILIARY.subset([0])
    only, all_of_them = (weights(adapted(auxiliary, steps=5)) for auxiliary in (few, AUXILIARY))
    assert any(not torch.equal(a, b) for a, b in zip(only, all_of_them, strict=True))


def test_what_cannot_be_learnt_beside_is_refused() -> None:
    with pytest.raises(ValueError, match="have N, which neither the start nor the structures"):
        adapted(dataset_of(start_potential((*ELEMENTS, "N")), 3, "NH3"))
    with pytest.raises(ValueError, match="several levels of theory, PBE, HF"):
        adapted(replace(AUXILIARY, stated_levels=("PBE", "HF")))
    one = replace(AUXILIARY.labels[2], forces=None)
    labels = (*AUXILIARY.labels[:2], one, *AUXILIARY.labels[3:])
    with pytest.raises(ValueError, match=r"auxiliary labels are forces, and of .* structure 2 and 0 more"):
        adapted(replace(AUXILIARY, labels=labels))
    schnet = architectures()["schnet"]
    network = schnet.network(schnet.settings(elements=ELEMENTS, **schnet.presets["small"]), generator=torch.Generator())
    with pytest.raises(ValueError, match="has no readout that levels of theory could have for themselves"):
        adapted(AUXILIARY, replace(START, network=network.double()))


def test_the_command_and_the_calculator_take_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    header = model_information(START, name="first", reference_energies_source="given", method="other")
    save_model(tmp_path / "start.safetensors", START, header)
    data, cheap = frames_of(TEACHER, 8), frames_of(CHEAP, 30, seed=500)
    ase.io.write("data.xyz", data)
    for frame in cheap:
        frame.info["level_of_theory"] = "cheap"
    ase.io.write("cheap.xyz", cheap)
    words = ("adapt", "start.safetensors", "--data", "data.xyz", "--auxiliary", "cheap.xyz", "--method", "all")
    status, _, error = run_command(
        monkeypatch, capsys, *words, "--steps", 3, "--accept-worse", "--output", "m.safetensors"
    )
    assert status == 0, error
    potential, information = load_model(tmp_path / "m.safetensors")
    record = information.training["auxiliary"]
    assert (record["name"], record["n_structures"], record["level_of_theory"]) == ("cheap.xyz", 30, "cheap")
    assert "| forces learnt beside | 30 structures of cheap.xyz, cheap |" in card(information, "m.safetensors", "")
    start = NBodyCalculator(START, outside="ignore")
    mine = start.adapt(data, method="all", steps=3, accept_worse=True, auxiliary=cheap)
    assert mine.information is not None and mine.information.training["auxiliary"]["n_structures"] == 30
    found = forces_of(mine.potential, DATA.structures)
    torch.testing.assert_close(found, forces_of(potential, DATA.structures), atol=1e-4, rtol=0)
