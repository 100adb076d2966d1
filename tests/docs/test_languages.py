"""The Chinese README says what the English one says: the same commands and names, the same links, room by room."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OTHER = {"README.md", "README.zh.md"}


def outline(text: str) -> list[dict[str, Counter[str]]]:
    """What does not depend on the language, section by section."""
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        fences = re.findall(r"```.*?```", section, re.DOTALL)
        prose = re.sub(r"```.*?```", "", section, flags=re.DOTALL)
        found.append(
            {
                "links": Counter(t for t in re.findall(r"\]\(([^)]+)\)", prose) if t not in OTHER),
                "code": Counter(re.findall(r"`([^`\n]+)`", prose)),
                "blocks": Counter(
                    re.sub(r" +#.*", "", line) for fence in fences for line in fence.splitlines()
                ),
                "marks": Counter(
                    re.findall(r"\b[A-Z]{3}-[A-Z]+\b|\[[VP]\]|Apache-2\.0|Python 3\.\d+", prose)
                ),
                "rows": Counter(re.findall(r"^\|", prose, re.MULTILINE)),
            }
        )
    return found


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_both_say_the_same() -> None:
    english, chinese = outline(read("README.md")), outline(read("README.zh.md"))
    assert len(english) == len(chinese)
    for here, there in zip(english, chinese, strict=True):
        assert here == there


def test_each_leads_to_the_other() -> None:
    assert "(README.zh.md)" in read("README.md")
    assert "(README.md)" in read("README.zh.md")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("$ make demo ", "$ make demonstration "),
        ("`make gazebo`", "`make gz`"),
        ("docs/how-to/lock-out.md", "docs/how-to/import-data.md"),
        ("RED-TE", "RED-XX"),
    ],
)
def test_a_difference_is_seen(old: str, new: str) -> None:
    text = read("README.zh.md")
    assert old in text
    assert outline(text.replace(old, new, 1)) != outline(text)
