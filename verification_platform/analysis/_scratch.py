"""Buffers that an accumulator uses again and again.

A fresh array costs a page fault every 4 kB, which is more than the arithmetic done in it.
"""

from __future__ import annotations

import math

import numpy as np

from .blocks import Float


class Scratch:
    """Named buffers that grow as needed. Not shared between accumulators, neither copied nor pickled with them."""

    def __init__(self) -> None:
        self._buffers: dict[str, Float] = {}

    def __call__(self, name: str, *shape: int) -> Float:
        """An array of this shape with anything in it, valid until the name is asked for again."""
        size = math.prod(shape)
        held = self._buffers.get(name)
        if held is None or held.size < size:
            held = self._buffers[name] = np.empty(size)
        return held[:size].reshape(shape)

    def __reduce__(self) -> tuple[type[Scratch], tuple[()]]:
        return Scratch, ()
