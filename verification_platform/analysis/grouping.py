"""Sums over groups of neighbouring samples, the cheap first step of the angle and torque accumulators."""

from __future__ import annotations

import numpy as np

from .blocks import Float

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
    step = max(_BLAS_SERIAL // group, 1)
    for start in range(0, out.size, step):
        np.dot(rows[start : start + step], ones, out=out[start : start + step])
    return out
