"""What a check of a report found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from verification_platform.engine.protocol import Text


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: where, what was found, and whether it holds, fails, or could not be made.

    `deviation` is the largest relative difference of a recomputed number; infinite where more than numbers differ.
    """

    place: str
    what: str
    state: Literal["ok", "failed", "unchecked"] = "failed"
    deviation: float = 0.0

    @property
    def ok(self) -> bool:
        return self.state == "ok"


@dataclass(frozen=True, slots=True)
class Verification:
    """All findings, in the order they were made. `advice`: what probably happened and what to do, for a reader who knows
    the report but not the software; None where the findings say it all."""

    findings: tuple[Finding, ...]
    advice: Text | None = None

    @property
    def ok(self) -> bool:
        """Every check was made and holds. A check that could not be made is no pass."""
        return bool(self.findings) and all(finding.ok for finding in self.findings)

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.state == "failed")
