"""Requests to a worker: a line of JSON with the answer for each line on its input. Imports no package that is timed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import distributions
from typing import Any


def reason(error: Exception) -> str:
    """Last line of an error, or that memory was not enough, which every library says in its own way."""
    text = f"{type(error).__name__}: {error}".strip()
    too_large = any(words in text for words in ("MemoryError", "memory", "bad_alloc"))
    return "out of memory" if too_large else text.splitlines()[-1]


def answer(worker: object, request: dict[str, Any]) -> dict[str, Any]:
    """What the method that a request names in "do" returns for the rest of it, or why there is nothing."""
    try:
        return getattr(worker, request.pop("do"))(**request)
    except Exception as error:
        return {"failed": reason(error)}


def serve(start: Callable[[], object], packages: Sequence[str]) -> None:
    """Start a worker, write the versions of its packages, and answer until the input ends.

    Args:
        start: makes the worker; what it and its packages print goes to the error stream.
        packages: names of those whose versions matter.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = start()
    installed = {d.name: d.version for d in distributions()}
    print(json.dumps({name: installed[name] for name in packages if name in installed}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(worker, json.loads(line))), file=answers, flush=True)
