"""The models that are compared, and how those are trained that nobody ships."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from systems import SYSTEMS

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Model:
    """A model as the tables have it.

    Attributes:
        label: in tables and figures.
        dtype: that it computes in.
        learnt: what its weights have seen: "train" (the training files), "other" data, or "none", which is time only.
        symbols: elements of the crystals that it is timed in.
    """

    label: str
    dtype: str
    learnt: str
    symbols: tuple[str, ...] = tuple(SYSTEMS)


MODELS = {
    "ase_nbody small": Model("ours, small", "float32", "train"),
    "ase_nbody medium": Model("ours, medium", "float32", "train"),
    "ase_nbody shipped": Model("ours, shipped", "float32", "train"),
    "lammps pod": Model("POD", "float64", "train"),
    "lammps snap": Model("SNAP", "float64", "train"),
    "lammps qsnap": Model("qSNAP", "float64", "train"),
    "ase_nbody universal": Model("ours, universal", "float32", "other"),
    "sevenn 7net-0": Model("SevenNet-0", "float32", "other"),
    "lammps uf3": Model("UF3 of Nb", "float64", "none", symbols=("Mo",)),  # bcc like niobium
    "nep calorine": Model("NEP", "float64", "none"),
    "symmetrix 64x0e": Model("MACE, symmetrix", "float32", "none"),
    "mace 64x0e": Model("MACE, mace-torch", "float32", "none"),
}
EPOCHS = 40
CUTOFF = {"Cu": ("--set", "cutoff=4.2")}  # as in the shipped model of copper


def train(preset: str, symbol: str, data: Path, folder: Path) -> list[str | Path]:
    """The command that trains a preset of ours on the training file, with isolated atoms as the shipped models have."""
    atoms = HERE.parent / "accuracy" / "mlearn_atoms.xyz"
    options = "--batch-size 2 --stress-weight 0.01 --seed 0 --threads 1".split()
    files = [
        "--data",
        data / f"{symbol}_train.xyz",
        "--isolated-atoms",
        atoms,
        "--output",
        target(preset, symbol, folder),
    ]
    nbody = [sys.executable, "-c", "from ase_nbody.cli import main; main()"]
    return [*nbody, "train", "--preset", preset, *files, "--epochs", str(EPOCHS), *options, *CUTOFF.get(symbol, ())]


def fit(symbol: str, data: Path, folder: Path, environments: Path) -> list[str | Path]:
    """The command that fits POD in the environment that has lammps."""
    return [
        environments / "lammps" / "bin" / "python",
        HERE / "fit_pod.py",
        data / f"{symbol}_train.xyz",
        symbol,
        folder,
    ]


def target(kind: str, symbol: str, folder: Path) -> Path:
    """The file that a training ends with."""
    return folder / (f"{symbol}_coefficients.pod" if kind == "pod" else f"{kind}-{symbol}.safetensors")


def train_all(symbols: Sequence[str], names: Sequence[str], data: Path, folder: Path, environments: Path) -> None:
    """Train what is missing, one after another; a training that fails says so, and its rows will."""
    folder.mkdir(parents=True, exist_ok=True)
    for symbol in symbols:
        for kind in (name.split(" ", 1)[1] for name in names):
            if kind not in ("small", "medium", "pod") or target(kind, symbol, folder).exists():
                continue
            ours = kind in ("small", "medium")
            command = train(kind, symbol, data, folder) if ours else fit(symbol, data, folder, environments)
            print("training", kind, symbol, flush=True)
            done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
            if done.returncode:
                print(f"training {kind} of {symbol} ended with status {done.returncode}", file=sys.stderr)
