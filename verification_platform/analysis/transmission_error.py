"""Angular transmission error: how far the output of a gear is from where the ratio says it should be.

e(θ₂) = θ₂ − s·θ₁/i. Its peak-to-peak value over exactly one output revolution is what a robot's hand feels;
its orders tell which part of the gear makes it. GB/T 35089-2018 cl. 8; protocol specification RED-TE.

Life of an accumulator: `update` with blocks of both angles while the drive turns one way, `merge` with
neighbours that saw other parts of the same run, `result` at the end. One accumulator per run and direction.

Definitions used, and stated in the report:

* The curve over one revolution is the time-synchronous average over all whole revolutions, limited to orders
  ≤ `max_order` (default 1.25 times the highest order of interest, which therefore passes unattenuated). It is
  *not* detrended: a ramp (wrong ratio, slip, thermal drift) stays in and is reported as `closure`.
* Noise of the sensors widens max − min: the bias is estimated from the noise found beside the curve and taken
  off; `pp_bias_rad` says how much, `pp_noise_rad` is the standard deviation of what remains.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ._quick_estimates import centred
from .errors import AnalysisError, NotMergeableError
from .fold import Complexes, Fold, Harmonics, fold_harmonics, synthesise
from .peak_to_peak import curve_points, debiased_widths, smooth_part
from .revolutions import Revolutions
from .samples import CoverageError, UndersampledError, as_blocks
from .transmission_error_result import Order, TransmissionErrorResult

_TURN = 2 * math.pi


class TransmissionError:
    """Transmission error of one run in one direction, in a single pass.

    ratio: i > 0; sense: s = ±1; orders: whole orders per output revolution whose amplitude is wanted, the
    highest sets the sampling needed (≥ 20 samples a cycle). direction: ±1 of the output, found from the
    data when None; max_order: band limit of the curve.

    To share one run between workers, give the first block to one accumulator and make the others with its
    `fork`.
    """

    def __init__(
        self,
        ratio: float,
        sense: int = 1,
        orders: Sequence[float] = (1, 2),
        *,
        max_order: int | None = None,
        direction: int | None = None,
        samples_per_cycle: float = 20.0,
    ) -> None:
        if not (math.isfinite(ratio) and ratio > 0):
            raise AnalysisError(
                f"the ratio i must be positive, got {ratio}; the sense of rotation goes into s"
            )
        if sense not in (-1, 1):
            raise AnalysisError(f"the sense of rotation s is +1 or -1, got {sense}")
        if not orders or any(q < 1 or q != round(q) for q in orders):
            raise AnalysisError(f"orders are whole numbers per output revolution, got {tuple(orders)}")
        self.ratio, self.sense = float(ratio), sense
        self.orders = tuple(sorted({round(q) for q in orders}))
        self.samples_per_cycle = samples_per_cycle
        self.max_order = max(math.ceil(1.25 * self.orders[-1]), 16) if max_order is None else max_order
        if self.max_order < self.orders[-1]:
            raise AnalysisError(f"max_order {self.max_order} lies below the highest order {self.orders[-1]}")
        self._revolutions = Revolutions(
            self.max_order,
            scale=-sense / ratio,
            slope=1.0,
            direction=direction,
            names=("output angle", "input angle"),
        )

    def fork(self, first_index: int) -> TransmissionError:
        """An empty accumulator for the samples from `first_index` of the same run, to be merged into this
        one.

        Raises CoverageError before this one has seen enough to know origin and direction.
        """
        twin = copy.copy(self)
        twin._revolutions = self._revolutions.fork(first_index)
        return twin

    def update(self, input_angle: ArrayLike, output_angle: ArrayLike) -> None:
        """Add a block: θ₁ and θ₂ in rad, unwrapped, shapes (n,), sampled together.

        Raises NotFiniteError for NaN, SampleError for unequal lengths.
        """
        theta1, theta2 = as_blocks(input_angle, output_angle)
        self._revolutions.update(theta2, theta1)

    def merge(self, other: TransmissionError) -> None:
        """Add what a fork saw of the same run. Raises NotMergeableError for other settings or another
        origin."""
        if self.orders != other.orders:
            raise NotMergeableError("transmission errors of different orders do not merge")
        self._revolutions.merge(other._revolutions)

    def result(self) -> TransmissionErrorResult:
        """Evaluate whole revolutions, or the range travelled when it is less than one.

        Raises UndersampledError ("undersampled for order q"), CoverageError when the output hardly turned.
        """
        return _Evaluation(self, self._revolutions.flushed()).result()


class _Evaluation:
    """The transmission error of one set of revolutions."""

    def __init__(self, settings: TransmissionError, revolutions: Revolutions) -> None:
        assert revolutions.origin is not None
        assert revolutions.direction is not None
        self.orders, self.max_order = settings.orders, settings.max_order
        self.samples_per_cycle = settings.samples_per_cycle
        self.data, self.bins = revolutions, revolutions.bins
        self.booked = revolutions.booked
        self.direction = revolutions.direction
        self.start = revolutions.origin[0]
        self.offset = self.start - settings.sense * revolutions.origin[1] / settings.ratio

    def result(self) -> TransmissionErrorResult:
        self._check_sampling()
        return self._full() if len(self.booked) else self._limited()

    def _check_sampling(self) -> None:
        q = self.orders[-1]
        need = self.samples_per_cycle * q
        # a revolution of exactly `need` samples may lose one at its seam, and noise moves its ends
        found = min(
            1 / self.data.pitch, float(np.min(self.booked.samples + 1, initial=np.iinfo(np.int64).max))
        )
        if found < need * (1 - 1e-3):
            raise UndersampledError(
                f"undersampled for order {q}: {found:.0f} samples per output revolution,"
                f" at least {need:.0f} needed; sample faster or turn slower"
            )
        if self.data.widest - self.data.group * self.data.pitch > 0.5 / q:
            raise CoverageError(
                f"a hole of {360 * self.data.widest:.3g}° in the output angle, more than half a cycle of"
                f" order {q}: samples are missing, repeat the measurement"
            )

    def _full(self) -> TransmissionErrorResult:
        fold = self.data.total
        model = fold_harmonics(fold, self.max_order)
        closure, closure_noise = self._closure(fold, model)
        # a small step at the seam costs the band-limited curve nothing; a doubtful ramp would
        ramp = closure if abs(closure) > max(4 * closure_noise, 0.05 * self._rough()) else 0.0
        if ramp:
            place = (np.arange(self.bins) + 0.5 + fold.first / np.maximum(fold.count, 1)) / self.bins
            flat = fold.with_values(fold.total - ramp * place * fold.count)
            model = fold_harmonics(flat, self.max_order)
        return self._report(model, fold.samples, closure, closure_noise, ramp)

    def _rough(self) -> float:
        return float(np.fmax.reduce(self.booked.peak_to_peak, initial=0.0))

    def _closure(self, fold: Fold, model: Harmonics) -> tuple[float, float]:
        """e(2π) − e(0) and its noise: from revolution to revolution, or at the seam of a single one."""
        if len(self.booked) > 1:
            k, means = self.booked.number.astype(np.float64), self.booked.mean
            k -= k.mean()
            spread = float(np.dot(k, k))
            slope = float(np.dot(k, means)) / spread
            variance = model.noise**2 * k.size / fold.samples
            if k.size > 2:
                scatter = means - means.mean() - slope * k
                variance = max(variance, float(np.dot(scatter, scatter)) / (k.size - 2))
            return slope, math.sqrt(variance / spread)
        occupied = np.maximum(fold.count, 1)
        place = (np.arange(self.bins) + 0.5 + fold.first / occupied) / self.bins
        ramp = fold.with_values(place * fold.count)
        # what a ramp has beyond the band is all at the seam, where e(2π) meets e(0)
        seam = fold_harmonics(ramp, self.max_order).residual
        energy = float(np.dot(fold.count, seam * seam))
        value = float(np.dot(fold.count, seam * model.residual)) / energy
        left = model.residual - value * seam
        variance = float(np.dot(fold.count, left * left)) / max(model.dof - 1, 1)
        return value, math.sqrt(variance / energy)

    def _limited(self) -> TransmissionErrorResult:
        """Less than one revolution: nothing is periodic, so the curve is smoothed in place of being expanded."""
        revolution = self.data.open.get(0)
        occupied = np.flatnonzero(revolution.fold.count) if revolution else np.empty(0, np.intp)
        if (
            revolution is None
            or occupied.size < 64
            or occupied.size < occupied[-1] + 1
            or self.data.travel >= 1.0
        ):
            raise CoverageError(
                f"the samples cover {360 * self.data.travel:.3g}° of the output, no complete revolution and"
                " no unbroken part of one"
            )
        fold = Fold(revolution.fold.sums[:, : occupied.size])
        part = smooth_part(centred(fold), fold.count, self.bins / self.orders[-1])
        span = _TURN * occupied.size / self.bins
        theta = self.start + self.direction * _TURN * (np.arange(part.curve.size) + 0.5) / self.bins
        return TransmissionErrorResult(
            pp_rad=part.width.value,
            pp_bias_rad=part.width.bias,
            pp_noise_rad=part.width.noise,
            pp_worst_rad=part.width.value,
            rms_rad=part.rms,
            mean_rad=part.mean + self.offset,
            closure_rad=None,
            closure_noise_rad=None,
            noise_rad=part.noise,
            orders=(),
            top=(),
            spectrum_rad=np.empty(0),
            theta_rad=theta[:: self.direction].copy(),
            curve_rad=part.curve[:: self.direction].copy(),
            range_rad=span,
            direction=self.direction,
            revolutions=0,
            samples=fold.samples,
            unused_samples=self.data.samples - fold.samples,
            max_order=self.max_order,
            pp_per_revolution_rad=np.empty(0),
        )

    def _report(
        self,
        model: Harmonics,
        samples: int,
        closure: float,
        closure_noise: float,
        ramp: float,
    ) -> TransmissionErrorResult:
        single = self.booked.peak_to_peak
        waviness = model.coefficients.copy()
        waviness[0] = 0.0
        u_line = model.noise * math.sqrt(2.0 / samples)
        # a single revolution has the noise of fewer samples
        width, alone = debiased_widths(waviness, (u_line, u_line * math.sqrt(single.size)), ramp)
        curve = synthesise(waviness, curve_points(waviness.size))
        curve += ramp * (np.arange(curve.size) / curve.size - 0.5)
        by_size = 1 + np.argsort(-np.abs(waviness[1:]), kind="stable")[:10]
        theta = self.start + self.direction * _TURN * np.arange(curve.size) / curve.size
        return TransmissionErrorResult(
            pp_rad=width.value,
            pp_bias_rad=width.bias,
            pp_noise_rad=width.noise,
            pp_worst_rad=max(float(np.nanmax(single)) - alone.bias, width.value),
            rms_rad=math.sqrt(max(float(np.var(curve)) - u_line**2 * (waviness.size - 1), 0.0)),
            mean_rad=model.mean + float(self.booked.mean.mean()) + self.offset,
            closure_rad=closure,
            closure_noise_rad=closure_noise,
            noise_rad=model.noise,
            orders=self._lines(waviness, u_line, self.orders),
            top=self._lines(waviness, u_line, by_size.tolist()),
            spectrum_rad=np.abs(waviness),
            theta_rad=theta[:: self.direction].copy(),
            curve_rad=curve[:: self.direction].copy(),
            range_rad=_TURN,
            direction=self.direction,
            revolutions=single.size,
            samples=samples,
            unused_samples=self.data.samples - samples,
            max_order=self.max_order,
            pp_per_revolution_rad=single,
        )

    def _lines(self, coefficients: Complexes, u_line: float, orders: Sequence[int]) -> tuple[Order, ...]:
        """Amplitude·sin(qθ₂ + φ) from coefficients over the angle turned since the origin."""
        q = np.array(orders)
        turned = coefficients[q] if self.direction > 0 else coefficients[q].conj()
        phase = np.angle(turned * np.exp(-1j * q * math.fmod(self.start, _TURN)) * 1j)
        amplitude = np.abs(turned)
        return tuple(
            Order(int(k), float(a), float(p), u_line) for k, a, p in zip(q, amplitude, phase, strict=True)
        )


def transmission_error(
    input_angle: ArrayLike,
    output_angle: ArrayLike,
    ratio: float,
    sense: int = 1,
    orders: Sequence[float] = (1, 2),
    **settings: int | float | None,
) -> TransmissionErrorResult:
    """`TransmissionError` of arrays that are in memory: unwrapped angles in rad, shapes (n,)."""
    accumulator = TransmissionError(ratio, sense, orders, **settings)  # type: ignore[arg-type]
    accumulator.update(input_angle, output_angle)
    return accumulator.result()
