"""N-body networks (Kondor 2018) as ASE calculators.

Names are imported on first use, so that `import ase_nbody` loads neither torch nor e3nn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase_nbody.calculator import NBodyCalculator
    from ase_nbody.dispersion_calculator import with_dispersion
    from ase_nbody.models_directory import list_models
    from ase_nbody.simulation.watchdog import MDWatchdog

__version__ = "0.1.0"

__all__ = ["MDWatchdog", "NBodyCalculator", "__version__", "list_models", "with_dispersion"]

_MODULES = {
    "MDWatchdog": "ase_nbody.simulation.watchdog",
    "NBodyCalculator": "ase_nbody.calculator",
    "list_models": "ase_nbody.models_directory",
    "with_dispersion": "ase_nbody.dispersion_calculator",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name == "__ase_plugins__":
        return _plugins()
    raise AttributeError(f"module 'ase_nbody' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _plugins() -> set[Any]:
    """What ASE's plugin collection (entry points "ase.plugins", experimental in ASE 3.29) finds here."""
    from ase._4.plugins.plugin import CalculatorPlugin

    source = "Kondor 2018, arXiv:1803.01588"
    return {CalculatorPlugin("nbody", citation=source, implementation="ase_nbody.calculator.NBodyCalculator")}
