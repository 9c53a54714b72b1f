"""Table of same_minutes.py: python benchmarks/accuracy/same_minutes_report.py OUTPUT, of finished trainings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read
from same_minutes_runs import DATA_SETS, MODELS, write_whole

ERRORS = {
    "energy_rmse_mev": "E RMSE, meV",
    "energy_mae_mev": "E MAE, meV",
    "forces_rmse_mev_per_angstrom": "F RMSE, meV/Å",
    "forces_mae_mev_per_angstrom": "F MAE, meV/Å",
}
RATIO = "forces_rmse_over_ours"
OURS = "nbody"
NOTES = """\
Each package trained on the same structures for the same minutes on one thread, one after the other, and evaluated by
its own ASE calculator. Energies are of the whole molecule. What each was told: same_minutes_train.py (ours),
same_minutes_peers.py with same_minutes_mace.yaml and same_minutes_nequip.yaml, in benchmarks/accuracy."""


def errors(structures: Path, predictions: Path) -> dict[str, Any]:
    """Errors of predictions by write_predictions on labelled structures, and what made them."""
    frames = read(structures, ":")
    with np.load(predictions) as found:
        energy = 1000 * (found["energies"] - [atoms.get_potential_energy() for atoms in frames])
        forces = 1000 * (found["forces"] - np.stack([atoms.get_forces() for atoms in frames]))
        package = str(found["package"])
    values = [
        np.sqrt(np.mean(energy**2)),
        np.mean(np.abs(energy)),
        np.sqrt(np.mean(forces**2)),
        np.mean(np.abs(forces)),
    ]
    rounded = (round(float(value), 3) for value in values)
    return {"structures": len(frames), "package": package, **dict(zip(ERRORS, rounded, strict=True))}


def write_report(output: Path, about: Mapping[str, Any]) -> str:
    """Write OUTPUT/results.json and OUTPUT/same_minutes.md and return the text of the latter.

    Args:
        output: folder of the trainings.
        about: what results.json says besides them.

    Raises:
        ValueError: nothing is done.
    """
    results = list(_results(output))
    if not results:
        raise ValueError(f"there is no finished training in '{output}'; make some with same_minutes.py")
    _add_ratios(results)
    write_whole(output / "results.json", json.dumps({**about, "runs": results}, indent=2) + "\n")
    sections = [_section(name, results) for name in DATA_SETS if any(r["data_set"] == name for r in results)]
    text = "\n\n".join(["# Errors after the same minutes", NOTES, *sections]) + "\n"
    write_whole(output / "same_minutes.md", text)
    return text


def _results(output: Path) -> Iterator[dict[str, Any]]:
    for data_set in DATA_SETS:
        for model in MODELS:
            file = output / data_set / model / "result.json"
            if file.exists():
                yield json.loads(file.read_text())


def _add_ratios(results: Sequence[dict[str, Any]]) -> None:
    ours = {result["data_set"]: result["tests"] for result in results if result["model"] == OURS}
    key = "forces_rmse_mev_per_angstrom"
    for result in results:
        for name, test in result["tests"].items():
            if result["data_set"] in ours:
                test[RATIO] = round(test[key] / ours[result["data_set"]][name][key], 2)


def _section(data_set: str, results: Sequence[dict[str, Any]]) -> str:
    own = [result for result in results if result["data_set"] == data_set]
    lines = [
        _row(["test", "model", "minutes", "epochs", *ERRORS.values(), "F RMSE over ours"]),
        _row(["---", "---", *["---:"] * (3 + len(ERRORS))]),
    ]
    for name in DATA_SETS[data_set].tests:
        for result in own:
            test = result["tests"][name]
            cells = [f"{test[key]:.1f}" for key in ERRORS] + [f"{test[RATIO]:.2f}" if RATIO in test else ""]
            minutes, epochs = f"{result['trained_minutes']:.1f}", f"{result['epochs']:.0f}"
            lines.append(_row([name, MODELS[result["model"]], minutes, epochs, *cells]))
    packages = sorted({test["package"] for result in own for test in result["tests"].values()})
    minutes = sorted({f"{result['minutes']:g}" for result in own})
    return "\n".join(
        [
            f"## {DATA_SETS[data_set].title}",
            "",
            *lines,
            "",
            f"Budget {', '.join(minutes)} minutes; {', '.join(packages)}.",
        ]
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Command line: what results.json said of the machine is kept."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    output = Path(sys.argv[1])
    file = output / "results.json"
    about = json.loads(file.read_text()) if file.exists() else {}
    about.pop("runs", None)
    try:
        print(write_report(output, about), end="")
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
