"""Run all units of a task: in this process or in several, remembered by a journal, with the same answer either way."""

from __future__ import annotations

import concurrent.futures as futures
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from ..core.errors import CertifyError
from .journal import Journal
from .work import Task, Worker

Answer = dict[str, np.ndarray]
Progress = Callable[[int, int, str], None]

_worker: Worker | None = None  # one per worker process


def _start(task: Task) -> None:
    global _worker
    _worker = Worker(task)


def _answer(inputs: np.ndarray, labels: np.ndarray, first: int) -> Answer:
    if _worker is None:
        raise CertifyError("a worker process was not started by run_units")
    return _worker(inputs, labels, first)


def run_units(task: Task, inputs: np.ndarray, labels: np.ndarray, unit: int, workers: int = 1, journal: Journal | None = None, progress: Progress | None = None) -> Answer:
    """The answers of all inputs, joined in order.

    Args:
        unit: inputs per unit, `task.unit(...)`; no result depends on it.
        workers: processes; 1 runs here.
        journal: of this very question (`Journal.of`); units found there are not run again, finished ones are written at once.
        progress: called with (inputs done, inputs in all, message); what it raises stops the run, finished units stay in the journal.
    Raises:
        CertifyError: a worker process died. Whatever a unit raises.
    """
    count = len(inputs)
    firsts = range(0, count, unit)
    shapes = {first: (min(unit, count - first),) for first in firsts}
    done: dict[int, Answer] = {}
    for first in firsts if journal else ():
        stored = journal.read(_name(first, unit), {name: (*shapes[first], *row) for name, (row, _) in task.rows.items()})  # type: ignore[union-attr]
        if stored is not None:
            done[first] = stored
    message = "radii" if task.attack is None else "radii and attack"

    def tell() -> None:
        if progress is not None:
            progress(sum(shapes[first][0] for first in done), count, message)

    tell()
    todo = [first for first in firsts if first not in done]
    for first, answer in _in_turn(task, inputs, labels, unit, todo) if workers == 1 or len(todo) < 2 else _by_processes(task, inputs, labels, unit, todo, workers):
        if journal is not None:
            journal.write(_name(first, unit), answer)
        done[first] = answer
        tell()
    return {name: np.concatenate([done[first][name] for first in firsts]) for name in done[0]}


def _name(first: int, unit: int) -> str:
    return f"inputs-{first:09d}-{unit}"


def _in_turn(task: Task, inputs: np.ndarray, labels: np.ndarray, unit: int, todo: list[int]) -> Iterator[tuple[int, Answer]]:
    worker = Worker(task)
    for first in todo:
        yield first, worker(inputs[first : first + unit], labels[first : first + unit], first)


def _by_processes(task: Task, inputs: np.ndarray, labels: np.ndarray, unit: int, todo: list[int], workers: int) -> Iterator[tuple[int, Answer]]:
    """Spawned, not forked: a forked BLAS or torch thread pool can hang. At most two units per process wait, so memory stays flat."""
    pool = futures.ProcessPoolExecutor(min(workers, len(todo)), multiprocessing.get_context("spawn"), _start, (task,))
    waiting: dict[futures.Future, int] = {}
    queue = iter(todo)
    try:
        while True:
            while len(waiting) < 2 * workers and (first := next(queue, None)) is not None:
                waiting[pool.submit(_answer, inputs[first : first + unit], labels[first : first + unit], first)] = first
            if not waiting:
                return
            for future in futures.wait(waiting, return_when=futures.FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        raise CertifyError(
            "a worker process ended before its work was done",
            where=f"{workers} workers, {len(todo)} units of {unit} inputs",
            expected="processes that live until they answer",
            hint="out of memory? use fewer workers. In a script, call this below `if __name__ == '__main__':`. With a journal (certify radius --out) the finished units are kept",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
