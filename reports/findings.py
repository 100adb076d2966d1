"""What a check of a report found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: where, what was found, and whether it holds, fails, or could not be made."""

    place: str
    what: str
    state: Literal["ok", "failed", "unchecked"] = "failed"

    @property
    def ok(self) -> bool:
        return self.state == "ok"


@dataclass(frozen=True, slots=True)
class Verification:
    """All findings, in the order they were made."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Every check was made and holds. A check that could not be made is no pass."""
        return bool(self.findings) and all(finding.ok for finding in self.findings)

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.state == "failed")
