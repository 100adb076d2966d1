"""Exit codes and the one way a command ends with an error: one clear line, no traceback.

The codes are a contract (docs/reference/command-line.md): scripts rely on them.
"""

from __future__ import annotations

from enum import IntEnum

from verification_platform.metrology.result import RunStatus, Verdict


class ExitCode(IntEnum):
    OK = 0  # verdict pass, or no verdict asked
    FAIL = 1  # verdict fail; a report that does not verify
    USAGE = 2  # bad usage or input
    INVALID = 3  # invalid or inconclusive run
    ABORTED = 4  # aborted by safety


class CommandError(Exception):
    """Ends the command with `code` and one line on standard error."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        self.code = code
        super().__init__(message)


_BY_STATUS = {
    RunStatus.INVALID: ExitCode.INVALID,
    RunStatus.INCONCLUSIVE: ExitCode.INVALID,
    RunStatus.ABORTED_SAFETY: ExitCode.ABORTED,
}
_BY_VERDICT = {
    Verdict.FAIL: ExitCode.FAIL,
    Verdict.CONDITIONAL_FAIL: ExitCode.FAIL,
    Verdict.INCONCLUSIVE: ExitCode.INVALID,
}


def exit_code(status: RunStatus, verdict: Verdict) -> ExitCode:
    """Exit code of a run: its standing first, then its verdict."""
    return _BY_STATUS.get(status) or _BY_VERDICT.get(verdict, ExitCode.OK)
