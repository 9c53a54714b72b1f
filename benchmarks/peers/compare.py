"""Time ase_nbody, MACE and NequIP in turn on the same structures, each in its own environment.

    bash benchmarks/peers/make_environments.sh
    .venv/bin/python benchmarks/peers/compare.py [--environments runs/peers] [--dtype float32] [--threads 2]

Writes benchmarks/RESULTS.md and benchmarks/results.json: the median of the steps, and how many times as long as the
medium preset of ase_nbody each takes. Absolute times depend on the machine; compare ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from time_step import MODELS, STRUCTURES

HERE = Path(__file__).parent
REFERENCE = "ase_nbody medium"


def python_of(model: str, environments: Path) -> Path:
    """Interpreter of the environment that a model runs in."""
    package = model.split()[0]
    return Path(sys.executable) if package == "ase_nbody" else environments / package / "bin" / "python"


def timed(model: str, structure: str, chosen: argparse.Namespace) -> dict[str, float]:
    """What time_step.py found."""
    command = [python_of(model, chosen.environments), HERE / "time_step.py", model, structure]
    options = ["--dtype", chosen.dtype, "--threads", str(chosen.threads), "--seconds", str(chosen.seconds)]
    # mace-torch's e3nn reads its own constants in a way that newer versions of torch refuse unless told
    environment = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    ran = subprocess.run([*command, *options], env=environment, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return result


def table(results: list[dict[str, float]], chosen: argparse.Namespace) -> str:
    """Results as markdown."""
    found = {(r["model"], r["structure"]): r["median_ms"] for r in results}
    lines = [
        "# Time per step, energy and forces through each package's ASE calculator",
        "",
        f"{chosen.dtype}, {chosen.threads} threads, random weights, cutoff 5 Å, positions change every step;",
        f"median in ms, in brackets the ratio to {REFERENCE}. Made by `benchmarks/peers/compare.py`.",
        "",
        "| model | " + " | ".join(STRUCTURES) + " |",
        "| --- |" + " --- |" * len(STRUCTURES),
    ]
    for model in MODELS:
        cells = [f"{found[model, s]:.1f} ({found[model, s] / found[REFERENCE, s]:.1f}×)" for s in STRUCTURES]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, default=Path("runs/peers"))
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="of steps for each model and structure")
    chosen = parser.parse_args()
    results = []
    for structure in STRUCTURES:
        for model in MODELS:
            results.append(timed(model, structure, chosen))
            print(results[-1], flush=True)
    (HERE.parent / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE.parent / "RESULTS.md").write_text(table(results, chosen))


if __name__ == "__main__":
    main()
