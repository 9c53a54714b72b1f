"""The benchmark of few structures: which structures it takes, and the tables that it writes of its rows."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks" / "few_shot"


@pytest.fixture(scope="module")
def few_shot() -> ModuleType:
    specification = importlib.util.spec_from_file_location("few_shot_rows", FOLDER / "few_shot.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, specification.name, module)  # dataclasses look there
        specification.loader.exec_module(module)
    return module


def test_structures_are_evenly_spaced_in_rmd17_and_the_first_of_3bpa(few_shot: ModuleType) -> None:
    def numbers(molecule: str, seed: int) -> list[int]:
        return list(few_shot.Run(molecule, 50, "choose", 5.0, seed).numbers(1000))

    assert numbers("ethanol", 0) == list(range(0, 1000, 20))
    assert not set(numbers("ethanol", 0)) & set(numbers("ethanol", 1)) and len(numbers("ethanol", 1)) == 50
    assert numbers("3bpa", 0) == list(range(50))


def test_the_readme_has_the_tables_of_its_rows(few_shot: ModuleType) -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    written = text.split(few_shot.BEGIN)[1].split(few_shot.END)[0]
    assert written == "\n" + few_shot.tables(few_shot.read_rows(FOLDER / "rows.jsonl"))


def test_a_table_says_start_level_time_and_the_errors_that_are_usual(few_shot: ModuleType) -> None:
    test = {"forces_mae_mev_per_angstrom": 1.0, "forces_rmse_mev_per_angstrom": 2.0, "energy_mae_mev": 3.0}
    row = {"start": "s", "start_sha256": "abcdefgh", "structures": 50, "method": "all", "method_chosen": "all"}
    row |= {"seed": 0, "minutes": None, "test": test | {"energy_rmse_mev": 4.0}}
    of_3bpa = row | {"molecule": "3bpa", "temperature": "600K", "minutes": 5.0, "start_level": "PBE"}
    beside = row | {"molecule": "aspirin", "auxiliary": "500 by xTB"}
    tables = few_shot.tables([row | {"molecule": "benzene"}, beside, of_3bpa, of_3bpa | {"method": "scratch"}])
    assert "| s `abcdef` | 50 | all | – | – | – | – | – | 1.0 / 3.0 |\n" in tables
    assert "| s `abcdef` | 50 | all, 500 by xTB beside | – | 1.0 / 3.0 | – | – | – | – |\n" in tables
    assert "| s `abcdef`, PBE | 50 | all | 5 | – | 2.0 / 4.0 | – |\n" in tables
    assert "| random weights | 50 | scratch | 5 | – | 2.0 / 4.0 | – |\n" in tables


def test_runs_that_are_in_the_rows_are_known(few_shot: ModuleType) -> None:
    for row in (json.loads(line) for line in (FOLDER / "rows.jsonl").read_text(encoding="utf-8").splitlines()):
        run = few_shot.Run(*(row[name] for name in ("molecule", "structures", "method", "minutes", "seed")))
        alone = row.get("start_level") is None and row.get("auxiliary") is None
        assert (few_shot._key(row) == run.key(row["start_sha256"])) is alone
