"""Make the shipped model `universal` from SevenNet-0's checkpoint, with what its card says.

    pip download --no-deps sevenn==0.13.0 && unzip -q sevenn-0.13.0-py3-none-any.whl -d sevenn
    python benchmarks/universal/make.py \
        sevenn/sevenn/pretrained_potentials/SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth models/universal.safetensors
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ase_nbody.importers.sevennet import imported_potential, read_checkpoint
from ase_nbody.model_file import file_hash, model_information, save_model

PURPOSE = (
    "crystals of 89 elements near equilibrium, and a first look at anything else; the weights are those of SevenNet-0 "
    "(11 July 2024, Park, Kim, Hwang and Han)"
)
NOT_FOR = (
    "very short distances (it has no nuclear repulsion), accurate barriers, molecules and strongly strained structures "
    "(models trained on these data are too soft there: Deng et al. 2024, arXiv:2405.07105), dispersion, charges; "
    "it does not warn outside its training, and energies of mirror images differ slightly"
)
CITATION = (
    "Y. Park, J. Kim, S. Hwang, S. Han, J. Chem. Theory Comput. 20, 4857 (2024), doi 10.1021/acs.jctc.4c00190; "
    "training data: MPtrj, B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), CC BY 4.0"
)


def main() -> None:
    """Read the checkpoint, write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--force", action="store_true", help="overwrite")
    arguments = parser.parse_args()
    checkpoint = read_checkpoint(arguments.checkpoint)
    potential = imported_potential(checkpoint)
    training = {
        "imported_from": f"sevenn {checkpoint.config['version']}",
        "file": arguments.checkpoint.name,
        "sha256": file_hash(arguments.checkpoint),
        "citation": CITATION,
        "command": "python benchmarks/universal/make.py checkpoint_sevennet_0.pth models/universal.safetensors",
    }
    information = model_information(
        potential,
        name=arguments.output.stem,
        reference_energies_source="energies of isolated atoms by the checkpoint",
        method="PBE and PBE+U (VASP, Materials Project)",
        licence="MIT (SevenNet, copyright 2024 Yutack Park; data CC BY 4.0)",
        training=training,
    ).model_copy(update={"purpose": PURPOSE, "not_for": NOT_FOR})
    single = replace(potential, network=potential.network.float())
    save_model(arguments.output, single, information, force=arguments.force)


if __name__ == "__main__":
    main()
