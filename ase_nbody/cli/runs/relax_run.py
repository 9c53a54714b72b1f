"""What `nbody relax` does: relaxes with a progress bar, and says how to go on after an early end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import typer
from ase import Atoms

from ase_nbody.cli.continuation import command_with, next_output
from ase_nbody.cli.endings import end_stopped, end_unstable, save_failure, step_bar
from ase_nbody.cli.outcome import end_outside
from ase_nbody.cli.output import say
from ase_nbody.dispersion_calculator import DispersionCalculator
from ase_nbody.simulation.errors import NotConvergedError, SimulationStoppedError, UnstableOptimisationError
from ase_nbody.simulation.relaxation import OptimisationSettings, relaxed, with_cell
from ase_nbody.stopping import StopRequest, stop_on_signals


def run_relaxation(
    atoms: Atoms, settings: OptimisationSettings, output: Path, pressure: float | None, context: typer.Context
) -> None:
    """Relax a structure, write every step, and print a summary.

    Args:
        atoms: structure with its calculator; moved along.
        settings: optimiser, largest force and number of steps.
        output: trajectory to write.
        pressure: GPa, with which the cell relaxes; None: it is kept.
        context: the command, to show how it goes on.

    Raises:
        ValueError: the cell cannot be relaxed.
        NotConvergedError: forces are still too large.
        typer.Exit: stopped by the watchdog (4) or a signal (128 + its number), or outside the training (3).
    """
    summarise = partial(
        _summarise, atoms, before=atoms.get_potential_energy(), cell=pressure is not None, output=output
    )
    start = atoms.calc.get_envelope(atoms)
    target = atoms if pressure is None else with_cell(atoms, pressure)
    more = {} if settings.steps else {"steps": None}  # with no step at all there would be nothing to go on with
    go_on = command_with(context, structure=output, output=next_output(output), **more)
    with stop_on_signals(stop := StopRequest()):
        try:
            with step_bar(stop, settings.optimizer.upper(), settings.steps) as observer:
                n_steps = relaxed(target, settings, output, observer)
        except UnstableOptimisationError as error:
            save_failure(error, output)
            raise end_unstable(error) from None
        except SimulationStoppedError as stopped:
            summarise("not relaxed     stopped before the end")
            raise end_stopped(stopped.signal, go_on) from None
        except NotConvergedError as error:
            summarise(f"not relaxed     in {settings.steps} steps")
            raise NotConvergedError(f"{error}. To go on: {go_on}") from None
    summarise(f"relaxed         in {n_steps} steps to {settings.fmax:g} eV/Å")
    end = atoms.calc.get_envelope(atoms)
    end_outside([replace(start, formula=f"the start, {start.formula},") if end.inside else end])


def _summarise(atoms: Atoms, outcome: str, *, before: float, cell: bool, output: Path) -> None:
    say(f"structure       {atoms.get_chemical_formula()}, {len(atoms)} atoms")
    say(outcome)
    say(f"energy          {atoms.get_potential_energy():.6f} eV ({atoms.get_potential_energy() - before:+.6f} eV)")
    if isinstance(atoms.calc, DispersionCalculator):
        say(f"dispersion      {atoms.calc.dispersion_name}, {atoms.calc.dispersion_energy:.6f} eV of the energy")
    if cell:
        a, b, c, alpha, beta, gamma = atoms.cell.cellpar()
        say(f"cell            {a:.4f} {b:.4f} {c:.4f} Å, {alpha:.2f} {beta:.2f} {gamma:.2f}°")
        say(f"volume          {atoms.get_volume():.3f} Å³")
    say(f"trajectory      {output}")
