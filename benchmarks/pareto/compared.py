"""The models that are compared, and how those are trained that nobody ships."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Model:
    """A model as the tables have it.

    Attributes:
        label: in tables and figures.
        dtype: that it computes in.
        learnt: what its weights have seen: "train" (the training files of mlearn), "other" or "random" (time only).
    """

    label: str
    dtype: str
    learnt: str


MODELS = {
    "ase_nbody small": Model("ours, small", "float32", "train"),
    "ase_nbody medium": Model("ours, medium", "float32", "train"),
    "ase_nbody shipped": Model("ours, shipped", "float32", "train"),
    "lammps uf3": Model("UF3", "float64", "train"),
    "lammps pod": Model("POD", "float64", "train"),
    "lammps snap": Model("SNAP", "float64", "train"),
    "lammps qsnap": Model("qSNAP", "float64", "train"),
    "ase_nbody universal": Model("ours, universal", "float32", "other"),
    "sevenn 7net-0": Model("SevenNet-0", "float32", "other"),
    "nep calorine": Model("NEP", "float64", "random"),
    "symmetrix 64x0e": Model("symmetrix, MACE 64x0e", "float32", "random"),
    "mace 64x0e": Model("MACE 64x0e", "float32", "random"),
}
EPOCHS = 40
CUTOFF = {"Cu": ("--set", "cutoff=4.2")}  # as in the shipped model of copper


def train(preset: str, symbol: str, data: Path, folder: Path) -> list[str | Path]:
    """The command that trains a preset of ours on the training file, with isolated atoms as the shipped models have."""
    atoms = HERE.parent / "accuracy" / "mlearn_atoms.xyz"
    command = [sys.executable, "-c", "from ase_nbody.cli import main; main()", "train", "--preset", preset]
    command += [
        "--data",
        data / f"{symbol}_train.xyz",
        "--isolated-atoms",
        atoms,
        "--output",
        target(preset, symbol, folder),
    ]
    command += [
        "--epochs",
        str(EPOCHS),
        "--batch-size",
        "2",
        "--stress-weight",
        "0.01",
        "--seed",
        "0",
        "--threads",
        "1",
    ]
    return [*command, *CUTOFF.get(symbol, ())]


def fit(kind: str, symbol: str, data: Path, folder: Path, environments: Path) -> list[str | Path]:
    """The command that fits a potential for LAMMPS, "pod" or "uf3", in the environment that has the program for it."""
    environment = {"pod": "lammps", "uf3": "uf3"}[kind]
    python = environments / environment / "bin" / "python"
    return [python, HERE / f"fit_{kind}.py", data / f"{symbol}_train.xyz", symbol, folder]


def target(kind: str, symbol: str, folder: Path) -> Path:
    """The file that a training ends with."""
    names = {"pod": f"{symbol}_coefficients.pod", "uf3": f"{symbol}.uf3"}
    return folder / names.get(kind, f"{kind}-{symbol}.safetensors")


def train_all(symbols: Sequence[str], names: Sequence[str], data: Path, folder: Path, environments: Path) -> None:
    """Train what is missing, one after another; a training that fails says so, and its rows will."""
    folder.mkdir(parents=True, exist_ok=True)
    for symbol in symbols:
        for kind in (name.split(" ", 1)[1] for name in names):
            if kind not in ("small", "medium", "pod", "uf3") or target(kind, symbol, folder).exists():
                continue
            ours = kind in ("small", "medium")
            command = train(kind, symbol, data, folder) if ours else fit(kind, symbol, data, folder, environments)
            print("training", kind, symbol, flush=True)
            done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
            if done.returncode:
                print(f"training {kind} of {symbol} ended with status {done.returncode}", file=sys.stderr)
