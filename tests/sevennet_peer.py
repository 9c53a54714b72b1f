"""SevenNet's network made of modules of e3nn, as the package sevenn describes it: another implementation."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from e3nn.nn import FullyConnectedNet, Gate
from e3nn.o3 import Irreps, Linear, TensorProduct, spherical_harmonics
from torch import Tensor
from torch.nn import functional

from ase_nbody.graph import Graph, edge_vectors

STATES = ["6x0e", "5x0e+4x1e+3x2e", "7x0e+2x1e+3x2e", "4x0e"]
CUTOFF = 4.0


class SevenNetPeer:
    """Random weights.

    Args:
        is_sorted: radial weights stand in the order of the results' irreps, as since sevenn 0.11.
        modalities: how many; the last is evaluated.
        unit_vectors: harmonics of unit vectors.
        xplor: the envelope, from 3 angstrom on.
    """

    def __init__(self, *, is_sorted: bool, modalities: int, unit_vectors: bool, xplor: bool) -> None:
        torch.manual_seed(0)
        self.modalities, self.unit_vectors, self.xplor, self.is_sorted = modalities, unit_vectors, xplor, is_sorted
        self.filters, self.types = Irreps("0e+1e+2e"), [8, 1, 14]
        self.modal = Irreps(f"{modalities}x0e") if modalities else Irreps("")
        self.roots = torch.tensor([0.7, 1.7, 2.2])
        self.tensors: dict[str, Tensor] = {"edge_embedding.basis_function.coeffs": self.roots}
        self.embedding = self._kept("onehot_to_feature_x", Linear("3x0e", STATES[0]))
        self.layers = [self._layer(n, Irreps(a), Irreps(b)) for n, (a, b) in enumerate(pairwise(STATES))]
        last = Irreps(STATES[-1])
        self.inner = self._kept("reduce_input_to_hidden", Linear(last + self.modal, "2x0e"))
        self.outer = self._kept("reduce_hidden_to_energy", Linear("2x0e", "0e"))
        shift = torch.randn(max(modalities, 1), 3)
        self.tensors["rescale_atomic_energy.shift"] = shift if modalities else shift[0]
        self.tensors["rescale_atomic_energy.scale"] = torch.tensor([1.5, 1.1, 0.8])

    def _kept(self, name: str, module: Linear) -> Linear:
        self.tensors[f"{name}.linear.weight"] = module.weight.detach().clone()
        return module.double()

    def _layer(self, number: int, before: Irreps, after: Irreps) -> dict[str, Any]:
        paths = [
            (i, j, result)
            for i, one in enumerate(before)
            for j, other in enumerate(self.filters)
            for result in one.ir * other.ir
            if result.l <= after.lmax
        ]
        middle, order, _ = Irreps([(before[i].mul, result) for i, _, result in paths]).sort()
        instructions = [(i, j, order[k], "uvu", True) for k, (i, j, _) in enumerate(paths)]
        if self.is_sorted:
            instructions.sort(key=lambda one: one[2])
        product = TensorProduct(
            before, self.filters, middle, instructions, shared_weights=False, internal_weights=False
        )
        net = FullyConnectedNet([3, 8, 8, product.weight_numel], functional.silu)
        for n in range(3):
            self.tensors[f"{number}_convolution.weight_nn.layer{n}.weight"] = net[n].weight.detach().clone()
        self.tensors[f"{number}_convolution.denominator"] = torch.tensor([3.0 + number])
        gated = Irreps([block for block in after if block.ir.l > 0])
        gates = Irreps([(block.mul, "0e") for block in gated])
        gate = Gate(
            "+".join(str(b) for b in after if b.ir.l == 0),
            [functional.silu],
            gates,
            [functional.silu] * len(gates),
            gated,
        )
        return {
            "own": self._kept(f"{number}_self_connection_intro", Linear(before, gate.irreps_in)),
            "first": self._kept(f"{number}_self_interaction_1", Linear(before + self.modal, before)),
            "second": self._kept(
                f"{number}_self_interaction_2", Linear(middle.simplify() + self.modal, gate.irreps_in)
            ),
            "product": product.double(),
            "net": net.double(),
            "gate": gate.double(),
            "denominator": 3.0 + number,
        }

    @property
    def checkpoint(self) -> dict[str, Any]:
        """What sevenn would have written."""
        config = {
            "version": "0.11.0" if self.is_sorted else "0.9.1",
            "_type_map": {number: place for place, number in enumerate(self.types)},
            "cutoff": CUTOFF,
            "lmax": 2,
            "num_convolution_layer": 3,
            "irreps_manual": STATES,
            "is_parity": False,
            "interaction_type": "nequip",
            "self_connection_type": "linear",
            "act_radial": "silu",
            "radial_basis": {"radial_basis_name": "bessel", "bessel_basis_num": 3},
            "cutoff_function": {"cutoff_function_name": "poly_cut", "poly_cut_p_value": 5},
            "weight_nn_hidden_neurons": [8, 8],
            "_normalize_sph": self.unit_vectors,
        }
        if self.xplor:
            config["cutoff_function"] = {"cutoff_function_name": "XPLOR", "cutoff_on": 3.0}
        if self.modalities:
            config |= {"use_modality": True, "_modal_map": {f"M{n}": n for n in range(self.modalities)}}
            config |= {"_number_of_modalities": self.modalities, "use_modal_output_block": True}
        return {"config": config, "model_state_dict": self.tensors}

    def energy(self, graph: Graph) -> Tensor:
        """Total energy."""
        types = torch.tensor([self.types.index(int(number)) for number in graph.atomic_numbers])
        vectors, pairs = edge_vectors(graph), graph.edges
        r = vectors.norm(dim=1, keepdim=True)
        basis = 2 / CUTOFF * torch.sin(self.roots.double() * r) / r * self._envelope(r)
        harmonics = spherical_harmonics(self.filters, vectors, normalize=self.unit_vectors, normalization="component")
        states = self.embedding(functional.one_hot(types, 3).double())
        for layer in self.layers:
            own, senders = layer["own"](states), layer["first"](self._with_modality(states))
            messages = layer["product"](senders[pairs.senders], harmonics, layer["net"](basis))
            summed = messages.new_zeros(len(states), messages.shape[1]).index_add(0, pairs.receivers, messages)
            summed = summed / layer["denominator"]
            states = layer["gate"](layer["second"](self._with_modality(summed)) + own)
        energies = self.outer(self.inner(self._with_modality(states)))[:, 0]
        shift = self.tensors["rescale_atomic_energy.shift"].double()
        shift = shift[-1] if self.modalities else shift
        scaled: Tensor = energies * self.tensors["rescale_atomic_energy.scale"].double()[types] + shift[types]
        return scaled.sum()

    def _with_modality(self, states: Tensor) -> Tensor:
        if not self.modalities:
            return states
        chosen = states.new_zeros(len(states), self.modalities)
        chosen[:, -1] = 1.0
        return torch.cat([states, chosen], dim=1)

    def _envelope(self, r: Tensor) -> Tensor:
        if self.xplor:
            squared, on, end = r**2, 9.0, CUTOFF**2
            return torch.where(r < 3.0, 1.0, (end - squared) ** 2 * (end + 2 * squared - 3 * on) / (end - on) ** 3)
        x, p = r / CUTOFF, 5
        return 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)
