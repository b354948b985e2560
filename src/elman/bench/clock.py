# SPDX-License-Identifier: Apache-2.0
"""How a call is timed: how many calls fill one timing, the seconds per call, and quiet before the next.

In: a callable that returns when its work is done. Out: seconds. Beside it, how busy others keep the machine. What is
called, and why, is not known here.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path

Call = Callable[[], object]


def seconds_per_call(call: Call, calls: int) -> float:
    """Mean seconds of `calls` calls in a row, the garbage collector held."""
    steps = range(calls)
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in steps:
            call()
        return (time.perf_counter() - start) / calls
    finally:
        if collecting:
            gc.enable()


def calls_for(call: Call, seconds: float) -> int:
    """How many calls last about `seconds`; the calls it takes to find out are the warm-up."""
    calls = 1
    while True:
        each = seconds_per_call(call, calls)
        if each * calls >= seconds / 4:
            return max(1, round(seconds / each))
        calls *= 2


def settle(seconds: float = 0.25) -> bool:
    """Waits until the threads of this process sleep, at most `seconds`.

    Thread pools (OpenMP's, Eigen's) spin for a while after a call; a neighbour timed meanwhile would lose a core.
    The look is long because a running thread's time may be counted no sooner than the kernel's next tick.

    Returns:
        Whether they do sleep.
    """
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        wall, cpu = time.perf_counter(), time.process_time()
        time.sleep(0.015)
        if time.process_time() - cpu < 0.2 * (time.perf_counter() - wall):
            return True
    return False


def busy_cpus(seconds: float = 0.25) -> float | None:
    """How many CPUs are in use while this process sleeps, or `None` where the system does not tell (no /proc/stat)."""
    ticks = Path("/proc/stat")
    if not ticks.exists():
        return None
    before = ticks.read_text(encoding="utf-8").splitlines()
    time.sleep(seconds)
    after = ticks.read_text(encoding="utf-8").splitlines()
    spent = [int(new) - int(old) for new, old in zip(after[0].split()[1:9], before[0].split()[1:9], strict=True)]
    cpus = sum(line.startswith("cpu") for line in after) - 1
    idle = spent[3] + spent[4]  # of user, nice, system, idle, iowait, irq, softirq, steal
    return cpus * (1 - idle / max(1, sum(spent)))
