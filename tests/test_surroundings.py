"""Results do not depend on what other packages have set in torch and numpy."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import nbody_networks
import numpy as np
import pytest
import torch
from ase.build import molecule

from ase_nbody.architectures import architectures
from ase_nbody.calculator import NBodyCalculator
from ase_nbody.devices import plain_torch
from ase_nbody.model_file import model_information, save_model
from ase_nbody.potential import Potential

TOLERANCE = 1e-10  # of results in one process, eV and angstrom


@contextmanager
def chosen(choose: Callable[[object], None], value: object, usual: object) -> Iterator[None]:
    choose(value)
    try:
        yield
    finally:
        choose(usual)


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "default device": partial(chosen, torch.set_default_device, "meta", None),
    "device context": partial(torch.device, "meta"),
    "float16": partial(chosen, torch.set_default_dtype, torch.float16, torch.float32),
    "float64": partial(chosen, torch.set_default_dtype, torch.float64, torch.float32),
    "deterministic": partial(chosen, torch.use_deterministic_algorithms, True, False),
    "autocast": partial(torch.autocast, "cpu", dtype=torch.bfloat16),
    "numpy errors": partial(np.errstate, all="raise"),
}
METHODS: dict[str, Callable[[NBodyCalculator], np.ndarray]] = {
    "results": lambda c: np.concatenate([np.ravel(c.get_property(p, periodic())) for p in c.implemented_properties]),
    "many": lambda c: np.concatenate([r["forces"] for r in c.calculate_many([periodic(), periodic()[1:]])]),
    "hessian": lambda c: c.get_hessian(periodic()),
    "descriptors": lambda c: c.get_descriptors(periodic(), invariant=False),
    "states": lambda c: np.concatenate([level.states.ravel() for level in c.get_states(periodic())]),
    "pickle": lambda c: pickle.loads(pickle.dumps(c)).get_forces(periodic()),
}
POTENTIAL = nbody_networks.potential(torch.float64, levels=1, channels=2, radial_width=4)


def periodic():
    atoms = nbody_networks.rattled(molecule("CH3OH"))
    atoms.cell, atoms.pbc = [5, 6, 7], True
    return atoms


def calculator(dtype: str = "float64") -> NBodyCalculator:
    return NBodyCalculator(POTENTIAL, device="cpu", dtype=dtype, threads=1)


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return {method: call(calculator()) for method, call in METHODS.items()}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_results_are_the_same_whatever_others_have_set(name, expected):
    """For calculators made inside and outside, and called inside first, then outside."""
    outside = calculator()
    with SURROUNDINGS[name]():
        inside = calculator()
        found = [(method, call(c)) for c in (inside, outside) for method, call in METHODS.items()]
    found += [(method, call(c)) for c in (inside, outside) for method, call in METHODS.items()]
    for method, values in found:
        np.testing.assert_allclose(values, expected[method], rtol=0, atol=TOLERANCE, err_msg=method)


@pytest.mark.parametrize("name", ["inference mode", "default device", "float16"])
@pytest.mark.parametrize("architecture", architectures())
def test_a_model_file_loads_as_it_was_whatever_others_have_set(tmp_path, architecture, name):
    chosen = architectures()[architecture]
    settings = chosen.settings(**{**chosen.presets["small"], "elements": ("H", "C", "O"), "cutoff": 4.0})
    network = chosen.network(settings, generator=torch.Generator().manual_seed(0))
    potential = Potential(network, {"H": -1.0, "C": -2.0, "O": -3.0})
    information = model_information(potential, name="a", reference_energies_source="given")
    path = save_model(tmp_path / "a.safetensors", potential, information)
    expected = NBodyCalculator(path, device="cpu", threads=1).get_forces(periodic())
    with SURROUNDINGS[name]():
        loaded = NBodyCalculator(path, device="cpu", threads=1)
    np.testing.assert_allclose(loaded.get_forces(periodic()), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("architecture", architectures())
def test_initial_weights_do_not_depend_on_the_default_dtype(architecture):
    chosen = architectures()[architecture]
    settings = chosen.settings(**{**chosen.presets["small"], "elements": ("H", "O"), "cutoff": 4.0})
    usual = chosen.network(settings, generator=torch.Generator().manual_seed(0)).state_dict()
    for name in ("float16", "float64"):
        with SURROUNDINGS[name]():
            weights = chosen.network(settings, generator=torch.Generator().manual_seed(0)).state_dict()
        torch.testing.assert_close(weights, usual, rtol=0, atol=0)


def test_plain_torch_leaves_everything_as_it_was():
    with torch.inference_mode(), torch.device("meta"), torch.autocast("cpu", dtype=torch.bfloat16):
        with plain_torch():
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
            assert torch.zeros(1).device.type == "cpu"
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
        assert torch.zeros(1).device.type == "meta"
    assert torch.get_default_device().type == "cpu"


def test_a_calculator_names_its_model():
    text = "NBodyCalculator('NBodyNetwork', device='cpu', dtype='float32', "
    for shown in (repr(calculator("float32")), str(calculator("float32"))):
        assert shown.startswith(text)
        assert "threads=1, outside='warn'" in shown
        assert "\n" not in shown
    assert repr(NBodyCalculator("organic", device="cpu")).startswith("NBodyCalculator('organic', device='cpu', ")
