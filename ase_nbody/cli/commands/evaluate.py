"""`nbody evaluate`: errors of a model on labelled structures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ase_nbody.cli.options import (
    AverageOverInversion,
    DeviceName,
    Dtype,
    DtypeOption,
    Force,
    FurtherKeys,
    Level,
    ModelArgument,
    Threads,
    further_keys,
)

if TYPE_CHECKING:
    from ase_nbody.calculator import NBodyCalculator
    from ase_nbody.data import CompositionShift, Dataset, ErrorReport, Evaluation


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What `nbody evaluate` is told; None where it is not."""

    model: ModelArgument
    data: Annotated[
        Path, typer.Option(help="Labelled structures: extended XYZ, .traj, .db or any ASE format.", show_default=False)
    ]
    json: Annotated[Path | None, typer.Option(help="Write the errors to this JSON file.", show_default=False)] = None
    plot: Annotated[
        Path | None, typer.Option(help="Draw predictions over labels into this folder.", show_default=False)
    ] = None
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Compare errors with the standard deviations that the model gives.")
    ] = False
    energy_key: Annotated[
        str | None, typer.Option(help="Name of the energy labels; found by itself if not given.", show_default=False)
    ] = None
    forces_key: Annotated[str | None, typer.Option(help="Name of the force labels.", show_default=False)] = None
    stress_key: Annotated[str | None, typer.Option(help="Name of the stress labels.", show_default=False)] = None
    key: FurtherKeys = None
    level: Level = None
    average_over_inversion: AverageOverInversion = False
    device: DeviceName = "auto"
    dtype: DtypeOption = Dtype.FLOAT64
    threads: Threads = None
    force: Force = False


def evaluate(options: EvaluateOptions) -> None:
    """Errors of a model on labelled structures: meV, meV/atom, meV/Å and meV/Å³.

    Energies also without shift: less the mean error per atom of the structures of one composition.
    """
    from ase_nbody.cli.outcome import end_outside
    from ase_nbody.cli.output import say, warn, write_json
    from ase_nbody.data import energy_shifts, not_predicted, parity_plot
    from ase_nbody.data import evaluate as evaluation_of
    from ase_nbody.uncertainties import check_uncertainty

    _check(options)
    dataset = _dataset(options)
    calc = _calculator(options, dataset)
    if options.uncertainty:
        check_uncertainty(calc.potential, options.model, calc.information)
    report, evaluation = evaluation_of(calc.potential, dataset, check=calc.evaluator.envelope_check)
    _print_report(report)
    for words in not_predicted(evaluation):
        warn(words)
    assert calc.information is not None  # of a file
    _print_shifts(report, energy_shifts(evaluation), calc.information.reference_energies_source)
    written = report.to_json_dict()
    if options.uncertainty:
        written["uncertainty"] = _compare_uncertainties(calc, dataset, evaluation, options.plot)
    if options.json is not None:
        write_json(written, options.json)
        say(f"errors written to {options.json}")
    if options.plot is not None:
        for path in parity_plot(evaluation, report, options.plot):
            say(f"plot            {path}")
    end_outside([replace(found, formula=f"structure {n} ({found.formula})") for n, found in evaluation.outside.items()])


def _check(options: EvaluateOptions) -> None:
    """Refuse what is wrong before the data are read."""
    from ase_nbody.cli.inputs import check_outputs
    from ase_nbody.devices import torch_device
    from ase_nbody.models_directory import find_model

    find_model(options.model)
    torch_device(options.device)
    if options.json is not None:
        check_outputs([options.json], options.force)
    if options.plot is not None and options.plot.exists() and not options.plot.is_dir():
        raise NotADirectoryError(f"--plot {options.plot} is a file; give the name of a folder")


def _dataset(options: EvaluateOptions) -> Dataset:
    from ase_nbody.cli.output import say, warn
    from ase_nbody.data import read_dataset
    from ase_nbody.model_terms import properties_in
    from ase_nbody.models_directory import find_model

    dataset = read_dataset(
        options.data,
        energy_key=options.energy_key,
        forces_key=options.forces_key,
        stress_key=options.stress_key,
        further=properties_in(find_model(options.model)),
        further_keys=further_keys(options.key),
    )
    say(f"labels: {dataset.label_source}")
    for note in dataset.notes:
        warn(note)
    return dataset


def _calculator(options: EvaluateOptions, dataset: Dataset) -> NBodyCalculator:
    from ase_nbody.cli.inputs import calculator

    return calculator(
        options.model,
        options.device,
        options.dtype,
        options.threads,
        sum(len(atoms) for atoms in dataset.structures),  # evaluated in batches
        options.level,
        options.average_over_inversion,
    )


def _print_report(report: ErrorReport) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report.n_structures} structures", title_justify="left")
    for name in ("quantity", "MAE", "RMSE"):
        table.add_column(name, justify="left" if name == "quantity" else "right")
    for errors in report.errors:
        if errors.mae is not None and errors.rmse is not None:
            name = "  without shift" if errors.without_shift else errors.kind.name
            table.add_row(f"{name}, {errors.unit}", f"{1000 * errors.mae:.3f}", f"{1000 * errors.rmse:.3f}")
    Console(highlight=False).print(table)


def _compare_uncertainties(
    calc: NBodyCalculator, dataset: Dataset, evaluation: Evaluation, plot: Path | None
) -> dict[str, Any]:
    """Print how errors compare with standard deviations, and draw it where there is a folder."""
    from rich.console import Console
    from rich.table import Table

    from ase_nbody.calibration.judged import deviations, judgements
    from ase_nbody.calibration.plots import uncertainty_plot
    from ase_nbody.cli.output import say

    found = deviations(calc.potential, dataset, evaluation)
    table = Table(title="errors beside the standard deviations given", title_justify="left")
    for head in ("quantity", "given", "RMSE", "within 1", "within 2", "rank correlation"):
        table.add_column(head, justify="left" if head == "quantity" else "right")
    units = {"energy_per_atom": "energy, meV/atom", "forces": "forces, meV/Å", "stress": "stress, meV/Å³"}
    judged = judgements(found)
    for name, one in judged.items():
        shares = (f"{one.within_one:.0%}", f"{one.within_two:.0%}", f"{one.rank_correlation:.2f}")
        table.add_row(units[name], f"{one.mean_deviation:.3f}", f"{one.rmse:.3f}", *shares)
    Console(highlight=False).print(table)
    if plot is not None and "forces" in judged:
        say(f"plot            {uncertainty_plot(found, plot)}")
    return {name: one.to_json_dict() for name, one in judged.items()}


def _print_shifts(report: ErrorReport, shifts: list[CompositionShift], references_source: str) -> None:
    """What the errors without shift leave out, and whether most of the error is shift."""
    from ase_nbody.cli.output import say
    from ase_nbody.data import shift_words
    from ase_nbody.predictions import ENERGY

    if report.of(ENERGY).mae is None:
        return
    alone = report.n_compositions - len(shifts)
    words = f"without shift: less the mean error per atom of each composition, of {len(shifts)} here"
    if alone:
        words += f"; {alone} structure(s) alone in their composition are left out"
    say(words if shifts else "no errors without shift: no two structures have the same composition")
    if (shifted := shift_words(shifts)) is not None:
        say(shifted)
        say(f"the model's reference energies: {references_source.removeprefix('reference energies of ')}")
