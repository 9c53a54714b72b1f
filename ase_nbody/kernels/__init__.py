"""The two operations that all models are made of, and their back ends."""

from ase_nbody.kernels.operations import contract, node_product

__all__ = ["contract", "node_product"]
