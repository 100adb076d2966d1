"""A Dask cluster as mapper. Dask is an extra (`pip install 'pilotbench[cluster]'`) and is imported on use.

Workers open the recording by its path, so every machine of the cluster must see it under the same one, and
run the same versions of this software and of numpy (both are checked by each worker). The scheduler gives the
items of a lost worker to another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

from .mapper import Answer, HandingOut, Item, MapperError

#: How long the scheduler may take to answer, and the cluster may be without any worker, s.
CONNECT_S, EMPTY_S = 10.0, 60.0
_LOOK_S = 5.0


class DaskMapper(HandingOut):
    """The cluster whose scheduler listens at `address` (``tcp://host:8786`` or ``host:8786``).

    Raises MapperError when Dask is not installed, the scheduler does not answer within `timeout_s`, or it has
    no worker.
    """

    def __init__(self, address: str, *, timeout_s: float = CONNECT_S) -> None:
        try:
            import distributed as dask_distributed
        except ImportError:
            raise MapperError(
                "a cluster needs Dask, which is not installed; pip install 'pilotbench[cluster]'"
            ) from None
        distributed: Any = dask_distributed  # untyped
        self.address = address
        self._lost: tuple[type[BaseException], ...] = (
            distributed.KilledWorker,
            CancelledError,
            OSError,
        )
        try:
            self._client: Any = distributed.Client(address, timeout=timeout_s, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise MapperError(
                f"no Dask scheduler answers at {address} ({reason}); start one with `dask scheduler`"
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=timeout_s)
        except TimeoutError:
            self.close()
            raise MapperError(
                f"the cluster at {address} has no worker; start one with `dask worker {address}`"
            ) from None

    def close(self) -> None:
        """Leave the cluster; it goes on."""
        self._client.close()

    def _workers(self) -> int:
        return max(sum(map(int, self._client.nthreads().values())), 1)

    def _submit(self, function: Callable[[Item], Answer], item: Item) -> Any:
        return self._client.submit(function, item, pure=False)  # equal items are not taken for one

    def _next(self, function: Callable[[Item], Answer], pending: deque[tuple[Item, Any]]) -> Answer:
        future = pending[0][1]
        empty_s = 0.0
        while True:
            try:
                answer: Answer = future.result(timeout=_LOOK_S)
                pending.popleft()
                return answer
            except TimeoutError:
                if future.status == "error":  # raised by the work itself
                    raise
                empty_s = 0.0 if self._client.nthreads() else empty_s + _LOOK_S
                if empty_s >= EMPTY_S:
                    raise MapperError(f"the cluster at {self.address} lost all its workers") from None
            except self._lost as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise MapperError(f"the cluster at {self.address} lost the work: {reason}") from None
