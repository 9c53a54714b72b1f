"""Second derivatives of the energy by positions, exact."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ase_nbody.graph import Graph
from ase_nbody.potential import Potential, atomic_energies


def hessian(potential: Potential, graph: Graph) -> Tensor:
    """d2E / dx dx, row by row: each row is the derivative of one component of the gradient.

    Args:
        potential: all its terms but the constant ones, such as reference energies, have second derivatives.
        graph: one structure, or several, whose mixed derivatives are zero; on the potential's device, in its dtype.

    Returns:
        (3N, 3N), eV/angstrom^2, over atoms, then x, y, z.
    """
    positions = graph.positions.detach().requires_grad_()
    with torch.enable_grad():
        energy = atomic_energies(potential, replace(graph, positions=positions)).sum()
        (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
        components = gradient.reshape(-1)  # (3N,)
        second = torch.zeros(components.numel(), components.numel(), dtype=components.dtype, device=components.device)
        if components.requires_grad:  # an atom alone has a constant energy
            for row, component in zip(second, components, strict=True):
                (derivative,) = torch.autograd.grad(component, positions, retain_graph=True, materialize_grads=True)
                row.copy_(derivative.reshape(-1))
    return second.detach()
