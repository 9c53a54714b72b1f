"""NequIP: its states and gates, and importing weights, against an implementation with e3nn's own modules."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from command_line import run_command
from e3nn import o3
from e3nn.nn import Gate as E3nnGate
from torch import Tensor, nn

from ase_nbody.architectures.nequip import NequipNetwork
from ase_nbody.architectures.nequip_settings import NequipSettings, state_irreps
from ase_nbody.graph import edge_vectors
from ase_nbody.importers import nequip as nequip_import
from ase_nbody.importers import nequip_export
from ase_nbody.importers.exported import Exported, read_exported
from ase_nbody.importers.nequip import exported_model, imported_potential
from ase_nbody.model_file import load_model
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.nn.nequip_layers import GatedNonlinearity
from ase_nbody.potential import Potential, predict

SAME = 1e-12  # eV of 20, and of the largest force; seen 1e-14
CUTOFF = 4.0  # angstrom
TYPES = ["O", "H", "C"]
SHIFTS = [-7.0, -1.5, -3.0]  # eV
SCALES = [1.5, 0.8, 1.1]


# --- a model with e3nn's modules, put together as nequip's are -------------------------------------------------------


class Part(nn.Module):
    """Modules and other attributes under given names."""

    def __init__(self, **attributes: object) -> None:
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)


class Scaled(nn.Module):
    """x W alpha."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, columns))
        self.alpha = torch.tensor(rows**-0.5)
        self.bias = None

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight * self.alpha


def scalar_network(*widths: int) -> Part:
    layers: list[nn.Module] = []
    for rows, columns in pairwise(widths):
        layers += [Scaled(rows, columns), nn.SiLU()]
    return Part(mlp=nn.Sequential(*layers[:-1]))


def makes(states: o3.Irreps, harmonics: o3.Irreps, irrep: o3.Irrep) -> bool:
    return any(irrep in one * other for _, one in states for _, other in harmonics)


def convolution(states: o3.Irreps, harmonics: o3.Irreps, wanted: o3.Irreps, embedding: int, own: bool) -> Part:
    """One layer: its maps and its gate."""
    kept = [(mul, irrep) for mul, irrep in wanted if makes(states, harmonics, irrep)]
    scalars = o3.Irreps([(mul, irrep) for mul, irrep in kept if irrep.l == 0])
    gated = o3.Irreps([(mul, irrep) for mul, irrep in kept if irrep.l > 0])
    gates = o3.Irreps([(mul, "0e") for mul, _ in gated])
    activations = [torch.nn.functional.silu if irrep.p == 1 else torch.tanh for _, irrep in scalars]
    gate = E3nnGate(scalars, activations, gates, [torch.nn.functional.silu] * len(gates), gated)
    found = [
        (i, j, mul, irrep)
        for i, (mul, one) in enumerate(states)
        for j, (_, other) in enumerate(harmonics)
        for irrep in one * other
        if irrep in gate.irreps_in
    ]
    fragments, places, _ = o3.Irreps([(mul, irrep) for _, _, mul, irrep in found]).sort()
    paths = [(i, j, places[n], "uvu", True) for n, (i, j, _, _) in enumerate(found)]
    product = o3.TensorProduct(states, harmonics, fragments, paths, shared_weights=False, internal_weights=False)
    after = o3.Linear(fragments.simplify(), gate.irreps_in)
    after.weight.data *= 5  # so that pseudoscalars, products of many layers, weigh
    conv = Part(
        linear_1=o3.Linear(states, states),
        linear_2=after,
        tp_scatter=Part(tp=product),
        edge_mlp=scalar_network(4, 6, product.weight_numel),
        sc=o3.FullyConnectedTensorProduct(states, f"{embedding}x0e", gate.irreps_in) if own else None,
        avg_num_neighbors_norm=Part(norm_const=torch.tensor([[0.3], [0.4], [0.2]])),
    )
    return Part(conv=conv, equivariant_nonlin=gate, resnet=False)


class Peer(nn.Module):
    """A NequIP model made of e3nn's modules, with random weights."""

    def __init__(self, features: list[int], layers: int, parity: bool, first_own: bool = False) -> None:
        super().__init__()
        self.type_names, self.model_dtype = TYPES, torch.float64
        degrees = range(len(features))
        harmonics = o3.Irreps.spherical_harmonics(len(features) - 1)
        hidden = [(features[n], (n, p)) for n in degrees for p in ((1, -1) if parity else ((-1) ** n,))]
        states, embedding = o3.Irreps("5x0e"), 5
        chain = Part(
            type_embed=Part(embed_module=nn.Embedding(3, embedding), do_categorical_graph_field_embed=False),
            spharm=Part(sh=o3.SphericalHarmonics(harmonics, True, "component")),
            edge_norm=Part(r_max=CUTOFF, _per_edge_type=False),
            bessel_encode=Part(bessel_weights=torch.arange(1.0, 5.0)[None], cutoff=Part(p=5.0)),
            factor=Part(factor=2 * np.pi / CUTOFF**2),
        )
        for number in range(layers):
            wanted = o3.Irreps(hidden if number < layers - 1 else [(features[0], (0, 1))])
            layer = convolution(states, harmonics, wanted, embedding, own=number > 0 or first_own)
            chain.add_module(f"layer{number}_convnet", layer)
            states = layer.equivariant_nonlin.irreps_out
        chain.per_atom_energy_readout = Part(mlp_module=scalar_network(features[0], 3, 1))
        shift = Part(has_scales=True, has_shifts=True, scales=torch.tensor(SCALES), shifts=torch.tensor(SHIFTS))
        chain.per_type_energy_scale_shift = shift
        chain.total_energy_sum = Part()
        self.model = Part(func=chain)

    def energy(self, atoms: Atoms) -> tuple[Tensor, Tensor]:
        """Energy and forces."""
        chain, graph = self.model.func, neighbour_graph(atoms, CUTOFF)
        positions = graph.positions.requires_grad_()
        vectors = edge_vectors(graph)
        x = vectors.norm(dim=1, keepdim=True) / CUTOFF
        bessel = torch.sinc(x * chain.bessel_encode.bessel_weights) * chain.bessel_encode.bessel_weights
        envelope = 1 - 21 * x**5 + 35 * x**6 - 15 * x**7
        basis, harmonics = bessel * envelope * chain.factor.factor, chain.spharm.sh(vectors)
        types = torch.tensor([TYPES.index(symbol) for symbol in atoms.symbols])
        states = embedding = chain.type_embed.embed_module(types)
        for name, layer in chain.named_children():
            if name.endswith("_convnet"):
                states = self.layer(layer, states, embedding, (graph.edges, basis, harmonics, types))
        energies = chain.per_atom_energy_readout.mlp_module.mlp(states)[:, 0]
        energies = energies * torch.tensor(SCALES)[types] + torch.tensor(SHIFTS)[types]
        return energies.sum(), -torch.autograd.grad(energies.sum(), positions)[0]

    def layer(self, layer: Part, states: Tensor, embedding: Tensor, shared: tuple) -> Tensor:
        edges, basis, harmonics, types = shared
        conv = layer.conv
        senders = conv.linear_1(states) * conv.avg_num_neighbors_norm.norm_const[types]
        messages = conv.tp_scatter.tp(senders[edges.senders], harmonics, conv.edge_mlp.mlp(basis))
        summed = messages.new_zeros(len(states), messages.shape[1]).index_add(0, edges.receivers, messages)
        made = conv.linear_2(summed)
        return layer.equivariant_nonlin(made if conv.sc is None else made + conv.sc(states, embedding))


@pytest.fixture(autouse=True)
def _double(monkeypatch):
    """Float64 and a fixed seed inside a test; the peer's environment has them of its own."""
    monkeypatch.setattr(nequip_export, "version", lambda package: "0.19.1")
    dtype, state = torch.get_default_dtype(), torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(dtype)
    torch.set_rng_state(state)


def structures() -> list[Atoms]:
    crystal = bulk("C", "diamond", a=3.6)
    crystal.symbols[1] = "O"
    chiral = molecule("CH3CH2OH")
    for atoms in (crystal, chiral):
        atoms.rattle(0.1, seed=1)
    return [chiral, crystal]


def exported(peer: Peer) -> Exported:
    """What the exporter writes, with predictions of this file's own forward pass."""
    arrays = nequip_export.exported(peer, [])
    description = json.loads(str(arrays.pop("description")))
    for number, atoms in enumerate(structures()):
        energy, forces = (t.detach().numpy() for t in peer.energy(atoms))
        found = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array, "pbc": atoms.pbc}
        found |= {"energy": energy, "forces": forces}
        arrays |= {f"structure{number}.{name}": array for name, array in found.items()}
    return Exported({**description, "n_structures": 2}, arrays)


# --- importing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "layers", "parity"),
    [
        ([4], 2, True),
        ([4, 4], 1, False),
        ([3, 5], 3, True),
        ([6, 4, 3], 2, False),
        ([4, 2, 3], 4, True),
        ([3, 2], 6, True),
    ],
)
def test_an_imported_model_is_the_same(features, layers, parity):
    peer = Peer(features, layers, parity)
    potential = imported_potential(exported(peer))
    for atoms in structures():
        graph = neighbour_graph(atoms, CUTOFF)
        found, compiled = predict(potential, graph, differentiable=True), predict(potential, graph)
        energy, forces = peer.energy(atoms)
        assert abs(found.energy[0] - energy) < SAME
        assert abs(compiled.energy[0] - energy) < 1e-9
        assert (compiled.forces - forces).abs().max() < 1e-8 * forces.abs().max()
        assert (found.forces - forces).abs().max() < SAME * forces.abs().max()
        assert forces.abs().max() > 1e-4


def test_shifts_of_types_become_reference_energies_of_isolated_atoms():
    potential = imported_potential(exported(Peer([4, 4], 2, True)))
    for symbol, shift in zip(TYPES, SHIFTS, strict=True):
        assert float(predict(potential, neighbour_graph(Atoms(symbol), CUTOFF)).energy[0]) == shift


@pytest.mark.parametrize("changed", ["layer1.own", "layer0.radial.1", "layer1.before", "energy_scales", "readout.0"])
def test_a_wrong_weight_is_noticed(changed):
    found = exported(Peer([4, 4], 2, True))
    found.arrays[changed].ravel()[0] += 1e-3
    with pytest.raises(ValueError, match="differs from the original"):
        imported_potential(found)


def test_a_foreign_basis_is_refused():
    found = exported(Peer([4, 4], 2, True))
    found.arrays["layer0.path1"][:] = found.arrays["layer0.path1"][..., [1, 0, 2]]
    with pytest.raises(ValueError, match="Clebsch-Gordan coefficients 0e x 1o -> 1o"):
        imported_potential(found)


def test_an_atom_alone_must_not_interact():
    with pytest.raises(ValueError, match="learnable_shift"):
        imported_potential(exported(Peer([4, 4], 2, True, first_own=True)))


def test_models_with_other_parts_are_refused():
    peer = Peer([4], 1, False)
    peer.model.func.pair_potential = Part()
    with pytest.raises(ValueError, match="pair_potential"):
        nequip_export.exported(peer, [])
    peer = Peer([4], 1, False)
    peer.model.func.edge_norm._per_edge_type = True
    with pytest.raises(ValueError, match="cutoff for each pair"):
        nequip_export.exported(peer, [])
    peer = Peer([4], 1, False)
    peer.type_names = ["O", "H", "carbon"]
    with pytest.raises(ValueError, match="carbon"):
        nequip_export.exported(peer, [])


def test_the_command_writes_a_model_that_loads(monkeypatch, tmp_path, capsys):
    found = exported(Peer([3, 4], 2, True))
    monkeypatch.setattr(nequip_import, "exported_model", lambda path, python: found)
    package, output = tmp_path / "theirs.ckpt", tmp_path / "ours.safetensors"
    package.write_bytes(b"never opened here")
    options = ("--python", sys.executable, "--output", output)
    status, out, err = run_command(monkeypatch, capsys, "import", "nequip", package, *options)
    assert status == 0, err
    assert "nequip 0.19.1" in out
    potential, information = load_model(output)
    assert information.architecture == "nequip" and information.training["file"] == "theirs.ckpt"
    atoms = structures()[0]
    energy = predict(potential, neighbour_graph(atoms, CUTOFF)).energy
    assert float(energy[0]) == pytest.approx(float(found.arrays["structure0.energy"]), abs=1e-9)


def test_files_and_environments_that_are_not_there(tmp_path):
    package = tmp_path / "theirs.ckpt"
    with pytest.raises(FileNotFoundError, match=r"theirs\.ckpt"):
        exported_model(package, Path(sys.executable))
    package.write_bytes(b"no checkpoint")
    with pytest.raises(FileNotFoundError, match=r"interpreter .*nothing"):
        exported_model(package, tmp_path / "nothing")


@pytest.mark.skipif(find_spec("nequip") is not None, reason="here is an environment with nequip")
def test_an_environment_without_nequip(tmp_path):
    package = tmp_path / "theirs.ckpt"
    package.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="has no package nequip"):
        exported_model(package, Path(sys.executable))


def test_arrays_are_read_without_pickle(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, description=np.array([{"code": "here"}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_exported(path)


# --- the network -----------------------------------------------------------------------------------------------------


def network_energy(atoms: Atoms, **settings: object) -> float:
    chosen = NequipSettings(elements=("H", "O"), cutoff=1.4, channels=4, **settings)
    network = NequipNetwork(chosen, torch.Generator().manual_seed(0)).double()
    return float(predict(Potential(network, {"H": 0.0, "O": 0.0}), neighbour_graph(atoms, 1.4)).energy[0])


def test_only_an_equivariant_network_sees_angles_between_neighbours():
    """Two molecules of water whose hydrogens are not each other's neighbours, with equal bonds."""
    narrow, wide = (
        Atoms("OHH", positions=[(0, 0, 0), (1, 0, 0), (np.cos(angle), np.sin(angle), 0)]) for angle in (1.8, 2.4)
    )
    invariant = [network_energy(atoms, max_degree=0, layers=3) for atoms in (narrow, wide)]
    equivariant = [network_energy(atoms, max_degree=1, layers=3) for atoms in (narrow, wide)]
    assert invariant[0] == pytest.approx(invariant[1], abs=1e-13)
    assert abs(equivariant[0] - equivariant[1]) > 1e-4


def test_irreps_appear_when_products_make_them():
    settings = NequipSettings(elements=("H",), max_degree=1, layers=4)
    shown = ["+".join(str(i) for i in irreps) for irreps in state_irreps(settings)]
    assert shown == ["0e", "0e+1o", "0e+1e+1o", "0e+0o+1e+1o", "0e"]
    settings = NequipSettings(elements=("H",), max_degree=2, layers=3, parity=False)
    assert ["+".join(str(i) for i in irreps) for irreps in state_irreps(settings)][1:3] == ["0e+1o+2e"] * 2


def test_gates_keep_parity():
    irreps = state_irreps(NequipSettings(elements=("H",), max_degree=1, layers=4))[3]  # 0e+0o+1e+1o
    states, gates = torch.randn(5, 8, 3), torch.randn(5, 2, 3)
    inverted = torch.tensor([1, -1, 1, 1, 1, -1, -1, -1])[:, None]
    gate = GatedNonlinearity(irreps)
    assert torch.allclose(gate(states * inverted, gates), gate(states, gates) * inverted, rtol=0, atol=1e-15)


def test_gates_keep_the_variance_of_scalars():
    irreps = state_irreps(NequipSettings(elements=("H",), max_degree=1, layers=4))[3]
    opened = GatedNonlinearity(irreps)(torch.randn(100_000, 8, 1), torch.randn(100_000, 2, 1))
    assert torch.allclose(opened.square().mean(dim=(0, 2)), torch.ones(8), rtol=0, atol=0.05)
