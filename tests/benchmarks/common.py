"""What every benchmark shares: CPU time (never wall time), interleaved runs, one JSON row per answer with machine and versions.

A benchmark is a script `bench_<question>.py` that calls `emit(...)`; `make bench` runs them all and keeps the rows.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PACKAGES = ("numpy", "scipy", "numba", "torch", "onnx", "certify-reach")


@functools.cache
def machine() -> dict[str, Any]:
    """Where and with what the numbers were made."""
    model = ""
    try:
        with open("/proc/cpuinfo") as info:
            model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "")
    except OSError:
        pass
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    threads = os.environ.get("OMP_NUM_THREADS")
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process for one call, and what it returned."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def child_cpu_seconds(command: Sequence[str], **kwargs: Any) -> tuple[float, subprocess.CompletedProcess]:
    """CPU seconds (user and system) that a child process and its children used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(list(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, **kwargs)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done


def interleaved(competitors: Mapping[str, Callable[[], Any]], repeat: int = 5, warmup: int = 1) -> dict[str, dict[str, Any]]:
    """CPU times of each competitor, run in turns (a b c a b c ...), so that a busy machine is unfair to nobody.

    Returns for each name: median, min and all CPU seconds, and the last result.
    """
    times: dict[str, list[float]] = {name: [] for name in competitors}
    last: dict[str, Any] = {}
    for round_ in range(warmup + repeat):
        for name, work in competitors.items():
            seconds, last[name] = cpu_seconds(work)
            if round_ >= warmup:
                times[name].append(seconds)
    return {name: {"median": statistics.median(t), "min": min(t), "all": t, "result": last[name]} for name, t in times.items()}


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def emit(question: str, **fields: Any) -> dict[str, Any]:
    """Print one JSON row that answers a question; returns it."""
    row = {"question": question, **fields, "machine": machine()}
    print(json.dumps(row, default=str), flush=True)
    return row
