"""What every accumulator does with a block of samples before it looks at it.

Policy (one for the whole core): an accumulator takes finite numbers only. A NaN or an infinity is refused
with its index; it is never skipped, replaced or interpolated, because a skipped sample moves every later
one in time. Whoever has gaps cuts the recording at them first and merges the accumulators of the pieces.

Blocks may have any length. Inside, accumulators work through them in pieces of `CHUNK` samples, which stay
in the second-level cache: that, and not arithmetic, decides the speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import AnalysisError, NotFiniteError

CHUNK = 32768
_LINE = 64  # bytes of a line of the cache
_PAGE = 4096  # bytes; addresses that far apart share their place in the cache
_APART = 17 * _LINE

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


def as_block(samples: ArrayLike, what: str = "samples") -> Float:
    """`samples` as a one-dimensional float64 array, without a copy where it is one already.

    Raises AnalysisError for another number of dimensions or for values that are not real numbers.
    """
    block: NDArray[Any] = np.asarray(samples)
    if block.dtype != np.float64:
        if block.dtype.kind not in "fiub":
            raise AnalysisError(f"{what}: real numbers are needed, not {block.dtype}")
        block = block.astype(np.float64)
    if block.ndim != 1:
        raise AnalysisError(f"{what}: one dimension is needed, not shape {block.shape}")
    return block


def buffers(count: int, n: int) -> list[Float]:
    """`count` arrays (n,) to work in, which begin at a line of the cache and not at the same place in a page.

    What the system gives for big arrays does both the other way round, and a sixth of the speed is lost.
    """
    size = 8
    pitch = (-(-n * size // _PAGE) * _PAGE + _APART) // size
    memory: Float = np.empty(count * pitch + _LINE // size)
    begin = -memory.__array_interface__["data"][0] % _LINE // size
    return [memory[at : at + n] for at in range(begin, begin + count * pitch, pitch)]


def refuse_not_finite(piece: Float, first_index: int, what: str = "samples") -> None:
    """Raise NotFiniteError if `piece` holds a NaN or an infinity; `first_index` is the index of piece[0].

    A sum is not finite if any term is not, so one pass over cached data is enough; only a sum that
    overflowed is looked at again.
    """
    if np.isfinite(np.add.reduce(piece)):
        return
    finite = np.isfinite(piece)
    if finite.all():
        return
    at = int(np.argmin(finite))
    raise NotFiniteError(
        f"{what}[{first_index + at}] is {piece[at]}: cut the recording at its gaps and merge the pieces"
    )


def pieces(block: Float, first_index: int, what: str = "samples") -> Iterator[Float]:
    """Views of at most CHUNK samples of `block`, each checked to be finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(block), CHUNK):
            piece = block[start : start + CHUNK]
            refuse_not_finite(piece, first_index + start, what)
            yield piece
