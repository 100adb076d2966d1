"""Bringing channels of differently sampled groups together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drivers.device import Quality
from verification_platform.metrology.records import ChannelRecord

from .errors import RecordingError
from .recording import Samples

#: Longest stretch without a sample that may be bridged, in periods; the tenth is for jitter of the stamps.
MAX_BRIDGE_PERIODS = 2.1


def interpolate(
    at_s: NDArray[np.float64], samples: Samples, record: ChannelRecord, where: str
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Values (n,) of one channel at the stamps `at_s` (n,), linear between neighbours, and their quality
    (n,).

    The quality is the worse of both neighbours'; outside the samples the nearest one is held and flagged
    SUBSTITUTED.
    Raises RecordingError where neighbours, or the nearest sample, are more than two periods away.
    """
    stamps, values, flags = samples.stamps_s, samples.values[:, 0], samples.quality[:, 0]
    if not len(stamps):
        raise RecordingError(
            f"{where}: channel {record.name} has no sample anywhere near; it cannot be aligned"
        )
    steps = np.diff(stamps)
    if np.any(steps <= 0):
        raise RecordingError(f"{where}: stamps of channel {record.name} do not rise; it cannot be aligned")
    period = 1.0 / record.rate_hz if record.rate_hz > 0 else float(np.median(steps)) if len(steps) else 0.0
    right = np.clip(np.searchsorted(stamps, at_s, side="left"), 0, len(stamps) - 1)
    left = np.where((stamps[right] == at_s) | (right == 0), right, right - 1)
    left = np.where(at_s > stamps[-1], right, left)
    outside = (at_s < stamps[0]) | (at_s > stamps[-1])
    bridged = np.where(outside, np.abs(at_s - stamps[right]), stamps[right] - stamps[left])
    worst = int(np.argmax(bridged))
    if bridged[worst] > MAX_BRIDGE_PERIODS * period:
        raise RecordingError(
            f"{where}: channel {record.name} has no sample for {bridged[worst]:.6g} s "
            f"around {at_s[worst]:.6f} s (period {period:.6g} s); more than two periods are not bridged"
        )
    quality = np.maximum(flags[left], flags[right])
    quality[outside] = np.maximum(quality[outside], Quality.SUBSTITUTED)
    return np.interp(at_s, stamps, values), quality
