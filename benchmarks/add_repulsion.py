"""Give model files a nuclear repulsion below the closest distances of their training.

    add_repulsion.py MODEL... | MODEL... --data FILE...

The weights stay as they are, bit by bit. With `--data`, errors on labelled files are printed without and with the
repulsion in place of writing, for all structures and for those where it acts nowhere. Files of models trained since
have it already.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file

from ase_nbody.data import Dataset, evaluate, read_dataset
from ase_nbody.model_file import load_model, save_model
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.onsets import repulsion_onsets
from ase_nbody.potential import Potential
from ase_nbody.repulsion import Repulsion


def main() -> None:
    """Rewrite the files, or compare errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--data", nargs="*", type=Path, default=[])
    arguments = parser.parse_args()
    for path in arguments.models:
        stored = next(iter(load_file(path).values())).dtype
        potential, information = load_model(path, dtype=stored)
        if not arguments.data:
            onsets = repulsion_onsets(load_model(path)[0], information.envelope.closest_distances)
            potential = replace(potential, repulsion=Repulsion(onsets))
            save_model(path, potential, information.model_copy(update={"repulsion": onsets}), force=True)
            potential = load_model(path)[0]
            print(f"{path.stem}: {', '.join(f'{pair} {onset:.3f} Å' for pair, onset in onsets.items())}")
        for file in arguments.data:  # in float64, as `nbody evaluate`
            compare(potential, path.stem, read_dataset(file))


def compare(potential: Potential, name: str, dataset: Dataset) -> None:
    """Print errors without and with the repulsion."""
    inside = dataset.subset(i for i, atoms in enumerate(dataset.structures) if not contacts(potential, atoms))
    for words, part in (("all", dataset), ("where it acts nowhere", inside)):
        for which, one in (("without", replace(potential, repulsion=None)), ("with", potential)):
            errors = evaluate(one, part)[0].to_json_dict()
            print(
                f"{name} on {Path(dataset.source).name}, {words}: {errors['n_structures']} structures, {which} "
                f"repulsion energy RMSE {errors['energy_rmse_mev_per_atom']:.6f} meV/atom, forces MAE "
                f"{errors['forces_mae_mev_per_angstrom']:.6f}, RMSE {errors['forces_rmse_mev_per_angstrom']:.6f} meV/Å"
            )


def contacts(potential: Potential, atoms) -> int:
    """Number of contacts of a structure."""
    graph = neighbour_graph(atoms, potential.cutoff, limits=potential.contact_limits)
    return 0 if graph.contacts is None else len(graph.contacts)


if __name__ == "__main__":
    main()
