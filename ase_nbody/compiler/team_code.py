"""LLVM code by which several threads share the phases of a program, and by which they wait for the next program.

Every thread runs all phases. In a phase each takes the next share of the nodes until none is left, and goes on when all
shares are finished, whoever did them: a thread that comes late, or never, holds up nobody. Between two phases threads
wait for a few microseconds, much less than it takes to wake one.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

WHOLE = "all_phases"
_TURNS = 256  # of waiting before the processor is offered to others
_PATIENCE = 4000  # such offers before a thread goes to sleep, about two milliseconds
_PER_PHASE = 4  # numbers in `control`: shares taken, shares finished, shares, address of their bounds


def team(phases: Sequence[str]) -> str:
    """Functions shared_PHASE for each phase (begin, end, arrays, scratch), and `WHOLE`, which calls them in order.

    They have the arguments begin and end, which are not used, arrays, scratch and what `control` makes.
    """
    names = [f"shared_{phase}" for phase in phases]
    functions = [
        _shared(name, phase, 1 + _PER_PHASE * number)
        for number, (name, phase) in enumerate(zip(names, phases, strict=True))
    ]
    calls = [f"  call void @{name}(i64 0, i64 0, ptr %arrays, ptr %scratch, ptr %control)" for name in names]
    return "\n".join(
        [_WAIT_A_TURN, *functions, f"define void @{WHOLE}({_ARGUMENTS}) {{", *calls, "  ret void", "}", ""]
    )


def control(shares: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """What the threads know of each other in one run; the same for all, it must outlive the last of them.

    Args:
        shares: bounds of the shares of each phase, in the order of the phases.
    """
    numbers = np.concatenate([np.zeros(1 + _PER_PHASE * len(shares), dtype=np.int64), *shares.values()])
    numbers[0] = yield_address()
    begin = numbers.ctypes.data + numbers.itemsize * (1 + _PER_PHASE * len(shares))
    for number, bounds in enumerate(shares.values()):
        numbers[1 + _PER_PHASE * number :][:_PER_PHASE] = 0, 0, len(bounds) - 1, begin
        begin += bounds.nbytes
    return numbers


_WAIT_A_TURN = f"""define internal void @wait_a_turn(i64 %turn, ptr %yield) {{
  %rest_of_turns = urem i64 %turn, {_TURNS}
  %is_last = icmp eq i64 %rest_of_turns, 0
  br i1 %is_last, label %rest, label %out
rest:
  %ignored = call i32 %yield()
  br label %out
out:
  ret void
}}"""
_ARGUMENTS = "i64 %begin, i64 %end, ptr %arrays, ptr %scratch, ptr %control"


def _shared(name: str, phase: str, start: int) -> str:
    return f"""define void @{name}({_ARGUMENTS}) {{
entry:
  %taken = getelementptr i64, ptr %control, i64 {start}
  %finished = getelementptr i64, ptr %control, i64 {start + 1}
  %count_at = getelementptr i64, ptr %control, i64 {start + 2}
  %count = load i64, ptr %count_at
  %bounds_at = getelementptr i64, ptr %control, i64 {start + 3}
  %bounds = load ptr, ptr %bounds_at
  %yield = load ptr, ptr %control
  br label %next
next:
  %share = atomicrmw add ptr %taken, i64 1 seq_cst
  %left = icmp slt i64 %share, %count
  br i1 %left, label %work, label %wait
work:
  %first_at = getelementptr i64, ptr %bounds, i64 %share
  %first = load i64, ptr %first_at
  %last_at = getelementptr i64, ptr %first_at, i64 1
  %last = load i64, ptr %last_at
  call void @{phase}(i64 %first, i64 %last, ptr %arrays, ptr %scratch)
  %before = atomicrmw add ptr %finished, i64 1 seq_cst
  br label %next
wait:
  %turn = phi i64 [ 0, %next ], [ %following, %again ]
  %done = load atomic i64, ptr %finished seq_cst, align 8
  %ended = icmp sge i64 %done, %count
  br i1 %ended, label %out, label %again
again:
  %following = add i64 %turn, 1
  call void @wait_a_turn(i64 %following, ptr %yield)
  br label %wait
out:
  ret void
}}"""


POST, ANSWER, DISMISSED = 8, 6, 7
STANDING_BY = f"""{_WAIT_A_TURN}
define void @stand_by(i64 %a, i64 %b, ptr %post) {{
entry:
  %yield_at = getelementptr i64, ptr %post, i64 1
  %yield = load ptr, ptr %yield_at
  %function_at = getelementptr i64, ptr %post, i64 2
  %arrays_at = getelementptr i64, ptr %post, i64 3
  %scratch_at = getelementptr i64, ptr %post, i64 4
  %control_at = getelementptr i64, ptr %post, i64 5
  %dismissed_at = getelementptr i64, ptr %post, i64 {DISMISSED}
  br label %look
look:
  %turn = phi i64 [ 0, %entry ], [ 0, %called ], [ %following, %again ], [ 0, %sleep ]
  %state = load atomic i64, ptr %post seq_cst, align 8
  %wanted = icmp eq i64 %state, 2
  br i1 %wanted, label %called, label %again
called:
  %function = load ptr, ptr %function_at
  %arrays = load ptr, ptr %arrays_at
  %scratch = load ptr, ptr %scratch_at
  %control = load ptr, ptr %control_at
  call void %function(i64 0, i64 0, ptr %arrays, ptr %scratch, ptr %control)
  store atomic i64 1, ptr %post seq_cst, align 8
  br label %look
again:
  %following = add i64 %turn, 1
  call void @wait_a_turn(i64 %following, ptr %yield)
  %late = icmp sge i64 %following, {_TURNS * _PATIENCE}
  %dismissal = load atomic i64, ptr %dismissed_at seq_cst, align 8
  %dismissed = icmp ne i64 %dismissal, 0
  %leaves = or i1 %late, %dismissed
  br i1 %leaves, label %sleep, label %look
sleep:
  %pair = cmpxchg ptr %post, i64 1, i64 0 seq_cst seq_cst
  %asleep = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %asleep, label %out, label %look
out:
  ret void
}}
define void @offer(i64 %from, i64 %to, ptr %post) {{
  %answer_at = getelementptr i64, ptr %post, i64 {ANSWER}
  %pair = cmpxchg ptr %post, i64 %from, i64 %to seq_cst seq_cst
  %taken = extractvalue {{ i64, i1 }} %pair, 1
  %answer = zext i1 %taken to i64
  store i64 %answer, ptr %answer_at
  ret void
}}
"""
"""Functions stand_by and offer of a thread's post: its state (0 asleep, 1 waiting, 2 called), address of the yielding
function, function to call, arrays, scratch, control, whether the last offer changed the state, and whether the thread
shall wait no longer."""


@cache
def yield_address() -> int:
    """Of the system's function without arguments that lets other threads run."""
    if sys.platform == "win32":
        function = ctypes.windll.kernel32.SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address
