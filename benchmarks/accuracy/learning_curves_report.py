"""Table, slopes and picture of the learning curves: python benchmarks/accuracy/learning_curves_report.py RUNS.

RUNS is what learning_curves.py wrote; RUNS/learning_curves.md and RUNS/learning_curves.png are made of the trainings
that are finished.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from learning_curves_plot import LOOKS, plot_curves
from learning_curves_runs import MOLECULES, finished_runs, write_whole
from learning_curves_slopes import CLAIMS, QUANTITIES, Curve, curves, spread

PASSES = "passes"
NOTES = """\
Errors are on the test file, mean ± standard deviation over seeds where there are several. Configurations count those of
validation. All architectures have the same structures and the same minutes, one thread each; passes over the data that
differ between seeds mean that other programs ran at the same time. A slope is that of the least-squares line through
log error against log configurations, mean ± standard deviation over the seeds; sizes with one seed are in the line of
every seed, so the spread is that of the small sizes."""
CLAIM_NOTES = """\
## Beside the claim of the notes

Force MAE (meV/Å) and energy MAE (meV/atom) in the table of the notes (reference/nequip-and-meta-learning-module.md,
section 2.3), which is for "small organic molecules at DFT-quality" without their names, and here:"""


def write_report(folder: Path) -> str:
    """Write table and picture of what is finished, and return the table.

    Raises:
        ValueError: nothing is.
    """
    runs = list(finished_runs(folder))
    if not runs:
        raise ValueError(f"there is no finished training in '{folder}'; make some with learning_curves.py")
    by_molecule = {m: [run for run in runs if run["molecule"] == m] for m in MOLECULES}
    by_molecule = {molecule: own for molecule, own in by_molecule.items() if own}
    found = {m: {q.key: curves(own, q.key) for q in QUANTITIES} for m, own in by_molecule.items()}
    sections = [_section(molecule, own, found[molecule]) for molecule, own in by_molecule.items()]
    text = "\n\n".join(["# Learning curves", NOTES, *sections, _claims(found)]) + "\n"
    write_whole(folder / "learning_curves.md", text)
    plot_curves(found, folder / "learning_curves.png")
    return text


def _section(molecule: str, runs: Sequence[dict[str, Any]], found: Mapping[str, Mapping[str, Curve]]) -> str:
    parts = [f"## {molecule}"]
    for quantity in QUANTITIES:
        parts.append(_table(quantity.words, found[quantity.key], digits=1 if quantity.claim == "forces" else 2))
    parts.append(_table("passes over the data", curves(runs, PASSES), digits=0, slopes=False))
    parts.append(f"Minutes of each training: {_minutes(runs)}.")
    return "\n\n".join(parts)


def _table(title: str, found: Mapping[str, Curve], digits: int, slopes: bool = True) -> str:
    sizes = sorted({size for curve in found.values() for size in curve.values})
    lines = [
        _row([title, *map(str, sizes), *(["slope"] if slopes else [])]),
        _row(["---", *["---:"] * (len(sizes) + slopes)]),
    ]
    for architecture, curve in found.items():
        cells = [spread(curve.at(size), digits) if size in curve.values else "" for size in sizes]
        lines.append(_row([LOOKS[architecture].label, *cells, *([spread(curve.slopes(), 2)] if slopes else [])]))
    return "\n".join(lines)


def _claims(found: Mapping[str, Mapping[str, Mapping[str, Curve]]]) -> str:
    """What the notes say, and our errors with most configurations."""
    forces, energy = (quantity.key for quantity in QUANTITIES)
    most = {molecule: max(s for c in by[forces].values() for s in c.values) for molecule, by in found.items()}
    columns = [f"here, {molecule}, {size} configurations" for molecule, size in most.items()]
    lines = [
        _row(["model", "configurations", "claim of the notes", *columns]),
        _row(["---", *["---:"] * (2 + len(columns))]),
    ]
    for claim in CLAIMS:
        cells = [str(claim.configurations), f"{claim.forces:g}; {claim.energy:g}"]
        for molecule, size in most.items():
            ours = [found[molecule][key].get(claim.architecture) for key in (forces, energy)]
            known = [curve.at(size).mean() for curve in ours if curve is not None and size in curve.values]
            cells.append(f"{known[0]:.1f}; {known[1]:.2f}" if known else "")
        lines.append(_row([LOOKS[claim.architecture].label, *cells]))
    return "\n".join([CLAIM_NOTES, "", *lines])


def _minutes(runs: Sequence[dict[str, Any]]) -> str:
    by_size: dict[int, set[float]] = {}
    for run in runs:
        by_size.setdefault(run["configurations"], set()).add(run["minutes"])
    return ", ".join(
        f"{' or '.join(f'{m:.3g}' for m in sorted(by_size[size]))} with {size} configurations"
        for size in sorted(by_size)
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Command line."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    try:
        print(write_report(Path(sys.argv[1])), end="")
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
