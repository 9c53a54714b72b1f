"""Irreps of O(3), their Clebsch-Gordan coefficients, and the tables of their products."""

from ase_nbody.algebra.irreps import Irrep, Irreps, natural_irreps, parse_irreps
from ase_nbody.algebra.tables import ProductTable, product_table

__all__ = ["Irrep", "Irreps", "ProductTable", "natural_irreps", "parse_irreps", "product_table"]
