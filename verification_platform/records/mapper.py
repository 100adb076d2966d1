"""Who does the work on a recording: this process, several processes of this machine, or a cluster.

A mapper calls a function with one item after another and hands the answers back *in the order of the items*,
whoever was first. What is done with an item must not depend on the mapper; then the results do not either.
Functions, items and answers travel between processes: functions are module-level functions or
`functools.partial` of them, items and answers are values that can be pickled.

    SerialMapper()          here, one after another (the default)
    ProcessMapper(n)        n processes of this machine
    cluster.DaskMapper(a)   a Dask cluster, whose scheduler listens at address a
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: Items on their way, per worker: enough to keep all busy, few enough to bound what waits in memory.
ITEMS_PER_WORKER = 4
#: Times a pool of processes is started again before the fault is taken to lie in the item.
_RESTARTS = 3


class MapperError(RuntimeError):
    """The work cannot be spread, or was lost for good. One clear line: what, where, what to do."""


class Mapper(Protocol):
    """Calls `function` with every item; answers come in the order of the items.

    The first error, in the order of the items, is raised as it is. Raises MapperError when workers fail.
    """

    def map(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]: ...


class SerialMapper:
    """One item after another, in this process."""

    def map(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        return map(function, items)


class HandingOut(ABC):
    """A mapper that hands items to workers ahead of the answers it gives back. It ends with its ``with`` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def map(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        pending: deque[tuple[Item, Any]] = deque()
        try:
            for item in items:
                pending.append((item, self._submit(function, item)))
                if len(pending) >= ITEMS_PER_WORKER * self._workers():
                    yield self._next(function, pending)
            while pending:
                yield self._next(function, pending)
        finally:
            for _, future in pending:
                future.cancel()

    @abstractmethod
    def close(self) -> None:
        """Leave the workers; items that were not begun are dropped."""

    @abstractmethod
    def _workers(self) -> int:
        """How many items can be worked on at once, at least 1."""

    @abstractmethod
    def _submit(self, function: Callable[[Item], Answer], item: Item) -> Any:
        """Hand an item out; returns a future of its answer."""

    @abstractmethod
    def _next(self, function: Callable[[Item], Answer], pending: deque[tuple[Item, Any]]) -> Answer:
        """Wait for the answer to the first of `pending`, and take that out."""


class ProcessMapper(HandingOut):
    """`jobs` processes of this machine. They end with the ``with`` block, and when this process dies.

    A process that is killed is replaced and its items are done again.
    """

    def __init__(self, jobs: int) -> None:
        if jobs < 1:
            raise MapperError(f"{jobs} jobs: at least one process must do the work")
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    def close(self) -> None:
        """End the processes; items that were not begun are dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _workers(self) -> int:
        return self.jobs

    def _next(self, function: Callable[[Item], Answer], pending: deque[tuple[Item, Any]]) -> Answer:
        for _ in range(_RESTARTS):
            try:
                answer: Answer = pending[0][1].result()
                pending.popleft()
                return answer
            except BrokenProcessPool:
                for at, (item, future) in enumerate(pending):
                    if future.done() and isinstance(future.exception(), BrokenProcessPool):
                        pending[at] = item, self._submit(function, item)
        raise MapperError(
            f"worker processes were killed {_RESTARTS} times over the same work (memory?); use fewer --jobs"
        )

    def _submit(self, function: Callable[[Item], Answer], item: Item) -> Future[Answer]:
        call = pickle.dumps((function, item))  # here and not in the pool, so that errors come out here
        if self._pool is not None:
            try:
                return self._pool.submit(_call, call)
            except BrokenProcessPool:
                self._pool.shutdown(wait=False)
        context = multiprocessing.get_context("spawn")  # a fork would copy locks of threads that do not exist
        self._pool = ProcessPoolExecutor(self.jobs, mp_context=context, initializer=_begin)
        return self._pool.submit(_call, call)


def _call(pickled: bytes) -> Any:
    function, item = pickle.loads(pickled)
    return function(item)


def _begin() -> None:
    """In a new worker: the parent alone answers Ctrl-C, and no worker outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    wait([parent.sentinel])
    os._exit(1)
