"""SchNet and DimeNet++ of torch_geometric with random weights: energies of atoms and their gradients, in float64.

Runs in an environment with torch_geometric and scipy: python with_torch_geometric.py CASE.json STRUCTURES.npz OUT.npz.
Its neighbour lists and triplets come from other packages (torch_cluster, torch_sparse); here brute force finds them.
"""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import torch
from scipy.optimize import brentq
from torch_geometric.nn.models import DimeNetPlusPlus, SchNet, dimenet, dimenet_utils


def pairs(positions: torch.Tensor, cutoff: float) -> torch.Tensor:
    """Neighbour and centre of each edge, (2, E)."""
    distances = torch.cdist(positions.detach(), positions.detach(), compute_mode="donot_use_mm_for_euclid_dist")
    near = (distances < cutoff) & ~torch.eye(len(positions), dtype=torch.bool)
    return near.nonzero().T.flip(0)


def radius_graph(positions: torch.Tensor, r: float, **unused: object) -> torch.Tensor:
    return pairs(positions, r)


def triplets(edge_index: torch.Tensor, num_nodes: int) -> tuple[torch.Tensor, ...]:
    """torch_geometric.nn.models.dimenet.triplets for edges j -> i and k -> j with k != i."""
    j, i = edge_index
    kj, ji = (i.unsqueeze(1) == j.unsqueeze(0)).nonzero().T
    kept = j[kj] != i[ji]
    kj, ji = kj[kept], ji[kept]
    return i, j, i[ji], j[ji], j[kj], kj, ji


def exact_zeros(n_degrees: int, n_zeros: int) -> np.ndarray:
    """The zeros of the spherical Bessel functions, which torch_geometric rounds to single precision."""
    zeros = [np.arange(1, n_zeros + n_degrees) * np.pi]
    for degree in range(1, n_degrees):
        ends = zip(zeros[-1][:-1], zeros[-1][1:], strict=True)
        zeros.append(np.array([brentq(dimenet_utils.Jn, a, b, (degree,), xtol=1e-14, rtol=1e-15) for a, b in ends]))
    return np.stack([row[:n_zeros] for row in zeros])


def use_exact_constants(model: torch.nn.Module, cutoff: float) -> None:
    """Centres and widths of SchNet's Gaussians and ln 2 in its nonlinearity, likewise."""
    gaussians = model.distance_expansion
    number = len(gaussians.offset)
    for module in model.modules():
        if hasattr(module, "shift"):
            module.shift = math.log(2.0)
    gaussians.offset = torch.linspace(0.0, cutoff, number, dtype=torch.float64)
    gaussians.coeff = -0.5 / (cutoff / (number - 1)) ** 2


def schnet(settings: dict[str, float]) -> torch.nn.Module:
    cutoff = settings["cutoff"]

    def graph(positions: torch.Tensor, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        edges = pairs(positions, cutoff)
        return edges, (positions[edges[0]] - positions[edges[1]]).norm(dim=-1)

    return SchNet(
        hidden_channels=settings["features"],
        num_filters=settings["filters"],
        num_interactions=settings["interactions"],
        num_gaussians=settings["gaussians"],
        cutoff=cutoff,
        interaction_graph=graph,
    )


def dimenet_pp(settings: dict[str, float]) -> torch.nn.Module:
    return DimeNetPlusPlus(
        hidden_channels=settings["features"],
        out_channels=1,
        num_blocks=settings["blocks"],
        int_emb_size=settings["triplet_width"],
        basis_emb_size=settings["basis_width"],
        out_emb_channels=settings["output_width"],
        num_spherical=settings["angular_functions"],
        num_radial=settings["radial_functions"],
        cutoff=settings["cutoff"],
        envelope_exponent=settings["envelope_power"] - 1,
        num_before_skip=settings["layers_before"],
        num_after_skip=settings["layers_after"],
        num_output_layers=settings["output_layers"],
        output_initializer="glorot_orthogonal",
    )


def with_biases(model: torch.nn.Module) -> torch.nn.Module:
    """The model in float64, with biases that are not the zeros it begins with."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.2)
    return model.double()


def main(case: str, structures: str, output: str) -> None:
    with open(case) as file:
        settings = json.load(file)
    torch.manual_seed(settings["seed"])
    dimenet.radius_graph, dimenet.triplets = radius_graph, triplets
    if settings["exact"]:
        dimenet_utils.Jn_zeros = exact_zeros
    model = with_biases({"schnet": schnet, "dimenet_pp": dimenet_pp}[settings["architecture"]](settings))
    if settings["exact"] and settings["architecture"] == "schnet":
        use_exact_constants(model, settings["cutoff"])
    found = {f"weights/{name}": value.numpy() for name, value in model.state_dict().items()}
    given = np.load(structures)
    for name in sorted({key.split("/")[0] for key in given}):
        positions = torch.tensor(given[f"{name}/positions"], requires_grad=True)
        numbers, counted = (torch.tensor(given[f"{name}/{key}"]) for key in ("numbers", "counted"))
        energies = model(numbers, positions, torch.arange(len(numbers))).squeeze(1)  # each atom is its own batch
        (gradient,) = torch.autograd.grad(energies[counted].sum(), positions, allow_unused=True)
        found[f"{name}/energies"] = energies.detach().numpy()[counted.numpy()]
        found[f"{name}/gradient"] = torch.zeros_like(positions).numpy() if gradient is None else gradient.numpy()
    np.savez(output, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
