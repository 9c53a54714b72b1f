"""A stand-in for the package dftd3, with what ase_nbody calls of it: one r^-6 term, damped at short distances."""

from __future__ import annotations

import itertools
import sys
from types import ModuleType

import numpy as np

C6, RADIUS, CUTOFF = 40.0, 5.0, 25.0  # atomic units


class RationalDampingParam:
    def __init__(self, *, method, atm):
        if method not in ("pbe", "b3lyp"):
            raise RuntimeError(f"No entry for '{method}' present")
        assert atm is False
        self.strength = 1.0 if method == "pbe" else 1.5


class DispersionModel:
    """Atomic units; folds atoms into the cell, along directions without periodicity too, as dftd3 1.7 does."""

    def __init__(self, numbers, positions, lattice=None, periodic=None):
        self.lattice = np.zeros((3, 3)) if lattice is None else lattice
        self.periodic = np.zeros(3, dtype=bool) if periodic is None else periodic
        fractions = None if lattice is None else np.linalg.solve(lattice.T, positions.T).T
        self.positions = positions if lattice is None else (fractions % 1) @ lattice
        self.strengths = np.sqrt(C6 * np.asarray(numbers))
        self.numbers = numbers

    def get_dispersion(self, param, grad):
        vectors, first, second = self._pairs()
        energies, slopes, _ = self._terms(vectors, first, second, param)
        if not vectors.any(axis=1).all():
            raise RuntimeError("Too close interatomic distances found")
        result = {"energy": np.array(energies.sum() / 2)}
        if grad:
            pulls = slopes[:, None] * vectors  # of the second atom
            result["gradient"] = np.zeros_like(self.positions)
            np.add.at(result["gradient"], second, pulls)
            result["virial"] = vectors.T @ pulls / 2
        return result

    def get_hessian(self, param):
        vectors, first, second = self._pairs()
        _, slopes, curvatures = self._terms(vectors, first, second, param)
        blocks = slopes[:, None, None] * np.eye(3) + curvatures[:, None, None] * np.einsum("pi,pj->pij", *[vectors] * 2)
        n = len(self.positions)
        hessian = np.zeros((n, n, 3, 3))
        np.add.at(hessian, (second, second), blocks)
        np.add.at(hessian, (first, second), -blocks)
        return {"hessian": hessian.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)}

    def _pairs(self):
        """Vectors from first to second atoms, each pair in both orders."""
        heights = 1 / np.linalg.norm(np.linalg.pinv(self.lattice), axis=0).clip(1e-9)
        repeats = np.where(self.periodic, np.ceil(CUTOFF / heights) + 1, 0).astype(int)
        shifts = np.array(list(itertools.product(*(range(-n, n + 1) for n in repeats)))) @ self.lattice
        vectors = self.positions[None, :, None] + shifts - self.positions[:, None, None]  # (N, N, S, 3)
        first, second, shift = np.indices(vectors.shape[:3]).reshape(3, -1)
        kept = (np.linalg.norm(vectors.reshape(-1, 3), axis=1) < CUTOFF) & (
            (first != second) | shifts[shift].any(axis=1)
        )
        return vectors.reshape(-1, 3)[kept], first[kept], second[kept]

    def _terms(self, vectors, first, second, param):
        """Energies of pairs, first derivatives over distance, and what goes with the products of vectors."""
        squares = (vectors**2).sum(axis=1)
        coefficients = param.strength * self.strengths[first] * self.strengths[second]
        smooth = (1 - squares / CUTOFF**2).clip(0) ** 3
        d_smooth = -3 / CUTOFF**2 * (1 - squares / CUTOFF**2).clip(0) ** 2
        dd_smooth = 6 / CUTOFF**4 * (1 - squares / CUTOFF**2).clip(0)
        base = squares**3 + RADIUS**6
        term, d_term = -1 / base, 3 * squares**2 / base**2
        dd_term = 6 * squares / base**2 - 18 * squares**4 / base**3
        slope = d_term * smooth + term * d_smooth
        curvature = dd_term * smooth + 2 * d_term * d_smooth + term * dd_smooth
        return coefficients * term * smooth, 2 * coefficients * slope, 4 * coefficients * curvature


def install(monkeypatch):
    """Let `dftd3.interface` be this module's classes until the end of a test."""
    package, interface = ModuleType("dftd3"), ModuleType("dftd3.interface")
    interface.DispersionModel, interface.RationalDampingParam = DispersionModel, RationalDampingParam
    monkeypatch.setitem(sys.modules, "dftd3", package)
    monkeypatch.setitem(sys.modules, "dftd3.interface", interface)


def remove(monkeypatch):
    """Let dftd3 not be installed until the end of a test."""
    for name in ("dftd3", "dftd3.interface"):
        monkeypatch.setitem(sys.modules, name, None)
