"""Checkpoints: a training's state in one safetensors file, and the check that it belongs to the same training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ase_nbody.files import replaced
from ase_nbody.training.state import TrainingState, restore, state_numbers, state_tensors

HEADER = "ase_nbody_checkpoint"
VERSION = 1


def checkpoint_path(output: Path) -> Path:
    """Where the checkpoint of a model file stands until the model is written."""
    return output.with_suffix(".checkpoint.safetensors")


def save_checkpoint(path: Path, state: TrainingState, origin: Mapping[str, Any]) -> None:
    """Write a state, under a temporary name first.

    Args:
        path: file to write; one that is there is replaced.
        state: what is written.
        origin: settings and hashes that decide the training, JSON values by name; see `load_checkpoint`.

    Raises:
        OSError: it cannot be written, as on a full disk; an earlier checkpoint stays.
    """
    header = {"version": VERSION, "origin": dict(origin), **state_numbers(state)}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state_tensors(state).items()}
    try:
        with replaced(path) as temporary:
            save_file(tensors, temporary, metadata={HEADER: json.dumps(header)})
    except SafetensorError as error:  # has the system's error in words only
        raise OSError(str(error)) from error


def checkpoint_step(path: Path) -> int | None:
    """Steps that the checkpoint has behind it; None where there is none, or one that cannot be read."""
    try:
        return int(_header(path)["counters"]["step"]) if path.exists() else None
    except ValueError:
        return None


def load_checkpoint(path: Path, state: TrainingState, origin: Mapping[str, Any]) -> None:
    """Put a checkpoint into a state that has the same network.

    Raises:
        ValueError: the file is damaged or no checkpoint, or it is of another training: the names of `origin` that
            differ are listed.
    """
    header = _header(path)
    then = {"optimizer": "adamw", **header["origin"]}  # what checkpoints that do not say had
    differing = _differences(then, json.loads(json.dumps(dict(origin))))
    if differing:
        raise ValueError(
            f"the checkpoint '{path}' is of another training: {'; '.join(differing)}. Give the same settings to resume "
            f"it, start afresh with --force, or choose another --output"
        )
    restore(state, load_file(path), header)


def _header(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"the checkpoint '{path}' cannot be read ({error}); start afresh with --force") from None
    if HEADER not in metadata:
        raise ValueError(f"'{path}' is not a checkpoint of a training; choose another --output, or start with --force")
    header: dict[str, Any] = json.loads(metadata[HEADER])
    if header.get("version") != VERSION:
        raise ValueError(
            f"the checkpoint '{path}' has version {header.get('version')}, this program reads {VERSION}; "
            f"start afresh with --force"
        )
    return header


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = sorted(set(then) | set(now))
    return [f"{n} was {then.get(n)!r}, now {now.get(n)!r}" for n in names if then.get(n) != now.get(n)]
