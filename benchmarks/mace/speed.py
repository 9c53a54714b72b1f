"""Milliseconds of one energy and forces through ASE: an imported model, mace-torch and symmetrix-xl, of equal weights.

    python benchmarks/mace/speed.py FOLDER/mp-0-medium.model --python MACE/bin/python [--symmetrix SYMMETRIX/bin/python]
        [--structure silicon|water] [--repeats 2 3] [--rounds 2] [--threads 1]

Silicon: boxes of 8 n^3 atoms; water: of 3 n^3. All run in their own processes, in turns, in float32; the best of each
is compared. symmetrix-xl reads what its converter makes of the model, in one or two minutes. It
compiles code for each model with the machine's C++ compiler when that is first loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "peers")]
import peer_timing
from structures import water

NAMES = {"mace": "mace-torch", "symmetrix": "symmetrix-xl"}


def main() -> None:
    """Convert the model, run the processes in turns and print the table."""
    arguments = parsed()
    if arguments.worker:
        print(json.dumps(measured(arguments)))
        return
    pythons = {"mace": arguments.python, "symmetrix": arguments.symmetrix}
    peers = [name for name, python in pythons.items() if python]
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # mace-torch's e3nn reads files that newer torch refuses
    print(peer_timing.head(NAMES[peer] for peer in peers))
    with tempfile.TemporaryDirectory() as folder:
        files = {"ase_nbody": Path(folder, "imported.safetensors"), "mace": arguments.model}
        write(arguments.model, arguments.python, files["ase_nbody"])
        if arguments.symmetrix:
            files["symmetrix"] = Path(folder, "converted.json")
            convert(arguments.model, arguments.symmetrix, files["symmetrix"])
        for repeat in arguments.repeats:
            options = ["--repeats", str(repeat), "--structure", arguments.structure]
            options += ["--threads", str(arguments.threads)]
            commands = {
                name: [str(pythons.get(name, sys.executable)), __file__, str(files[name]), "--worker", name, *options]
                for name in ("ase_nbody", *peers)
            }
            rows = peer_timing.in_turns(commands, arguments.rounds)
            print(peer_timing.line({NAMES.get(name, name): found for name, found in rows.items()}), flush=True)


def parsed() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="of one head")
    parser.add_argument("--python", type=Path, help="interpreter with mace-torch 0.3.16")
    parser.add_argument("--symmetrix", type=Path, help="interpreter with symmetrix-xl 0.1.1 and mace-torch")
    parser.add_argument("--structure", choices=("silicon", "water"), default="silicon")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--worker", choices=("ase_nbody", *NAMES), help=argparse.SUPPRESS)
    return parser.parse_args()


def write(model: Path, python: Path, target: Path) -> None:
    """The model as a model file of ours."""
    from ase_nbody.importers.mace import exported_model, imported_potential
    from ase_nbody.model_file import model_information, save_model

    potential = imported_potential(exported_model(model, python))
    single = replace(potential, network=potential.network.float())
    save_model(target, single, model_information(single, name="imported", reference_energies_source="the model"))


def convert(model: Path, python: Path, target: Path) -> None:
    """The model as symmetrix-xl reads it.

    Raises:
        SystemExit: it does not read models of these settings.
    """
    command = [str(python), "-m", "symmetrix.cli.extract_mace", "--model", str(model), "--output", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"symmetrix-xl does not read {model.name}: {done.stderr.strip().splitlines()[-1]}")


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Best time, time of the first call, and its forces."""
    (repeat,) = arguments.repeats
    atoms = peer_timing.silicon(repeat) if arguments.structure == "silicon" else water(repeat)
    atoms.calc = calculator(arguments)
    return peer_timing.measured(atoms, arguments.threads, most=50)


def calculator(arguments: argparse.Namespace) -> Any:
    """The worker's calculator."""
    model = str(arguments.model)
    if arguments.worker == "mace":
        from mace.calculators import MACECalculator

        return MACECalculator(model_paths=model, device="cpu", default_dtype="float32")
    if arguments.worker == "symmetrix":
        from symmetrix import Symmetrix

        return Symmetrix(model, dtype="float32")
    from ase_nbody import NBodyCalculator

    return NBodyCalculator(model, dtype="float32", device="cpu", threads=arguments.threads)


if __name__ == "__main__":
    main()
