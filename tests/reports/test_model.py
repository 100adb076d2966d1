"""Report data: one JSON spelling, bit for bit; drafts; overall verdict."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from collections.abc import Callable

import pytest

from reports import ReportError, model
from reports.differences import first_difference
from reports.source import load_lab
from verification_platform.metrology.result import RunStatus, Verdict

Changed = Callable[..., model.ReportData]


def test_json_brings_back_every_bit(report: model.ReportData) -> None:
    text = model.to_json(report)
    again = model.from_json(text)
    assert model.to_json(again) == text
    assert again.runs[0].results == report.runs[0].results
    assert again.runs[0].results[0].budget[0].nu == math.inf
    assert again.order == report.order


def test_results_json_names_run_and_seal(report: model.ReportData) -> None:
    tables = json.loads(model.results_json(report))
    assert [run["protocol"] for run in tables["runs"]] == ["RED-TE", "RED-HYS", "RED-NL"]
    assert tables["runs"][0]["seal_sha256"] == report.runs[0].seal.sha256  # type: ignore[union-attr]
    assert tables["runs"][0]["results"][0]["value"] == report.runs[0].results[0].value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "not a report of this software"),
        (b'{"schema": "pilotbench.report/1"}', "number"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(text: bytes, says: str) -> None:
    with pytest.raises(ReportError, match=says) as caught:
        model.from_json(text)
    assert "\n" not in str(caught.value)


def test_without_authorising_signature_it_is_a_draft(changed: Changed) -> None:
    day = dt.date(2026, 10, 13)
    assert changed().draft
    assert changed(signatories=(model.Signatory("checked", "someone", day),)).draft
    assert not changed(signatories=(model.Signatory("authorised", "someone", day),)).draft


def test_overall_verdict_is_the_worst_and_an_invalid_run_leaves_none(report: model.ReportData) -> None:
    assert report.verdict is Verdict.CONDITIONAL_PASS
    invalid = dataclasses.replace(report.runs[0], status=RunStatus.INVALID)
    assert dataclasses.replace(report, runs=(invalid,)).verdict is Verdict.INCONCLUSIVE
    assert dataclasses.replace(report, runs=()).verdict is Verdict.NONE


def test_the_time_stamp_is_that_of_the_data(report: model.ReportData, changed: Changed) -> None:
    assert report.moment == max(run.ended for run in report.runs if run.ended)
    assert changed(issued=dt.date(2026, 10, 20)).moment == dt.datetime(2026, 10, 20, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("left", "right", "place"),
    [
        ([{"quantity": "TE_pp", "U": 1.0}], [{"quantity": "TE_pp", "U": 1.5}], "[0] (TE_pp).U: 1.0 instead of 1.5"),
        ([0.0], [-0.0], "[0]: 0.0 instead of -0.0"),
        ([1], [1.0], "[0]: 1 instead of 1.0"),
        ([1, 2], [1], ": 2 entries, 1 expected"),
        ({"a": 1}, {}, ".a: should not be there"),
        ({}, {"a": 1}, ".a: missing"),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}, ""),
    ],
)  # fmt: skip
def test_first_difference_names_the_place(left: object, right: object, place: str) -> None:
    assert first_difference(left, right) == place


def test_modified_methods_are_based_on(report: model.ReportData) -> None:
    run = report.runs[0]
    pure = dataclasses.replace(run, deviations=(), parameters=())
    assert run.modified
    assert not pure.modified


def test_lab_file(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "lab.toml"
    path.write_text(
        '[lab]\nname = { zh = "贵实验室", en = "Your laboratory" }\n'
        '[customer]\nname = "Your customer 贵客户"\n[item]\nreceived = 2026-10-01\n',
        encoding="utf-8",
    )
    found = load_lab(path)
    assert found.lab.name is not None
    assert found.lab.name.en == "Your laboratory"
    assert found.item.received == dt.date(2026, 10, 1)
    assert load_lab(None).lab.name is None
    path.write_text("[lab]\nnmae = 1\n", encoding="utf-8")
    with pytest.raises(ReportError, match="nmae"):
        load_lab(path)
    with pytest.raises(ReportError, match="cannot be read"):
        load_lab(path.parent / "none.toml")
