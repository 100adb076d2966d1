"""EMVA 1288: T-CAM of the protocol specification, exactness of the pixel sums, merging, refusals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from verification_platform.analysis.emva1288 import (
    CameraCharacteristics,
    characterise,
    defect_histogram,
    linearity,
    slope_through_origin,
)
from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError, NotMergeableError
from verification_platform.analysis.pixel_sums import (
    PairMeans,
    PairSums,
    StackSums,
    pair_means,
    stack_means,
)

OFFSET, BITS = 100.0, 12


class Camera:
    """A camera of known truth: Poisson electrons, dark noise, fixed patterns, gain, rounding, clipping."""

    def __init__(
        self, K: float, sigma_d: float, dsnu: float, prnu: float, eta: float, size: int = 256
    ) -> None:
        self.rng = np.random.default_rng(1288)
        self.K, self.sigma_d, self.eta, self.shape = K, sigma_d, eta, (size, size)
        self.dark_pattern = dsnu * self.rng.standard_normal(self.shape)
        self.light_pattern = 1 + prnu * self.rng.standard_normal(self.shape)

    def image(self, photons: float) -> np.ndarray:
        mean = self.eta * photons * self.light_pattern
        electrons = self.rng.poisson(mean) + self.dark_pattern
        electrons = electrons + self.sigma_d * self.rng.standard_normal(self.shape)
        return np.clip(np.rint(OFFSET + self.K * electrons), 0, 2**BITS - 1).astype(np.uint16)

    def pair(self, photons: float) -> PairMeans:
        return pair_means(self.image(photons), self.image(photons), BITS)

    def characteristics(
        self, photons: np.ndarray, stacks: int, calibrated: bool = True
    ) -> CameraCharacteristics:
        dark, half = StackSums(BITS), StackSums(BITS)
        for _ in range(stacks):
            dark.update(self.image(0))
            half.update(self.image(float(photons[-1]) / 2))
        return characterise(
            photons,
            [self.pair(float(p)) for p in photons],
            [self.pair(0.0)],
            photons=calibrated,
            dark_stack=dark.result(),
            half_stack=half.result(),
        )


def test_T_CAM() -> None:
    camera = Camera(K=0.5, sigma_d=10.0, dsnu=5.0, prnu=0.01, eta=0.6)
    r = camera.characteristics(np.linspace(0, 8400 / 0.6, 50), stacks=50)
    assert r.gain_dn_per_e.value == pytest.approx(0.500, rel=0.015)
    assert abs(r.gain_dn_per_e.value - 0.5) < 4 * r.gain_dn_per_e.u
    assert r.dark_noise_e == pytest.approx(10.0, rel=0.03)
    assert r.dsnu_e == pytest.approx(5.0, rel=0.04)
    assert r.prnu == pytest.approx(0.01, rel=0.04)
    assert r.quantum_efficiency == pytest.approx(0.600, rel=0.02)
    assert r.linearity.mean < 1e-3
    assert float(r.snr(4000.0)) == pytest.approx(62.47, rel=0.01)
    assert 7200 <= r.saturation_e <= 8000
    assert not r.quantisation_limited
    # μ_p.min = (√(σ_d² + σ_q²/K² + ¼) + ½)/η
    assert r.threshold_photons == pytest.approx((math.sqrt(100 + 1 / 3 + 0.25) + 0.5) / 0.6, rel=0.03)
    assert r.dynamic_range == pytest.approx(r.saturation_photons / r.threshold_photons)
    assert 10 ** (r.dynamic_range_db / 20) == pytest.approx(r.dynamic_range)
    assert r.dark_clipped_share == 0


def test_T_CAM_quantisation_limited() -> None:
    camera = Camera(K=0.05, sigma_d=3.0, dsnu=0.0, prnu=0.01, eta=0.6)
    r = camera.characteristics(np.linspace(0, 84000 / 0.6, 50), stacks=4)
    assert r.dark_variance_dn2 < 0.24
    assert r.quantisation_limited
    assert r.dark_noise_e == pytest.approx(0.40 / r.gain_dn_per_e.value, rel=0.015)
    assert r.dark_noise_e > 3.0


def test_without_a_photometer_nothing_is_said_about_photons() -> None:
    camera = Camera(K=0.5, sigma_d=10.0, dsnu=5.0, prnu=0.01, eta=0.6, size=128)
    r = camera.characteristics(np.linspace(0, 8400 / 0.6, 50), stacks=16, calibrated=False)
    assert (r.quantum_efficiency, r.saturation_photons, r.threshold_photons) == (None, None, None)
    assert r.gain_dn_per_e.value == pytest.approx(0.5, rel=0.03)
    assert r.dsnu_e == pytest.approx(5.0, rel=0.08)


def test_pair_sums_are_exact_on_1000_random_pairs() -> None:
    rng = np.random.default_rng(1)
    for _ in range(1000):
        bits = int(rng.integers(8, 17))
        shape = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
        dtype = np.uint8 if bits == 8 and rng.random() < 0.5 else np.uint16
        high = int(rng.integers(1, 2**bits))
        a, b = (rng.integers(0, high, shape, endpoint=True).astype(dtype) for _ in range(2))
        r = pair_means(a, b, bits)
        d = a.astype(np.int64) - b.astype(np.int64)
        assert r.mean_dn == (int(a.sum()) + int(b.sum())) / (2 * a.size)
        assert r.variance_dn2 == pytest.approx(0.5 * d.var(), rel=1e-12, abs=1e-12)
        assert r.at_zero == int((a == 0).sum() + (b == 0).sum())
        assert r.at_full_scale == int((a == 2**bits - 1).sum() + (b == 2**bits - 1).sum())


def test_stack_sums_agree_with_numpy_on_1000_random_stacks() -> None:
    rng = np.random.default_rng(2)
    for _ in range(1000):
        bits = int(rng.integers(8, 17))
        shape = tuple(int(v) for v in rng.integers((2, 3, 3), (20, 20, 20)))
        images = rng.integers(0, 2**bits, shape).astype(np.uint16)
        r = stack_means(images, bits)
        mean = images.mean(axis=0)
        assert r.mean_dn == pytest.approx(mean.mean(), rel=1e-14)
        assert r.temporal_variance_dn2 == pytest.approx(images.var(axis=0, ddof=1).mean(), rel=1e-12)
        assert r.measured_variance_dn2 == pytest.approx(mean.var(ddof=1), rel=1e-10)
        assert np.array_equal(r.mean_image_dn, mean)
        parts = r.row_variance_dn2 + r.column_variance_dn2 + r.pixel_variance_dn2
        assert parts == pytest.approx(r.spatial_variance_dn2, abs=1e-9 * r.measured_variance_dn2)


def test_long_stacks_of_16_bits_stay_exact() -> None:
    rng = np.random.default_rng(3)
    images = np.concatenate([np.zeros((300, 5, 6)), rng.integers(0, 65536, (300, 5, 6))]).astype(np.uint16)
    images[:, 0, 0] = 65535
    r = stack_means(images, 16)
    assert r.measured_variance_dn2 == pytest.approx(images.mean(axis=0).var(ddof=1), rel=1e-12)
    assert r.temporal_variance_dn2 == pytest.approx(images.var(axis=0, ddof=1).mean(), rel=1e-12)


def test_any_partition_and_order_gives_the_identical_result() -> None:
    rng = np.random.default_rng(4)
    a, b = (rng.integers(0, 4096, (301, 257)).astype(np.uint16) for _ in range(2))
    stack = rng.integers(0, 4096, (24, 31, 37)).astype(np.uint16)
    whole_pair, whole_stack = pair_means(a, b, 12), stack_means(stack, 12)
    for _ in range(200):
        cuts = [0, *sorted(rng.choice(np.arange(1, 301), 4, replace=False).tolist()), 301]
        pairs = []
        for lo, hi in itertools.pairwise(cuts):
            pairs.append(PairSums(12))
            pairs[-1].update(a[lo:hi], b[lo:hi])
        stacks = []
        for part in np.array_split(rng.permutation(24), int(rng.integers(1, 8))):
            stacks.append(StackSums(12))
            stacks[-1].update(stack[part])
        for accumulators in (pairs, stacks):
            while len(accumulators) > 1:
                i, j = rng.choice(len(accumulators), 2, replace=False)
                accumulators[i].merge(accumulators[j])
                accumulators.pop(int(j))
        assert pairs[0].result() == whole_pair
        merged = stacks[0].result()
        assert np.array_equal(merged.mean_image_dn, whole_stack.mean_image_dn)
        assert merged.temporal_variance_dn2 == whole_stack.temporal_variance_dn2
        assert merged.spatial_variance_dn2 == whole_stack.spatial_variance_dn2


def test_rows_columns_and_pixels_are_told_apart() -> None:
    rng = np.random.default_rng(5)
    pattern = 3 * rng.standard_normal((400, 1)) + 2 * rng.standard_normal((1, 300))
    pattern = pattern + 4 * rng.standard_normal((400, 300))
    images = 1000 + pattern + 6 * rng.standard_normal((32, 400, 300))
    r = stack_means(np.rint(images).astype(np.uint16), 12)
    assert math.sqrt(r.row_variance_dn2) == pytest.approx(3, rel=0.1)
    assert math.sqrt(r.column_variance_dn2) == pytest.approx(2, rel=0.12)
    assert math.sqrt(r.pixel_variance_dn2) == pytest.approx(4, rel=0.01)


def test_a_hot_pixel_stands_apart_in_the_histogram() -> None:
    images = np.full((4, 16, 16), 100, np.uint16)
    images[:, 3, 3] = 900
    counts, edges = defect_histogram(stack_means(images, 12), bins=32)
    assert counts.sum() == 256
    assert counts[-1] == 1
    assert edges[-1] == pytest.approx(800, abs=5)


def test_linearity_is_relative_and_exact_for_a_line() -> None:
    x = np.linspace(1, 20, 30)
    assert linearity(x, 7 * x + 3).mean < 1e-14
    bent = linearity(x, 7 * x * (1 + 0.01 * np.sin(x)))
    assert 0.004 < bent.mean < 0.008
    assert bent.smallest < 0 < bent.largest


def test_the_uncertainty_of_the_slope_is_that_of_the_scatter() -> None:
    rng = np.random.default_rng(6)
    x = np.linspace(1, 100, 50)
    slopes = [slope_through_origin(x, 0.5 * x + 0.01 * x * rng.standard_normal(50)) for _ in range(1000)]
    spread = np.std([s.value for s in slopes])
    assert np.mean([s.u for s in slopes]) == pytest.approx(spread, rel=0.1)


def test_what_is_refused() -> None:
    image = np.full((4, 4), 4095, np.uint16)
    with pytest.raises(AnalysisError, match="float64"):
        pair_means(image.astype(float), image.astype(float), 12)  # type: ignore[arg-type]
    with pytest.raises(AnalysisError, match="full scale 1023"):
        pair_means(image, image, 10)
    with pytest.raises(AnalysisError, match="differ"):
        pair_means(image, image[:2], 12)
    with pytest.raises(AnalysisError, match="8 to 16 bits"):
        PairSums(24)
    with pytest.raises(NotEnoughDataError):
        stack_means(image, 12)
    with pytest.raises(NotMergeableError):
        PairSums(12).merge(PairSums(10))
    wide, narrow = StackSums(12), StackSums(12)
    wide.update(np.zeros((2, 4, 6), np.uint16))
    narrow.update(np.zeros((2, 4, 4), np.uint16))
    with pytest.raises(NotMergeableError, match="do not mix"):
        wide.merge(narrow)


def test_a_camera_that_never_saturates_is_refused() -> None:
    pairs = [PairMeans(100.0 + k, 1.0 + k / 2, 100, 0, 0) for k in range(10)]
    with pytest.raises(AnalysisError, match="until saturation"):
        characterise(np.arange(10.0), pairs, pairs[:1], photons=False)
    with pytest.raises(AnalysisError, match="ascending"):
        characterise(np.zeros(10), pairs, pairs[:1], photons=False)
    with pytest.raises(AnalysisError, match="bright pairs"):
        characterise(np.arange(9.0), pairs, pairs[:1], photons=False)
