"""One flipped byte, wherever it is, is found and its place is named."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import random
import shutil
from pathlib import Path

import pikepdf
import pytest

from reports import (
    DocumentError,
    ReportError,
    ReportFiles,
    build_report,
    model,
    pdf,
    verify_document,
    verify_report,
)
from reports.attachments import read_attachments


def flip(path: Path, at: int, mask: int = 0x01) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(content)


def failures(path: Path, recording: Path | None = None) -> str:
    outcome = verify_report(path, recording)
    assert not outcome.ok
    return "\n".join(f"{f.place}: {f.what}" for f in outcome.failures)


def test_an_untouched_report_verifies(files: ReportFiles, run_folder: Path) -> None:
    outcome = verify_report(files.pdf)
    assert outcome.ok, outcome.findings
    places = [finding.place for finding in outcome.findings]
    assert places == [
        "report.pdf", "report.json", "report.json in PDF", "results.json in PDF", "PDF", "TST-SWING/samples", "TST-SWING",
    ]  # fmt: skip
    assert "bit for bit" in outcome.findings[-1].what
    assert verify_report(files.pdf, run_folder).ok
    assert verify_report(files.pdf, run_folder.parent).ok


def test_the_report_is_the_same_each_time(files: ReportFiles, run_folder: Path, tmp_path: Path) -> None:
    again = build_report([run_folder], tmp_path / "again")
    assert again.pdf.read_bytes() == files.pdf.read_bytes()
    assert again.json.read_bytes() == files.json.read_bytes()
    manifest = json.loads(files.manifest.read_bytes())
    for entry in manifest["files"]:
        assert hashlib.sha256((files.pdf.parent / entry["name"]).read_bytes()).hexdigest() == entry["sha256"]


def test_a_pdf_alone_is_checked_against_a_recording(
    files: ReportFiles, run_folder: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "elsewhere" / "handed-over.pdf"
    alone.parent.mkdir()
    shutil.copyfile(files.pdf, alone)
    assert verify_report(alone, run_folder).ok
    bare = tmp_path / "bare"
    shutil.copytree(run_folder / "samples", bare)  # nothing but the recording
    assert verify_report(alone, bare).ok


def test_without_recording_the_numbers_are_not_verified(files: ReportFiles, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "deep" / "handed-over.pdf"
    alone.parent.mkdir(parents=True)
    shutil.copyfile(files.pdf, alone)
    outcome = verify_report(alone)
    assert not outcome.ok
    assert not outcome.failures
    assert [f.state for f in outcome.findings] == ["ok", "ok", "ok", "unchecked"]


# ---------------------------------------------------------------------- flipped bytes


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_byte_in_the_pdf(files: ReportFiles, run_folder: Path, tmp_path: Path, seed: int) -> None:
    alone = tmp_path / "alone.pdf"  # without its manifest
    shutil.copyfile(files.pdf, alone)
    at = random.Random(seed).randrange(alone.stat().st_size)
    flip(alone, at, 1 << seed % 8)
    found = failures(alone, run_folder)
    assert "PDF" in found


@pytest.mark.faults
@pytest.mark.parametrize("where", ["first", "last", "comment", "attachment"])
def test_a_flipped_byte_where_readers_look_away(
    files: ReportFiles, run_folder: Path, tmp_path: Path, where: str
) -> None:
    content, alone = files.pdf.read_bytes(), tmp_path / "alone.pdf"
    with pikepdf.open(files.pdf) as document:
        raw = document.attachments["results.json"].get_file().obj.read_raw_bytes()
    at = {
        "first": 0,
        "last": len(content) - 1,
        "comment": 12,
        "attachment": content.index(raw) + len(raw) // 2,
    }[where]
    shutil.copyfile(files.pdf, alone)
    flip(alone, at)
    assert "PDF" in failures(alone, run_folder)


@pytest.mark.faults
def test_a_flipped_byte_in_the_pdf_is_located(files: ReportFiles, run_folder: Path) -> None:
    content = files.pdf.read_bytes()
    with pikepdf.open(files.pdf) as document:
        raw = document.pages[0].obj.Contents.read_raw_bytes()
    at = content.index(raw) + 100
    flip(files.pdf, at)
    found = failures(files.pdf, run_folder)
    assert f"first difference at byte {at}" in found
    assert "(page 1)" in found
    assert "report.pdf: its SHA-256 is not the one in the manifest" in found


@pytest.mark.faults
def test_a_changed_digit_in_results_json_inside_the_pdf(
    files: ReportFiles, run_folder: Path, tmp_path: Path
) -> None:
    forged = tmp_path / "forged.pdf"
    with pikepdf.open(files.pdf) as document:
        stream = document.attachments["results.json"].get_file().obj
        tables = json.loads(stream.read_bytes())
        tables["runs"][0]["results"][0]["U"] *= 1.0000000001
        stream.write(model.canonical(tables))
        document.save(forged)
    found = failures(forged, run_folder)
    assert "results.json in PDF: was altered at runs[0].results[0] (TE_pp).U" in found


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(6))
def test_a_flipped_byte_in_a_recording_segment(files: ReportFiles, run_folder: Path, seed: int) -> None:
    segment = sorted((run_folder / "samples").glob("*.mcap"))[0]
    flip(segment, random.Random(seed).randrange(segment.stat().st_size))
    found = failures(files.pdf)
    assert f"TST-SWING/samples/{segment.name}" in found


@pytest.mark.faults
def test_a_changed_seal_journal_or_frozen_run(files: ReportFiles, run_folder: Path) -> None:
    for name, needle in (
        ("samples/seal.json", "seal.json"),
        ("journal.jsonl", "journal.jsonl"),
        ("results.json", "results.json"),
    ):
        path = run_folder / name
        before = path.read_bytes()
        at = {"results.json": before.find(b"value") + 10, "journal.jsonl": 20}.get(name, len(before) // 2)
        flip(path, at)
        assert needle in failures(files.pdf, run_folder)
        path.write_bytes(before)
    assert verify_report(files.pdf, run_folder).ok


def test_a_limit_moved_after_the_run_is_found(files: ReportFiles, run_folder: Path) -> None:
    path = run_folder / "run.json"
    path.write_text(path.read_text(encoding="utf-8").replace("1.5 arcmin", "2.5 arcmin"), encoding="utf-8")
    said = failures(files.pdf, run_folder)
    assert "order limits.TE_pp.max: the report says '1.5 arcmin', the recording gives '2.5 arcmin'" in said


def test_another_recording_is_not_the_one_in_the_report(files: ReportFiles, other_run: Path) -> None:
    assert "another recording" in failures(files.pdf, other_run)


# ---------------------------------------------------------------------- forgers


def test_forged_numbers_typeset_anew_fail_against_the_recording(
    files: ReportFiles, run_folder: Path, tmp_path: Path
) -> None:
    data = model.from_json(files.json.read_bytes())
    better = dataclasses.replace(data.runs[0].results[0], value=data.runs[0].results[0].value / 2)
    forged = dataclasses.replace(data, runs=(dataclasses.replace(data.runs[0], results=(better,)),))
    path = tmp_path / "forged.pdf"
    path.write_bytes(pdf.render(forged))
    found = failures(path, run_folder)
    assert "results[0] (TE_pp).value" in found
    assert len(verify_report(path, run_folder).failures) == 1  # everything else is consistent


def test_forged_curve_fails_against_the_recording(
    files: ReportFiles, run_folder: Path, tmp_path: Path
) -> None:
    data = model.from_json(files.json.read_bytes())
    curve = data.runs[0].curves[0]
    smooth = dataclasses.replace(curve, ys={"forward": tuple(0.5 * y for y in curve.ys["forward"])})
    forged = dataclasses.replace(data, runs=(dataclasses.replace(data.runs[0], curves=(smooth,)),))
    path = tmp_path / "forged.pdf"
    path.write_bytes(pdf.render(forged))
    assert "curves[0].ys.forward[0]" in failures(path, run_folder)


def test_results_json_that_disagrees_with_the_recording_makes_no_report(
    run_folder: Path, tmp_path: Path
) -> None:
    path = run_folder / "results.json"
    tables = json.loads(path.read_bytes())
    tables[0]["value"] *= 2
    path.write_text(json.dumps(tables), encoding="utf-8")
    with pytest.raises(ReportError, match=r"results\[0\] \(TE_pp\)\.value"):
        build_report([run_folder], tmp_path / "report")


def test_another_software_version_is_said(
    files: ReportFiles, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = pdf.typesetting

    def later(software: model.Software) -> model.Typesetting:
        return dataclasses.replace(here(software), typst="99.0")

    monkeypatch.setattr(verify_document, "typesetting", later)
    outcome = verify_report(files.pdf, run_folder)
    assert not outcome.ok
    assert not outcome.failures
    assert any(f.state == "unchecked" and "typst" in f.what and "99.0" in f.what for f in outcome.findings)


# ---------------------------------------------------------------------- hostile files


def one_page(attach: dict[str, bytes] | None = None) -> bytes:
    document = pikepdf.new()
    document.add_blank_page()
    for name, content in (attach or {}).items():
        document.attachments[name] = pikepdf.AttachedFileSpec(document, content, filename=name)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a PDF"),
        (b"hello", "not a PDF"),
        (b"%PDF-1.7\n" + b"\x00" * 1000, "cannot be read as a PDF"),
        (one_page(), "no files are attached"),
        (one_page({"other.txt": b"x"}), "report.json is not attached"),
        (one_page({"report.json": b"{}"}), "not a report of this software"),
        (one_page({"report.json": b"\xff\xfe"}), "not valid JSON"),
        (one_page({f"{i}.txt": b"x" for i in range(40)}), "attachments"),
    ],
)
def test_what_is_no_report_of_ours_is_a_finding(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(content)
    assert says in failures(path)


def test_an_attachment_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.attachments.MOST_ATTACHMENT_BYTES", 10_000)
    path = tmp_path / "bomb.pdf"
    path.write_bytes(one_page({"report.json": b"0" * 1_000_000}))
    assert "unpacks to more than 10000 bytes" in failures(path)


def test_a_file_that_is_too_large_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_document, "MOST_PDF_BYTES", 100)
    path = tmp_path / "large.pdf"
    path.write_bytes(b"%PDF-" + b"0" * 200)
    with pytest.raises(DocumentError, match="larger than"):
        verify_report(path)
    with pytest.raises(DocumentError, match="cannot be read"):
        verify_report(tmp_path / "none.pdf")


def test_names_in_a_hostile_manifest_do_not_leave_the_folder(files: ReportFiles, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    tables = json.loads(files.manifest.read_bytes())
    tables["files"].append({"name": "../../secret", "sha256": hashlib.sha256(b"secret").hexdigest()})
    files.manifest.write_bytes(model.canonical(tables))
    assert "../../secret: its SHA-256 is not the one" in failures(files.pdf)


def test_attachments_read_back_as_written(files: ReportFiles) -> None:
    assert read_attachments(files.pdf.read_bytes())["report.json"] == files.json.read_bytes()
