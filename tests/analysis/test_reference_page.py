"""docs/reference/analysis.md says what the docstrings say."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from ..loading import load_script

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return load_script("docs/generate_analysis_reference.py")


def test_the_page_is_fresh(generator: ModuleType) -> None:
    written = generator.PAGE.read_text(encoding="utf-8")
    assert written == generator.page(), "stale: run `python docs/generate_analysis_reference.py`"


def test_everything_public_is_there_and_described(generator: ModuleType) -> None:
    text = generator.page()
    for entry in ("## transmission_error", "### class `Moments()`", "### `wind_up(", "## iso9283.pose"):
        assert entry in text
    undescribed = [
        line
        for line, following in zip(text.splitlines(), text.splitlines()[2:], strict=False)
        if line.startswith("### ") and (not following or following.startswith(("#", "Fields")))
    ]
    assert undescribed == []
