"""Labelling killed by signal 9 after so many labels: `python killed_labelling.py IN.xyz REFERENCE LAST OPTIONS`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from ase import Atoms
from ase.io import read, write

from ase_nbody.labelling import LabelProgress, LabelSettings, label


def run_and_kill(folder: Path, structures: list[Atoms], reference: str, last: int, **options: str) -> int:
    """Label structures into folder/out.xyz in a process that kills itself after so many labels; its exit status."""
    write(folder / "in.xyz", structures)
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), str(tests.parent)])
    command = [sys.executable, __file__, "in.xyz", reference, str(last), json.dumps(options)]
    return subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}).returncode


def main() -> None:
    """Label in this process and two others."""
    source, reference, last, options = sys.argv[1:]
    begun: list[int] = []

    def kill(progress: LabelProgress) -> None:
        begun.append(progress.done)
        if progress.done - begun[0] >= int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    settings = LabelSettings(processes=2, options=json.loads(options))
    label(read(source, ":"), reference, "out.xyz", settings=settings, observer=kill)


if __name__ == "__main__":  # processes that compute begin with this script too
    main()
