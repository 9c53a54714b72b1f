"""What `nbody train` does with its options."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
import yaml

from ase_nbody.cli.options import further_keys, further_weights
from ase_nbody.meta.meta_settings import MetaTrainingSettings
from ase_nbody.meta.meta_train import meta_train
from ase_nbody.thread_count import using_threads
from ase_nbody.training.run import train
from ase_nbody.training.settings import TrainingSettings, training_settings
from ase_nbody.training.stopping import TrainingStoppedError


def run_training(options: Mapping[str, Any]) -> None:
    """Train as the options of the command say; a stop by a signal ends with status 128 + its number.

    Args:
        options: by name, None where not given.

    Raises:
        ValueError: an option is wrong, or the training fails.
    """
    values = {name: value for name, value in options.items() if value is not None}
    config, threads = values.pop("config", None), values.pop("threads", None)
    model = architecture_settings(values.pop("set_", []))
    if "cutoff" in values:
        model["cutoff"] = values.pop("cutoff")
    if model:
        values["model"] = model
    if "level" in values:
        values["levels"] = levels_of_theory(values.pop("level"))
    if "weight" in values:
        values["further_weights"] = further_weights(values.pop("weight"))
    if "key" in values:
        values["further_keys"] = further_keys(values.pop("key"))
    if not values["force"]:
        del values["force"]  # the file decides
    settings: TrainingSettings = training_settings(values, config)
    with _ended_by_signals(), using_threads(threads):
        train(settings, command=shlex.join(["nbody", *sys.argv[1:]]))


def run_meta_training(options: Mapping[str, Any]) -> None:
    """Meta-train as the options of the command say; a stop by a signal ends with status 128 + its number.

    Args:
        options: by name, None where not given.

    Raises:
        ValueError: an option is wrong, or the training fails.
    """
    values = {name: value for name, value in options.items() if value is not None}
    config, threads = values.pop("config"), values.pop("threads", None)
    if not values["force"]:
        del values["force"]  # the file decides
    settings = training_settings(values, config, MetaTrainingSettings)
    with _ended_by_signals(), using_threads(threads):
        meta_train(settings, command=shlex.join(["nbody", *sys.argv[1:]]))


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    try:
        yield
    except TrainingStoppedError as stopped:
        typer.echo(str(stopped), err=True)
        raise typer.Exit(128 + stopped.signal) from None


def levels_of_theory(pairs: Sequence[str]) -> dict[str, list[str]]:
    """Files by level of theory from NAME=FILE, in their order.

    Raises:
        ValueError: there is no "=", a name or a file is missing.
    """
    levels: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not (equals and name and file):
            raise ValueError(f"--level takes NAME=FILE, such as --level PBE=labels.xyz, not '{pair}'")
        levels.setdefault(name, []).append(file)
    return levels


def architecture_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Settings by name from NAME=VALUE, each value read as YAML.

    Raises:
        ValueError: there is no "=", or the value is no YAML.
    """
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"--set takes NAME=VALUE, such as --set channels=32, not '{pair}'")
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"the value of --set {pair} cannot be read; give a number, a word or a [list]") from None
    return settings
