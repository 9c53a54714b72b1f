"""Write models of mace-torch with the settings of the published ones and random weights. Runs where mace-torch is.

    MACE/bin/python benchmarks/mace/make_models.py FOLDER [--models mp-0-medium off23-medium ...] [--dtype float32]

The published weights cannot be fetched everywhere; the code that an import must match is the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from mace import modules
from mace.modules.models import o3  # e3nn can be loaded after mace only

RESIDUAL, PLAIN = "RealAgnosticResidualInteractionBlock", "RealAgnosticInteractionBlock"
DENSITY, DENSITY_RESIDUAL = "RealAgnosticDensityInteractionBlock", "RealAgnosticDensityResidualInteractionBlock"
NONLINEAR = "RealAgnosticResidualNonLinearInteractionBlock"
OFF23 = ("H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I")

# "contraction" multiplies the weights of symmetric contractions, so that forces are of the order of eV/angstrom.
MP: dict[str, Any] = {
    **{"r_max": 6.0, "num_bessel": 10, "kinds": (RESIDUAL, RESIDUAL), "elements": 89, "contraction": 100.0}
}
OFF: dict[str, Any] = {**MP, "r_max": 5.0, "num_bessel": 8, "kinds": (PLAIN, RESIDUAL), "elements": OFF23}
LATER: dict[str, Any] = {
    **MP,
    "contraction": 10.0,
    "kinds": (DENSITY, DENSITY_RESIDUAL),
    "pair_repulsion": True,
    "distance_transform": "Agnesi",
}
MODELS: dict[str, dict[str, Any]] = {
    "mp-0-small": {**MP, "hidden": "128x0e"},
    "mp-0-medium": {**MP, "hidden": "128x0e+128x1o"},
    "mp-0-large": {**MP, "hidden": "128x0e+128x1o+128x2e"},
    "64x0e": {**MP, "hidden": "64x0e"},
    "off23-small": {**OFF, "hidden": "96x0e", "r_max": 4.5},
    "off23-medium": {**OFF, "hidden": "128x0e+128x1o"},
    "off23-large": {**OFF, "hidden": "192x0e+192x1o+192x2e"},
    "plain-mace": {**OFF, "hidden": "128x0e+128x1o", "class": "MACE", "kinds": (RESIDUAL, RESIDUAL)},
    "mpa-0": {**LATER, "hidden": "128x0e+128x1o"},
    "omat-0": {**LATER, "hidden": "128x0e+128x1o", "correlation": 3, "heads": ["Default", "omat"]},
    "mh-1": {
        **MP,
        "hidden": "512x0e+512x1o",
        "edge_irreps": "128x0e+128x1o",
        "kinds": (NONLINEAR, NONLINEAR),
        "contraction": 30.0,
        "use_edge_irreps_first": True,
        "apply_cutoff": False,
        "use_agnostic_product": True,
        "use_last_readout_only": True,
        "pair_repulsion": True,
        "distance_transform": "Agnesi",
        "heads": ["omat_pbe", "omol", "spice_wB97M"],
        "readout_cls": modules.blocks.NonLinearBiasReadoutBlock,
    },
}


def main() -> None:
    """Make and write models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.set_default_dtype(getattr(torch, arguments.dtype))
    for name in arguments.models:
        target = arguments.folder / f"{name}.model"
        torch.save(made(MODELS[name]), target)
        print(target)


def made(settings: dict[str, Any]) -> torch.nn.Module:
    """A model of random weights; constants of readouts are random too."""
    torch.manual_seed(0)
    values = dict(settings)
    elements, (first, other), kind = values.pop("elements"), values.pop("kinds"), values.pop("class", "ScaleShiftMACE")
    numbers = list(range(1, elements + 1)) if isinstance(elements, int) else [atomic_numbers[e] for e in elements]
    heads, factor = len(values.get("heads", ["one"])), values.pop("contraction", 1.0)
    if kind == "ScaleShiftMACE":
        values["atomic_inter_scale"] = np.linspace(0.8, 1.1, heads) if heads > 1 else 0.804
        values["atomic_inter_shift"] = np.linspace(0.1, 0.2, heads) if heads > 1 else 0.164
    if "edge_irreps" in values:
        values["edge_irreps"] = o3.Irreps(values["edge_irreps"])
    model = getattr(modules, kind)(
        num_polynomial_cutoff=5,
        max_ell=values.pop("max_ell", 3),
        interaction_cls=modules.interaction_classes[other],
        interaction_cls_first=modules.interaction_classes[first],
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps(values.pop("hidden")),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.random.default_rng(0).normal(-5.0, 2.0, (heads, len(numbers))),
        avg_num_neighbors=30.0,
        atomic_numbers=numbers,
        correlation=values.pop("correlation", 3),
        gate=torch.nn.functional.silu,
        **values,
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "beta", "embedding.weight")):
                parameter.add_(torch.randn_like(parameter) * 0.3)
            if "symmetric_contractions" in name:
                parameter.mul_(factor)
    return model


if __name__ == "__main__":
    main()
