"""The figures of `nbody bench` as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from ase_nbody.cli.output import say, warn
from ase_nbody.cli.runs.bench_floor import Floor
from ase_nbody.cli.runs.bench_report import Report, StructureFigures
from ase_nbody.compiler.machine import Machine

Row = tuple[str, Sequence[str]]


def print_report(report: Report) -> None:
    """Print all figures; a warning first where other programs were running."""
    if report.busy:
        warn(
            f"other programs are running (load average {report.load_average:.1f} on {report.n_cores} cores): "
            "they disturb all figures; stop them and measure again"
        )
    say(f"model           {report.model} ({report.architecture}), {report.dtype} on {report.device}")
    say(f"machine         {report.processor}, {report.n_cores} cores")
    _print_table(f"first forces of {report.structures[0].structure} in a fresh process", ["s"], _fresh_rows(report))
    names = [one.structure for one in report.structures]
    title = f"molecular dynamics through ASE, NVT at {report.temperature_k:g} K, {report.timestep_fs:g} fs per step"
    _print_table(title, names, _dynamics_rows(report))
    for one in report.structures:
        _print_parts(one)
    _print_floor(report)
    for one in report.structures:
        if one.many is not None:
            _print_many(one)


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    table = Table()
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for name, values in rows:
        table.add_row(name, *values)
    say(f"\n{title}")
    Console(highlight=False, markup=False).print(table)


def _fresh_rows(report: Report) -> list[Row]:
    fresh = report.fresh_process
    return [
        ("import of ase_nbody, torch and ASE", [f"{fresh.import_s:.2f}"]),
        ("loading the model", [f"{fresh.load_s:.2f}"]),
        ("first evaluation, kernels are compiled", [f"{fresh.first_evaluation_s:.2f}"]),
        ("from import to first forces", [f"{fresh.import_to_first_forces_s:.2f}"]),
        ("second evaluation", [f"{fresh.second_evaluation_s:.4f}"]),
    ]


def _dynamics_rows(report: Report) -> list[Row]:
    shown: list[tuple[str, Callable[[StructureFigures], str]]] = [
        ("atoms", lambda one: str(one.n_atoms)),
        ("edges within the cutoff", lambda one: str(one.n_edges)),
        ("neighbours per atom", lambda one: f"{one.neighbours_per_atom:.1f}"),
        ("threads", lambda one: str(one.threads)),
        ("steps measured", lambda one: str(one.dynamics.steps)),
        ("ms per step, median", lambda one: f"{one.dynamics.median_ms_per_step:.2f}"),
        ("µs per atom and step", lambda one: f"{one.dynamics.us_per_atom_and_step:.1f}"),
        ("ns per day", lambda one: f"{one.dynamics.ns_per_day:.3g}"),
        ("neighbour lists built per step", lambda one: f"{one.dynamics.lists_built_per_step:.3f}"),
        ("peak memory of the process, MiB", lambda one: _number(one.peak_memory_mib, ".0f")),
    ]
    return [(name, [value(one) for one in report.structures]) for name, value in shown]


def _print_parts(one: StructureFigures) -> None:
    """Parts of a step, those of the evaluation below it, with the floor of each where it is counted."""
    dynamics, floor = one.dynamics, one.floor
    floors = {} if floor is None else floor.parts_floor_ms_per_step
    rows: list[Row] = []

    def add(name: str, milliseconds: float, least: float | None) -> None:
        share = 100 * milliseconds / dynamics.mean_ms_per_step
        ratio = None if not least else milliseconds / least
        counted = [] if floor is None else [_number(least, ".3f"), _number(ratio, ".1f")]
        rows.append((name, [f"{milliseconds:.3f}", f"{share:.1f}", *counted]))

    for part, milliseconds in dynamics.parts_ms_per_step.items():
        is_evaluation = part == "evaluation"
        add(part, milliseconds, floor.floor_ms_per_step if floor is not None and is_evaluation else None)
        if is_evaluation:
            for inner, spent in dynamics.evaluation_parts_ms_per_step.items():
                add(f"  {inner}", spent, floors.get(inner))
    add("step", dynamics.mean_ms_per_step, None)
    columns = ["ms per step, mean", "%"] + ([] if floor is None else ["floor, ms", "time / floor"])
    _print_table(f"where the time of {one.structure} goes", columns, rows)


def _print_floor(report: Report) -> None:
    if not report.machines:
        say("The machine's floor is measured for the CPU only.")
        return
    machines = {machine.threads: machine for machine in report.machines}
    rates = [machines[one.threads] for one in report.structures]
    rows = _machine_rows(rates)
    counted = any(one.floor is not None for one in report.structures)
    if counted:
        rows += _floor_rows(report)
    _print_table(f"machine's floor, {report.dtype}", [one.structure for one in report.structures], rows)
    if not counted:
        say(f"The architecture {report.architecture} does not count its operations and bytes: no floor of a step.")


def _machine_rows(machines: Sequence[Machine]) -> list[Row]:
    return [
        ("threads", [str(machine.threads) for machine in machines]),
        ("peak multiply-adds, 10⁹/s", [f"{machine.multiply_adds_per_s / 1e9:.1f}" for machine in machines]),
        ("copy bandwidth, read + write, 10⁹ B/s", [f"{machine.copy_bytes_per_s / 1e9:.1f}" for machine in machines]),
    ]


def _floor_rows(report: Report) -> list[Row]:
    shown: list[tuple[str, Callable[[Floor], str]]] = [
        ("multiply-adds of a step, 10⁶", lambda floor: f"{floor.multiply_adds_per_step / 1e6:.2f}"),
        ("bytes of a step, 10⁶", lambda floor: f"{floor.bytes_per_step / 1e6:.2f}"),
        ("floor of a step, ms", lambda floor: f"{floor.floor_ms_per_step:.3f}"),
        ("evaluation / floor", lambda floor: f"{floor.evaluation_over_floor:.1f}"),
        ("step / floor", lambda floor: f"{floor.step_over_floor:.1f}"),
    ]
    floors = [one.floor for one in report.structures]
    return [(name, ["" if floor is None else value(floor) for floor in floors]) for name, value in shown]


def _print_many(one: StructureFigures) -> None:
    if one.many is None:
        return
    loop = one.many.loop_structures_per_s
    rows: list[Row] = [("one after another", [f"{loop:.1f}", "1.00"])]
    for size, rate in one.many.calculate_many_structures_per_s.items():
        rows.append((f"calculate_many of {size}", [f"{rate:.1f}", f"{rate / loop:.2f}"]))
    title = f"many displaced {one.structure}, {one.threads} thread{'s' * (one.threads > 1)}"
    _print_table(title, ["structures per s", "ratio"], rows)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
