"""The two operations that all models are made of, their tables and their back ends."""

from ase_nbody.kernels.edges import EdgeList, edge_list
from ase_nbody.kernels.irreps import Irrep, Irreps, natural_irreps, parse_irreps
from ase_nbody.kernels.operations import contract, node_product
from ase_nbody.kernels.tables import ProductTable, product_table

__all__ = [
    "EdgeList",
    "Irrep",
    "Irreps",
    "ProductTable",
    "contract",
    "edge_list",
    "natural_irreps",
    "node_product",
    "parse_irreps",
    "product_table",
]
