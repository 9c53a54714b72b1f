"""Time ase_nbody beside MACE, symmetrix and NequIP, each in its own environment, and write what comes out.

    bash benchmarks/peers/make_environments.sh
    .venv/bin/python benchmarks/peers/compare.py [evaluate] [train] [scale] [many]

All four parts are measured if none is named; the others keep what they had. `evaluate` is energy and forces through
each package's ASE calculator, `train` one step of Adam (ase_nbody: of Muon and AdamW) on five molecules, `scale` time
and memory of the medium preset against atoms, and `many` its `calculate_many` against the loop. Models take turns on a
structure, several rounds, and the median counts; the machine should be idle. Writes RESULTS.md, results.json and
figures/ in benchmarks.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import machine
from report import write
from structures import COMPARED, SCALED
from turns import Models, NotMeasuredError, Settings, take_turns
from worker import MODELS

TRAINED_ON = "toluene"
OURS = "ase_nbody medium"


def evaluate(chosen: argparse.Namespace, settings: Settings) -> Iterator[Any]:
    """Rows of all structures and models."""
    for dtype in chosen.dtype or ["float32", "float64"]:
        models = Models(dtype, settings)
        for structure in chosen.structure or COMPARED:
            yield models, take_turns(models, chosen.model or list(MODELS), "evaluate", structure)
        models.close()


def train(chosen: argparse.Namespace, settings: Settings) -> Iterator[Any]:
    """Rows of all models."""
    for dtype in chosen.dtype or ["float32"]:
        models = Models(dtype, settings)
        trainable = [name for name in chosen.model or MODELS if not name.startswith("symmetrix")]  # it evaluates only
        yield models, take_turns(models, trainable, "train", TRAINED_ON)
        models.close()


def scale(chosen: argparse.Namespace, settings: Settings) -> Iterator[Any]:
    """Rows of structures of growing size, each in a process of its own, for its memory."""
    for structure in chosen.structure or SCALED:
        models = Models("float32", settings)
        row = {"model": OURS, "structure": structure, "dtype": "float32"}
        try:
            row["atoms"] = models.ask(OURS, do="evaluate", structure=structure)["atoms"]
            row |= models.ask(OURS, do="steps", seconds=3 * settings.seconds, most=20)
        except NotMeasuredError as error:
            row["failed"] = str(error)
        yield models, [row]
        models.close()


def many(chosen: argparse.Namespace, settings: Settings) -> Iterator[Any]:
    """One row for each dtype."""
    for dtype in chosen.dtype or ["float32", "float64"]:
        models = Models(dtype, settings)
        yield models, [{"model": OURS, "dtype": dtype, **models.ask(OURS, do="many")}]
        models.close()


PARTS = {"evaluate": evaluate, "train": train, "scale": scale, "many": many}


def measured(part: str, chosen: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Rows of one part, with what is needed to understand them."""
    rows, versions = [], {}
    for models, found in PARTS[part](chosen, settings):
        versions |= models.versions
        rows += found
        for row in found:
            print(part, json.dumps(row), flush=True)
    about = {"date": datetime.date.today().isoformat(), "threads": settings.threads, "rounds": settings.rounds}
    return {**about, "machine": machine(), "versions": versions, "rows": rows}


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none is given")
    parser.add_argument("--environments", type=Path, default=Path("runs/peers"))
    parser.add_argument("--dtype", action="append", choices=("float32", "float64"), help="may be repeated")
    parser.add_argument("--structure", action="append", help="of evaluate and scale; may be repeated")
    parser.add_argument("--model", action="append", choices=MODELS, help="of evaluate and train; may be repeated")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each model")
    parser.add_argument("--seconds", type=float, default=1.0, help="of steps in a round")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds after which a model has no more rounds")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds after which a model is stopped")
    parser.add_argument("--memory", type=float, default=12.0, help="GB for each process")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1], help="folder of the results")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return chosen


def main() -> None:
    """Measure, and write after every part."""
    chosen = arguments()
    settings = Settings(**{name: getattr(chosen, name) for name in Settings.__dataclass_fields__})
    file = chosen.output / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for part in chosen.parts or PARTS:
        results[part] = measured(part, chosen, settings)
        file.write_text(json.dumps(results, indent=1) + "\n")
        write(results, chosen.output)


if __name__ == "__main__":
    main()
