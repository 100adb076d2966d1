"""Sums over groups of neighbouring samples, the cheap first step of the angle and torque accumulators."""

from __future__ import annotations

import numpy as np

from .blocks import Float

#: Groups of one matrix product, and its largest size: with more, BLAS starts threads.
_GROUPS = 128
_BLAS_SERIAL = 8192


def group_sums(x: Float, group: int, out: Float | None = None) -> Float:
    """Sums of `group` neighbouring values; x of shape (n·group,) → (n,), into `out` if given.

    Done by matrix products small enough that BLAS stays in one thread: more threads would cost more than they
    bring, and the bits of a sum would depend on the machine's cores. Pairs and fours are added without one.
    """
    if group in (2, 4):
        pairs = np.add(x[::2], x[1::2], out=out if group == 2 else None)
        return pairs if group == 2 else np.asarray(np.add(pairs[::2], pairs[1::2], out=out))
    rows = x.reshape(-1, group)
    if out is None:
        out = np.empty(rows.shape[0])
    ones = np.ones(group)
    together = max(min(_GROUPS, _BLAS_SERIAL // group), 1)
    whole = out.size // together * together
    np.matmul(rows[:whole].reshape(-1, together, group), ones, out=out[:whole].reshape(-1, together))
    np.dot(rows[whole:], ones, out=out[whole:])
    return out
