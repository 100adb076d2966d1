"""Camera characteristics after EMVA 1288: gain, noise, saturation, range and non-uniformity.

EMVA 1288 Release 4.0 Linear (2021); protocol specification SEN-CAM. The images go through `pixel_sums`
(one pass, exact, mergeable); this module turns the few numbers per exposure into the characteristics.

The photon transfer method needs no reference for the gain K: for shot noise the variance in electrons equals
the mean, so the slope of variance against mean, both in DN, is K (DN/e⁻). Only quantum efficiency and the
thresholds in photons need a calibrated photometer; without one they are None, never guessed.

Choices where the standard or the laboratory has one, stated in every report:

* K and R by least squares through the origin over 0 … 70 % of saturation, saturation at the largest variance;
* linearity from 5 to 95 % of saturation about the line that minimises *relative* deviations;
* below a dark variance of 0.24 DN² the quantisation hides the dark noise: σ_d, threshold and dynamic range
  then are bounds (`quantisation_limited`);
* the mean image is used as it is, without a high-pass, and no defect pixel is removed: `defect_histogram`
  shows them beside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import Float, as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError
from .pixel_sums import PairMeans, StackMeans

#: Variance of rounding to whole DN, DN².
QUANTISATION_DN2 = 1 / 12
#: Below this dark variance (DN²) the dark noise cannot be separated from the quantisation.
QUANTISATION_LIMIT_DN2 = 0.24

_FIT_SHARE = 0.70
_LINEARITY = (0.05, 0.95)


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope through the origin and its standard uncertainty from the scatter of the points."""

    value: float
    u: float


@dataclass(frozen=True, slots=True)
class Linearity:
    """Relative deviations (1 = 100 %) of the response from the relative-weighted line, 5 … 95 % saturation.

    mean: LE, the mean of |deviation|; largest, smallest: signed extremes; exposures, deviations: shape (n,).
    """

    mean: float
    largest: float
    smallest: float
    exposures: Float = field(repr=False)
    deviations: Float = field(repr=False)


@dataclass(frozen=True, slots=True)
class CameraCharacteristics:
    """EMVA 1288 characteristics. e⁻: electrons in one pixel; photons: on one pixel during the exposure.

    gain: K, DN/e⁻; responsivity: R, DN per unit of exposure; quantum_efficiency: η = R/K, None without
    photometer; dark_noise_e: σ_d, an upper bound when quantisation_limited; threshold: exposure with SNR = 1;
    dynamic_range: saturation/threshold (a lower bound when quantisation_limited); dsnu_e, prnu: None without
    stacks; snr_max: √(saturation_e).
    """

    gain_dn_per_e: Slope
    responsivity: Slope
    quantum_efficiency: float | None
    dark_noise_e: float
    dark_mean_dn: float
    dark_variance_dn2: float
    quantisation_limited: bool
    saturation_index: int
    saturation_e: float
    saturation_photons: float | None
    threshold_e: float
    threshold_photons: float | None
    dynamic_range: float
    snr_max: float
    linearity: Linearity
    dsnu_e: float | None
    prnu: float | None
    dark_clipped_share: float

    @property
    def dynamic_range_db(self) -> float:
        return 20 * math.log10(self.dynamic_range)

    def snr(self, electrons: ArrayLike) -> NDArray[np.float64]:
        """Signal-to-noise ratio at a mean of `electrons` (= η·μ_p) collected in a pixel, shot-noise model."""
        mean = np.asarray(electrons, dtype=np.float64)
        noise = self.dark_noise_e**2 + QUANTISATION_DN2 / self.gain_dn_per_e.value**2
        return np.asarray(mean / np.sqrt(noise + mean))


def slope_through_origin(x: ArrayLike, y: ArrayLike) -> Slope:
    """Least-squares slope of y = a·x for shapes (n,), n ≥ 2; u stays right for noise growing with x (White
    1980).

    Raises NotEnoughDataError for fewer points or x = 0 throughout.
    """
    x, y = as_block(x, "x"), as_block(y, "y")
    square = float(np.dot(x, x))
    if len(x) != len(y) or len(x) < 2 or square == 0:
        raise NotEnoughDataError(f"a slope needs two points that are not at 0, got {len(x)}")
    a = float(np.dot(x, y)) / square
    scatter = x * (y - a * x)
    u = math.sqrt(float(np.dot(scatter, scatter)) * len(x) / (len(x) - 1)) / square
    return Slope(a, u)


def linearity(exposures: Float, response: Float) -> Linearity:
    """EMVA 1288 R4 linearity of `response` (dark subtracted, > 0) over `exposures`, shapes (n,), n ≥ 3.

    The caller selects 5 … 95 % of saturation. Raises NotEnoughDataError below three points.
    """
    if len(exposures) < 3:
        raise NotEnoughDataError(
            f"linearity needs 3 exposures in 5 … 95 % of saturation, got {len(exposures)}"
        )
    columns = np.stack([1 / response, exposures / response], axis=1)
    scale = np.abs(columns).max(axis=0)
    (a, b), *_ = np.linalg.lstsq(columns / scale, np.ones(len(response)), rcond=None)
    line = a / scale[0] + b / scale[1] * exposures
    deviations = (response - line) / line
    return Linearity(
        mean=float(np.abs(deviations).mean()),
        largest=float(deviations.max()),
        smallest=float(deviations.min()),
        exposures=exposures,
        deviations=deviations,
    )


def characterise(
    exposures: ArrayLike,
    bright: Sequence[PairMeans],
    dark: Sequence[PairMeans],
    *,
    photons: bool,
    dark_stack: StackMeans | None = None,
    half_stack: StackMeans | None = None,
) -> CameraCharacteristics:
    """Characteristics from one image pair per exposure and, for DSNU and PRNU, two stacks.

    exposures: ascending, shape (n,); photons per pixel if `photons` (a calibrated photometer), otherwise any
    measure proportional to the light (exposure time). bright: n pairs; dark: n pairs, or one if the exposure
    time was the same throughout. dark_stack, half_stack: without light and at about 50 % of saturation.
    Raises AnalysisError for unequal lengths, unordered exposures or a camera that never saturates, and
    NotEnoughDataError below 3 exposures up to 70 % of saturation.
    """
    light, darks = _matched(exposures, bright, dark)
    signal = np.array([b.mean_dn - d.mean_dn for b, d in zip(bright, darks, strict=True)])
    noise = np.array([b.variance_dn2 - d.variance_dn2 for b, d in zip(bright, darks, strict=True)])
    top = _saturation(bright)
    gain, responsivity = _photon_transfer(light[: top + 1], signal[: top + 1], noise[: top + 1])
    # the dark noise of the camera is that of the shortest exposure; longer ones add dark current
    sigma_d, threshold_e, limited = _dark_noise(darks[0].variance_dn2, gain.value)
    efficiency = responsivity.value / gain.value if photons else None
    # the response may bend before it saturates: saturation counts the light, times the slope of the origin
    saturation_e = float(light[top]) * responsivity.value / gain.value
    dsnu, prnu = _non_uniformity(dark_stack, half_stack, gain.value)
    return CameraCharacteristics(
        gain_dn_per_e=gain,
        responsivity=responsivity,
        quantum_efficiency=efficiency,
        dark_noise_e=sigma_d,
        dark_mean_dn=darks[0].mean_dn,
        dark_variance_dn2=darks[0].variance_dn2,
        quantisation_limited=limited,
        saturation_index=top,
        saturation_e=saturation_e,
        saturation_photons=float(light[top]) if photons else None,
        threshold_e=threshold_e,
        threshold_photons=threshold_e / efficiency if efficiency else None,
        dynamic_range=saturation_e / threshold_e,
        snr_max=math.sqrt(saturation_e),
        linearity=_linearity_within(light[: top + 1], signal[: top + 1]),
        dsnu_e=dsnu,
        prnu=prnu,
        dark_clipped_share=max(d.clipped_share for d in darks),
    )


def _matched(
    exposures: ArrayLike, bright: Sequence[PairMeans], dark: Sequence[PairMeans]
) -> tuple[Float, list[PairMeans]]:
    """The exposures, shape (n,), and n dark pairs; refuses what does not fit together."""
    light = as_block(exposures, "exposures")
    refuse_not_finite(light, 0, "exposures")
    if len(light) != len(bright) or len(dark) not in (1, len(bright)):
        raise AnalysisError(f"{len(light)} exposures, {len(bright)} bright pairs and {len(dark)} dark ones")
    if len(light) < 3 or np.any(np.diff(light) <= 0) or light[0] < 0:
        raise AnalysisError("exposures must be at least 3, not negative and ascending")
    return light, list(dark) * (len(bright) if len(dark) == 1 else 1)


def _saturation(bright: Sequence[PairMeans]) -> int:
    """Index of the exposure with the largest variance: beyond it clipping takes the noise away."""
    top = int(np.argmax([b.variance_dn2 for b in bright]))
    if top == len(bright) - 1:
        raise AnalysisError("the variance still grows at the largest exposure: expose until saturation")
    return top


def _photon_transfer(light: Float, signal: Float, noise: Float) -> tuple[Slope, Slope]:
    """(K, R) over 0 … 70 % of saturation, the last exposure given; shapes (n,), dark subtracted."""
    linear = np.flatnonzero(signal <= _FIT_SHARE * signal[-1])
    if len(linear) < 3:
        raise NotEnoughDataError(f"{len(linear)} exposures up to 70 % of saturation: three are needed")
    gain = slope_through_origin(signal[linear], noise[linear])
    if gain.value <= 0:
        raise AnalysisError("the variance does not grow with the mean: no shot noise, K cannot be found")
    return gain, slope_through_origin(light[linear], signal[linear])


def _linearity_within(light: Float, signal: Float) -> Linearity:
    """`linearity` over 5 … 95 % of saturation, the last exposure given; shapes (n,), dark subtracted."""
    low, high = (share * signal[-1] for share in _LINEARITY)
    within = np.flatnonzero((signal >= low) & (signal <= high))
    return linearity(light[within], signal[within])


def _dark_noise(dark_variance_dn2: float, gain: float) -> tuple[float, float, bool]:
    """(σ_d in e⁻, threshold in e⁻, quantisation-limited?)."""
    limited = dark_variance_dn2 < QUANTISATION_LIMIT_DN2
    variance = max(dark_variance_dn2, QUANTISATION_LIMIT_DN2)
    sigma_d = math.sqrt(variance - QUANTISATION_DN2) / gain
    return sigma_d, math.sqrt(variance / gain**2 + 0.25) + 0.5, limited


def _non_uniformity(
    dark: StackMeans | None, half: StackMeans | None, gain: float
) -> tuple[float | None, float | None]:
    """(DSNU in e⁻, PRNU as a share); a variance below 0 after the correction for noise means none was seen."""
    if dark is None:
        return None, None
    dsnu = math.sqrt(max(dark.spatial_variance_dn2, 0.0)) / gain
    if half is None:
        return dsnu, None
    rise = half.mean_dn - dark.mean_dn
    if rise <= 0:
        raise AnalysisError(f"the stack at 50 % is not brighter than the dark one ({rise:.3g} DN)")
    spatial = half.spatial_variance_dn2 - dark.spatial_variance_dn2
    return dsnu, math.sqrt(max(spatial, 0.0)) / rise


def defect_histogram(stack: StackMeans, bins: int = 256) -> tuple[NDArray[np.int64], Float]:
    """(counts, edges in DN) of the mean image's deviations from its mean, shapes (bins,) and (bins + 1,).

    EMVA 1288 R4 cl. 8.4: plotted with a logarithmic count, defect pixels stand apart from the parabola of the
    normal spread.
    """
    deviations = stack.mean_image_dn - stack.mean_dn
    counts, edges = np.histogram(deviations, bins)
    return counts.astype(np.int64), edges
