"""The PDF itself: what ISO/IEC 17025 asks for is on the paper, every byte is reproducible, nothing is dropped."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pikepdf
import pypdf
import pytest

from reports import MissingGlyphError, ReportError, model, pdf, typefaces
from reports.attachments import read_attachments
from verification_platform.engine.parameters import ParameterUse
from verification_platform.engine.protocol import Text
from verification_platform.metrology.result import Verdict

Changed = Callable[..., model.ReportData]


def text_of(content: bytes) -> str:
    """Text of all pages, white space normalised."""
    reader = pypdf.PdfReader(io.BytesIO(content))
    return " ".join(" ".join(page.extract_text() for page in reader.pages).split())


@pytest.fixture(scope="session")
def text(report_pdf: bytes) -> str:
    return text_of(report_pdf)


#: ISO/IEC 17025:2017 7.8.2.1: clause → what must be readable.
MANDATORY = {
    "a title": ("检测报告", "Test Report"),
    "b laboratory": ("地址", "Address", "实验室联系方式", "Laboratory contact"),
    "c place of activity": ("检测地点", "Place of activity"),
    "d unique number and clear end": ("报告编号", "Report No. DRAFT-20261012-3F2A91C0", "报告结束 End of report"),
    "e customer": ("客户", "Customer", "Customer contact"),
    "f method": ("参照 GB/T 35089-2018 第 8 条", "based on GB/T 35089-2018 cl. 8"),
    "g item": ("HR-25-100", "EMU-0001", "Condition on receipt"),
    "h date of receipt": ("收样日期", "Date of receipt"),
    "i dates of performance": ("2026-10-12 08:30:00Z", "2026-10-12 08:30:52Z"),
    "j date of issue": ("签发日期", "not issued"),
    "k sampling": ("抽样", "Sampling"),
    "l statement": ("本报告结果仅与所检样品有关", "The results relate only to the items tested."),
    "m results with units": ("62.4", "″", "N⋅m/rad", "mN⋅m"),
    "n deviations": ("Deviations, additions and exclusions", "未按规定温度稳定"),
    "o authorisation": ("批准", "Authorised by", "未签署 not signed"),
    "note reproduction": ("不得部分复制", "shall not be reproduced except in full"),
    "prototype": ("样品为中试样机", "do not represent series production"),
    "draft": ("DRAFT", "草稿"),
    "emulation": ("本报告的测量由仿真台架产生", "come from an emulated bench"),
    "decision rule": ("GUARD_U", "ILAC-G8", "PFA", "Probability of conformity"),
    "traceability": ("EMU-2026-0412", "EN2 SN 26-2003", "2027-06-01", "1.5"),
    "software": ("pilotbench 0.1.0", "0123456789ab"),
}  # fmt: skip


@pytest.mark.parametrize("clause", MANDATORY)
def test_mandatory_content_is_on_the_paper(text: str, clause: str) -> None:
    missing = [words for words in MANDATORY[clause] if words not in text]
    assert not missing


def test_number_and_page_of_pages_are_on_every_page(report_pdf: bytes) -> None:
    pages = pypdf.PdfReader(io.BytesIO(report_pdf)).pages
    for index, page in enumerate(pages, start=1):
        words = " ".join(page.extract_text().split())
        assert "DRAFT-20261012-3F2A91C0" in words
        assert f"第 {index} 页 / 共 {len(pages)} 页" in words
        assert f"Page {index} of {len(pages)}" in words


def test_what_is_not_known_is_said_and_not_invented(text: str) -> None:
    assert text.count("未填写 not stated") >= 6  # laboratory, address, customer, contact, site, receipt …


def test_seals_are_printed_whole(report: model.ReportData, text: str) -> None:
    for run in report.runs:
        assert run.seal is not None
        assert run.seal.sha256 in text.replace(" ", "") or run.seal.sha256 in text
        assert all(file.sha256 in text for file in run.seal.files)


def test_verdicts_limits_and_risk_are_printed(text: str) -> None:
    assert "有条件合格 Conditional pass" in text
    assert "PFA 20.30 %" in text
    assert "k = 2.00" in text


@pytest.mark.parametrize(
    ("languages", "has", "has_not"),
    [(("zh",), "检测报告", "Report No."), (("en",), "Report No.", "报告编号")],
)
def test_one_language_alone(
    changed: Changed, languages: tuple[model.Language, ...], has: str, has_not: str
) -> None:
    words = text_of(pdf.render(changed(languages=languages)))
    assert has in words
    assert has_not not in words


def test_authorised_reports_are_no_drafts(changed: Changed) -> None:
    day = dt.date(2026, 10, 13)
    signed = changed(
        signatories=(model.Signatory("authorised", "签字人占位 Placeholder", day),), issued=day, number="R-1"
    )
    words = text_of(pdf.render(signed))
    assert "DRAFT" not in words
    assert "草稿" not in words
    assert "2026-10-13" in words


def test_invalid_run_gets_no_verdict(report: model.ReportData) -> None:
    run = report.runs[1]
    results = tuple(dataclasses.replace(r, verdict=Verdict.NONE) for r in run.results)
    invalid = dataclasses.replace(
        run,
        status=model.RunStatus.INVALID,
        results=results,
        findings=(Text("丢失数据", "samples were lost"),),
    )
    words = text_of(pdf.render(dataclasses.replace(report, runs=(invalid,))))
    assert "无法判定 Inconclusive" in words
    assert "不判定" in words
    assert "samples were lost" in words


# ---------------------------------------------------------------------- the file


def test_same_data_same_bytes(report: model.ReportData, report_pdf: bytes) -> None:
    assert pdf.render(report) == report_pdf


def test_same_bytes_in_another_process_and_environment(
    report: model.ReportData, report_pdf: bytes, tmp_path: Path
) -> None:
    data = tmp_path / "report.json"
    data.write_bytes(model.to_json(report))
    code = (
        "import hashlib, pathlib, sys; from reports import model, pdf; "
        "print(hashlib.sha256(pdf.render(model.from_json(pathlib.Path(sys.argv[1]).read_bytes()))).hexdigest())"
    )
    environment = os.environ | {
        "TZ": "Asia/Shanghai",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "7",
        "TMPDIR": str(tmp_path),
        "SOURCE_DATE_EPOCH": "5",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(data)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == hashlib.sha256(report_pdf).hexdigest()


def test_it_is_tagged_and_says_so(report: model.ReportData, report_pdf: bytes) -> None:
    with pikepdf.open(io.BytesIO(report_pdf)) as document:
        assert bool(document.Root.MarkInfo.Marked)
        assert str(document.Root.Lang) == "zh-CN"
        with document.open_metadata() as metadata:
            assert (metadata["pdfaid:part"], metadata["pdfaid:conformance"]) == ("3", "A")
            assert metadata["dc:title"].endswith(report.number)
            assert metadata["xmp:CreateDate"].startswith("2026-10-12")
        figures = [e for e in _elements(document.Root.StructTreeRoot) if e.get("/S") == pikepdf.Name.Figure]
        assert len(figures) == sum(len(run.curves) for run in report.runs)
        assert all(str(figure.get("/Alt", "")) for figure in figures)


def _elements(node: pikepdf.Object) -> list[pikepdf.Object]:
    found, waiting = [], [node]
    while waiting:
        element = waiting.pop()
        children = element.get("/K", [])
        children = list(children) if isinstance(children, pikepdf.Array) else [children]
        nested = [child for child in children if isinstance(child, pikepdf.Dictionary)]
        found += nested
        waiting += nested
    return found


def test_attachments_are_the_data(report: model.ReportData, report_pdf: bytes) -> None:
    attached = read_attachments(report_pdf)
    assert set(attached) == {"report.json", "results.json"}
    assert attached["report.json"] == model.to_json(report)
    assert attached["results.json"] == model.results_json(report)
    with pikepdf.open(io.BytesIO(report_pdf)) as document:
        assert {str(f.UF): str(f.AFRelationship) for f in document.Root.AF} == {
            "results.json": "/Data",
            "report.json": "/Source",
        }


def test_only_fonts_of_the_repository_are_embedded(report_pdf: bytes) -> None:
    names = set()
    with pikepdf.open(io.BytesIO(report_pdf)) as document:
        for item in document.objects:
            if isinstance(item, pikepdf.Dictionary) and item.get("/Type") == pikepdf.Name.FontDescriptor:
                names.add(str(item.FontName).split("+")[-1])
    assert names
    assert {n.split("-")[0] for n in names} <= {
        "NotoSansSC",
        "DejaVuSans",
        "DejaVuSansMono",
        "PilotbenchHanRare",
    }


def test_font_files_are_the_pinned_ones() -> None:
    pinned = dict(
        reversed(line.split()) for line in (typefaces.FONT_FOLDER / "SHA256SUMS").read_text().splitlines()
    )
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in typefaces.font_files()}
    assert found == pinned


# ---------------------------------------------------------------------- what people write


def with_manufacturer(report: model.ReportData, name: str) -> model.ReportData:
    dut = report.order.dut.model_copy(update={"manufacturer": name})
    return dataclasses.replace(
        report, order=report.order.model_copy(update={"dut": dut}), runs=report.runs[2:]
    )


def test_markup_in_data_is_text(report: model.ReportData) -> None:
    hostile = '#panic("x") *bold* $x$ <a> @b \\ `c` // d /* e = f'
    assert "".join(hostile.split()) in "".join(
        text_of(pdf.render(with_manufacturer(report, hostile))).split()
    )


@pytest.mark.parametrize("name", ["𠮷野精机", "㛃䶮減速機", "Größe Ωmega Ёлка"])
def test_rare_characters_of_names_are_drawn(report: model.ReportData, name: str) -> None:
    assert name in text_of(pdf.render(with_manufacturer(report, name)))


@pytest.mark.parametrize("bad", ["\U0002b81f\U000e0001", "🧪", "မြန်မာ", "a\x07b"])
def test_a_missing_glyph_is_refused_with_its_place(report: model.ReportData, bad: str) -> None:
    with pytest.raises(MissingGlyphError, match=r"item\.headline.*U\+"):
        pdf.render(with_manufacturer(report, bad))


def test_typst_itself_refuses_a_missing_glyph(
    report: model.ReportData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second net: should the first one have a hole, the export still does not drop a character."""
    monkeypatch.setattr(pdf, "require_glyphs", lambda data: None)
    with pytest.raises(MissingGlyphError):
        pdf.render(with_manufacturer(report, "🧪"))


@pytest.mark.parametrize("text_", ["", "de", "zh;en", "zh,fr"])
def test_unknown_languages_are_refused(text_: str) -> None:
    with pytest.raises(ReportError, match="languages"):
        pdf.languages(text_)


def test_nothing_is_set_beyond_the_margins(report: model.ReportData) -> None:
    """Every piece of text of every page begins inside the type area, however long the names are."""
    long = "超长制造商名称" * 12 + " " + "Verylongmanufacturername" * 4
    runs = tuple(
        dataclasses.replace(run, parameters=(*run.parameters, LONG_PARAMETER)) for run in report.runs
    )
    data = dataclasses.replace(with_manufacturer(report, long), runs=runs)
    reader = pypdf.PdfReader(io.BytesIO(pdf.render(data)))
    margin = 19 / 25.4 * 72
    for page in reader.pages:
        left, right = margin - 1, float(page.mediabox.width) - margin + 1
        outside: list[str] = []

        def look(
            words: str, cm: list[float], tm: list[float], font: object, size: float,
            left: float = left, right: float = right, outside: list[str] = outside,
        ) -> None:  # fmt: skip
            if words.strip() and not left <= tm[4] * cm[0] + tm[5] * cm[2] + cm[4] <= right:
                outside.append(words)

        page.extract_text(visitor_text=look)
        assert not [words for words in outside if words.strip() not in ("DRAFT", "草稿", "DRAFT 草稿")]


LONG_PARAMETER = ParameterUse(
    "speeds",
    "1000 r/min, 2000 r/min",
    ", ".join(f"{n} r/min" for n in range(250, 4000, 250)),
    "P",
    Text("各级 " * 9, "levels " * 9),
)


def test_data_json_has_no_numbers_for_the_template_to_format(report: model.ReportData) -> None:
    """The template does layout only: values, U and limits reach it as text."""
    from reports.view import view

    shown = json.loads(json.dumps(view(report, {})))
    row = shown["runs"][0]["rows"][0]
    assert all(isinstance(row[key], str) for key in ("value", "U", "limit", "k", "p"))
