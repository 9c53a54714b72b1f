"""Radial weights of one edge within a kernel: B-splines of its distance, from a table of its pair of elements."""

from __future__ import annotations

from ase_nbody.algebra.tables import ProductTable
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.signature import Argument, numbers
from ase_nbody.compiler.values import Index, Vector
from ase_nbody.kernels.cpu_code import EdgeTable
from ase_nbody.kernels.geometry_code import EdgeRow


def radial_arguments(table: ProductTable, settings: KernelSettings, degree: int) -> list[Argument]:
    """What the radial weights of edges are made of: functions of their distances and tables of coefficients."""
    functions = numbers("functions", "edges", EdgeRow(table.n_second, degree).length)
    return [*functions, *numbers("weights", "table rows", table.n_paths * settings.channels)]


class Edge:
    """One edge within a kernel.

    Args:
        w: of the kernel.
        edges: its table.
        degree: of the splines.
        e: number of the edge.
    """

    def __init__(self, w: Builder, edges: EdgeTable, degree: int, e: Index) -> None:
        self.w = w
        self.row = EdgeRow(edges.table.n_second, degree)
        self.width = edges.table.n_paths * w.settings.channels
        self.functions = w.row("functions", e)
        self.table = w.row("weights", w.integer("rows", e))

    def weight(self, path: int, k: Index) -> Vector:
        """Radial weights of a path for the channels from k on."""
        return self._spline(self.row.basis, path, k)

    def slope(self, path: int, k: Index) -> Vector:
        """Their slopes by the distance."""
        return self._spline(self.row.slopes, path, k)

    def _spline(self, first: int, path: int, k: Index) -> Vector:
        w = self.w
        total: Vector | None = None
        start = w.offset(self.table, k)
        for j in range(self.row.degree + 1):
            weights = w.load(w.offset(start, j * self.width + path * w.settings.channels))
            total = w.fused(w.broadcast(w.load_scalar(w.offset(self.functions, first + j))), weights, total)
        assert total is not None
        return total
