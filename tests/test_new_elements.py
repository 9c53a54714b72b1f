"""Elements that a start does not know: what they begin as, that nothing else changes, and what is refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from adaptation import dataset_of, forces_of, start_potential, teacher_of
from ase import Atoms

from ase_nbody.architectures import architectures
from ase_nbody.data import Dataset
from ase_nbody.meta.adapt import adapt
from ase_nbody.meta.new_elements import FEWEST, Widened, nearest_element, with_new_elements
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.potential import Potential

FLUOROETHENE = "H2CCHF"
SAME = 1e-12  # float64; another element's weights change forces by 1e-2 and more


def fluorinated(n: int, seed: int = 0) -> Dataset:
    """Fluoroethene labelled by a network that knows fluorine."""
    return dataset_of(teacher_of(start_potential(("H", "C", "F"))), n, FLUOROETHENE, seed)


def with_oxygen(several: Sequence[Atoms]) -> list[Atoms]:
    """The same structures with oxygen in place of fluorine."""
    return [Atoms([s.replace("F", "O") for s in atoms.symbols], atoms.positions) for atoms in several]


@pytest.mark.parametrize(
    ("known", "nearest"),
    [
        (("H", "C", "N", "O"), {"F": "O", "Cl": "O", "S": "O", "Se": "O", "P": "N", "As": "N", "Si": "C", "B": "C"}),
        (("H", "C", "N", "O"), {"Na": None, "Fe": None, "Ne": None, "He": None}),
        (("H", "C", "O", "F", "S"), {"Cl": "F", "Se": "S", "Br": "F", "Ar": "F", "H": None}),
        (("Cu", "Mg", "La"), {"Ag": "Cu", "Zn": "Cu", "Ca": "Mg", "Ce": "La", "Ti": "La", "Au": "Cu"}),
    ],
)
def test_the_nearest_is_of_the_same_group_or_the_next(known: tuple[str, ...], nearest: dict[str, str | None]) -> None:
    assert {element: nearest_element(element, known) for element in nearest} == nearest


def test_a_new_element_begins_as_its_nearest_and_known_ones_stay() -> None:
    start, data = start_potential(("H", "C", "N", "O")), fluorinated(FEWEST)
    widened = with_new_elements(start, data)
    assert widened.nearest == {"F": "O"} and widened.potential.elements == ("H", "C", "N", "O", "F")
    assert widened.potential.reference_energies["F"] == start.reference_energies["O"]
    frames = data.structures[:3]
    expected = forces_of(start, with_oxygen(frames))
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(forces_of(widened.potential, frames), expected, rtol=0, atol=SAME)
    torch.testing.assert_close(forces_of(widened.potential, with_oxygen(frames)), expected, rtol=0, atol=SAME)
    assert with_new_elements(start, dataset_of(start, 1)) == Widened(start, {})


def test_a_new_element_is_learnt_apart_from_the_one_it_began_as() -> None:
    start, lines = start_potential(), []
    teacher = teacher_of(with_new_elements(start, fluorinated(FEWEST)).potential, readouts=1.2)
    data = dataset_of(teacher, FEWEST, FLUOROETHENE)
    found = adapt(start, data, AdaptationSettings(method="all", steps=40, learning_rate=0.01), lines.append)
    scores = {row.candidate.name: row.score for row in found.rows}
    assert scores["all"] < 0.7 * min(scores["start"], scores["scratch"])
    assert found.new_elements == {"F": "O"} and "F: the start does not know it" in lines[0]
    own = found.referenced.potential
    frames = data.structures[:3]
    assert (forces_of(own, frames) - forces_of(own, with_oxygen(frames))).abs().max() > 1e-3
    assert math.isfinite(own.reference_energies["F"])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            lambda: fluorinated(FEWEST - 1),
            rf"F, which .* .H, C, O., in {FEWEST - 1} .* begin as O",
        ),
        (
            lambda: dataset_of(start_potential(("Li", "H")), FEWEST, "LiH"),
            r"Li, which .* nor a neighbour of it; adapt",
        ),
    ],
    ids=["few", "far"],
)
def test_what_cannot_begin_as_another_element_is_named(data: Callable[[], Dataset], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        with_new_elements(start_potential(), data())


def test_an_architecture_that_takes_no_new_elements_is_named() -> None:
    schnet = architectures()["schnet"]
    network = schnet.network(schnet.settings(elements=("H", "C", "O")), torch.Generator().manual_seed(0))
    start = Potential(network, start_potential().reference_energies)
    with pytest.raises(ValueError, match=r"F, which .*, and .*SchNet.* takes no new ones"):
        with_new_elements(start, fluorinated(FEWEST))
