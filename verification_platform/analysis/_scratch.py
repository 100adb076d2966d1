"""Buffers that an accumulator uses again and again.

A fresh array costs a page fault every 4 kB, which is more than the arithmetic done in it. Buffers are therefore cut from
pieces so large that numpy asks the system for huge pages, where it has them.
"""

from __future__ import annotations

import math

import numpy as np

from .blocks import Float

_PIECE = 1 << 18  # numbers: 2 MB; with what aligning them takes 4 MB, from where on numpy asks for huge pages
_HUGE = 1 << 21  # bytes of a huge page
_SMALL = 1 << 12  # numbers: such a buffer is not worth a piece
_PAGE = 512  # numbers
_APART = 136  # numbers: gives buffers different places in their pages


class Scratch:
    """Named buffers that grow as needed. Neither copied nor pickled with the accumulator they belong to."""

    def __init__(self) -> None:
        self._buffers: dict[str, Float] = {}
        self._piece: Float = np.empty(0)

    def __call__(self, name: str, *shape: int) -> Float:
        """An array of this shape with anything in it, valid until the name is asked for again."""
        size = math.prod(shape)
        held = self._buffers.get(name)
        if held is None or held.size < size:
            held = self._buffers[name] = np.empty(size) if size < _SMALL else self._cut(size + size // 8)
        return held[:size].reshape(shape)

    def _cut(self, size: int) -> Float:
        size = -(-size // _PAGE) * _PAGE + _APART
        if size > self._piece.size:
            piece: Float = np.empty(max(size, _PIECE) + _HUGE // 8)
            self._piece = piece[-piece.__array_interface__["data"][0] % _HUGE // 8 :]
        buffer, self._piece = self._piece[:size], self._piece[size:]
        return buffer

    def __reduce__(self) -> tuple[type[Scratch], tuple[()]]:
        return Scratch, ()
