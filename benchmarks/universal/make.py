"""Make the shipped models `universal` and `universal-l3i5` from sevenn's checkpoints, with what their cards say.

    pip download --no-deps sevenn==0.13.0 && unzip -q sevenn-0.13.0-py3-none-any.whl -d sevenn
    python benchmarks/universal/make.py \
        sevenn/sevenn/pretrained_potentials/SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth models/universal.safetensors
    python benchmarks/universal/make.py \
        sevenn/sevenn/pretrained_potentials/SevenNet_l3i5/checkpoint_l3i5.pth models/universal-l3i5.safetensors
    python benchmarks/universal/solids.py universal universal-l3i5 --write
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from ase_nbody.importers.sevennet import imported_potential, read_checkpoint
from ase_nbody.model_file import file_hash, model_information, save_model

NOT_FOR = (
    "very short distances (it has no nuclear repulsion), accurate barriers, molecules and strongly strained structures "
    "(models trained on these data are too soft there: Deng et al. 2024, arXiv:2405.07105), dispersion, charges; "
    "it does not warn outside its training, and energies of mirror images differ slightly"
)
CITATION = (
    "Y. Park, J. Kim, S. Hwang, S. Han, J. Chem. Theory Comput. 20, 4857 (2024), doi 10.1021/acs.jctc.4c00190; "
    "training data: MPtrj, B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), CC BY 4.0"
)
PUBLISHED = (
    "on Matbench Discovery, as sevenn's README before version 0.12 has them: F1 {}, kappa_SRME (conductivities) {}"
)


@dataclass(frozen=True)
class Words:
    """What a model's card says, beside what is the same for all.

    Attributes:
        purpose: what the model is for.
        published: errors that its authors published.
    """

    purpose: str
    published: str


WORDS = {
    "universal": Words(
        "crystals of 89 elements near equilibrium, and a first look at anything else; the weights are those of "
        "SevenNet-0 (11 July 2024, Park, Kim, Hwang and Han)",
        PUBLISHED.format("0.67", "0.767"),
    ),
    "universal-l3i5": Words(
        "what `universal` is for, more accurate and two to three times slower; the weights are those of SevenNet-l3i5 "
        "(12 December 2024, Park, Kim, Hwang and Han)",
        PUBLISHED.format("0.760", "0.550"),
    ),
}


def main() -> None:
    """Read the checkpoint, write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path, help=f"NAME.safetensors; NAME is one of {', '.join(WORDS)}")
    parser.add_argument("--force", action="store_true", help="overwrite")
    arguments = parser.parse_args()
    words = WORDS.get(arguments.output.stem)
    if words is None:
        parser.error(f"there are no words for the card of {arguments.output.stem}, only of {', '.join(WORDS)}")
    checkpoint = read_checkpoint(arguments.checkpoint)
    potential = imported_potential(checkpoint)
    training = {
        "imported_from": f"sevenn {checkpoint.config['version']}",
        "file": arguments.checkpoint.name,
        "sha256": file_hash(arguments.checkpoint),
        "citation": CITATION,
        "published": words.published,
        "command": f"python benchmarks/universal/make.py {arguments.checkpoint.name} models/{arguments.output.name}",
    }
    information = model_information(
        potential,
        name=arguments.output.stem,
        reference_energies_source="energies of isolated atoms by the checkpoint",
        method="PBE and PBE+U (VASP, Materials Project)",
        licence="MIT (SevenNet, copyright 2024 Yutack Park; data CC BY 4.0)",
        training=training,
    ).model_copy(update={"purpose": words.purpose, "not_for": NOT_FOR})
    single = replace(potential, network=potential.network.float())
    save_model(arguments.output, single, information, force=arguments.force)


if __name__ == "__main__":
    main()
