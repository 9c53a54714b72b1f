"""Tables of what trainings gave, from their model files.

    python benchmarks/accuracy/report.py [FOLDER]     # prints those of a folder, runs/accuracy if none is given
    python benchmarks/accuracy/report.py --readme     # puts those of models and runs/accuracy into README.md; rows of
                                                      # trainings whose models are elsewhere stay as they are

One row per model file in the folder and test set, by data set, beside published figures; the three temperatures of 3BPA
are one test set. Errors, minutes (on one core, of a machine that other work shared) and the options of the training are
those that `nbody train` wrote into the file; settings are given where they differ from today's defaults, those of the
network (--set) where they differ from today's preset medium, whatever the command said.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from ase_nbody.architectures import architectures
from ase_nbody.model_file import ModelInformation, read_information
from ase_nbody.training.settings import TrainingSettings

RMSE, MAE = "forces_rmse_mev_per_angstrom", "forces_mae_mev_per_angstrom"
ENERGY_RMSE, ENERGY_MAE = "energy_rmse_mev", "energy_mae_mev"
PER_ATOM = "energy_rmse_mev_per_atom"
MEASURES = {
    "3bpa": (ENERGY_RMSE, RMSE),
    "rmd17": (ENERGY_MAE, MAE),
    "mlearn": (PER_ATOM, RMSE),
    "water": (PER_ATOM, RMSE),
}
WORDS = {
    RMSE: "forces RMSE, meV/Å",
    MAE: "forces MAE, meV/Å",
    ENERGY_RMSE: "energy RMSE, meV",
    ENERGY_MAE: "energy MAE, meV",
    PER_ATOM: "energy RMSE, meV/atom",
}
# Published energies and forces, from the papers named in README.md; for rMD17 with the number of structures trained on
PUBLISHED = {
    "3bpa_mixedT 300 / 600 / 1200 K": {
        "MACE": "3.0 / 9.7 / 29.8, 8.8 / 21.8 / 62.0",
        "NequIP": "3.3 / 11.2 / 38.5, 10.8 / 26.4 / 76.2",
    },
    "aspirin_test, 1000": {"MACE": "2.2, 6.6", "NequIP": "2.3, 8.2"},
    "ethanol_test, 1000": {"MACE": "0.4, 2.1", "NequIP": "0.4, 2.8"},
    "malonaldehyde_test, 1000": {"MACE": "0.8, 4.1", "NequIP": "0.8, 5.1"},
    "toluene_test, 1000": {"MACE": "0.5, 1.5", "NequIP": "0.3, 1.6"},
    "benzene_test, 1000": {"MACE": "0.4, 0.3", "NequIP": "0.04, 0.3"},
    "aspirin_test, 50": {"MACE": "17.0, 43.9", "NequIP": "19.5, 52.0"},
    "ethanol_test, 50": {"MACE": "6.7, 32.6", "NequIP": "8.7, 40.2"},
    "malonaldehyde_test, 50": {"MACE": "10.0, 43.3", "NequIP": "12.7, 52.5"},
    "toluene_test, 50": {"MACE": "3.1, 12.1", "NequIP": "3.3, 15.1"},
    "benzene_test, 50": {"MACE": "0.7, 2.7", "NequIP": "0.6, 2.9"},
    "Si_test": {"MTP": "3.0, 88", "NNP": "9.9, 174", "M3GNet": "9.6, 103"},
    "Mo_test": {"MTP": "3.9, 148", "NNP": "5.7, 199", "M3GNet": "6.3, 194"},
    "Cu_test": {"MTP": "0.5, 13.5", "NNP": "1.7, 63", "M3GNet": "1.8, 17"},
    "water_test": {"Allegro": ", 29.1", "DeePMD": ", 40.4", "NequIP": ", 12.2 to 51.4"},
}
TRIALS = Path(__file__).with_name("trials")  # a model whose name begins with that of a patch was trained with it
# Settings of a training that do not decide, are the same in all, or are said otherwise
NOT_SAID = {"data", "valid", "n_valid", "test", "output", "device", "seed", "preset", "model"}
NOT_SAID |= {"method", "licence", "force"}


def test_set(file: str, information: ModelInformation) -> str:
    """The test set that a test file is, or is a part of; for rMD17 with the number of structures trained on."""
    if file.startswith("3bpa_mixedT"):
        return "3bpa_mixedT 300 / 600 / 1200 K"
    if data_set(file) == "rmd17":
        molecule = file.removesuffix("_test")
        trained_on = next(data for data in information.data if data.role == "train" and data.name.startswith(molecule))
        return f"{file}, {trained_on.n_structures}"
    return file


def data_set(test: str) -> str:
    """The data set that a test set belongs to."""
    if test.startswith("3bpa"):
        return "3bpa"
    if test.startswith("water"):
        return "water"
    return "mlearn" if test in ("Si_test", "Mo_test", "Cu_test") else "rmd17"


def options(information: ModelInformation) -> str:
    """What decides a training, without files and what all have in common, as the options of today's code."""
    settings = information.training["settings"]
    kept = [
        f"--{name.replace('_', '-')} {_word(settings[name])}"
        for name, field in TrainingSettings.model_fields.items()
        if name not in NOT_SAID and settings.get(name, field.default) != field.default
    ]
    kept += [f"--data {_word(file)} ({times} times)" for file, times in Counter(settings["data"]).items() if times > 1]
    architecture = architectures()[information.architecture]
    fixed = {name: information.settings[name] for name in ("elements", "average_neighbours")}
    usual = json.loads(architecture.settings(**fixed, **architecture.presets["medium"]).model_dump_json())
    kept += [f"--set {name}={value}" for name, value in information.settings.items() if value != usual.get(name)]
    return " ".join(kept)


def _word(value: float | str) -> str:
    """A setting on the command line, of a file the name."""
    return Path(value).name if isinstance(value, str) else f"{value:g}"


def rows(path: Path) -> list[tuple[str, str]]:
    """Test set and table row for each test set of a model file."""
    information = read_information(path)
    tests: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, errors in information.errors.items():
        if name.startswith("test "):
            tests[test_set(Path(name.removeprefix("test ")).stem, information)].append(errors)
    found = []
    for test, parts in tests.items():
        figures = [
            " / ".join(f"{errors[measure]:.{1 if measure == RMSE else 2}f}" for errors in parts)
            for measure in MEASURES[data_set(test)]
        ]
        found.append((test, _line([test, path.stem, *figures, *_made_by(path.stem, information)])))
    return found


def _made_by(model: str, information: ModelInformation) -> list[str]:
    training: dict[str, Any] = information.training
    patches = [patch.name for patch in TRIALS.glob("*.patch") if model.startswith(patch.stem)]
    patched = "".join(f"[patch]({TRIALS.name}/{name}) " for name in patches)
    return [f"{training['seconds'] / 60:.0f}", str(training["epochs"]), f"{patched}`{options(information)}`"]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def tables(folder: Path, earlier: str = "") -> str:
    """Tables of all model files of a folder, by data set; published figures follow the models of a test set.

    Args:
        folder: of model files.
        earlier: tables whose rows stay where the folder has no model of their name.
    """
    by_test: dict[str, dict[str, str]] = defaultdict(dict)
    for line in earlier.splitlines():
        test, model, *_ = (
            [cell.strip() for cell in line.strip("| ").split(" | ")] if line.startswith("| ") else ["", ""]
        )
        if test not in ("", "test", "---") and not model.endswith(", published"):
            by_test[test][model] = line
    for path in sorted(folder.glob("*.safetensors")):
        if not path.name.endswith(".checkpoint.safetensors"):
            for test, row in rows(path):
                by_test[test][path.stem] = row
    by_kind: dict[str, list[str]] = defaultdict(list)
    for test, lines in sorted(by_test.items()):
        by_kind[data_set(test)] += [lines[model] for model in sorted(lines)]
        for name, figures in PUBLISHED.get(test, {}).items():
            by_kind[data_set(test)].append(_line([test, f"{name}, published", *figures.split(", "), "", "", ""]))
    return "\n".join(f"### {kind}\n\n{_heading(kind)}\n{chr(10).join(lines)}\n" for kind, lines in by_kind.items())


def _heading(kind: str) -> str:
    names = ["test", "model", *(WORDS[measure] for measure in MEASURES[kind]), "minutes", "epochs", "options"]
    return f"{_line(names)}\n{_line(['---', '---', *['---:'] * 4, '---'])}"


def put_into_readme() -> None:
    """Replace what stands between the marks of README.md."""
    readme = Path(__file__).with_name("README.md")
    text = readme.read_text()
    for folder in ("models", "runs/accuracy"):
        before, rest = text.split(f"<!-- {folder}:begin -->\n")
        earlier, after = rest.split(f"<!-- {folder}:end -->")
        made = tables(Path(folder), earlier if folder != "models" else "")
        text = f"{before}<!-- {folder}:begin -->\n{made}<!-- {folder}:end -->{after}"
    readme.write_text(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["--readme"]:
        put_into_readme()
    else:
        print(tables(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/accuracy")), end="")
