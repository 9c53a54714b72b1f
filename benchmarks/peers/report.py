"""RESULTS.md and the figures, from results.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plots import by_material, memory_line, plot_scale, plot_steps, time_exponent

REFERENCE = "ase_nbody medium"
BATCHES_OF_450 = 90

INTRODUCTION = """# ase_nbody beside MACE, symmetrix and NequIP on a CPU

    bash benchmarks/peers/make_environments.sh                # the peers, each in its own environment
    .venv/bin/python benchmarks/peers/compare.py              # everything, on an idle machine
    .venv/bin/python benchmarks/peers/compare.py train many   # parts of it: evaluate, train, scale, many

Absolute times depend on the machine; compare ratios. Weights are random, cutoffs 5 Å, threads the same for all.
Models take turns on a structure, and the median over the rounds counts. Numbers in full: `results.json`.

| model | |
| --- | --- |
| ase_nbody small, medium | the presets of `nbody` |
| ase_nbody nequip | the preset medium of `nequip`: the same network as the package's below |
| mace 64x0e, 128x0e+128x1o | ScaleShiftMACE: two layers, correlation 3, edges up to degree 3 |
| symmetrix | the same two MACE models by symmetrix-xl, which generates and compiles code for a model |
| nequip | NequIPGNNModel: 4 layers, degree 2, 32 features |
| nequip compiled | likewise by nequip-compile (aotinductor); in training by its `compile_mode: compile` |
"""


def write(results: dict[str, Any], folder: Path) -> None:
    """Write RESULTS.md and figures/*.png.

    Args:
        results: parts of compare.py by name; those that are not there are left out.
        folder: where the files go.
    """
    (folder / "figures").mkdir(exist_ok=True)
    sections = [SECTIONS[part](results[part], folder) + measured(results[part]) for part in SECTIONS if part in results]
    (folder / "RESULTS.md").write_text("\n".join([INTRODUCTION, *sections]))


def measured(part: dict[str, Any]) -> str:
    """When and on what, with versions by environment."""
    lines = [f"\n{part['date']}, {part['threads']} threads, {part['rounds']} rounds, {part['machine']}."]
    lines += [f"- {', '.join(f'{k} {v}' for k, v in found.items())}" for found in part["versions"].values()]
    return "\n".join(lines) + "\n"


def evaluate(part: dict[str, Any], folder: Path) -> str:
    """Section of the time per step."""
    lines = [
        "## Energy and forces",
        "",
        "Through each package's ASE calculator, positions change every step. Milliseconds per step, in brackets how",
        f"many times as long as {REFERENCE}.",
    ]
    for dtype in dtypes(part):
        rows = [row for row in part["rows"] if row["dtype"] == dtype]
        plot_steps(rows, dtype, folder / "figures" / f"time_per_step_{dtype}.png")
        lines += ["", f"### {dtype}", "", *steps_table(rows), "", f"![{dtype}](figures/time_per_step_{dtype}.png)"]
    return "\n".join(lines) + "\n"


def steps_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each structure and a column for each model."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    found = {(row["structure"], row["model"]): row for row in rows}
    lines = ["| | " + " | ".join(models) + " |", "| --- |" + " ---: |" * len(models)]
    for structure in dict.fromkeys(row["structure"] for row in rows):
        reference = found.get((structure, REFERENCE), {}).get("ms")
        cells = [cell(found[structure, model], reference) for model in models]
        lines.append(f"| {structure} | " + " | ".join(cells) + " |")
    return lines


def cell(row: dict[str, Any], reference: float | None) -> str:
    """Milliseconds and ratio, or why there are none."""
    if "ms" not in row:
        reason = row["failed"]
        return reason if reason[0] == ">" else f"not measured: {reason[:60]}"
    if reference is None or row["model"] == REFERENCE:
        return number(row["ms"])
    return f"{number(row['ms'])} ({ratio(row['ms'] / reference)})"


def train(part: dict[str, Any], folder: Path) -> str:
    """Section of the training step."""
    lines = [
        "## A step of training",
        "",
        "Five rattled toluene molecules: energies and forces, mean squared errors of both, gradients, Adam (ase_nbody:",
        "Muon and AdamW, as in `nbody train`); each package's own model and loss, batches made beforehand. An epoch is",
        "450 molecules.",
        "",
        f"| model | dtype | ms per step | s per epoch | times {REFERENCE} |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    reference = {row["dtype"]: row.get("ms") for row in part["rows"] if row["model"] == REFERENCE}
    for row in part["rows"]:
        if "ms" not in row:
            lines.append(f"| {row['model']} | {row['dtype']} | {cell(row, None)} | | |")
            continue
        ours = reference.get(row["dtype"])
        times = ratio(row["ms"] / ours) if ours else ""
        epoch = number(row["ms"] * BATCHES_OF_450 / 1000)
        lines.append(f"| {row['model']} | {row['dtype']} | {number(row['ms'])} | {epoch} | {times} |")
    return "\n".join(lines) + "\n"


def scale(part: dict[str, Any], folder: Path) -> str:
    """Section of time and memory against atoms."""
    rows = [row for row in part["rows"] if "ms" in row]
    plot_scale(rows, folder / "figures" / "scale.png")
    lines = [
        "## Time and memory against atoms",
        "",
        f"{REFERENCE}, float32, each structure in a process of its own; memory is the peak of the process beyond what",
        "it had after its imports. The exponent is the slope in the plot from 500 atoms on; 1 is linear.",
        "",
        "| | atoms | ms per step | MB |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [f"| {r['structure']} | {r['atoms']} | {number(r['ms'])} | {r['memory_mb']:.0f} |" for r in rows]
    lines += [""]
    for material, line in by_material(rows).items():
        exponent = time_exponent(line)
        if exponent is not None:
            per_atom, constant = memory_line(line)
            lines.append(
                f"- {material}: time ∝ atoms^{exponent:.2f}; {constant:.0f} MB and {1024 * per_atom:.0f} kB/atom"
            )
    return "\n".join([*lines, "", "![scale](figures/scale.png)"]) + "\n"


def many(part: dict[str, Any], folder: Path) -> str:
    """Section of batches."""
    lines = [
        "## Many small structures",
        "",
        f"100 rattled ethanol molecules with {REFERENCE}, structures per second.",
        "",
        "| dtype | one after another | calculate_many | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in part["rows"]:
        loop, batched = row["loop"], row["calculate_many"]
        lines.append(f"| {row['dtype']} | {loop:.0f} | {batched:.0f} | {ratio(batched / loop)} |")
    return "\n".join(lines) + "\n"


SECTIONS = {"evaluate": evaluate, "train": train, "scale": scale, "many": many}


def dtypes(part: dict[str, Any]) -> list[str]:
    """Dtypes of the rows in their order."""
    return list(dict.fromkeys(row["dtype"] for row in part["rows"]))


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float) -> str:
    """Two digits or more and a cross."""
    return f"{value:.0f}×" if value >= 10 else f"{value:.1f}×"
