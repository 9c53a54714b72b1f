"""The tables of benchmarks/gpu/README.md from what measure.py wrote.

python benchmarks/gpu/report.py runs/gpu/*.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

NAMES = {"ase_nbody": "{}", "mace": "mace {}", "nequip": "nequip {}", "sevenn": "sevenn {}"}
PARTS = {
    "alone": "Energy, forces and stress by the model alone, microseconds per atom (neighbours known)",
    "step": "A step through the ASE calculator, milliseconds (positions move; peers make a new list every step)",
    "list": "A new neighbour list, milliseconds",
    "memory": "Largest memory of the card in the model alone, MB",
    "training": "A step of training, milliseconds (5 structures; energies and forces)",
}


def read(paths: list[Path]) -> list[dict[str, Any]]:
    """Rows of all files; of those measured twice the last."""
    rows = {}
    for path in paths:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows[row["package"], row["model"], row["structure"], row["what"]] = row
    return list(rows.values())


def value(row: dict[str, Any], part: str) -> str:
    """A cell of a table."""
    if "failed" in row:
        return row["failed"]
    if part == "alone":
        return f"{1000 * row['ms'] / row['atoms']:.2f}"
    return f"{row['memory_mb']:.0f}" if part == "memory" else f"{row['ms']:.1f}"


def table(rows: list[dict[str, Any]], part: str) -> str:
    """One table, a line for each structure and a column for each model."""
    wanted = {"memory": "alone"}.get(part, part)
    chosen = [r for r in rows if r["what"] == wanted or (r["what"] == "evaluation" and wanted != "training")]
    models = list(dict.fromkeys(NAMES[r["package"]].format(r["model"]) for r in chosen))
    cells = {(r["structure"], NAMES[r["package"]].format(r["model"])): value(r, part) for r in chosen}
    structures = list(dict.fromkeys(r["structure"] for r in sorted(chosen, key=lambda r: r.get("atoms", 0))))
    lines = [f"### {PARTS[part]}", "", f"| | {' | '.join(models)} |", f"| --- |{' ---: |' * len(models)}"]
    lines += [f"| {s} | {' | '.join(cells.get((s, m), '') for m in models)} |" for s in structures]
    return "\n".join(lines)


def main() -> None:
    """Command line: the files."""
    rows = read([Path(name) for name in sys.argv[1:]])
    measured = {row["what"] for row in rows} | {"memory"}
    print("\n\n".join(table(rows, part) for part in PARTS if part in measured))


if __name__ == "__main__":
    main()
