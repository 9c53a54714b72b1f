"""Milliseconds of one energy and forces through ASE: an imported model, and mace-torch with the same weights.

    python benchmarks/mace/speed.py FOLDER/mp-0-medium.model --python MACE/bin/python [--threads 1] [--repeats 2 3]

Silicon boxes of 8 n^3 atoms. Both run in their own processes, in turns, in float32; the best of each is compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
import peer_timing


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
    print(peer_timing.HEAD.format(peer="mace-torch"))
    with tempfile.TemporaryDirectory() as folder:
        imported = Path(folder) / "imported.safetensors"
        write(arguments.model, arguments.python, imported)
        for repeat in arguments.repeats:
            rows: dict[str, list[dict]] = {"ase_nbody": [], "mace": []}
            for _ in range(arguments.rounds):
                for worker, python, model in (
                    ("ase_nbody", sys.executable, imported),
                    ("mace", str(arguments.python), arguments.model),
                ):
                    command = [python, __file__, str(model), "--worker", worker, "--repeats", str(repeat)]
                    command += ["--threads", str(arguments.threads)]
                    rows[worker].append(peer_timing.started(command, worker))
            print(peer_timing.line(rows["ase_nbody"], rows["mace"]), flush=True)


def write(model: Path, python: Path, target: Path) -> None:
    """The model as a model file of ours."""
    from ase_nbody.importers.mace import exported_model, imported_potential
    from ase_nbody.model_file import model_information, save_model

    potential = imported_potential(exported_model(model, python))
    single = replace(potential, network=potential.network.float())
    save_model(target, single, model_information(single, name="imported", reference_energies_source="the model"))


def measured(worker: str, model: Path, repeat: int, threads: int) -> dict:
    """Best time, time of the first call, and its forces."""
    atoms = peer_timing.silicon(repeat)
    if worker == "mace":
        from mace.calculators import MACECalculator

        atoms.calc = MACECalculator(model_paths=str(model), device="cpu", default_dtype="float32")
    else:
        from ase_nbody import NBodyCalculator

        atoms.calc = NBodyCalculator(str(model), dtype="float32", device="cpu", threads=threads)
    return peer_timing.measured(atoms, threads, most=50)


if __name__ == "__main__":
    main()
