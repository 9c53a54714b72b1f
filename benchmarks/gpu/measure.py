"""Times and memory of one package's models on a GPU, in its own environment; a line of JSON for each measurement.

    PYTHONPATH=benchmarks/peers python benchmarks/gpu/measure.py ase_nbody --output runs/gpu/ase_nbody.jsonl

Per step: positions move a little, then energy and forces through the package's ASE calculator, neighbours included;
and energy, forces and stress by the model alone, neighbours known. Weights are random but for those of `universal` and
sevenn, in float32. `--sizes small` with `--device cpu` tries the script where there is no GPU.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from boxes import BOXES, SMALL, TRAINED_ON
from structures import labelled, rattled

DTYPE = "float32"
DISPLACEMENT = 0.002  # angstrom, of every atom before every step
MODELS = {
    "ase_nbody": ("nbody small", "nbody medium", "nequip medium", "universal"),
    "sevenn": ("7net-0",),
    "mace": ("64x0e", "128x0e+128x1o", "64x0e cuequivariance", "128x0e+128x1o cuequivariance"),
    "nequip": ("eager",),
}
TRAINED = {
    "ase_nbody": ("nbody medium", "nequip medium"),
    "mace": ("64x0e", "128x0e+128x1o"),
    "nequip": ("eager",),
    "sevenn": (),
}
BATCH_SIZE = 5
MOST_CALLS = 50


def milliseconds(function: Callable[[], object], device: str, seconds: float, before: int = 4) -> dict[str, float]:
    """Median time of a call after some that are not counted, and memory of the card at its largest."""
    times: list[float] = []
    for _ in range(before):
        function()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    until = time.perf_counter() + seconds
    while not times or (time.perf_counter() < until and len(times) < MOST_CALLS):
        started = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - started))
    found = {"ms": float(np.median(times)), "calls": len(times)}
    if device == "cuda":
        found["memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return found


def evaluation(package: Any, model: str, structure: str, chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows: the model alone, a step through ASE and, where it is kept between steps, a new neighbour list."""
    atoms = {**BOXES, **SMALL}[structure]()
    calc = package.calculator(atoms, DTYPE, model, chosen.device)
    atoms.calc = calc
    generator = np.random.default_rng(0)

    def step() -> None:
        atoms.positions += generator.normal(0, DISPLACEMENT, atoms.positions.shape)
        atoms.get_forces(), atoms.get_potential_energy()

    row = {"model": model, "structure": structure, "atoms": len(atoms)}
    alone = package.model_alone(calc, atoms)
    yield {**row, "what": "alone", **milliseconds(alone, chosen.device, chosen.seconds)}
    yield {**row, "what": "step", **milliseconds(step, chosen.device, 2 * chosen.seconds, before=1)}
    if hasattr(package, "neighbour_list"):
        new_list = package.neighbour_list(calc, atoms)
        yield {**row, "what": "list", **milliseconds(new_list, chosen.device, 0.2 * chosen.seconds, before=1)}


def training(package: Any, model: str, structure: str, chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row: a step of training with batches that are made beforehand."""
    frames = labelled(rattled(TRAINED_ON[structure](), 2 * BATCH_SIZE))
    step = package.training_step([frames[:BATCH_SIZE], frames[BATCH_SIZE:]], DTYPE, model, chosen.device)
    row = {"model": model, "structure": structure, "atoms": BATCH_SIZE * len(frames[0])}
    yield {**row, "what": "training", **milliseconds(step, chosen.device, chosen.seconds)}


def reason(error: Exception) -> str:
    """The last line of an error, or that memory was not enough."""
    text = f"{type(error).__name__}: {error}".strip()
    return "out of memory" if "memory" in text.lower() else text.splitlines()[-1]


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", choices=MODELS)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--sizes", default="full", choices=("full", "small"))
    parser.add_argument("--structure", action="append", help="of those in boxes.py; may be repeated")
    parser.add_argument("--model", action="append", help="may be repeated")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines are added to it")
    return parser.parse_args()


def main() -> None:
    """Measure model by model, from small structures to large ones, and leave out what follows a failure."""
    chosen = arguments()
    warnings.simplefilter("ignore")
    package = importlib.import_module(f"with_{chosen.package}")
    boxes = chosen.structure or (SMALL if chosen.sizes == "small" else BOXES)
    trained_on = ["toluene"] if chosen.sizes == "small" else TRAINED_ON
    tasks = [(evaluation, model, box) for box in boxes for model in chosen.model or MODELS[chosen.package]]
    tasks += [(training, model, box) for model in TRAINED[chosen.package] for box in trained_on if not chosen.model]
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    with chosen.output.open("a") as file:
        for task, model, structure in tasks:
            rows: list[dict[str, Any]] = []
            try:
                rows.extend(task(package, model, structure, chosen))
            except Exception as error:
                rows.append({"model": model, "structure": structure, "what": task.__name__, "failed": reason(error)})
            for row in rows:
                line = json.dumps({"package": chosen.package, **row})
                print(line, flush=True)
                file.write(line + "\n")
                file.flush()
            gc.collect()
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
