"""A wrong wiring of kernels, phases or arrays is a sentence that says what came and what is wanted, never a crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from nbody_networks import NETWORKS, potential, structures
from torch import Tensor

from ase_nbody.algebra import natural_irreps, product_table
from ase_nbody.algebra.tables import ProductTable
from ase_nbody.compiler import cpu
from ase_nbody.compiler.arrays import index_arrays, number_array, state_arrays
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.phases import Module, PhaseWriter
from ase_nbody.compiler.programs import Program
from ase_nbody.compiler.signature import ADD, WRITE, Array, Signature, blocks, indices, numbers
from ase_nbody.compiler.values import Index, Scalar
from ase_nbody.graph import batch_graphs
from ase_nbody.kernels import cpu_code
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import predict, trainable_prediction
from ase_nbody.timings import Timings

SETTINGS = KernelSettings(64, 4, True)
TABLE = product_table(natural_irreps(1), natural_irreps(1), natural_irreps(1))
GIVEN = [*index_arrays("types", "nodes", "graph"), number_array("rows", "nodes", 4, "graph")]
GIVEN += [number_array("functions", "edges", 6, "graph"), number_array("vectors", "types", 4, "weights")]
MADE = [number_array("middle", "nodes", 4, "workspace"), number_array("out", "nodes", 4, "result")]


def scaled(access: Any = WRITE) -> Callable[[str], Builder]:
    """Rows times the vector of their type, stored in or added to out."""

    def write(name: str) -> Builder:
        given = [*indices("types", "nodes"), *numbers("vectors", "types", 4), *numbers("rows", "nodes", 4)]
        w = Builder(name, SETTINGS, Signature(given, numbers("out", "nodes", 4, access)))
        with w.loop(w.begin, w.end) as n:
            row, out, vector = w.row("rows", n), w.row("out", n), w.row("vectors", w.integer("types", n))
            with w.channels() as k:
                value = w.multiply(w.load(w.offset(row, k)), w.load(w.offset(vector, k)))
                w.store(value if access is WRITE else w.add(w.load(w.offset(out, k)), value), w.offset(out, k))
        return w

    return write


def call(w: PhaseWriter, source: str, target: str, access: Any = WRITE, /, **others: Any) -> None:
    function = w.module.function("scaled", access, scaled(access))
    arguments = {"types": w.block_of("types"), "vectors": w.whole("vectors"), "rows": w.block_of(source)}
    w.call(function, 0, w.count, **{**arguments, "out": w.block_of(target), **others})


def two_phases(arrays: Sequence[Array] = (*GIVEN[:2], GIVEN[3], *MADE), order: tuple[int, int] = (0, 1)) -> Module:
    module = Module(SETTINGS, arrays)
    phases = (("first", "rows", "middle"), ("second", "middle", "out"))
    for name, source, target in (phases[i] for i in order):
        with module.phase(name) as w:
            call(w, source, target)
    return module


# --- kernels ---------------------------------------------------------------------------------------------------------


def test_a_vector_is_not_taken_for_a_pointer_nor_a_number_for_a_vector() -> None:
    w = Builder("kernel", SETTINGS, Signature(numbers("rows", "nodes", 4), indices("types", "nodes")))
    pointer, vector, scalar = w.numbers("rows"), w.vector(1.0), w.scalar(1.0)
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: w.load(vector), "kernel: the vector <.*> came where a pointer to numbers is wanted"),  # type: ignore[arg-type]
        (lambda: w.store(pointer, vector), "the pointer to numbers %rows came where a vector is wanted"),  # type: ignore[arg-type]
        (lambda: w.store_scalar(vector, pointer), "came where a number is wanted"),  # type: ignore[arg-type]
        (lambda: w.broadcast(vector), "came where a number is wanted"),  # type: ignore[arg-type]
        (lambda: w.add(scalar, vector), "number 0x.* came with the vector <.*> where two numbers or two vectors"),
        (lambda: w.multiply(pointer, pointer), "where two numbers or two vectors are wanted"),  # type: ignore[type-var]
        (lambda: w.load("%rows"), "the str '%rows' came where a pointer to numbers is wanted"),  # type: ignore[arg-type]
    ]
    for action, sentence in wrong:
        with pytest.raises(ValueError, match=sentence):
            action()


def test_arguments_are_asked_for_by_the_names_and_types_that_were_declared() -> None:
    w = Builder("kernel", SETTINGS, Signature(numbers("rows", "nodes", 4), indices("types", "nodes")))
    with pytest.raises(ValueError, match="kernel has no argument 'row': declare it, or use one of rows, types"):
        w.row("row", Index("%n"))
    with pytest.raises(
        ValueError, match=r"argument 'types' is the pointer to indices %types, not a pointer to numbers"
    ):
        w.row("types", Index("%n"))
    with pytest.raises(ValueError, match="argument 'rows' is the pointer to numbers %rows, not a pointer to indices"):
        w.integer("rows", Index("%n"))


def test_loops_carry_values_of_one_kind() -> None:
    w = Builder("kernel", SETTINGS, Signature(numbers("rows", "nodes", 4)))
    with pytest.raises(ValueError, match="two numbers or two vectors"), w.carrying(0, 4, [w.scalar(0.0)]) as loop:
        loop.next = [w.vector(0.0)]  # type: ignore[list-item]


def test_signatures_say_which_argument_is_missing_or_too_many() -> None:
    signature = Signature(blocks("states", "nodes", (4, 12)), numbers("out", "nodes", 4, WRITE))
    sentence = r"sums lacks its argument 'out' and has no argument 'outs'; it takes states, out: call it with these"
    with pytest.raises(ValueError, match=sentence):
        signature.bound("sums", {"states": [1, 2], "outs": 3})
    with pytest.raises(ValueError, match="sums: argument 'states' has 3 arrays, but 2 are wanted: give one for each"):
        signature.bound("sums", {"states": [1, 2, 3], "out": 3})
    assert signature.bound("sums", {"out": 3, "states": [1, 2]}) == [1, 2, 3]


# --- calls within phases ---------------------------------------------------------------------------------------------


def test_swapped_dropped_and_wrong_arguments_of_a_call() -> None:
    module = Module(SETTINGS, [*GIVEN, *MADE])
    with module.phase("first") as w:
        with pytest.raises(
            ValueError, match=r"'vectors' is array 'rows' of numbers \(nodes, 4\), but numbers \(types, 4\)"
        ):
            call(w, "rows", "out", rows=w.whole("vectors"), vectors=w.block_of("rows"))
        with pytest.raises(
            ValueError, match=r"'rows' is the pointer to indices %v[0-9]+, but a pointer to numbers is wanted"
        ):
            call(w, "rows", "out", rows=w.block_of("types"))
        with pytest.raises(ValueError, match=r"'types' is the pointer to numbers %v[0-9]+, but a pointer to indices"):
            call(w, "rows", "out", rows=w.block_of("types"), types=w.block_of("rows"))
        with pytest.raises(ValueError, match=r"'vectors' is array 'functions' of numbers \(edges, 6\)"):
            call(w, "rows", "out", vectors=w.whole("functions"))
        with pytest.raises(ValueError, match="scaled_0 has no argument 'weights'; it takes types, vectors, rows, out"):
            call(w, "rows", "out", weights=w.whole("vectors"))
        with pytest.raises(ValueError, match=r"'rows' is the vector .*, but a pointer to numbers is wanted"):
            call(w, "rows", "out", rows=w.vector(0.0))
        with pytest.raises(ValueError, match=r"'rows' is the pointer to numbers %v[0-9]+ of no array"):
            call(w, "rows", "out", rows=w.scratch(4, Scalar))
        function = module.function("scaled", WRITE, scaled())
        with pytest.raises(ValueError, match="scaled_0 lacks its argument 'vectors', 'rows', 'out'"):
            w.call(function, 0, w.count, types=w.block_of("types"))
        with pytest.raises(ValueError, match="argument 'out' has 2 arrays, but 1 are wanted"):
            call(w, "rows", "out", out=[w.block_of("middle"), w.block_of("out")])


def test_matrices_have_one_size_and_states_the_numbers_of_whole_rows() -> None:
    arrays = [number_array("weights", "matrix rows", 1, "weights"), *state_arrays("state", [8]), *MADE]
    module = Module(SETTINGS, arrays)
    with module.phase("mix") as w:
        left, out = w.state("state"), w.temporary("mixed", [2])
        with pytest.raises(ValueError, match=r"matmul_0: argument 'left' is array 'state0' of numbers \(nodes, 8\)"):
            w.multiply_matrix(left.pointers[0], w.weights("a", 3, 4), out.pointers[0], (2, 3, 4), accumulate=False)
        with pytest.raises(ValueError, match="matrix 'a' has 20 numbers here, but 12 before: use another name"):
            w.weights("a", 5, 4)


# --- the table of arrays ---------------------------------------------------------------------------------------------


def test_a_program_of_phases_in_order_has_a_table() -> None:
    program = Program(two_phases())
    lines = str(program.arrays).splitlines()
    assert [line.split()[0] for line in lines] == ["types", "rows", "vectors", "middle", "out"]
    assert lines[3].split(maxsplit=4)[4] == "workspace  writes first; reads second"
    assert "indices (nodes, 1)" in lines[0] and "graph" in lines[0] and lines[0].endswith("reads first, second")
    assert program.arrays.sizes({"nodes": 7}, "workspace") == {"middle": 28}
    assert program.arrays.sizes({"nodes": 7}) == {"types": 7, "rows": 28, "middle": 28, "out": 28}
    rows = torch.arange(28.0, dtype=torch.float64).view(7, 4)
    given = {
        "types": torch.tensor([0, 1] * 3 + [0]),
        "rows": rows,
        "vectors": torch.tensor([[2.0] * 4, [3.0] * 4]).double(),
    }
    made = {"middle": torch.zeros(28, dtype=torch.float64), **program.results({"nodes": 7})}
    addresses = program.addresses(given | made)
    program.run(addresses, {name: np.array([0, 7]) for name in program.phases}, 1, Timings())
    factors = torch.tensor([4.0, 9.0] * 3 + [4.0], dtype=torch.float64)
    assert torch.equal(made["out"].view(7, 4), rows * factors.unsqueeze(1))


def test_the_code_of_a_phase_and_of_what_it_calls_is_shown() -> None:
    program = Program(two_phases())
    text = program.text("first")
    assert "define void @first(" in text and "define internal void @scaled_0(" in text and "@second" not in text
    assert all(part in program.text() for part in text.split("\ndefine"))
    with pytest.raises(ValueError, match="there is no phase 'third': choose one of first, second"):
        program.text("third")


def test_phases_in_a_wrong_order() -> None:
    sentence = "second: kernel scaled_0 reads array 'middle' before any kernel writes it: write it first"
    with pytest.raises(ValueError, match=sentence):
        two_phases(order=(1, 0))


def test_arrays_written_twice_or_added_to_before_they_are_written() -> None:
    with pytest.raises(
        ValueError, match="writes array 'middle', but kernel scaled_0 of first writes it before: add to"
    ):
        two_phases(order=(0, 0))
    module = Module(SETTINGS, [*GIVEN, *MADE, number_array("energies", "nodes", 4, "sum")])
    with module.phase("first") as w:
        with pytest.raises(ValueError, match="first: kernel scaled_0 adds to array 'out' before any kernel writes it"):
            call(w, "rows", "out", ADD)
        call(w, "rows", "energies", ADD)  # begins as zeros
        call(w, "rows", "energies", ADD)
        with pytest.raises(ValueError, match="writes array 'rows', which comes from the graph: only read it"):
            call(w, "rows", "rows")
        with pytest.raises(ValueError, match="reads array 'sum0 of first' before any kernel writes it"):
            call(w, "rows", "out", rows=w.temporary("sum", [4]).pointers[0])


def test_arrays_undeclared_declared_twice_or_never_used() -> None:
    with pytest.raises(
        ValueError, match="first uses array 'middle', which is not declared; there are types, rows, vectors, out"
    ):
        two_phases([*GIVEN[:2], GIVEN[3], MADE[1]])
    with pytest.raises(ValueError, match="array 'rows' is declared twice: give one of them another name"):
        two_phases([*GIVEN[:2], *GIVEN[1:], *MADE])
    with pytest.raises(ValueError, match=r"no phase uses array 'functions' of numbers \(edges, 6\): do not declare it"):
        Program(two_phases([*GIVEN, *MADE]))


def test_tensors_for_the_arrays_of_a_program() -> None:
    program = Program(two_phases())
    zeros = {name: torch.zeros(3, 4, dtype=torch.float64) for name in ("rows", "vectors", "middle", "out")}
    right = {**zeros, "types": torch.zeros(3, dtype=torch.int64)}
    program.check(right, "graph", {"nodes": 3})
    program.check(right, "weights", {"nodes": 3})
    wrong = {
        "is missing: provide it": {"rows": None},
        r"has shape \(3, 4\), strides \(4, 1\) and torch.float32; numbers \(nodes, 4\) in contiguous": {
            "rows": zeros["rows"].float()
        },
        r"strides \(1, 3\)": {"rows": torch.zeros(4, 3, dtype=torch.float64).T},
        "torch.int32": {"types": torch.zeros(3, dtype=torch.int32)},
        "12 at least": {"rows": torch.zeros(2, 4, dtype=torch.float64)},
    }
    for sentence, change in wrong.items():
        tensors = {name: tensor for name, tensor in (right | change).items() if tensor is not None}
        with pytest.raises(ValueError, match=sentence):
            program.check(tensors, "graph", {"nodes": 3})
    with pytest.raises(ValueError, match="arrays out, rows are missing: provide them"):
        program.addresses({name: tensor for name, tensor in right.items() if name not in ("rows", "out")})
    with pytest.raises(ValueError, match=r"array 'vectors' \(weights\) of numbers \(types, 4\) is missing"):
        program.check({}, "weights", {})


# --- tensors for kernels ---------------------------------------------------------------------------------------------


def arguments() -> dict[str, Tensor]:
    """Of `messages`, for three senders, two receivers and four edges."""
    sizes = {
        "states": (3, 4, 4),
        "harmonics": (4, 4),
        "radial": (4, TABLE.n_paths, 4),
        "summed": (2, TABLE.n_output, 4),
    }
    found = {name: torch.zeros(size, dtype=torch.float64) for name, size in sizes.items()}
    return {**found, "offsets": torch.tensor([0, 2, 4]), "senders": torch.tensor([0, 1, 2, 0])}


def run(given: Mapping[str, Tensor]) -> None:
    cpu.run(cpu_code.messages, TABLE, cpu.Nodes(0, 2), 1.0, torch.zeros(0, 0, 4, dtype=torch.float64), given)


def test_tensors_dropped_added_or_of_a_wrong_kind() -> None:
    run(arguments())
    dropped, added = arguments(), arguments()
    del dropped["radial"]
    added["upstream"] = added["summed"]
    with pytest.raises(ValueError, match="messages lacks its argument 'radial'; it takes offsets, senders, states"):
        run(dropped)
    with pytest.raises(ValueError, match="messages has no argument 'upstream'; it takes"):
        run(added)
    swapped = arguments()
    swapped["senders"], swapped["harmonics"] = swapped["harmonics"], swapped["senders"]
    with pytest.raises(
        ValueError, match=r"'senders' is torch.float64 and contiguous, but contiguous torch.int64 is wanted"
    ):
        run(swapped)
    with pytest.raises(ValueError, match=r"'states0' is torch.float32 and contiguous, but contiguous torch.float64"):
        run(arguments() | {"states": torch.zeros(3, 4, 4)})
    with pytest.raises(ValueError, match=r"'harmonics' is torch.float64 and not contiguous"):
        run(arguments() | {"harmonics": torch.zeros(4, 4, dtype=torch.float64).T[:, ::2]})


def test_shapes_of_tensors() -> None:
    signature = cpu_code.messages(TABLE, KernelSettings(64, 4)).signature
    cpu.check_shapes("messages", signature, arguments())
    swapped = arguments()
    swapped["states"], swapped["summed"] = swapped["summed"], swapped["states"]
    short = arguments() | {"radial": torch.zeros(3, TABLE.n_paths, 4, dtype=torch.float64)}
    for wrong, sentence in (
        (swapped, r"'states0' has [0-9]+ numbers, but numbers \(senders, 16\)|'summed0' has"),
        (short, r"'radial0' has 3 rows, but 'senders' is of 4 edges: numbers \(edges, [0-9]+\) are wanted"),
        (arguments() | {"offsets": torch.tensor([0, 4])}, "'summed0' has 2 rows, but 'offsets' is of 1 receivers"),
    ):
        with pytest.raises(ValueError, match=sentence):
            cpu.check_shapes("messages", signature, wrong)


@pytest.mark.parametrize("settings", NETWORKS[:2], ids=str)
def test_shapes_are_right_wherever_kernels_are_run(
    settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, checked = cpu.run, set()

    def checking(
        code: cpu.Code,
        table: ProductTable,
        nodes: cpu.Nodes,
        work: float,
        like: Tensor,
        given: cpu.Arguments,
        *,
        blocked: bool = False,
    ) -> None:
        w = code(table, KernelSettings(64, like.shape[2], blocked))
        cpu.check_shapes(w.name, w.signature, given)
        checked.add(w.name)
        run(code, table, nodes, work, like, given, blocked=blocked)

    monkeypatch.setattr(cpu, "run", checking)
    found = potential(torch.float64, **settings)
    graphs = [neighbour_graph(atoms, found.cutoff, dtype=torch.float64) for atoms in structures()[:2]]
    graph = batch_graphs(graphs)
    trainable_prediction(found, graph).forces.square().sum().backward()
    predict(found, graph, differentiable=True).forces.square().sum().backward()
    radial = {"hidden_layers", "hidden_gradients", "first_layer_gradients"}
    harmonics = {"harmonics", "harmonic_tangents", "harmonic_gradients"}
    contraction = {"messages", "tangent_messages", "gradients", "tangent_gradients", "gradient_tangents"}
    products = {
        "products",
        "product_tangents",
        "product_gradients",
        "added_product_gradients",
        "added_product_gradient_tangents",
    }
    assert checked == radial | harmonics | contraction | products
