"""Milliseconds of one energy and forces through ASE: an imported model, and mace-torch with the same weights.

    python benchmarks/mace/speed.py FOLDER/mp-0-medium.model --python MACE/bin/python [--threads 1] [--repeats 2 3]

Silicon boxes of 8 n^3 atoms. Both run in their own processes, in turns, in float32; the best of each is compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path


def main() -> None:
    """Import the model, run the processes in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="of one head")
    parser.add_argument("--python", type=Path, help="interpreter with mace-torch 0.3.16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--worker", choices=("ase_nbody", "mace"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measured(arguments.worker, arguments.model, arguments.repeats[0], arguments.threads)))
        return
    print(
        "| atoms | ase_nbody, ms | mace-torch, ms | ratio | first call, s | largest difference of forces, eV/angstrom |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        imported = Path(folder) / "imported.safetensors"
        write(arguments.model, arguments.python, imported)
        for repeat in arguments.repeats:
            rows: dict[str, list[dict]] = {"ase_nbody": [], "mace": []}
            for _ in range(arguments.rounds):
                options = ["--repeats", str(repeat), "--threads", str(arguments.threads)]
                rows["ase_nbody"].append(started(sys.executable, "ase_nbody", imported, options))
                rows["mace"].append(started(str(arguments.python), "mace", arguments.model, options))
            print(line(rows), flush=True)


def write(model: Path, python: Path, target: Path) -> None:
    """The model as a model file of ours."""
    from ase_nbody.importers.mace import exported_model, imported_potential
    from ase_nbody.model_file import model_information, save_model

    potential = imported_potential(exported_model(model, python))
    single = replace(potential, network=potential.network.float())
    save_model(target, single, model_information(single, name="imported", reference_energies_source="the model"))


def line(rows: dict[str, list[dict]]) -> str:
    """One row of the table."""
    ours, theirs = (min(row["ms"] for row in rows[name]) for name in ("ase_nbody", "mace"))
    a, b = rows["ase_nbody"][0]["forces"], rows["mace"][0]["forces"]
    difference = max(abs(x - y) for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True))
    first = min(row["first"] for row in rows["ase_nbody"])
    return f"| {len(a)} | {ours:.1f} | {theirs:.0f} | {theirs / ours:.0f}x | {first:.1f} | {difference:.0e} |"


def started(python: str, worker: str, model: Path, options: list[str]) -> dict:
    """What a process of its own measures."""
    command = [python, __file__, str(model), "--worker", worker, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{worker} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measured(worker: str, model: Path, repeat: int, threads: int) -> dict:
    """Best time, time of the first call, and its forces."""
    from ase.build import bulk

    atoms = bulk("Si", cubic=True) * repeat
    atoms.rattle(0.05, seed=0)
    if worker == "mace":
        from mace.calculators import MACECalculator

        atoms.calc = MACECalculator(model_paths=str(model), device="cpu", default_dtype="float32")
    else:
        from ase_nbody import NBodyCalculator

        atoms.calc = NBodyCalculator(str(model), dtype="float32", device="cpu", threads=threads)
    import torch

    torch.set_num_threads(threads)
    start = time.perf_counter()
    forces = atoms.get_forces().tolist()
    first = time.perf_counter() - start
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 3.0 and len(times) < 50):
        atoms.positions[0, 0] += 1e-3
        start = time.perf_counter()
        atoms.get_forces()
        times.append(time.perf_counter() - start)
    return {"ms": 1e3 * min(times), "first": first, "forces": forces}


if __name__ == "__main__":
    main()
