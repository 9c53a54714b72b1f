"""Clebsch-Gordan coefficients and spherical harmonics: our phases, e3nn's basis, equivariance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from e3nn import o3
from wigner import INVERSION, REFLECTION, ROTATION, wigner

from ase_nbody.algebra.clebsch_gordan import MAX_DEGREE, clebsch_gordan, from_e3nn, with_phase_convention
from ase_nbody.math import spherical_harmonics
from ase_nbody.math.harmonics import harmonic_steps

TOLERANCE = 1e-12  # coefficients and harmonics are of order one, in float64
SINGLE_TOLERANCE = 2e-6  # the same in float32
WIGNER_TOLERANCE = 1e-11  # e3nn's exponentials of generators

DEGREES = range(MAX_DEGREE + 1)
TRIPLES = [(a, b, c) for a in DEGREES for b in DEGREES for c in DEGREES if abs(a - b) <= c <= a + b]
# Closed forms in e3nn's real basis: delta / sqrt(3), the antisymmetric symbol / sqrt(6), the traceless symmetric part
# of a product of vectors, (zx, xy, y^2 - (z^2 + x^2) / 2, yz, (z^2 - x^2) / 2), with the first coefficient positive.
LITERAL = {
    (0, 0, 0): {(0, 0, 0): 1.0},
    (1, 1, 0): {(0, 0, 0): 3**-0.5, (1, 1, 0): 3**-0.5, (2, 2, 0): 3**-0.5},
    (1, 1, 1): {
        (0, 1, 2): 6**-0.5,
        (1, 2, 0): 6**-0.5,
        (2, 0, 1): 6**-0.5,
        (0, 2, 1): -(6**-0.5),
        (1, 0, 2): -(6**-0.5),
        (2, 1, 0): -(6**-0.5),
    },
    (1, 1, 2): {
        (0, 0, 2): 30**-0.5,
        (1, 1, 2): -2 * 30**-0.5,
        (2, 2, 2): 30**-0.5,
        (0, 2, 0): -(10**-0.5),
        (2, 0, 0): -(10**-0.5),
        (0, 1, 1): -(10**-0.5),
        (1, 0, 1): -(10**-0.5),
        (1, 2, 3): -(10**-0.5),
        (2, 1, 3): -(10**-0.5),
        (0, 0, 4): 10**-0.5,
        (2, 2, 4): -(10**-0.5),
    },
}
# Single coefficients as they were when the first model was shipped: these must never change.
SHIPPED = {
    ((2, 1, 2), (0, 0, 1)): 0.18257418583505533,
    ((2, 1, 2), (0, 1, 4)): 0.36514837167011077,
    ((2, 1, 2), (0, 2, 3)): -0.18257418583505533,
    ((2, 2, 2), (0, 0, 2)): 0.23904572186687872,
    ((2, 2, 2), (0, 1, 3)): -0.20701966780270623,
    ((3, 2, 1), (0, 4, 0)): 0.2672612419124244,
    ((3, 2, 1), (1, 0, 1)): 0.2182178902359924,
    ((4, 4, 4), (0, 2, 6)): 0.13222147133698628,
    ((4, 4, 4), (0, 3, 7)): -0.11660837704690688,
}


def directions(n: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    vectors = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (vectors / vectors.norm(dim=1, keepdim=True)).to(dtype)


@pytest.mark.parametrize("triple", LITERAL)
def test_low_degrees_are_the_closed_forms(triple):
    expected = np.zeros([2 * degree + 1 for degree in triple])
    for index, value in LITERAL[triple].items():
        expected[index] = value
    np.testing.assert_allclose(clebsch_gordan(*triple), expected, atol=TOLERANCE)


@pytest.mark.parametrize(("triple", "index"), SHIPPED)
def test_coefficients_of_shipped_models_do_not_change(triple, index):
    assert clebsch_gordan(*triple)[index] == pytest.approx(SHIPPED[triple, index], abs=TOLERANCE)


@pytest.mark.parametrize("triple", TRIPLES)
def test_stored_coefficients_are_those_of_the_installed_e3nn(triple):
    np.testing.assert_allclose(clebsch_gordan(*triple), from_e3nn(*triple), atol=TOLERANCE)


def test_phases_of_e3nn_do_not_matter(monkeypatch):
    true_wigner_3j = o3.wigner_3j
    expected = {triple: from_e3nn(*triple) for triple in TRIPLES}
    monkeypatch.setattr(o3, "wigner_3j", lambda *args, **kwargs: -true_wigner_3j(*args, **kwargs))
    for triple in TRIPLES:
        np.testing.assert_array_equal(from_e3nn(*triple), expected[triple])


def test_phase_convention_makes_the_first_coefficient_positive_and_drops_rounding_errors():
    coefficients = np.array([[[-1e-17, -0.5], [0.5, 1e-16]]])
    expected = np.array([[[0.0, 0.5], [-0.5, 0.0]]])
    np.testing.assert_array_equal(with_phase_convention(coefficients), expected)
    np.testing.assert_array_equal(with_phase_convention(-coefficients), expected)
    for triple in TRIPLES:
        stored = clebsch_gordan(*triple).ravel()
        assert stored[np.flatnonzero(stored)[0]] > 0


@pytest.mark.parametrize("triple", [(0, 0, 1), (1, 1, 3), (2, 0, 1), (4, 1, 2)])
def test_degrees_that_break_the_triangle_rule_are_refused(triple):
    with pytest.raises(ValueError, match="triangle rule"):
        clebsch_gordan(*triple)


def test_degrees_beyond_the_stored_ones_are_refused():
    with pytest.raises(ValueError, match=f"at most {MAX_DEGREE}"):
        clebsch_gordan(MAX_DEGREE + 1, 1, MAX_DEGREE)


@pytest.mark.parametrize("triple", TRIPLES)
def test_coefficients_are_equivariant(triple):
    matrices = [wigner(f"{degree}e", ROTATION).numpy() for degree in triple]
    coefficients = clebsch_gordan(*triple)
    rotated = np.einsum("ai,bj,ck,ijk->abc", *matrices, coefficients)
    np.testing.assert_allclose(rotated, coefficients, atol=WIGNER_TOLERANCE)


@pytest.mark.parametrize(("first", "second"), [(a, b) for a in DEGREES for b in DEGREES if a + b <= MAX_DEGREE])
def test_all_coefficients_of_a_product_make_an_orthogonal_matrix(first, second):
    blocks = [
        clebsch_gordan(first, second, third) * (2 * third + 1) ** 0.5
        for third in range(abs(first - second), first + second + 1)
    ]
    matrix = np.concatenate(blocks, axis=2).reshape((2 * first + 1) * (2 * second + 1), -1)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=TOLERANCE)


@pytest.mark.parametrize("triple", TRIPLES)
def test_coefficients_have_unit_norm(triple):
    assert np.linalg.norm(clebsch_gordan(*triple)) == pytest.approx(1.0, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, TOLERANCE), (torch.float32, SINGLE_TOLERANCE)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("degree", DEGREES)
def test_harmonics_are_those_of_e3nn_up_to_one_sign_per_degree(degree, dtype, tolerance):
    vectors = directions(20, dtype=dtype)
    ours = spherical_harmonics(vectors, MAX_DEGREE)[:, degree**2 : (degree + 1) ** 2]
    theirs = o3.spherical_harmonics(degree, vectors, normalize=False, normalization="component")
    assert ours.dtype == dtype
    sign = torch.sign((ours * theirs).sum())
    torch.testing.assert_close(ours, sign * theirs, atol=10 * tolerance, rtol=0)


def test_degrees_zero_and_one_are_one_and_the_vector():
    vectors = directions(5)
    expected = torch.cat([torch.ones(5, 1, dtype=torch.float64), 3**0.5 * vectors], dim=1)
    torch.testing.assert_close(spherical_harmonics(vectors, 1), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("degree", DEGREES)
def test_squares_of_harmonics_sum_to_the_dimension(degree):
    harmonics = spherical_harmonics(directions(20), MAX_DEGREE)[:, degree**2 : (degree + 1) ** 2]
    torch.testing.assert_close(
        harmonics.square().sum(dim=1), torch.full((20,), 2.0 * degree + 1, dtype=torch.float64), atol=TOLERANCE, rtol=0
    )


@pytest.mark.parametrize("matrix", [ROTATION, INVERSION, REFLECTION], ids=["rotation", "inversion", "reflection"])
@pytest.mark.parametrize("degree", DEGREES)
def test_harmonics_are_equivariant(degree, matrix):
    vectors = directions(10)
    block = slice(degree**2, (degree + 1) ** 2)
    rotated = spherical_harmonics(vectors @ torch.as_tensor(matrix).T, degree)[:, block]
    representation = wigner(f"{degree}{'eo'[degree % 2]}", matrix)
    expected = spherical_harmonics(vectors, degree)[:, block] @ representation.T
    torch.testing.assert_close(rotated, expected, atol=WIGNER_TOLERANCE, rtol=0)


def test_harmonics_have_smooth_gradients():
    vectors = torch.cat([directions(2), torch.eye(3, dtype=torch.float64)]).requires_grad_()  # poles and axes too
    assert torch.autograd.gradcheck(lambda v: spherical_harmonics(v, 3), vectors)
    assert torch.autograd.gradgradcheck(lambda v: spherical_harmonics(v, 3), vectors[::2].detach().requires_grad_())


def test_no_directions_have_no_harmonics():
    assert spherical_harmonics(torch.zeros(0, 3), 2).shape == (0, 9)


def test_harmonics_first_made_in_inference_mode_can_be_differentiated_later():
    harmonic_steps.cache_clear()
    vectors = directions(3)
    with torch.inference_mode():
        spherical_harmonics(vectors, 2)
    (gradient,) = torch.autograd.grad(spherical_harmonics(vectors.requires_grad_(), 2)[:, 4].sum(), vectors)
    assert bool(gradient.isfinite().all())
