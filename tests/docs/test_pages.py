"""What README and docs speak of exists: pages and their headings, files, modules, targets of make, commands and their options."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from verification_platform.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
#: Generated from the code, which a test of its own compares.
GENERATED = ROOT / "docs" / "reference" / "analysis.md"

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
MODULE = re.compile(r"\b(?:verification_platform|drivers|test_protocols|reports|benchmarks)(?:\.\w+)+")
PATH = re.compile(
    r"(?<![\w./~-])((?:verification_platform|drivers|tests|docs|benchmarks|benches|duts|examples|launch|ros_ws|reports|test_protocols"
    r"|requirements)/[\w./*-]*)"
)
#: A name that the reader puts in: drivers/FAMILY/models/NAME.toml.
PLACEHOLDER = re.compile(r"[A-Z]{3,}")
#: What `make setup` and `colcon build` put there.
BUILT = ("ros_ws/install", "ros_ws/build", "ros_ws/log")


def page(path: Path) -> Any:
    return pytest.param(path, id=str(path.relative_to(ROOT)))


EACH = pytest.mark.parametrize("path", [page(p) for p in PAGES])


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def prose_of(path: Path) -> str:
    return FENCE.sub("", text_of(path))


@cache
def headings(path: Path) -> frozenset[str]:
    """Anchors as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose_of(path), re.MULTILINE)
    return frozenset(
        re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", t)).strip().lower().replace(" ", "-")
        for t in titles
    )


@cache
def tracked() -> frozenset[str]:
    """Every file of the repository, and every folder."""
    files = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return frozenset([*files, *(str(parent) for file in files for parent in Path(file).parents)])


def code_of(path: Path) -> Iterator[str]:
    """Inline code and fenced blocks."""
    yield from FENCE.findall(text_of(path))
    yield from CODE.findall(prose_of(path))


@EACH
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(prose_of(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), f"{path}: no {target}"
        assert found.is_relative_to(ROOT), f"{path}: {target} leads out of the repository"
        if anchor:
            assert anchor in headings(found), f"{path}: {found.name} has no heading {anchor!r}"


@EACH
def test_files_exist(path: Path) -> None:
    names = {Path(file).name for file in tracked()}
    for code in code_of(path):
        for match in PATH.findall(code):
            if match.startswith(BUILT):
                continue
            wanted = PLACEHOLDER.sub("*", match.rstrip("./"))
            pattern = re.compile(re.escape(wanted).replace(r"\*", "[^/]*") + r"(/.*)?")
            assert any(pattern.fullmatch(file) for file in tracked()), f"{path}: no file {match}"
        for name in re.findall(r"(?<![\w/*.-])([\w-]+\.(?:py|hh|cc|sdf|world|typ))\b", code):
            assert name in names or name.startswith("my_"), f"{path}: no file is called {name}"


@EACH
def test_modules_exist(path: Path) -> None:
    if path == GENERATED:
        return
    for code in code_of(path):
        for dotted in MODULE.findall(code):
            if dotted.rpartition(".")[2] in ("py", "toml", "md"):
                continue
            assert _exists(dotted), f"{path}: no module or name {dotted}"


def _exists(dotted: str) -> bool:
    """A module, or what a module defines."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if place.is_dir() and length == len(parts):
            return True
        if file.exists():
            rest = parts[length:]
            return all(re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")) for name in rest)
    return False


@EACH
def test_targets_of_make_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for code in code_of(path):
        for target in re.findall(r"(?:^|[\s`(])make ((?!-)[a-z-]+)", code):
            assert target in targets, f"{path}: make {target}"


@EACH
def test_extras_exist(path: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    for code in code_of(path):
        for listed in re.findall(r"pip install (?:-e )?'?(?:pilotbench|\.)\[([\w,-]+)\]", code):
            assert set(listed.split(",")) <= set(extras), f"{path}: no extra {listed}"


COMMANDS: Any = typer.main.get_command(app)


@EACH
def test_commands_and_their_options_exist(path: Path) -> None:
    for code in code_of(path):
        joined = code.replace("\\\n", " ")
        lines = re.findall(r"(?:^|[\s/])pilotbench ((?:[a-z]|--?\w)[^\n#]*)", joined)
        lines += [code] if re.match(r"bench [a-z]+\b", code) else []  # the table of commands is that short
        for line in lines:
            complaint = complain(line)
            assert not complaint, f"{path}: pilotbench {line.strip()}: {complaint}"


def complain(line: str) -> str:
    """What `pilotbench` would not know in this line; empty when nothing."""
    words = re.sub(r"[\[\]|`]", " ", line).replace("\\", " ").split()
    known, command = {option for p in COMMANDS.params for option in p.opts}, COMMANDS
    for word in words:
        if hasattr(command, "commands") and not word.startswith("-"):
            if word not in command.commands:
                return f"no command {word!r}"
            command = command.commands[word]
            known |= {option for p in command.params for option in p.opts}
        elif word.startswith("--") and word.partition("=")[0] not in {*known, "--help"}:
            return f"no option {word!r}"
    return ""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("run RED-TE --bench FILE --set x=1", ""),
        ("--debug verify report.pdf", ""),
        ("bench check FILE [--json]", ""),
        ("bench chek FILE", "no command 'chek'"),
        ("fly", "no command 'fly'"),
        ("verify REPORT [--recordings DIR]", "no option '--recordings'"),
    ],
)
def test_the_check_of_commands_can_fail(line: str, says: str) -> None:
    assert complain(line) == says


def test_the_checks_of_names_can_fail() -> None:
    assert _exists("verification_platform.records.cluster")
    assert _exists("verification_platform.analysis.vision.pose_repeatability")
    assert not _exists("verification_platform.records.clusters")
    assert not _exists("verification_platform.analysis.vision.pose_repeatable")
    assert "limits" in headings(ROOT / "docs" / "reference" / "bench-description.md")
    assert "drivers/bus" in tracked()
    assert "drivers/train" not in tracked()
