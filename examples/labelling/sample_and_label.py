"""Sample methanol, up to broken bonds, and label it with GFN2-xTB: the labels are checked.

Needs tblite: pip install "ase_nbody[reference]".
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from ase.io import read

from ase_nbody.labelling import LabelSettings, SampleSettings, label, reference, sample

LEVEL = "tblite:GFN2-xTB"


def main(number: int) -> None:
    """Sample, label, and compare what came out with what must come out."""
    with tempfile.TemporaryDirectory() as folder:
        structures, labels = Path(folder, "methanol.xyz"), Path(folder, "methanol-gfn2.xyz")
        sampled = sample(["CH3OH"], structures, LEVEL, settings=SampleSettings(number=number), seed=0)
        for kind, counts in sampled.counts.items():
            print(f"{kind:12} {counts.kept} kept of {counts.made}")
        report = label(read(structures, ":"), LEVEL, labels, settings=LabelSettings(processes=2))
        frames = read(labels, ":")
    print(f"{report.n_labels} labels by {report.level}")

    longest = max(frame.get_distance(0, 1) for frame in frames)  # C-O
    sums = [np.linalg.norm(frame.get_forces().sum(axis=0)) for frame in frames]
    print(f"C-O up to {longest:.2f} Å; the forces of a structure add up to at most {max(sums):.1e} eV/Å")
    if report.n_labels != len(frames) or longest < 2.0 or max(sums) > 1e-6:
        raise SystemExit("a label is missing, no bond broke, or forces do not add up to zero")

    frame, step = max(frames, key=lambda frame: np.abs(frame.get_forces()).max()), 1e-3  # angstrom
    expected = np.linalg.norm(frame.get_forces())
    again = frame.copy()
    again.calc = reference(LEVEL).calculator()
    energies = []
    for sign in (1, -1):
        again.positions = frame.positions + sign * step * frame.get_forces() / expected
        energies.append(again.get_potential_energy())
    slope = (energies[1] - energies[0]) / (2 * step)
    print(f"along the forces the energy falls by {slope:.4f} eV/Å; the labels say {expected:.4f}")
    if abs(slope - expected) > 1e-3 * expected:
        raise SystemExit("energies and forces of the labels do not belong together")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=60, help="structures to keep at most")
    main(parser.parse_args().number)
