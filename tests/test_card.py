"""Model cards: they say what the header says, and those in the repository are those of its models."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from command_line import run_command

from ase_nbody.architectures import architectures
from ase_nbody.cli.card import card, models_table
from ase_nbody.model_file import DataFile, Envelope, Trial, file_hash, load_model, model_information, save_model
from ase_nbody.models_directory import list_models
from ase_nbody.potential import Potential

ROOT = Path(__file__).parent.parent
SHIPPED = {entry.name: entry for entry in list_models()}
REPORT = {
    "n_structures": 31,
    "energy_mae_mev": 41.5,
    "energy_mae_mev_per_atom": 2.345,
    "energy_rmse_mev_per_atom": 3.456,
    "forces_mae_mev_per_angstrom": 12.5,
    "forces_rmse_mev_per_angstrom": 17.25,
}
COMMAND = "nbody train --data ../shared/data/a.xyz --preset small --output runs/tiny.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    nbody = architectures()["nbody"]
    settings = nbody.settings(elements=("H", "O"), cutoff=4.5, channels=8, radial_width=8, max_degree_edges=2)
    network = nbody.network(settings, generator=torch.Generator().manual_seed(0))
    potential = Potential(network, {"H": -13.5, "O": -2040.25})
    information = model_information(
        potential,
        name="tiny",
        reference_energies_source="isolated atoms of atoms.xyz",
        method="PBE/def2-SVP",
        licence="MIT | CC0",
        label_source="energy from the calculator",
        data=[DataFile(name="a.xyz", sha256="ab" * 32, role="train", n_structures=123)],
        errors={"valid": REPORT, "test b.xyz": {**REPORT, "forces_mae_mev_per_angstrom": 13.75}},
        envelope=Envelope(closest_distances={"H-O": 0.876}, force_max=7.25, energy_per_atom_range=(-4.5, -3.25)),
        training={"command": COMMAND, "seconds": 754.2, "epochs": 17, "steps": 4321, "best_epoch": 16.5},
    )
    return save_model(tmp_path_factory.mktemp("models") / "tiny.safetensors", potential, information)


@pytest.fixture
def printed(monkeypatch, capsys):
    """What a command line prints."""

    def run(*arguments):
        status, out, _ = run_command(monkeypatch, capsys, *arguments)
        assert status == 0
        return out

    return run


def test_a_card_has_the_figures_of_the_header(model, printed):
    text = printed("info", model, "--markdown")
    assert text.startswith("# tiny\n")
    for words in (
        "structures of H and O at the level of PBE/def2-SVP",
        "| elements | H, O |",
        "| licence | MIT &#124; CC0 |",
        "| cutoff | 4.5 Å |",
        "| units | energy eV, length angstrom |",
        f"| file | tiny.safetensors |\n| sha256 of the file | `{file_hash(model)}` |",
        "| validation | 31 | 41.50 | 2.345 | 3.456 | 12.50 | 17.25 |",
        "| test b.xyz | 31 | 41.50 | 2.345 | 3.456 | 13.75 | 17.25 |",
        f"| train | a.xyz | 123 | `{'ab' * 32}` |",
        "Labels: energy from the calculator.",
        "| closest distance H-O | 0.876 Å |",
        "| largest force on an atom | 7.25 eV/Å |",
        "| energy per atom beyond the reference energies | -4.5000 to -3.2500 eV |",
        "| H | -13.500000 |\n| O | -2040.250000 |",
        "Source: isolated atoms of atoms.xyz.",
        "| channels | 8 | channels of every irrep of a state |",
        f"```sh\n{COMMAND}\n```",
        "| training time | 754 seconds |\n| epochs | 17 |\n| steps | 4321 |\n| epoch of the best weights | 16.5 |",
        f"torch {torch.__version__}",
    ):
        assert words in text, words


def test_tables_have_as_many_cells_in_each_row_as_in_the_head(model, printed):
    lines = printed("info", model, "--markdown").splitlines()
    for before, line in pairwise(lines):
        if before.startswith("|") and line.startswith("|"):
            assert before.count("|") == line.count("|")


def test_stress_has_a_column_where_there_are_errors_of_stress(model):
    information = load_model(model)[1]
    assert "stress" not in card(information, "tiny.safetensors", "0").split("## Data")[0].split("MAE is")[0]
    report = {**REPORT, "stress_mae_mev_per_cubic_angstrom": 0.625}
    other = information.model_copy(update={"errors": {"valid": REPORT, "test b.xyz": report}})
    text = card(other, "tiny.safetensors", "0")
    assert "forces and stress of structures" in text
    assert "| stress MAE, meV/Å³ |" in text and "| 0.625 |" in text and "| 17.25 | – |" in text


def test_what_terms_predict_has_columns_with_its_unit(model):
    information = load_model(model)[1]
    further = {"dipole_mae_me_angstrom": 2.5, "dipole_rmse_me_angstrom": 3.125, "further": {"dipole": "e angstrom"}}
    other = information.model_copy(update={"errors": {"valid": REPORT, "test b.xyz": {**REPORT, **further}}})
    text = card(other, "tiny.safetensors", "0")
    assert "| dipole MAE, me Å | dipole RMSE, me Å |" in text and "| 2.500 | 3.125 |" in text and "| – | – |" in text


def test_a_bare_header_makes_a_card(model):
    information = load_model(model)[1]
    bare = information.model_copy(
        update={"data": (), "errors": {}, "envelope": Envelope(), "training": {}, "method": None, "made_with": {}}
    )
    text = card(bare, "tiny.safetensors", "0")
    assert "at the level of a theory that is not given" in text
    assert "The command is not given." in text


def test_table_of_models_has_a_row_for_each_test_set(model):
    information = load_model(model)[1]
    tested = "| [tiny](models/tiny.md) | H, O | PBE/def2-SVP | b.xyz | 2.345 | 3.456 | 13.75 | 17.25 |"
    assert models_table({"tiny": information}).splitlines()[-1] == tested
    untested = information.model_copy(update={"errors": {"valid": REPORT}})
    row = "| [tiny](models/tiny.md) | H, O | PBE/def2-SVP | valid | 2.345 | 3.456 | 12.50 | 17.25 |"
    assert models_table({"tiny": untested}).splitlines()[-1] == row


def test_cards_say_what_a_model_is_for_and_what_its_trials_gave(model):
    information = load_model(model)[1]
    assert "Nothing is known of its errors on others" in card(information, "tiny.safetensors", "0")
    trial = Trial(structure="H2, relaxed", quantity="bond, Å", model=0.7425, reference=0.741, remark="the model warns")
    said = information.model_copy(
        update={"purpose": "cold water", "not_for": "hot water", "trials": (trial,), "repulsion": {"H-O": 0.9}}
    )
    text = card(said, "tiny.safetensors", "0")
    assert "**For** cold water. **Not for** hot water." in text
    assert "| H2, relaxed | bond, Å | 0.7425 | 0.741 | the model warns |" in text
    assert "Nuclear repulsion (ZBL) acts below H-O 0.900 Å." in text
    assert "| [tiny](models/tiny.md) | cold water | hot water |" in models_table({"tiny": said})


def test_there_is_a_card_for_each_shipped_model_and_no_other():
    assert {path.stem for path in (ROOT / "models").glob("*.md")} == SHIPPED.keys()


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_cards_are_what_the_command_prints(name, printed):
    """After a model has changed, `make cards` writes the cards again."""
    assert (ROOT / "models" / f"{name}.md").read_text(encoding="utf-8") == printed("info", name, "--markdown")


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_models_say_what_they_are(name):
    information = SHIPPED[name].information
    assert information.name == name
    assert information.method and information.licence and information.training["command"]
    tested = any(key.startswith("test") for key in information.errors)
    assert tested or {"imported_from", "sha256", "citation"} <= information.training.keys()


def test_readme_has_the_table_of_the_shipped_models(printed):
    """After a model has changed, `make cards` writes the table again."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("<!-- models:begin -->\n")[1].split("<!-- models:end -->")[0]
    assert table == printed("models", "--markdown")
