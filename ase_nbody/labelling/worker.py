"""A process of the pool: sets up, with one thread, and answers tasks until its pipe or its parent ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Any

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class ProcessFailure:
    """A task without a result.

    Attributes:
        reason: in words: the error that it raised, how its process died, or that it took too long.
    """

    reason: str


def work(connection: Connection) -> None:
    """What a process does: set up, say so, and answer tasks until the pipe ends."""
    with suppress(OSError):
        os.setpgrp()  # Ctrl-C is for the parent; and programs that the task starts can be ended with it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(dict.fromkeys(_THREADS, "1"))  # before numerical libraries are loaded
    with suppress(EOFError, OSError):
        function = _set_up(connection)
        while function is not None:
            _answer(connection, function)


def _set_up(connection: Connection) -> Callable[[Any], Any] | None:
    try:
        function, initializer = connection.recv()
        if initializer is not None:
            initializer()
        _use_one_thread()
    except (Exception, SystemExit) as error:
        connection.send((ProcessFailure(_described(error)),))
        return None
    connection.send((None,))
    return function  # type: ignore[no-any-return]


def _answer(connection: Connection, function: Callable[[Any], Any]) -> None:
    try:
        result = function(connection.recv())
    except (Exception, SystemExit) as error:  # programs of every kind are called; sending fails where the pipe ended
        result = ProcessFailure(_described(error))
    try:
        connection.send((result,))
    except OSError:
        raise
    except Exception as error:  # pickle raises errors of every kind
        connection.send((ProcessFailure(f"the result cannot be sent: {_described(error)}"),))


def _use_one_thread() -> None:
    """Of libraries that were loaded before the environment said so, as by the script that the process begins with."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _described(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
