"""LLVM code of covariant polynomials of the state of each node, with coefficients of its type, and of their gradients.

Monomials that begin alike are evaluated together: a0 (c0 + a1 (c01 + a2 c012 + ...) + ...), so that every coefficient
is loaded once and takes one multiplication. Channels are the outer loop: the coefficients of a few of them stay in the
first cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ase_nbody.algebra.irreps import Irreps
from ase_nbody.algebra.polynomials import PolynomialTable, Term, terms
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.signature import ADD, READ, WRITE, Access, Argument, Signature, blocks, indices, numbers
from ase_nbody.compiler.values import Index, ScalarPointer, Vector
from ase_nbody.kernels.cpu_code import Sums, load_components


@dataclass
class _Node:
    """What follows the beginning of some monomials.

    Attributes:
        ends: outputs and numbers of the terms that end here.
        next: by the component that comes next.
    """

    ends: list[tuple[int, int]] = field(default_factory=list)
    next: dict[int, _Node] = field(default_factory=dict)


def polynomials(name: str, table: PolynomialTable, settings: KernelSettings) -> Builder:
    """Store in `out` the polynomials of the rows of nodes begin..end."""
    w = Builder(name, settings, Signature(_given(table, settings), _state("out", table.results, settings, WRITE)))
    numbered = list(enumerate(terms(table)))
    outputs = sorted({term.output for _, term in numbered})
    trees = {output: _tree((n, t) for n, t in numbered if t.output == output) for output in outputs}
    with w.channels() as k, w.loop(w.begin, w.end) as n:
        components, coefficients = load_components(w, w.rows("rows", n), k), _coefficients(w, n, k)
        out = w.rows("out", n)
        for output, tree in trees.items():
            total = _value(w, tree, components, coefficients)
            assert total is not None
            w.store(total, w.at(out, output, k))
    return w


def polynomial_gradients(name: str, table: PolynomialTable, settings: KernelSettings) -> Builder:
    """Add to `d_rows` the gradients of `polynomials` for nodes begin..end."""
    upstream = _state("upstream", table.results, settings)
    results = _state("d_rows", table.irreps, settings, ADD)
    w = Builder(name, settings, Signature(_given(table, settings), upstream, results))
    tree = _tree(enumerate(terms(table)))
    with w.channels() as k, w.loop(w.begin, w.end) as n:
        components, coefficients = load_components(w, w.rows("rows", n), k), _coefficients(w, n, k)
        cotangents = load_components(w, w.rows("upstream", n), k)
        row = w.rows("d_rows", n)
        sums: Sums = dict(enumerate(load_components(w, row, k)))
        _Pulled(w, components, cotangents, coefficients, sums).after(tree, None)
        for component, total in sums.items():
            assert total is not None
            w.store(total, w.at(row, component, k))
    return w


def _given(table: PolynomialTable, settings: KernelSettings) -> list[Argument]:
    vectors = numbers("coefficients", "types", len(terms(table)) * settings.channels)
    return [*indices("types", "nodes"), *vectors, *_state("rows", table.irreps, settings)]


def _state(name: str, irreps: Irreps, settings: KernelSettings, access: Access = READ) -> list[Argument]:
    return blocks(name, "nodes", [irrep.dimension * settings.channels for irrep in irreps], access)


def _coefficients(w: Builder, n: Index, k: Index) -> ScalarPointer:
    """Pointer to the coefficients of a node's type from a channel on."""
    return w.offset(w.row("coefficients", w.integer("types", n)), k)


def _coefficient(w: Builder, coefficients: ScalarPointer, number: int) -> Vector:
    return w.load(w.offset(coefficients, number * w.settings.channels))


def _tree(numbered: Iterable[tuple[int, Term]]) -> _Node:
    """Terms by the components that their monomials begin with."""
    root = _Node()
    for number, term in numbered:
        node = root
        for component in term.monomial:
            node = node.next.setdefault(component, _Node())
        node.ends.append((term.output, number))
    return root


def _value(w: Builder, node: _Node, components: list[Vector], coefficients: ScalarPointer) -> Vector | None:
    """Sum of what follows the beginning of some monomials of one output."""
    total: Vector | None = None
    for _, number in node.ends:
        total = _coefficient(w, coefficients, number)
    for component, after in node.next.items():
        inner = _value(w, after, components, coefficients)
        assert inner is not None
        total = w.fused(components[component], inner, total)
    return total


@dataclass(frozen=True)
class _Pulled:
    """The backward pass of all outputs at once: their cotangents first make one polynomial of them.

    Attributes:
        w: of the function.
        components: of a node.
        cotangents: of the outputs.
        coefficients: pointer to those of the node's type.
        sums: gradients by the components, added to.
    """

    w: Builder
    components: list[Vector]
    cotangents: list[Vector]
    coefficients: ScalarPointer
    sums: Sums

    def after(self, node: _Node, before: Vector | None) -> Vector | None:
        """Sum of what follows the product `before`, whose derivatives by the components that follow are added."""
        w, total = self.w, None
        for output, number in node.ends:
            total = w.fused(_coefficient(w, self.coefficients, number), self.cotangents[output], total)
        for component, follows in node.next.items():
            value = self.components[component]
            longer = None if not follows.next else value if before is None else w.multiply(before, value)
            inner = self.after(follows, longer)
            assert inner is not None
            sums = self.sums[component]
            assert sums is not None
            self.sums[component] = w.add(sums, inner) if before is None else w.fused(before, inner, sums)
            total = w.fused(value, inner, total)
        return total
