"""Foreign peers of the conformance tests: skipped where they are not installed, never in CI."""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

T = TypeVar("T")


def needed(found: T | None, what: str, mend: str) -> T:
    """The peer that was looked for. Where it is missing the test is skipped with how to `mend` that, and fails in CI."""
    if found is not None:
        return found
    message = f"{what} is not installed: {mend}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
