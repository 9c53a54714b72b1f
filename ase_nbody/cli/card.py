"""Model cards and the table of models, in Markdown, from the headers of model files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ase_nbody.cli.card_errors import ERRORS, IN_BRIEF, error_cell, error_columns, error_rows

if TYPE_CHECKING:
    from ase_nbody.model_information import ModelInformation


def card(information: ModelInformation, file_name: str, sha256: str) -> str:
    """The card of a model.

    Args:
        information: header of the model's file.
        file_name: name of the file, without its folder.
        sha256: hash of the file, hexadecimal.

    Returns:
        Markdown, ending in a line break.
    """
    paragraphs = [
        f"# {information.name}",
        _purpose(information),
        *_trials(information),
        _table(("", ""), _facts(information, file_name, sha256)),
        "## Errors",
        _table(("set", *error_columns(information)), error_rows(information, error_columns(information))),
        "MAE is the mean absolute and RMSE the root mean square error, of forces and stress over their components.",
        "## Data",
        _table(
            ("role", "file", "structures", "sha256"),
            ((d.role, d.name, str(d.n_structures), f"`{d.sha256}`") for d in information.data),
        ),
        f"Labels: {information.label_source or 'not given'}.",
        "## Training envelope",
        _table(("the training data cover", ""), _envelope_rows(information)),
        _repulsion(information),
        "## Reference energies",
        _table(("element", "energy of the atom alone in the model, eV"), _reference_rows(information)),
        f"Source: {information.reference_energies_source}.",
        *_levels(information),
        "## Network",
        _table(("setting", "value", "meaning"), _setting_rows(information)),
        "## Made by",
        _command(information),
        _table(("", ""), _making_rows(information)),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _levels(information: ModelInformation) -> Iterator[str]:
    """Levels of theory that can be chosen, with their reference energies."""
    if information.levels:
        yield "## Levels of theory"
        rows = (
            (
                level.name,
                *(f"{level.reference_energies[e]:.4f}" for e in information.elements),
                level.reference_energies_source,
            )
            for level in information.levels
        )
        yield _table(("level", *(f"{e}, eV" for e in information.elements), "source"), rows)
        yield "Chosen by `level=` of the calculator and `--level` of the commands; the first if none is named."


def models_table(models: Mapping[str, ModelInformation]) -> str:
    """What models are for, and a table of their errors, one row for each test set, or for the validation without one.

    Args:
        models: headers by name of the model.

    Returns:
        Markdown, ending in a line break; names are links to models/NAME.md.
    """
    rows = []
    for name, information in models.items():
        tests = [key for key in information.errors if key.startswith("test")] or list(information.errors)
        for key in tests:
            errors = [error_cell(information.errors[key], *ERRORS[column]) for column in IN_BRIEF]
            elements = ", ".join(information.elements)
            method = information.method or "not given"
            rows.append((f"[{name}](models/{name}.md)", elements, method, key.removeprefix("test "), *errors))
    purposes = [
        (f"[{name}](models/{name}.md)", _for(information), information.not_for or "nothing is known of others")
        for name, information in models.items()
    ]
    errors_table = _table(("model", "elements", "level of theory", "test set", *IN_BRIEF), rows)
    return f"{_table(('model', 'for', 'not for'), purposes)}\n\n{errors_table}\n"


def _for(information: ModelInformation) -> str:
    return information.purpose or "structures like those it was trained on"


def _purpose(information: ModelInformation) -> str:
    with_stress = any(
        report.get("stress_mae_mev_per_cubic_angstrom") is not None for report in information.errors.values()
    )
    *first, last = information.elements
    elements = f"{', '.join(first)} and {last}" if first else last
    trained = ", ".join(data.name for data in information.data if data.role == "train") or "data that are not named"
    quantities = "Energies, forces and stress" if with_stress else "Energies and forces"
    method = information.method or "a theory that is not given"
    like = information.purpose or f"structures like those it was trained on: {trained}"
    first_paragraph = f"{quantities} of structures of {elements} at the level of {method}. **For** {like}."
    if information.not_for:
        return f"{first_paragraph} **Not for** {information.not_for}."
    return f"{first_paragraph} Nothing is known of its errors on others."


def _trials(information: ModelInformation) -> Iterator[str]:
    if not information.trials:
        return
    table = _table(
        ("structure", "quantity", "model", "reference", ""),
        [(t.structure, t.quantity, _maybe(t.model), _maybe(t.reference), t.remark) for t in information.trials],
    )
    if "imported_from" in information.training:
        yield from ("## Beside experiment", table)
        yield "`benchmarks/universal/solids.py` makes this table and names its references."
        return
    yield "## Outside its training"
    yield (
        "What the model does on structures that it was not trained on. Where it warns, its calculator says that the "
        "structure is outside, and commands end with status 3; where it does not, only this table tells."
    )
    yield table
    yield "Scripts in `benchmarks/` make this table and name its references: `scope.py`, `organic_start/trials.py`."


def _maybe(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _repulsion(information: ModelInformation) -> str:
    if information.repulsion is None:
        return "No nuclear repulsion is added: closer than the closest distances, energies mean nothing."
    onsets = ", ".join(f"{pair} {onset:.3f} Å" for pair, onset in information.repulsion.items())
    return f"Nuclear repulsion (ZBL) acts below {onsets}."


def _facts(information: ModelInformation, file_name: str, sha256: str) -> Iterator[tuple[str, str]]:
    yield "elements", ", ".join(information.elements)
    yield "level of theory", information.method or "not given"
    yield "licence", information.licence or "not given"
    yield "architecture", information.architecture
    yield "cutoff", f"{information.cutoff:g} Å"
    yield "units", ", ".join(f"{quantity} {unit}" for quantity, unit in information.units.items())
    yield "file", file_name
    yield "sha256 of the file", f"`{sha256}`"


def _envelope_rows(information: ModelInformation) -> Iterator[tuple[str, str]]:
    envelope = information.envelope
    for pair, distance in envelope.closest_distances.items():
        yield f"closest distance {pair}", f"{distance:.3f} Å"
    if envelope.force_max is not None:
        yield "largest force on an atom", f"{envelope.force_max:.2f} eV/Å"
    if envelope.energy_per_atom_range is not None:
        low, high = envelope.energy_per_atom_range
        yield "energy per atom beyond the reference energies", f"{low:.4f} to {high:.4f} eV"
    if information.surroundings is not None:
        yield "surroundings of atoms", f"of {information.surroundings.n_learnt} structures"
    for level, record in information.uncertainties_by_level.items():
        if record is not None:
            where = f" at {level}" if information.levels else ""
            yield f"uncertainties{where}", f"calibrated on {record.n_held_out} structures that it did not learn"


def _reference_rows(information: ModelInformation) -> Iterator[tuple[str, str]]:
    for element, energy in information.reference_energies.items():
        yield element, f"{energy:.6f}"


def _setting_rows(information: ModelInformation) -> Iterator[tuple[str, str, str]]:
    from ase_nbody.architectures import architectures

    architecture = architectures().get(information.architecture)
    fields = architecture.settings.model_fields if architecture else {}
    for name, value in information.settings.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else _number(value)
        yield name, shown, (fields[name].description or "") if name in fields else ""


def _command(information: ModelInformation) -> str:
    command = information.training.get("command")
    return f"```sh\n{command}\n```" if command else "The command is not given."


def _making_rows(information: ModelInformation) -> Iterator[tuple[str, str]]:
    training = information.training
    if "imported_from" in training:
        yield "imported from", f"{training['file']} of {training['imported_from']} (sha256 `{training['sha256']}`)"
    if "citation" in training:
        yield "cite", training["citation"]
    if "published" in training:
        yield "published errors", training["published"]
    if "adaptation" in training:
        start = training["start"]
        yield "adapted from", start["name"] + (f" (`{start['sha256']}`)" if start["sha256"] else "")
        yield "method of the adaptation", training["adaptation"]["method"]
        if beside := training.get("auxiliary"):
            level = f", {beside['level_of_theory']}" if beside["level_of_theory"] else ""
            yield "forces learnt beside", f"{beside['n_structures']} structures of {beside['name']}{level}"
        if new := training["adaptation"].get("new_elements"):
            begun = ", ".join(f"{element} (as {near})" for element, near in new.items())
            yield "elements that the start did not know, and what their weights began as", begun
    if "distillation" in training:
        record = training["distillation"]
        kelvin = ", ".join(f"{temperature:g} K" for temperature in record["temperatures"])
        yield "student of", f"{record['teacher']} for {record['system']} at {kelvin}"
        yield "forces off on its own dynamics", f"{record['relative_force_error']:.1%} of their mean size"
        times = record["ms_per_step"]
        yield f"ms per step of {times['atoms']} atoms", f"{times['student']:.3g}, its teacher {times['teacher']:.3g}"
    if "seconds" in training:
        yield "training time", f"{training['seconds']:.0f} seconds"
    for name, words in (("epochs", "epochs"), ("steps", "steps"), ("best_epoch", "epoch of the best weights")):
        if name in training:
            yield words, _number(training[name])
    yield "versions", ", ".join(f"{package} {version}" for package, version in information.made_with.items())
    yield "created", information.created or "not given"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(heads: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
