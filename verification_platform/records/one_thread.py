"""Linear algebra in one thread while numbers are made that must be the same on every machine.

A BLAS splits a long inner product among as many threads as the machine has cores, and its sum then depends on
their number in the last bits: a result could not be recomputed bit for bit on another computer, nor by a
worker of a cluster. Nothing is lost by it: the work is spread over segments and chunks instead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_holders = 0
_limit: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """One BLAS thread inside the block, in the whole process; blocks may nest and overlap between threads."""
    global _holders, _limit
    with _lock:
        _holders += 1
        if _holders == 1:
            _limit = ThreadpoolController().limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0:
                _limit.restore_original_limits()
