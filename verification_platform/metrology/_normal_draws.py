"""Normal random numbers in pairs (Box and Muller, Ann. Math. Stat. 29 (1958) 610; JCGM 101:2008, C.4).

With E exponentially distributed and U uniform, √(2E)·cos 2πU and √(2E)·sin 2πU are two independent normal numbers. numpy
draws one of E and U in a third of the time of its own normal numbers, and the rest is arithmetic on arrays: the
angle is the nearest of `_DIRECTIONS`, looked up, and a rotation by what is left, of which the Taylor series needs
two terms (the next ones are below 2e-14).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DIRECTIONS = 4096
_PAIRS = 16384  # drawn at a time: with fewer the calls cost as much as the arithmetic
# by the C library's functions: numpy's differ in the last bit between processors, and so would the numbers of a seed
_ANGLES = (np.arange(_DIRECTIONS + 1) * (2 * math.pi / _DIRECTIONS)).tolist()
_COSINES, _SINES = (math.sqrt(2) * np.array([f(a) for a in _ANGLES]) for f in (math.cos, math.sin))
#: Adding it to a number between 0 and 1 rounds to the nearest direction, and leaves its index in the last bits.
_ROUND = np.array(1.5 * 2.0**52 / _DIRECTIONS)
_NONE = _ROUND.view(np.int64)
# arrays, since numpy takes longer to understand a float than to add it
_ONE, _SIN_1, _SIN_3, _COS_2 = map(np.array, (1.0, 2 * math.pi, -((2 * math.pi) ** 3) / 6, -2 * math.pi**2))


class NormalDraws:
    """Draws normal numbers into arrays. Has arrays to work in, so one thread may use it at a time."""

    def __init__(self, n: int) -> None:
        """n: numbers drawn in one call, at most."""
        pairs = min(_PAIRS, max((n + 1) // 2, 1))
        self._room = np.empty((7, pairs))
        self._index = np.empty(pairs, dtype=np.int64)

    def __call__(self, rng: Generator, out: Floats, mean: float, u: float) -> None:
        """Fill `out` (n,), contiguous, with samples of mean and standard deviation u."""
        pairs = self._index.size
        for start in range(0, out.size, 2 * pairs):
            part = out[start : start + 2 * pairs]
            half = (part.size + 1) // 2
            self._pairs(rng, part[:half], part[half:], u)
        out += mean

    def _pairs(self, rng: Generator, x: Floats, y: Floats, u: float) -> None:
        """x (m,) and y (m,) or (m − 1,)."""
        radius, turn, work, c, s, sine, cosine = self._room[:, : x.size]
        index = self._index[: x.size]
        rng.standard_exponential(out=radius)
        np.sqrt(radius, out=radius)
        np.multiply(radius, u, out=radius)
        rng.random(out=turn)
        np.add(turn, _ROUND, out=work)
        np.subtract(work.view(np.int64), _NONE, out=index)
        np.subtract(work, _ROUND, out=work)
        np.subtract(turn, work, out=turn)
        _COSINES.take(index, out=c, mode="clip")  # none is out of range; the other modes copy `out`
        _SINES.take(index, out=s, mode="clip")
        np.multiply(c, radius, out=c)
        np.multiply(s, radius, out=s)
        np.multiply(turn, turn, out=work)
        np.add(np.multiply(work, _SIN_3, out=sine), _SIN_1, out=sine)
        np.multiply(sine, turn, out=sine)
        np.add(np.multiply(work, _COS_2, out=cosine), _ONE, out=cosine)
        np.multiply(c, cosine, out=x)
        np.subtract(x, np.multiply(s, sine, out=work), out=x)
        m = y.size
        np.multiply(s[:m], cosine[:m], out=y)
        np.add(y, np.multiply(c[:m], sine[:m], out=work[:m]), out=y)
