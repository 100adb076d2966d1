"""The exceptions of the analysis core: refuse with one clear line, never answer with a doubtful number.

    AnalysisError                something about the data or the request makes the answer meaningless
    ├── NotFiniteError           NaN or infinity where only numbers are allowed (first index stated)
    ├── NotEnoughDataError       too few samples, cycles, failures … for what was asked
    └── NotMergeableError        two accumulators of different settings

`AnalysisError` is a ValueError: a caller who knows nothing of this package can still catch it.
"""

from __future__ import annotations


class AnalysisError(ValueError):
    """Base of every refusal of the analysis core."""


class NotFiniteError(AnalysisError):
    """A NaN or an infinity in data that must be finite."""


class NotEnoughDataError(AnalysisError):
    """Fewer data than the characteristic needs."""


class NotMergeableError(AnalysisError):
    """Accumulators whose settings differ have no common result."""
