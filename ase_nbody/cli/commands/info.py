"""`nbody info`: the card of a model, from its file's header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ase_nbody.cli.options import ModelArgument

if TYPE_CHECKING:
    from ase_nbody.model_information import ModelInformation
    from ase_nbody.model_records import DataFile

MOST_FILES = 8
"""Files that are named on one screen; of more, their number is."""


def info(
    model: ModelArgument,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Everything in the file: all errors, trials, settings, training, versions."),
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the card as Markdown.")] = False,
) -> None:
    """What a model is for and what not, elements, cutoff, data, errors, envelope, units and hash, on one screen."""
    from ase_nbody.cli.card import card
    from ase_nbody.model_information import check_checksum, file_hash, read_information
    from ase_nbody.models_directory import find_model

    path = find_model(model)
    information = read_information(path)
    check_checksum(path)
    if markdown:
        typer.echo(card(information, path.name, file_hash(path)), nl=False)
    else:
        _print_table(information, path, verbose)


def _print_table(information: ModelInformation, path: Path, verbose: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ase_nbody.model_information import file_hash

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    summary = f"{information.architecture}, cutoff {information.cutoff:g} Å, units {_pairs(information.units)}"
    table.add_row(information.name, summary)
    for name, value in _all_rows(information) if verbose else _main_rows(information):
        table.add_row(name, Text(value))
    table.add_row("file", Text(str(path)))
    table.add_row("sha256", Text(file_hash(path) if verbose else f"{file_hash(path)[:16]}..."))
    console = Console(highlight=False)
    console.print(table)
    if not verbose:
        console.print("nbody info --verbose has the rest")


def _main_rows(information: ModelInformation) -> Iterator[tuple[str, str]]:
    yield from _purpose_rows(information)
    yield "elements", ", ".join(information.elements)
    yield "method", f"{information.method or 'not given'}; licence {information.licence or 'not given'}"
    if information.levels:
        known = [level for level, record in information.uncertainties_by_level.items() if record is not None]
        which = "all" if len(known) == len(information.levels) else ", ".join(known) or "none"
        yield "levels", f"{', '.join(information.level_names)}; with uncertainties: {which}"
    yield "trained on", _files_in_brief([file for file in information.data if file.role == "train"])
    for name in [key for key in information.errors if key.startswith("test")] or information.errors:
        yield "errors", f"{name.removeprefix('test ')}: {_errors_in_brief(information.errors[name])}"
    yield from _envelope_in_brief(information)


def _files_in_brief(files: Sequence[DataFile]) -> str:
    """Names and sizes, or their sums where the files are many."""
    if len(files) > MOST_FILES:
        return f"{sum(file.n_structures for file in files)} structures of {len(files)} files"
    return ", ".join(f"{file.name} ({file.n_structures})" for file in files) or "not given"


def _envelope_in_brief(information: ModelInformation) -> Iterator[tuple[str, str]]:
    """What the training covered, as far as the file says it."""
    envelope = information.envelope
    distances = {pair: f"{distance:.2f}" for pair, distance in envelope.closest_distances.items()}
    if distances:
        yield "closest, Å", f"{_pairs(distances)}{'' if information.repulsion is None else '; below them ZBL'}"
    covered = []
    if envelope.force_max is not None:
        covered.append(f"forces up to {envelope.force_max:.3g} eV/Å")
    if envelope.energy_per_atom_range is not None:
        low, high = envelope.energy_per_atom_range
        covered.append(f"energies per atom {low:.3f} to {high:.3f} eV")
    if not distances and not covered and information.surroundings is not None:
        covered.append(f"surroundings of {information.surroundings.n_learnt} structures")
    if covered:
        yield "training had", ", ".join(covered)
    if not distances and not covered:
        yield "training had", "nothing that the file says: no warning where a structure is outside"


def _errors_in_brief(errors: Mapping[str, Any]) -> str:
    figures = (
        ("MAE {:.3g} meV/atom", "energy_mae_mev_per_atom"),
        ("{:.3g} meV/Å", "forces_mae_mev_per_angstrom"),
    )
    return ", ".join(text.format(errors[name]) for text, name in figures if errors.get(name) is not None)


def _purpose_rows(information: ModelInformation) -> Iterator[tuple[str, str]]:
    yield "for", information.purpose or "structures like those it was trained on"
    yield "not for", information.not_for or "nothing is known of its errors on other structures"


def _all_rows(information: ModelInformation) -> Iterator[tuple[str, str]]:
    yield from _purpose_rows(information)
    yield "elements", ", ".join(information.elements)
    yield "cutoff", f"{information.cutoff:g} Å"
    yield "method", information.method or "not given"
    for level in information.levels:
        energies = {element: f"{energy:.6f} eV" for element, energy in level.reference_energies.items()}
        yield f"level {level.name}", f"isolated atoms {_pairs(energies)} ({level.reference_energies_source})"
    yield "licence", information.licence or "not given"
    yield "units", _pairs(information.units)
    energies = {element: f"{energy:.6f} eV" for element, energy in information.reference_energies.items()}
    yield "isolated atoms", f"{_pairs(energies)} ({information.reference_energies_source})"
    for file in information.data:
        yield f"data: {file.role}", f"{file.name}, {file.n_structures} structures, sha256 {file.sha256[:16]}"
    if information.label_source:
        yield "labels", information.label_source
    for name, errors in information.errors.items():
        yield f"errors: {name}", _pairs(errors)
    yield from _envelope_rows(information)
    for trial in information.trials:
        yield trial.structure, f"{trial.quantity}: {trial.model} (right: {trial.reference}) {trial.remark}"
    yield "settings", _pairs(information.settings)
    yield "training", _pairs(information.training)
    yield "made with", _pairs(information.made_with)
    yield "created", f"{information.created or 'not given'}, format {information.format_version}"


def _envelope_rows(information: ModelInformation) -> Iterator[tuple[str, str]]:
    envelope = information.envelope
    distances = {pair: f"{distance:.3f} Å" for pair, distance in envelope.closest_distances.items()}
    yield "closest distances", _pairs(distances)
    if information.repulsion is not None:
        onsets = {pair: f"{onset:.3f} Å" for pair, onset in information.repulsion.items()}
        closest_too = onsets == distances
        yield "repulsion below", "these" if closest_too else _pairs(onsets)
    if envelope.force_max is not None:
        yield "largest force", f"{envelope.force_max:.3g} eV/Å"
    if envelope.energy_per_atom_range is not None:
        low, high = envelope.energy_per_atom_range
        yield "energy per atom", f"{low:.4f} to {high:.4f} eV"
    if information.surroundings is not None:
        yield "surroundings", f"of {information.surroundings.n_learnt} structures"
    for level, record in information.uncertainties_by_level.items():
        if record is not None:
            where = f", {level}" if information.levels else ""
            yield "uncertainties", f"calibrated on {record.n_held_out} structures{where}"


def _pairs(values: Mapping[str, Any]) -> str:
    shown = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
    return ", ".join(shown) or "not given"
