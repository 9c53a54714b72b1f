"""Labels of what a term predicts beside energies: read, learnt and evaluated without an edit of the package."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from adaptation import frames_of, start_potential, teacher_of
from ase import Atoms
from ase.build import bulk, molecule
from charge_term import CHARGES, DIPOLE, TERM, ElementCharges, ElementChargesSettings
from command_line import run_command
from lightning_fabric import Fabric
from rich.console import Console
from torch.nn import Parameter
from toy_network import ARCHITECTURE, toy_potential

import ase_nbody.architectures
import ase_nbody.terms
from ase_nbody.data import (
    Dataset,
    Labels,
    PackedSamples,
    batch_samples,
    error_words,
    evaluate,
    labelled_dataset,
    not_predicted,
    parity_plot,
    read_dataset,
    samples,
)
from ase_nbody.graph import Graph
from ase_nbody.model_file import load_model, model_information, read_information, save_model
from ase_nbody.potential import Potential, copied_potential, predict
from ase_nbody.predictions import ENERGY, FORCES, Predicted, Property
from ase_nbody.stopping import StopRequest
from ase_nbody.training.budget import Clock, EpochBudget
from ase_nbody.training.display import Display
from ase_nbody.training.history_row import HistoryRow
from ase_nbody.training.loop import Task, fit, take_step
from ase_nbody.training.loss import Weight, compared_as, errors, loss, loss_weights
from ase_nbody.training.objective import LabelledStructures
from ase_nbody.training.run import train
from ase_nbody.training.scale import label_scales
from ase_nbody.training.settings import FittingSettings, TrainingSettings
from ase_nbody.training.state import initial_state, restore, state_numbers, state_tensors
from ase_nbody.training.stopping import TrainingDivergedError

TRUE = {"H": 0.3, "C": -0.1, "O": -0.6}
GUESS = {"H": 0.0, "C": 0.0, "O": 0.0}
QUIET = Console(file=io.StringIO())
FURTHER = (CHARGES, DIPOLE)
MOMENT = replace(DIPOLE, name="moment")
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def charged(charges: Mapping[str, float]) -> Potential:
    return replace(toy_potential(), others=(ElementCharges(ElementChargesSettings(charges=charges)),))


def molecules(n: int) -> list[Atoms]:
    frames = []
    for seed in range(n):
        atoms = molecule(("H2O", "CH3OH", "CO2", "H2CO")[seed % 4])
        atoms.rattle(0.1, seed=seed)
        frames.append(atoms)
    return frames


def crystal() -> Atoms:
    atoms = bulk("C", "diamond", a=3.9, cubic=True)
    atoms.symbols[0] = "O"
    return atoms


def labelled(frames: list[Atoms], charges: Mapping[str, float] = TRUE) -> Dataset:
    """Labels of a potential with these charges; a crystal has a dipole of zero, which the potential does not give."""
    own, made = charged(charges), []
    for atoms in frames:
        prediction = predict(own, samples(unlabelled([atoms]), own.cutoff)[0].graph)
        further = {kind: prediction.of(kind).numpy() for kind in FURTHER}
        further[DIPOLE] = np.nan_to_num(further[DIPOLE][0])
        made.append(Labels(prediction.energy.item(), prediction.forces.detach().numpy(), further=further))
    return Dataset(tuple(frames), tuple(made), "memory", "0", "made")


def unlabelled(frames: list[Atoms]) -> Dataset:
    return Dataset(tuple(frames), (Labels(),) * len(frames), "memory", "0", "made")


def written(path: Path, frames: list[Atoms], prefix: str = "", charges: Mapping[str, float] = TRUE) -> Path:
    """An extended XYZ file whose labels have a prefix to their names."""
    stored = []
    for atoms, labels in zip(frames, labelled(frames, charges).labels, strict=True):
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        frame.info |= {f"{prefix}energy": labels.energy, f"{prefix}dipole": labels.further[DIPOLE]}
        frame.arrays |= {f"{prefix}forces": labels.forces, f"{prefix}charges": labels.further[CHARGES]}
        stored.append(frame)
    ase.io.write(path, stored, format="extxyz")
    return path


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "REF_", "mp2_"])
def test_labels_of_what_terms_predict_are_read(tmp_path: Path, prefix: str) -> None:
    frames = molecules(4)
    dataset = read_dataset(written(tmp_path / "a.xyz", frames, prefix), further=FURTHER)
    assert dataset.further_properties == FURTHER
    for found, expected in zip(dataset.labels, labelled(frames).labels, strict=True):
        assert found.energy == pytest.approx(expected.energy, abs=1e-6)
        for kind in FURTHER:
            np.testing.assert_allclose(found.further[kind], expected.further[kind], atol=1e-7)
    assert all(words in dataset.label_source for words in ("charges from", "dipole from", "(4 of 4 frames)"))
    assert "not used" not in dataset.label_source


def test_what_is_not_asked_for_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.xyz", molecules(2))
    without = read_dataset(path)
    assert without.further_properties == ()
    unused = without.label_source.split("not used: ")[1]
    assert "dipole" in unused and "charges" in unused
    assert "dipole" not in read_dataset(path, further=(DIPOLE,)).label_source.split("not used: ")[1]


def test_labels_of_another_origin_are_named_and_read_where_their_key_is_given(tmp_path: Path) -> None:
    frames = ase.io.read(written(tmp_path / "a.xyz", molecules(2), "REF_"), index=":")
    for frame in frames:
        frame.info["mp2_dipole"] = frame.info.pop("REF_dipole")
    ase.io.write(tmp_path / "b.xyz", frames, format="extxyz")
    found = read_dataset(tmp_path / "b.xyz", further=FURTHER)
    assert found.further_properties == (CHARGES,)
    assert "no dipole" in found.label_source and found.label_source.endswith("not used: mp2_dipole in info")
    given = read_dataset(tmp_path / "b.xyz", further=FURTHER, further_keys={"dipole": "mp2_dipole"})
    assert set(given.further_properties) == set(FURTHER) and "not used" not in given.label_source
    with pytest.raises(ValueError, match=r"no frame has dipole under the key 'nothing'"):
        read_dataset(tmp_path / "b.xyz", further=FURTHER, further_keys={"dipole": "nothing"})
    with pytest.raises(ValueError, match=r"a key is given for dipole, which is not read: .* predict nothing beside"):
        read_dataset(tmp_path / "b.xyz", further_keys={"dipole": "mp2_dipole"})


def test_labels_of_two_origins_that_differ_are_noted() -> None:
    atoms = frame_with(dipole=np.array([0.5, 0.5, 1.0]), REF_dipole=np.full(3, 0.5), REF_energy=-1.0)
    atoms.arrays |= {"REF_forces": np.zeros((3, 3)), "charges": np.array([0.0, 0.0, 0.1]), "REF_charges": np.zeros(3)}
    charges, dipole = labelled_dataset([atoms], further=FURTHER).notes
    assert "differ in 1 of 1 frames, most in frame 0: atom 2: 0 and 0.1 e; REF_charges in arrays is used" in charges
    assert "most in frame 0: z: 0.5 and 1 e angstrom; REF_dipole in info is used" in dipole
    assert dipole.endswith("(another with --key dipole=NAME)")


def test_a_file_may_have_no_energies(tmp_path: Path) -> None:
    frames = [frame_with(dipole=np.full(3, 0.5), REF_dipole=np.ones(3)) for _ in range(2)]
    for frame in frames:
        del frame.info["energy"]
    dataset = labelled_dataset(frames, further=FURTHER)
    assert [labels.further[DIPOLE].tolist() for labels in dataset.labels] == [[1.0] * 3] * 2  # REF_ before plain names
    assert dataset.labels[0].energy is None and dataset.label_source.endswith("not used: dipole in info")
    assert evaluate(charged(TRUE), dataset)[0].of(DIPOLE).mae is not None
    with pytest.raises(ValueError, match="no energies or forces found"):
        labelled_dataset(frames)
    with pytest.raises(ValueError, match="no energies or forces or charges found"):
        labelled_dataset(frames, further=(CHARGES,))


def test_what_has_another_shape_under_a_name_of_the_users_own_is_no_label(tmp_path: Path) -> None:
    frames = ase.io.read(written(tmp_path / "a.xyz", molecules(2), "mp2_"), index=":")
    for frame in frames:
        frame.info["mp2_dipole"] = 1.5
    found = labelled_dataset(frames, further=FURTHER)
    assert found.further_properties == (CHARGES,) and found.label_source.endswith("not used: mp2_dipole in info")


def frame_with(**further: Any) -> Atoms:
    atoms = molecule("H2O")
    atoms.info["energy"] = -1.0
    atoms.info |= {key: value for key, value in further.items() if key != "charges"}
    if "charges" in further:
        atoms.arrays["charges"] = further["charges"]
    return atoms


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"dipole": np.zeros(2)}, r"dipole has shape \(2,\); dipole of a structure is \(3,\), in e angstrom"),
        ({"dipole": 1.0}, r"dipole has shape \(\); dipole of a structure is"),
        ({"charges": np.zeros((3, 2))}, r"charges has shape \(3, 2\); charges on 3 atoms are \(3,\), in e"),
        ({"dipole": np.array([0.0, np.nan, 0.0])}, "dipole has NaN or infinite values"),
        ({"dipole": "large"}, "dipole is 'large'; a label must be made of numbers"),
    ],
)
def test_labels_of_a_wrong_shape_are_refused(labels: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=rf"here, frame 1: {words}"):
        labelled_dataset([frame_with(dipole=np.ones(3)), frame_with(**labels)], "here", FURTHER)


def test_some_frames_may_lack_them_and_shapes_may_be_flat() -> None:
    tensor = Property("polarizability", "angstrom^2 e^2/eV", per_atom=False, shape=(3, 3), voigt=True)
    gradients = Property("born_charges", "e", per_atom=True, shape=(3, 3))
    frames = [frame_with(polarizability=np.arange(1.0, 7.0)), frame_with(charges=np.ones((3, 1)))]
    frames[0].arrays["born_charges"] = np.arange(27.0).reshape(3, 9)
    dataset = labelled_dataset(frames, further=(tensor, gradients, CHARGES))
    first, second = dataset.labels
    np.testing.assert_array_equal(first.further[tensor], [[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    np.testing.assert_array_equal(first.further[gradients], np.arange(27.0).reshape(3, 3, 3))
    np.testing.assert_array_equal(second.further[CHARGES], np.ones(3))
    assert set(second.further) == {CHARGES} and "charges from charges in arrays (1 of 2 frames)" in dataset.label_source
    batch = batch_samples(samples(dataset, 3.0))
    assert batch.targets.labels[gradients].isnan().flatten(1).all(dim=1).tolist() == [False] * 3 + [True] * 3
    assert batch.targets.labels[tensor].shape == (2, 3, 3)


def test_other_labels_give_another_hash() -> None:
    one, other, without = (
        labelled_dataset([frame_with(dipole=np.full(3, x))], further=kinds).sha256
        for x, kinds in ((1.0, FURTHER), (2.0, FURTHER), (1.0, ()))
    )
    assert len({one, other, without}) == 3
    assert without == labelled_dataset([frame_with()]).sha256


# --- the loss --------------------------------------------------------------------------------------------------------


@DTYPES
def test_the_loss_of_a_dipole_by_hand(dtype: torch.dtype) -> None:
    own = copied_potential(charged(TRUE), torch.device("cpu"), dtype)
    frames = [molecule("H2O"), molecule("CO2"), crystal(), molecule("CH3OH")]
    exact = labelled(frames)
    moved = []
    for shift, labels in zip((0.5, None, 0.25, 1.5), exact.labels, strict=True):
        dipole = {} if shift is None else {DIPOLE: labels.further[DIPOLE] + shift}
        moved.append(Labels(further={CHARGES: labels.further[CHARGES] + 0.125, **dipole}))
    batch = batch_samples(samples(replace(exact, labels=tuple(moved)), own.cutoff, dtype=dtype))
    prediction = predict(own, batch.graph)
    found = errors(prediction, batch.targets, batch.graph)
    sizes = [1e-12 if dtype == torch.float64 else 1e-5] * 2
    assert found[DIPOLE].shape == (6,)  # one has no label, and a crystal has no dipole
    np.testing.assert_allclose(found[DIPOLE], [-0.5 / 3] * 3 + [-1.5 / 6] * 3, atol=sizes[0])
    np.testing.assert_allclose(found[CHARGES], [-0.125] * sum(map(len, frames)), atol=sizes[1])
    assert found[ENERGY].numel() == 0
    value = loss(prediction, batch.targets, batch.graph, {DIPOLE: Weight(3.0, 0.5), CHARGES: Weight(2.0, 0.25)})
    expected = 3.0 * np.mean([(0.5 / 3 / 0.5) ** 2, (1.5 / 6 / 0.5) ** 2]) + 2.0 * 0.25
    assert value.item() == pytest.approx(expected, rel=1e-10 if dtype == torch.float64 else 1e-4)
    assert loss(prediction, batch.targets, batch.graph, {DIPOLE: Weight(0.0, 0.5)}).item() == 0.0


def test_labels_of_what_is_not_predicted_are_refused() -> None:
    dataset = labelled([molecule("H2O")])
    batch = batch_samples(samples(dataset, 4.0))
    without = toy_potential()
    with pytest.raises(ValueError, match="no charges is predicted; there are energy, energies, forces, stress"):
        loss(predict(without, batch.graph), batch.targets, batch.graph, {})
    with pytest.raises(ValueError, match=r"memory has labels of charges, dipole, which the model does not predict"):
        evaluate(without, dataset)
    wrong = replace(dataset, labels=(Labels(further={DIPOLE: np.zeros(2)}),))
    with pytest.raises(ValueError, match=r"labels of dipole have the shape \(2,\), and it is to be \(3,\)"):
        evaluate(charged(TRUE), wrong)


def test_a_prediction_that_is_not_finite_is_named_with_its_structure() -> None:
    own = charged({"H": 0.0, "C": 0.0, "O": np.nan})
    frames = [molecule("CH4"), molecule("CH4"), molecule("CO2")]
    with pytest.raises(ValueError, match=r"the model's charges are not finite in 1 structure\(s\), .* number 2 is"):
        evaluate(own, unlabelled(frames))


def test_weights_are_of_what_is_learnt() -> None:
    dataset = labelled(molecules(4))
    scales = label_scales(dataset)
    per_atom = [labels.further[DIPOLE] / len(a) for a, labels in zip(dataset.structures, dataset.labels, strict=True)]
    assert scales[DIPOLE] == pytest.approx(np.sqrt(np.mean(np.square(per_atom))))
    assert label_scales(labelled(molecules(4), GUESS)) == {CHARGES: 1.0, DIPOLE: 1.0}
    weights = loss_weights(FittingSettings(further_weights={"dipole": 7.0}), 0.5, scales)
    assert weights[DIPOLE] == Weight(7.0, scales[DIPOLE]) and weights[CHARGES].weight == 1.0
    assert weights[FORCES] == Weight(1.0, 0.5) and compared_as(DIPOLE).unit == "e angstrom/atom"
    with pytest.raises(ValueError, match=r"weights are given for dipole, .* are of none; leave them out"):
        loss_weights(FittingSettings(further_weights={"dipole": 7.0}), 0.5)


# --- training and evaluation ---------------------------------------------------------------------------------------


@DTYPES
def test_charges_are_learnt_from_dipoles_and_the_report_has_their_errors(dtype: torch.dtype, tmp_path: Path) -> None:
    own = copied_potential(charged(GUESS), torch.device("cpu"), dtype)
    own.network.requires_grad_(True)
    data = labelled(molecules(12))
    data = replace(data, labels=tuple(replace(x, further={DIPOLE: x.further[DIPOLE]}) for x in data.labels))
    before = evaluate(own, data)[0].of(DIPOLE)
    settings = FittingSettings(learning_rate=0.05, batch_size=4)
    prepared = samples(data, own.cutoff, dtype=dtype)
    objective = LabelledStructures(
        PackedSamples(prepared),
        [batch_samples(prepared)],
        loss_weights(settings, own.energy_scale, label_scales(data)),
    )
    state = initial_state(own.network, settings, objective.own_parameters(), own.further_parameters)
    fabric = Fabric(accelerator="cpu", devices=1)
    fit(Task(own, objective, EpochBudget(60, 3), settings), state, Clock(), fabric, Display(QUIET), StopRequest())
    state.take_best()

    again = initial_state(own.network, settings, {}, {"0.charges": Parameter(torch.zeros(3, dtype=torch.float64))})
    restore(again, state_tensors(state), json.loads(json.dumps(state_numbers(state))))
    assert again.history == state.history
    again.take_best()
    torch.testing.assert_close(again.terms["0.charges"], own.others[0].charges)

    crystals = labelled([crystal()])
    everything = replace(data, structures=(*data.structures, crystal()), labels=(*data.labels, *crystals.labels))
    report, evaluation = evaluate(own, everything)
    after, charges = report.of(DIPOLE), dict(zip("HCO", own.others[0].charges.tolist(), strict=True))
    assert before.mae is not None and after.mae is not None and after.mae < 0.02 * before.mae
    for element in "HO":  # less that of carbon, as a charge that all have moves no dipole
        assert charges[element] - charges["C"] == pytest.approx(TRUE[element] - TRUE["C"], abs=0.02)
    names = ("dipole_mae_me_angstrom", "dipole_rmse_me_angstrom", "charges_mae_me", "charges_mae_by_element")
    json_dict = json.loads(json.dumps(report.to_json_dict()))
    assert all(json_dict[name] is not None for name in names)
    assert json_dict["dipole_mae_me_angstrom"] == pytest.approx(1000 * after.mae)
    assert set(json_dict["charges_mae_by_element"]) == {"C", "O"}
    assert f"dipole MAE {1000 * after.mae:.3f} me Å" in error_words(report)
    (words,) = not_predicted(evaluation)
    assert words == "labels of dipole of 1 structure(s) are left out: the model has no dipole for them"
    assert {row.of(compared_as(DIPOLE)).mae is not None for row in state.history} == {True}
    drawn = {path.name for path in parity_plot(evaluation, report, tmp_path)}
    assert drawn == {f"parity_{name}.png" for name in ("energy", "forces", "charges", "dipole")}


def test_what_was_learnt_in_terms_is_kept_with_the_best_weights_and_guarded() -> None:
    own = charged(TRUE)
    state = initial_state(own.network, FittingSettings(), {}, own.further_parameters)
    charges = state.terms["0.charges"]
    for value, score_of_row in ((1.0, 3.0), (2.0, 1.0), (4.0, 2.0)):
        charges.data.fill_(value)
        state.record(HistoryRow(1.0, 1, 1.0, 0.5, 0.1, 1.0, (), score_of_row))
    again = initial_state(own.network, FittingSettings(), {}, {"0.charges": Parameter(torch.zeros_like(charges))})
    for one in (state, again):
        if one is again:
            restore(again, state_tensors(state), json.loads(json.dumps(state_numbers(state))))
        assert one.terms["0.charges"].tolist() == [4.0] * 3
        one.take_best()
        assert one.terms["0.charges"].tolist() == [2.0] * 3
        charges.data.fill_(4.0)


def test_a_loss_that_is_not_finite_ends_a_training_though_the_network_has_finite_gradients() -> None:
    own, settings = charged({"H": np.nan, "C": 0.0, "O": 0.0}), FittingSettings()
    data = labelled(molecules(2))
    prepared = samples(data, own.cutoff)
    weights = loss_weights(settings, own.energy_scale, label_scales(data))
    objective = LabelledStructures(PackedSamples(prepared), [], weights)
    state = initial_state(own.network, settings, objective.own_parameters(), own.further_parameters)
    task = Task(own, objective, EpochBudget(1, 1), settings)
    with pytest.raises(TrainingDivergedError, match="loss nan"):
        take_step(task, state, torch.arange(2), 0.1, Fabric(accelerator="cpu", devices=1))


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file with the term, whose charges are not learnt yet."""
    monkeypatch.setattr(ase_nbody.architectures, "architectures", lambda: {"toy": ARCHITECTURE})
    monkeypatch.setattr(ase_nbody.terms, "term_kinds", lambda: {TERM.name: TERM})
    own = charged(GUESS)
    information = model_information(own, name="start", reference_energies_source="given")
    return save_model(tmp_path / "start.safetensors", own, information)


def test_a_training_from_a_file_learns_them_and_commands_evaluate_them(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = written(tmp_path / "a.xyz", [*molecules(16), crystal()])
    valid_file = written(tmp_path / "valid.xyz", molecules(20)[16:])
    output, errors_file = tmp_path / "m.safetensors", tmp_path / "errors.json"
    log = io.StringIO()
    settings = TrainingSettings(
        data=data,
        valid=valid_file,
        start=str(start),
        epochs=40,
        learning_rate=0.05,
        output=output,
        dtype="float64",
        further_weights={"dipole": 2.0},
    )
    train(settings, console=Console(file=log, width=400))
    assert "dipole from" in log.getvalue() and "dipole MAE" in log.getvalue()
    assert f"warning: {data}: labels of dipole of 1 structure(s) are left out" in log.getvalue()
    (term,) = load_model(output)[0].others
    assert isinstance(term, ElementCharges)
    assert term.settings.charges["O"] - term.settings.charges["H"] == pytest.approx(-0.9, abs=0.05)
    with output.with_suffix(".history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["dipole_mae (e angstrom/atom)"]) < 0.1 * float(rows[0]["dipole_mae (e angstrom/atom)"])
    assert float(rows[-1]["charges_rmse (e)"]) < 0.1 * float(rows[0]["charges_rmse (e)"])
    valid = read_information(output).errors["valid"]
    assert valid["dipole_mae_me_angstrom"] < 20.0
    best = min(rows, key=lambda row: float(row["score"]))
    assert valid["charges_mae_me"] == pytest.approx(1000 * float(best["charges_mae (e)"]), rel=1e-6)

    status, out, err = run_command(monkeypatch, capsys, "evaluate", output, "--data", data, "--json", errors_file)
    assert status in (0, 3) and "labels of dipole of 1 structure(s) are left out" in out + err
    assert "dipole, me Å" in out and "charges, me" in out  # 3: outside the training
    found = json.loads(errors_file.read_text())
    assert found["dipole_mae_me_angstrom"] < 20.0 and found["charges_rmse_me"] < 20.0
    status, _, err = run_command(monkeypatch, capsys, "evaluate", output, "--data", data, "--key", "dipole=absent")
    assert status == 1 and "no frame has dipole under the key 'absent'" in err


def test_a_calibration_names_labels_without_uncertainty_as_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A property that ASE has no name for, too; labels of it change nothing, and may be wrong."""

    class Moments(ElementCharges):
        properties = (CHARGES, MOMENT)  # type: ignore[assignment]

        def further_predictions(self, graph: Graph) -> tuple[Predicted, ...]:
            charges, dipole = super().further_predictions(graph)
            return charges, Predicted(MOMENT, dipole.values)

    kind = replace(TERM, name="moments", term=Moments)
    monkeypatch.setattr(ase_nbody.terms, "term_kinds", lambda: {kind.name: kind})
    own = replace(start_potential(), others=(Moments(ElementChargesSettings(charges=TRUE)),))
    header = model_information(own, name="start", reference_energies_source="given")
    model = save_model(tmp_path / "start.safetensors", own, header)
    records = []
    for labels in ({}, {"moment": "wrong", "REF_charges": 1.0}):
        frames = frames_of(teacher_of(start_potential()), 6)
        for frame in frames:
            frame.info |= labels
        ase.io.write(tmp_path / "a.xyz", frames)
        output = tmp_path / f"{len(labels)}.safetensors"
        status, out, err = run_command(
            monkeypatch, capsys, "calibrate", model, "--data", tmp_path / "a.xyz", "--output", output
        )
        assert status == 0, err
        assert ("; not used: REF_charges in info, moment in info" in out) == bool(labels)
        records.append(read_information(output).uncertainties)
    assert records[0] == records[1]
