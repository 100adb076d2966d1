"""A report that another version of the software made: what is said when a last digit differs, and what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports import ReportFiles, model, pdf, source, verify, verify_recordings, verify_report, versions
from verification_platform.engine.evaluation import Evaluated
from verification_platform.engine.protocol import Text

THIS = model.Software("pilotbench", "0.2.0", "bbbbbbbbbbbb")


@pytest.fixture
def made_by(
    files: ReportFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Path, model.ReportData]]:
    """The report as version 0.1.0 of that commit made it, while this is `THIS`."""

    def made(commit: str) -> tuple[Path, model.ReportData]:
        for module in (verify, verify_recordings):
            monkeypatch.setattr(module, "here", lambda: THIS)
        data = model.from_json(files.json.read_bytes())
        typeset = dataclasses.replace(
            data.typesetting, pilotbench=model.Software("pilotbench", "0.1.0", commit)
        )
        data = dataclasses.replace(data, typesetting=typeset)
        path = tmp_path / "old report.pdf"
        path.write_bytes(pdf.render(data))
        return path, data

    return made


@pytest.fixture
def compute(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[float], float]], None]:
    """This version computes another value of every result."""
    real = source.evaluate_run

    def install(change: Callable[[float], float]) -> None:
        def evaluate(*arguments: object, **options: object) -> Evaluated:
            found = real(*arguments, **options)  # type: ignore[arg-type]
            results = tuple(dataclasses.replace(r, value=change(r.value)) for r in found.results)
            return dataclasses.replace(found, results=results)

        monkeypatch.setattr(source, "evaluate_run", evaluate)

    return install


def last_bit(value: float) -> float:
    return float(np.nextafter(value, np.inf))


def advice_of(path: Path, folder: Path) -> Text:
    outcome = verify_report(path, folder)
    assert not outcome.ok
    assert outcome.advice is not None
    return outcome.advice


def test_a_last_bit_fails_and_is_explained(made_by: Any, compute: Any, run_folder: Path) -> None:
    path, data = made_by("aaaaaaaaaaaa")
    compute(last_bit)
    outcome = verify_report(path, run_folder)
    (failure,) = outcome.failures
    value = data.runs[0].results[0].value
    assert failure.place == "TST-SWING: results[0] (TE_pp).value"
    assert f"the report says {value!r}, the recording gives {last_bit(value)!r}" in failure.what
    assert f"a difference of {last_bit(value) - value:.1g}, " in failure.what
    assert "report made with pilotbench 0.1.0 (commit aaaaaaaaaaaa)" in failure.what
    assert "this is pilotbench 0.2.0 (commit bbbbbbbbbbbb)" in failure.what
    advice = advice_of(path, run_folder)
    assert "last digits only" in advice.en
    assert "仅涉及末位数字" in advice.zh
    assert "This is no pass" in advice.en
    assert "不算通过" in advice.zh
    for text in (advice.zh, advice.en):
        assert "git worktree add ../pilotbench-aaaaaaaaaaaa aaaaaaaaaaaa\n" in text
        assert "make -C ../pilotbench-aaaaaaaaaaaa setup\n" in text
        assert f"pilotbench verify '{path}' --recording {run_folder}" in text
        assert "commit bbbbbbbbbbbb" in text or "提交 bbbbbbbbbbbb" in text


def test_more_than_rounding_is_not_explained_away(made_by: Any, compute: Any, run_folder: Path) -> None:
    path, _ = made_by("aaaaaaaaaaaa")
    compute(lambda value: value * 1.001)
    advice = advice_of(path, run_folder)
    assert "larger than rounding" in advice.en
    assert "差异大于舍入" in advice.zh
    assert "last digits" not in advice.en


def test_the_same_version_gets_no_excuse(made_by: Any, compute: Any, run_folder: Path) -> None:
    path, data = made_by(THIS.commit)
    same = dataclasses.replace(data, typesetting=dataclasses.replace(data.typesetting, pilotbench=THIS))
    path.write_bytes(pdf.render(same))
    compute(last_bit)
    outcome = verify_report(path, run_folder)
    assert outcome.failures
    assert outcome.advice is None


def test_a_report_of_another_version_that_verifies_needs_no_advice(made_by: Any, run_folder: Path) -> None:
    path, _ = made_by("aaaaaaaaaaaa")
    outcome = verify_report(path, run_folder)
    assert outcome.ok
    assert outcome.advice is None


def test_a_flipped_byte_is_not_blamed_on_a_version(made_by: Any, run_folder: Path) -> None:
    path, _ = made_by("aaaaaaaaaaaa")
    content = bytearray(path.read_bytes())
    content[12] ^= 1  # a comment that readers look away from
    path.write_bytes(content)
    outcome = verify_report(path, run_folder)
    assert outcome.failures
    assert outcome.advice is None


@pytest.mark.parametrize(("commit", "says"), [("aaaaaaaaaaaa+", "not committed"), ("", "pilotbench 0.1.0")])
def test_a_version_that_no_commit_names(
    made_by: Any, compute: Any, run_folder: Path, commit: str, says: str
) -> None:
    path, _ = made_by(commit)
    compute(last_bit)
    advice = advice_of(path, run_folder)
    assert says in advice.en
    assert "+ " not in advice.en.partition("git")[2].partition("verify")[0]
    assert ("git worktree" in advice.en) == bool(commit)


def test_rounding_is_far_below_what_a_report_prints() -> None:
    assert versions.ROUNDING < 1e-8
