"""Sums over the pixels of raw images, as EMVA 1288 needs them: exact integers, one pass, mergeable.

Two accumulators, because the standard uses images in two ways:

* `PairSums`: two images of one exposure. Their difference shows the temporal noise free of every fixed
  pattern. Bands (blocks of rows) of the same pair are added with `update` or `merge`.
* `StackSums`: L images of one exposure. The mean image shows the fixed pattern (DSNU, PRNU), the spread
  about it the temporal noise that is left in the mean. Images of the same size are added.

All sums are integers held exactly, so any partition and any order of merging gives the identical result.
Grey values are unsigned raw data numbers (DN) of 8 to 16 bits, never floating point: an image that was scaled
or corrected is no longer what the standard describes. Pixels at 0 and at full scale are counted, not removed.

>>> import numpy as np
>>> pair = PairSums(bits=12)
>>> pair.update(np.array([[10, 12]], np.uint16), np.array([[12, 12]], np.uint16))
>>> pair.result()
PairMeans(mean_dn=11.5, variance_dn2=0.5, pixels=2, at_zero=0, at_full_scale=0)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Float
from .errors import AnalysisError, NotEnoughDataError, NotMergeableError

#: Pixels of a piece: 128 kB of 16-bit data, and sums that fit into 32 bits.
_PIECE = 65536

Image = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class PairMeans:
    """Mean of both images, DN; temporal variance ½⟨(A−B)²⟩ − ½(μ_A−μ_B)², DN²; pixels per image.

    at_zero, at_full_scale: pixels of both images at the ends of the range.
    """

    mean_dn: float
    variance_dn2: float
    pixels: int
    at_zero: int
    at_full_scale: int

    @property
    def clipped_share(self) -> float:
        """Share of pixels at 0 or at full scale."""
        return (self.at_zero + self.at_full_scale) / (2 * self.pixels)


@dataclass(frozen=True, slots=True)
class StackMeans:
    """Fixed pattern of a stack of images; all variances in DN².

    temporal_variance: mean over pixels of the variance between images (n − 1); measured_variance: of the
    mean image over pixels (n − 1); spatial_variance: the same less temporal_variance/L, may be slightly
    negative when nothing is there; row, column, pixel: its split (EMVA 1288 R4 cl. 8.2, with row + column +
    pixel = spatial). mean_image: shape (rows, columns), DN.
    """

    images: int
    mean_dn: float
    temporal_variance_dn2: float
    measured_variance_dn2: float
    spatial_variance_dn2: float
    row_variance_dn2: float
    column_variance_dn2: float
    pixel_variance_dn2: float
    at_zero: int
    at_full_scale: int
    mean_image_dn: Float = field(repr=False)


class _Range:
    """Counts the pixels at the ends of the range, and refuses the impossible ones."""

    __slots__ = ("at_full_scale", "at_zero", "full_scale")

    def __init__(self, bits: int) -> None:
        if not 8 <= bits <= 16:
            raise AnalysisError(f"8 to 16 bits a pixel, not {bits}")
        self.full_scale = 2**bits - 1
        self.at_zero = self.at_full_scale = 0

    def look(self, piece: NDArray[Any]) -> int:
        """Count the clipped pixels of `piece` and return its largest value."""
        high = int(np.maximum.reduce(piece))
        if high > self.full_scale:
            raise AnalysisError(
                f"a grey value of {high} in images of full scale {self.full_scale}: state the bits a pixel"
            )
        if high == self.full_scale:
            self.at_full_scale += int(np.count_nonzero(piece == high))
        if int(np.minimum.reduce(piece)) == 0:
            self.at_zero += piece.size - int(np.count_nonzero(piece))
        return high

    def merge(self, other: _Range) -> None:
        if other.full_scale != self.full_scale:
            raise NotMergeableError(f"full scales {self.full_scale} and {other.full_scale} do not mix")
        self.at_zero += other.at_zero
        self.at_full_scale += other.at_full_scale


def _check(image: NDArray[Any]) -> NDArray[Any]:
    if image.dtype not in (np.uint8, np.uint16):
        raise AnalysisError(f"raw images of uint8 or uint16 are needed, not {image.dtype}")
    return np.ascontiguousarray(image)


def _slices(size: int) -> Iterator[slice]:
    for start in range(0, size, _PIECE):
        yield slice(start, min(start + _PIECE, size))


class PairSums:
    """Mean and temporal variance of two images taken one after the other at the same exposure.

    bits: bits a pixel (8 … 16). Memory: 0.7 MB whatever the size. `update` with bands of rows of the two
    images, `merge` with the sums of other bands, `result`.
    """

    def __init__(self, bits: int) -> None:
        self._range = _Range(bits)
        self._pixels = self._sum_a = self._sum_b = self._squares = 0
        self._narrow, self._wide = np.empty(0, np.int16), np.empty(0)

    def update(self, a: Image, b: Image) -> None:
        """Add bands `a` and `b` (uint8 or uint16, same shape) of the two images.

        Raises AnalysisError for another type, unequal shapes or values above full scale.
        """
        if a.shape != b.shape or a.dtype != b.dtype:
            raise AnalysisError(f"images of a pair differ: {a.dtype}{a.shape} and {b.dtype}{b.shape}")
        flat_a, flat_b = _check(a).reshape(-1), _check(b).reshape(-1)
        if self._wide.size < min(flat_a.size, _PIECE):
            self._wide = np.empty(min(flat_a.size, _PIECE))
            self._narrow = np.empty(self._wide.size, np.int16)
        for s in _slices(flat_a.size):
            self._add(flat_a[s], flat_b[s])

    def _add(self, a: NDArray[Any], b: NDArray[Any]) -> None:
        high = max(self._range.look(a), self._range.look(b))
        wide = self._wide[: a.size]
        if a.dtype == np.uint16 and high < 2**15:
            narrow = np.subtract(a.view(np.int16), b.view(np.int16), out=self._narrow[: a.size])
            np.copyto(wide, narrow)
        else:
            np.copyto(wide, a)
            np.subtract(wide, b, out=wide)
        self._squares += int(np.dot(wide, wide))
        self._sum_a += int(np.add.reduce(a, dtype=np.uint32))
        self._sum_b += int(np.add.reduce(b, dtype=np.uint32))
        self._pixels += a.size

    def merge(self, other: PairSums) -> None:
        """Add the sums of other rows of the same pair. Raises NotMergeableError if the bits differ."""
        self._range.merge(other._range)
        self._pixels += other._pixels
        self._sum_a += other._sum_a
        self._sum_b += other._sum_b
        self._squares += other._squares

    def result(self) -> PairMeans:
        """Raises NotEnoughDataError without pixels."""
        n = self._pixels
        if n == 0:
            raise NotEnoughDataError("no pixels yet")
        difference = self._sum_a - self._sum_b
        return PairMeans(
            mean_dn=(self._sum_a + self._sum_b) / (2 * n),
            variance_dn2=(n * self._squares - difference * difference) / (2 * n * n),
            pixels=n,
            at_zero=self._range.at_zero,
            at_full_scale=self._range.at_full_scale,
        )


class StackSums:
    """Mean image and variances of L images of the same exposure.

    bits: bits a pixel (8 … 16); at most 65536 images. Memory: 4 bytes a pixel + 0.8 MB. `update` with one
    image or several, `merge` with the sums of other images of the same size, `result`.
    """

    def __init__(self, bits: int) -> None:
        self._range = _Range(bits)
        self._shape: tuple[int, int] | None = None
        self._sum = np.empty(0, np.uint32)
        self._images = self._squares = 0
        self._wide = np.empty(0)
        #: images whose sum still fits into 16 bits
        self._group = 65535 // self._range.full_scale

    def update(self, images: Image) -> None:
        """Add images (uint8 or uint16), shape (rows, columns) or (images, rows, columns).

        Raises AnalysisError for another type or shape, values above full scale, or more than 65536 images.
        """
        stack = _check(images)
        if stack.ndim == 2:
            stack = stack[None]
        if stack.ndim != 3 or stack.size == 0:
            raise AnalysisError(f"images of shape (rows, columns) are needed, not {images.shape}")
        self._fit((stack.shape[1], stack.shape[2]), stack.shape[0])
        flat = stack.reshape(stack.shape[0], -1)
        for s in _slices(flat.shape[1]):
            self._add(flat[:, s], self._sum[s])
        self._images += stack.shape[0]

    def _fit(self, shape: tuple[int, int], images: int) -> None:
        if self._shape is None:
            self._shape = shape
            self._sum = np.zeros(shape[0] * shape[1], np.uint32)
            self._wide = np.empty(min(self._sum.size, _PIECE))
        if shape != self._shape:
            raise AnalysisError(f"an image of {shape} does not fit into a stack of {self._shape}")
        if self._images + images > 65536:
            raise AnalysisError("more than 65536 images in one stack")

    def _add(self, pieces: NDArray[Any], total: NDArray[np.uint32]) -> None:
        wide = self._wide[: total.size]
        for piece in pieces:
            self._range.look(piece)
            np.copyto(wide, piece)
            self._squares += int(np.dot(wide, wide))
        for first in range(0, len(pieces), self._group):
            group = pieces[first : first + self._group]
            total += group[0] if len(group) == 1 else np.add.reduce(group, axis=0, dtype=np.uint16)

    def merge(self, other: StackSums) -> None:
        """Add the sums of other images. Raises NotMergeableError if bits or size of the images differ."""
        if other._shape is None:
            return
        if self._shape is not None and other._shape != self._shape:
            raise NotMergeableError(f"images of {self._shape} and {other._shape} do not mix")
        self._range.merge(other._range)
        self._fit(other._shape, other._images)
        self._sum += other._sum
        self._images += other._images
        self._squares += other._squares

    def result(self) -> StackMeans:
        """Raises NotEnoughDataError below 2 images or 2 × 2 pixels."""
        if self._shape is None or self._images < 2 or min(self._shape) < 2:
            raise NotEnoughDataError(f"a stack needs 2 images of 2 × 2 pixels or more, has {self._images}")
        rows, columns = self._shape
        n, count = self._images, rows * columns
        total = int(self._sum.sum(dtype=np.uint64))
        # Σ(S − S̄)² about the rounded mean is an integer below 2^53 a piece: exact, like everything before
        centre = total // count
        about = sum(self._about(s, centre) for s in _slices(count))
        square_of_sums = about + 2 * centre * total - count * centre * centre
        temporal = (n * self._squares - square_of_sums) / (n * (n - 1) * count)
        measured = (count * square_of_sums - total * total) / (count * (count - 1) * n * n)
        spatial = measured - temporal / n
        image = (self._sum / n).reshape(rows, columns)
        by_column = float(np.var(image.mean(axis=0), ddof=1)) - temporal / (n * rows)
        by_row = float(np.var(image.mean(axis=1), ddof=1)) - temporal / (n * columns)
        row, column, pixel = _split(spatial, by_row, by_column, rows, columns)
        return StackMeans(
            images=n,
            mean_dn=total / (n * count),
            temporal_variance_dn2=temporal,
            measured_variance_dn2=measured,
            spatial_variance_dn2=spatial,
            row_variance_dn2=row,
            column_variance_dn2=column,
            pixel_variance_dn2=pixel,
            at_zero=self._range.at_zero,
            at_full_scale=self._range.at_full_scale,
            mean_image_dn=image,
        )

    def _about(self, s: slice, centre: int) -> int:
        """Σ(S − centre)² of a piece, exact: every product and sum of doubles below stays under 2^53."""
        wide = self._wide[: s.stop - s.start]
        np.copyto(wide, self._sum[s])
        wide -= centre
        square = float(np.dot(wide, wide))
        if square < 2**53:
            return int(square)
        high = np.floor(wide * 2.0**-16)
        low = wide - high * 2.0**16
        cross = int(np.dot(high, low))
        return (int(np.dot(high, high)) << 32) + (cross << 17) + int(np.dot(low, low))


def _split(
    spatial: float, by_row: float, by_column: float, rows: int, columns: int
) -> tuple[float, float, float]:
    """(row, column, pixel) variances from those of the whole, of the row means and of the column means.

    Solves row + column + pixel = spatial, row + pixel/columns = by_row, column + pixel/rows = by_column.
    """
    pixel = (spatial - by_row - by_column) / (1 - 1 / rows - 1 / columns) if rows * columns > 4 else math.nan
    return by_row - pixel / columns, by_column - pixel / rows, pixel


def pair_means(a: Image, b: Image, bits: int) -> PairMeans:
    """`PairSums` of two images of shape (rows, columns) that are in memory."""
    sums = PairSums(bits)
    sums.update(a, b)
    return sums.result()


def stack_means(images: Image, bits: int) -> StackMeans:
    """`StackSums` of images of shape (images, rows, columns) that are in memory."""
    sums = StackSums(bits)
    sums.update(images)
    return sums.result()
