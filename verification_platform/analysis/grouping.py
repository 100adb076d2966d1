"""Sums over groups of neighbouring samples, the cheap first step of the angle and torque accumulators."""

from __future__ import annotations

import numpy as np

from .blocks import Float

#: Groups of one matrix product, and its largest size: with more, BLAS starts threads.
_GROUPS = 128
_BLAS_SERIAL = 8192


def group_sums(x: Float, group: int, out: Float | None = None, factor: float = 1.0) -> Float:
    """Sums of `group` neighbouring values, times `factor`; x of shape (n·group,) → (n,), into `out` if given.

    Done by matrix products small enough that BLAS stays in one thread: more threads would cost more than they
    bring, and the bits of a sum would depend on the machine's cores. Pairs are added without one.
    """
    if out is None:
        out = np.empty(x.size // group)
    if group == 1:
        return np.multiply(x, factor, out=out)
    if group == 2:
        np.add(x[::2], x[1::2], out=out)
        return np.multiply(out, factor, out=out) if factor != 1.0 else out
    rows = x.reshape(-1, group)
    factors = np.full(group, factor)
    together = max(min(_GROUPS, _BLAS_SERIAL // group), 1)
    whole = out.size // together * together
    np.matmul(rows[:whole].reshape(-1, together, group), factors, out=out[:whole].reshape(-1, together))
    if whole < out.size:
        # a product of fewer rows may be summed in another order: the bits of a sum would depend on where its block ends
        last = np.zeros((together, group))
        last[: out.size - whole] = rows[whole:]
        out[whole:] = np.dot(last, factors)[: out.size - whole]
    return out
