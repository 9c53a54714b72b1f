"""The two operations that all models are made of, and their back ends."""

from ase_nbody.kernels.edges import EdgeList, edge_list
from ase_nbody.kernels.operations import contract, node_product

__all__ = ["EdgeList", "contract", "edge_list", "node_product"]
