"""References by name: programs, models, calculators of ASE, functions of the user's."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import ase
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculatorSetupError

import ase_nbody
from ase_nbody.labelling.electrons import ElectronicState
from ase_nbody.labelling.references import CalculatorReference, LevelOfTheory, Reference, ase_reference

_XTB_METHODS = ("GFN2-xTB", "GFN1-xTB", "IPEA1-xTB")
# Parameters of tblite's calculator that are no options: what labels set themselves, and one that fails in tblite 0.8.
_XTB_OTHERS = {"method", "charge", "multiplicity", "electric_field"}
# Those that change no converged number.
_XTB_TECHNICAL = {
    "accuracy", "annealing", "cache_api", "guess", "max_iterations", "mixer", "mixer_damping", "mixer_memory",
    "verbosity",
}  # fmt: skip
_MODEL_PHYSICAL = {"level", "average_over_inversion"}


def reference(spec: str, options: Mapping[str, str] | None = None) -> Reference:
    """The reference of a name.

    Args:
        spec: "tblite:GFN2-xTB" (or another of its methods), "pyscf:PBE/def2-svp" (functional and basis),
            "ani:ANI-1x" or "ani:ANI-1ccx", "model:NAME" or "model:PATH" (a model of ase_nbody), "ase:NAME" (a
            calculator of ASE, such as ase:EMT), or "MODULE:FACTORY": a module on sys.path or in the working folder, and
            the name of a function in it that gives an ASE calculator.
        options: keyword arguments of the calculator or the function, as text; numbers, True and False are converted.
            They are part of the level of theory's name where they make another level of it.

    Raises:
        ValueError: there is no such reference, it does not take these options, or its package is not installed.
    """
    return _named_reference(spec, {key: _value(text) for key, text in (options or {}).items()})


def _value(text: str) -> Any:
    """A number, True, False or None where the text is one."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _method(name: str, options: Mapping[str, Any]) -> str:
    """A method with options that make it another level of theory, such as "GFN2-xTB, solvation=alpb,water".

    Folders of this machine are left out.
    """
    several = {key: value if isinstance(value, tuple) else (value,) for key, value in options.items()}
    words = [
        f"{key}={','.join(map(str, values))}"
        for key, values in several.items()
        if not any(isinstance(value, str) and Path(value).is_absolute() for value in values)
    ]
    return ", ".join([name, *words])


def _named_reference(spec: str, options: Mapping[str, Any]) -> Reference:
    kind, colon, name = spec.partition(":")
    if not colon or not kind or not name:
        raise ValueError(f"'{spec}' is no reference; {_KNOWN}")
    builder = _BUILDERS.get(kind)
    return _from_module(kind, name, options) if builder is None else builder(name, options)


def _from_tblite(name: str, options: Mapping[str, Any]) -> Reference:
    try:
        from tblite.ase import TBLite
    except ImportError:
        raise ValueError("tblite is not installed; pip install tblite") from None
    if name not in _XTB_METHODS:
        raise ValueError(f"tblite has no method '{name}'; there are {', '.join(_XTB_METHODS)}")
    if unknown := options.keys() - (allowed := TBLite.default_parameters.keys() - _XTB_OTHERS):
        raise ValueError(f"{name} has no {', '.join(sorted(unknown))}; its options are {', '.join(sorted(allowed))}")
    if isinstance(solvation := options.get("solvation"), str):
        options = {**options, "solvation": tuple(_value(text) for text in solvation.split(","))}
    complete = {"method": name, "verbosity": 0, **options}

    def calculator(state: ElectronicState) -> BaseCalculator:
        if state.multiplicity != state.lowest_multiplicity and not options.get("spin_polarization"):
            raise ValueError(
                f"{name} puts a wrong state lowest where multiplicity {state.multiplicity} is not the smallest "
                "possible; give the option spin_polarization=1.0, or drop the structure"
            )
        return TBLite(None, **complete, charge=state.charge, multiplicity=state.multiplicity)

    _check_factory(name, lambda: calculator(ElectronicState(0, 1, 1)), options)
    if options:
        _check_options(name, calculator(ElectronicState(0, 1, 1)), options)
    method = _method(name, {key: value for key, value in options.items() if key not in _XTB_TECHNICAL})
    return CalculatorReference(calculator, LevelOfTheory(method, "tblite", metadata.version("tblite"), options))


def _check_options(name: str, calculator: BaseCalculator, options: Mapping[str, Any]) -> None:
    """Options that tblite reads first where it calculates: those with which it fails for H2 are refused at once.

    Raises:
        ValueError: with what it says.
    """
    try:
        calculator.get_potential_energy(Atoms("H2", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.75]]))
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise ValueError(f"{name} does not calculate H2 with {given}: {error}") from error


def _from_pyscf(name: str, options: Mapping[str, Any]) -> Reference:
    from ase_nbody.labelling.pyscf_calculator import PySCFCalculator

    xc, slash, basis = name.partition("/")
    if not slash or not xc or not basis:
        raise ValueError(f"'pyscf:{name}' names no functional and basis; such as pyscf:PBE/def2-svp")
    calculator = _check_factory(name, lambda: PySCFCalculator(xc, basis, **options), options)
    settings = {**calculator.parameters, "forces": "with grid response"}
    level = LevelOfTheory(name, "pyscf", metadata.version("pyscf"), settings)
    return CalculatorReference(lambda state: PySCFCalculator(xc, basis, **options), level)


def _from_ani(name: str, options: Mapping[str, Any]) -> Reference:
    from ase_nbody.labelling.ani import ANIReference

    if options:
        raise ValueError(f"ani:{name} takes no options, and got {', '.join(options)}")
    return ANIReference(name)


def _from_model(name: str, options: Mapping[str, Any]) -> Reference:
    from ase_nbody.calculator import NBodyCalculator
    from ase_nbody.model_information import file_hash, read_information
    from ase_nbody.models_directory import find_model

    path = find_model(name)
    settings = {"trained_on": read_information(path).method, "sha256": file_hash(path), **options}
    method = _method(path.stem, {key: value for key, value in options.items() if key in _MODEL_PHYSICAL})
    level = LevelOfTheory(method, "ase_nbody", ase_nbody.__version__, settings)
    complete = {"device": "cpu", "outside": "ignore", **options}
    _check_factory(path.stem, lambda: NBodyCalculator(path, **complete), options)
    return ase_reference(lambda: NBodyCalculator(path, **complete), level)


def _from_ase(name: str, options: Mapping[str, Any]) -> Reference:
    from ase.calculators.calculator import get_calculator_class

    try:
        kind = get_calculator_class(name.lower())
    except (ImportError, AttributeError, ValueError):
        raise ValueError(f"ASE has no calculator '{name}' that can be used; such as ase:EMT, ase:LJ") from None
    _check_factory(name, lambda: kind(**options), options)
    level = LevelOfTheory(_method(name, options), "ase", ase.__version__, options)
    return ase_reference(lambda: kind(**options), level)


def _from_module(module: str, name: str, options: Mapping[str, Any]) -> Reference:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise ValueError(f"'{module}:{name}' is no reference: there is no module '{module}' here; {_KNOWN}") from None
    factory = getattr(loaded, name, None)
    if not callable(factory):
        raise ValueError(f"the module '{module}' has no function '{name}' that could give a calculator")
    _check_factory(name, lambda: factory(**options), options)
    source = inspect.getsourcefile(loaded)
    code = "" if source is None else sha256(Path(source).read_bytes()).hexdigest()
    version = str(getattr(loaded, "__version__", "unknown"))
    method = _method(f"{module}:{name}", options)
    level = LevelOfTheory(method, module, version, {"sha256_of_module": code, **options})
    return ase_reference(lambda: factory(**options), level)


def _check_factory(name: str, factory: Callable[[], Any], options: Mapping[str, Any]) -> Any:
    """The calculator of a factory; wrong options are refused before structures fail one by one.

    Raises:
        ValueError: the factory does not take the options, or does not give a calculator.
    """
    try:
        calculator = factory()
    except TypeError as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "no options"
        raise ValueError(f"{name} cannot be made with {given}: {error}") from error
    except CalculatorSetupError as error:
        raise ValueError(str(error)) from error
    except SystemExit as error:  # it would end the command without a word
        raise ValueError(f"{name} cannot be made: it ends the program with status {error.code}") from error
    if not hasattr(calculator, "get_property"):
        raise ValueError(f"{name} gives {type(calculator).__name__} and no calculator of ASE")
    return calculator


_BUILDERS: Mapping[str, Callable[[str, Mapping[str, Any]], Reference]] = {
    "tblite": _from_tblite,
    "pyscf": _from_pyscf,
    "ani": _from_ani,
    "model": _from_model,
    "ase": _from_ase,
}
_KNOWN = (
    "there are tblite:METHOD (such as tblite:GFN2-xTB), pyscf:FUNCTIONAL/BASIS (such as pyscf:PBE/def2-svp), "
    "ani:ANI-1x, ani:ANI-1ccx, model:NAME (nbody models), ase:NAME (a calculator of ASE, such as ase:EMT) and "
    "MODULE:FACTORY (a function in a module of yours that gives an ASE calculator)"
)
