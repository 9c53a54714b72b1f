"""What mace's own environment writes of a model: its parts as they are, or a named error."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from e3nn import nn, o3

from ase_nbody.architectures import mace_radial, mace_repulsion
from ase_nbody.importers import e3nn_export, mace_export, mace_export_layers
from ase_nbody.importers.e3nn_export import UnsupportedError
from ase_nbody.importers.mace import exported_model


def test_files_and_environments_that_are_not_there(tmp_path: Path) -> None:
    model = tmp_path / "theirs.model"
    with pytest.raises(FileNotFoundError, match=r"theirs\.model; give a model"):
        exported_model(model, Path(sys.executable))
    model.write_bytes(b"no model")
    with pytest.raises(FileNotFoundError, match=r"interpreter .*nothing"):
        exported_model(model, tmp_path / "nothing")


@pytest.mark.skipif(find_spec("mace") is not None, reason="here is an environment with mace")
def test_an_environment_without_mace(tmp_path: Path) -> None:
    model = tmp_path / "theirs.model"
    model.write_bytes(b"no model")
    with pytest.raises(ValueError, match="has no package mace-torch"):
        exported_model(model, Path(sys.executable))


def test_heads_are_chosen_by_name() -> None:
    several, one = SimpleNamespace(heads=["omat", "omol"]), SimpleNamespace()
    assert mace_export.head_number(several, "omol") == 1 and mace_export.head_number(one, "") == 0
    for model, head, sentence in (
        (several, "", "the heads omat, omol: choose one of them, by --head"),
        (several, "pbe", "not 'pbe'"),
        (one, "pbe", "the heads Default: choose one of them, not 'pbe'"),
    ):
        with pytest.raises(UnsupportedError, match=sentence):
            mace_export.head_number(model, head)


class BesselBasis:
    bessel_weights = torch.arange(1, 4) * (np.pi / 5.0)


class GaussianBasis:
    pass


class SoftTransform:
    pass


class AgnesiTransform:
    q, p, a = 0.9183, 4.5791, 1.2


class RealAgnosticResidualInteractionBlock:
    pass


class RealAgnosticAttResidualInteractionBlock:
    pass


def fake(**changes: object) -> SimpleNamespace:
    """What `refuse` looks at."""
    irreps = [(1, "0e"), (1, "1o")]
    parts = {
        "radial_embedding": SimpleNamespace(bessel_fn=BesselBasis()),
        "r_max": 5.0,
        "interactions": [RealAgnosticResidualInteractionBlock()],
        "products": [SimpleNamespace(linear=SimpleNamespace(irreps_out=[(8, "0e")]))],
        "spherical_harmonics": SimpleNamespace(irreps_out=irreps),
    }
    return SimpleNamespace(**{**parts, **changes})


def test_models_with_other_parts_are_refused() -> None:
    mace_export.refuse(fake())
    trained = BesselBasis()
    trained.bessel_weights = trained.bessel_weights * 1.01
    radial = [
        {"bessel_fn": BesselBasis(), "distance_transform": transform}
        for transform in (SoftTransform(), AgnesiTransform())
    ]
    for changes, sentence in (
        ({"joint_embedding": 1}, "an embedding of charges"),
        ({"radial_embedding": SimpleNamespace(bessel_fn=GaussianBasis())}, "the radial basis GaussianBasis"),
        ({"radial_embedding": SimpleNamespace(**radial[0])}, "the distance transform SoftTransform"),
        ({"radial_embedding": SimpleNamespace(**radial[1])}, "AgnesiTransform of the model has trained constants a"),
        ({"radial_embedding": SimpleNamespace(bessel_fn=trained)}, "Bessel functions were trained"),
        ({"spherical_harmonics": SimpleNamespace(irreps_out=[(1, "0e"), (1, "1e")])}, "without parity"),
        (
            {"products": [SimpleNamespace(linear=SimpleNamespace(irreps_out=[(8, "0e"), (8, "1o")]))]},
            "keep_last_layer_irreps",
        ),
        ({"interactions": [RealAgnosticAttResidualInteractionBlock()]}, "RealAgnosticAttResidualInteractionBlock"),
        ({"pair_repulsion_fn": SimpleNamespace(a_exp=0.3, a_prefactor=0.5)}, "trained constants a_prefactor"),
    ):
        with pytest.raises(UnsupportedError, match=sentence):
            mace_export.refuse(fake(**changes))


# --- parts of models, here made of e3nn's modules alone ---------------------------------------------------------------


def test_matrices_by_element_are_what_the_product_does() -> None:
    below, element, above = o3.Irreps("3x0e+2x1o"), o3.Irreps("4x0e"), o3.Irreps("2x0e+3x1o")
    product = o3.FullyConnectedTensorProduct(below, element, above)
    with torch.no_grad():
        found, expected = mace_export_layers.by_element(product), e3nn_export.own_matrices(product, below, above)
    assert found.shape == (5, 4, 5) and float(expected.abs().max()) > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_radial_matrices_are_what_the_network_does() -> None:
    network, arrays = nn.FullyConnectedNet([3, 6, 5], torch.nn.functional.silu), {}
    assert mace_export_layers.radial_network(None, network, "radial", arrays) == 2
    values = torch.tensor([[0.3, -0.5, 0.8]])
    hidden = network.layer0.act(values @ arrays["radial.0"])
    torch.testing.assert_close(hidden @ arrays["radial.1"], network(values))
    with pytest.raises(UnsupportedError, match="changes variances"):
        mace_export_layers.radial_network(None, nn.FullyConnectedNet([3, 5], variance_in=2), "radial", {})


def test_energies_are_those_of_the_head() -> None:
    references = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    scaling = SimpleNamespace(scale=torch.tensor([0.8, 1.1]), shift=torch.tensor(0.2))
    for table, scale_shift, expected in (
        (references, scaling, ([-3.0, -4.0], 1.1, 0.2)),
        (references[0], None, ([-1.0, -2.0], 1.0, 0.0)),
    ):
        model = SimpleNamespace(atomic_energies_fn=SimpleNamespace(atomic_energies=table), scale_shift=scale_shift)
        arrays: e3nn_export.Arrays = {}
        mace_export.energies_by_element(model, 1, arrays)
        assert arrays["references"].tolist() == expected[0]
        assert [float(arrays[name]) for name in ("scale", "shift")] == pytest.approx(expected[1:])


def test_a_few_elements_are_from_the_whole_list_and_all_in_the_cluster() -> None:
    assert mace_export.some("HCNO") == list("HCNO")
    chosen = mace_export.some([str(number) for number in range(89)])
    assert 4 < len(chosen) <= mace_export.CHECKED and chosen[0] == "0" and int(chosen[-1]) > 75
    symbols = ["H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I"]
    cluster, small = e3nn_export.check_structures(symbols)
    assert set(cluster.symbols) == set(symbols) and not cluster.pbc.any()
    assert small.pbc.all() and small.get_volume() > 30 and float(cluster.get_all_distances(mic=False).max()) > 3


def test_constants_that_both_environments_have_are_the_same() -> None:
    assert tuple(mace_export.AGNESI[name] for name in "qpa") == mace_radial.AGNESI
    assert mace_export.ZBL["a_exp"] == mace_repulsion.SCREENING_POWER
    bohr = 0.529  # as mace has it
    assert mace_export.ZBL["a_prefactor"] * bohr == pytest.approx(mace_repulsion.SCREENING_LENGTH)
