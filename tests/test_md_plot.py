"""The plot of molecular dynamics: curves, target temperature, structures, and what went wrong where."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from matplotlib.colors import to_rgb

from ase_nbody.cli.runs import md_plot
from ase_nbody.cli.runs.md_plot import Course, Event, draw_dynamics
from ase_nbody.simulation.recorder import Frame

WATER = molecule("H2O")
FRAMES = [Frame(i, 10.0 * i, -1.0, 0.1, 290.0 + i, None, None) for i in range(3)]
STOPPED = Event(25.0, "stopped", "atom 1 (H) moves 0.7 Å in one step", WATER)
OUTSIDE = Event(10.0, "outside the training", "H-O 0.80 Å (atoms 0 and 1)", WATER, (0, 1))


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The figure of a course."""

    def figure(frames=FRAMES, target=300.0, first=WATER, last=WATER, events=()):
        figures = []
        monkeypatch.setattr(md_plot, "save_figure", lambda figure, path: figures.append(figure))
        assert draw_dynamics(Course(frames, target, first, last, events), tmp_path / "a.png")
        return figures[0]

    return figure


def curves(figure):
    return [axes for axes in figure.axes if axes.get_ylabel()]


def structures(figure):
    return {axes.get_title(): axes for axes in figure.axes if not axes.get_ylabel()}


def test_the_target_is_a_line(drawn):
    _, temperature = curves(drawn())
    lines = {line.get_label(): line for line in temperature.lines}
    assert list(lines["target 300 K"].get_ydata()) == [300.0, 300.0]
    assert len(curves(drawn(target=None))[1].lines) == 1


def test_first_and_last_frame_are_drawn(drawn):
    figure = drawn(last=molecule("CH3CH2OH"))
    assert {title: len(axes.patches) for title, axes in structures(figure).items()} == {
        "first frame, 0 fs": 3,
        "last frame, 20 fs": 9,
    }
    assert list(structures(drawn(frames=FRAMES[:1]))) == ["first frame, 0 fs"]


def test_an_end_by_the_watchdog_is_marked_with_its_structure_and_reason(drawn):
    figure = drawn(events=[STOPPED])
    for panel in curves(figure):
        lines = {line.get_label(): line for line in panel.lines}
        assert list(lines["stopped at 25 fs"].get_xdata()) == [0.025, 0.025]
    assert list(structures(figure)) == ["first frame, 0 fs", "stopped at 25 fs"]
    assert figure.get_supxlabel() == "Stopped at 25 fs: atom 1 (H) moves 0.7 Å in one step"


def test_atoms_outside_the_training_have_the_colour_of_the_mark(drawn):
    figure = drawn(events=[OUTSIDE])
    assert list(structures(figure)) == ["first frame, 0 fs", "outside the training at 10 fs", "last frame, 20 fs"]
    marked = {
        title: sum(patch.get_facecolor()[:3] == to_rgb("tab:purple") for patch in axes.patches)
        for title, axes in structures(figure).items()
    }
    assert list(marked.values()) == [0, 2, 0]
    assert len(structures(drawn(events=[OUTSIDE, STOPPED]))) == 3


def test_a_crystal_is_drawn_within_its_cell(drawn):
    crystal = bulk("Si", cubic=True)
    moved = crystal.copy()
    moved.positions += 3 * crystal.cell[0]
    crystal_frames = [Frame(i, 10.0 * i, -1.0, 0.1, 290.0, 160.0 + i, 0.0) for i in range(3)]
    figure = drawn(frames=crystal_frames, first=crystal, last=moved)
    assert [axes.get_ylabel() for axes in curves(figure)][-1] == "volume (Å³)"
    first, last = structures(figure).values()
    np.testing.assert_allclose(first.get_xlim(), last.get_xlim())
    assert len(first.patches) > len(crystal)  # the cell too
    assert (moved.positions == crystal.positions + 3 * crystal.cell[0]).all()


def test_what_cannot_be_drawn_is_said(drawn, monkeypatch):
    broken = WATER.copy()
    broken.positions[0] = np.nan
    failed = Event(25.0, "stopped", "not finite: positions", broken)
    assert structures(drawn(events=[failed]))["stopped at 25 fs"].texts[0].get_text().endswith("not finite")
    monkeypatch.setattr(md_plot, "_DRAWN_ATOMS", 2)
    assert structures(drawn())["first frame, 0 fs"].texts[0].get_text() == "not drawn: 3 atoms"


def test_a_molecule_is_not_drawn_as_its_mirror_image():
    generator = np.random.default_rng(0)
    for _ in range(8):
        assert np.linalg.det(md_plot._view(Atoms("CHFClBr", generator.normal(size=(5, 3))))) == pytest.approx(1.0)
