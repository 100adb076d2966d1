"""Is this document what the recordings say? Every check is a finding with a place; what was not checked is
no pass.

Four questions, from the paper to the data:

1. Is the PDF untouched? Its attached data are typeset again and must give the same file, byte for byte; a
   manifest beside it is compared too. So a PDF needs nothing but itself to be checked by the same version
   of the software.
2. Do the attachments say the same? ``results.json`` must be what follows from ``report.json``.
3. Are the recordings untouched, and the ones that the report names? Seal, and its digest as printed.
4. Do the recordings give these numbers? Every result, curve, limit and verdict is computed again by the
   engine's evaluation and compared bit for bit.

A forger who rewrites the data and typesets them anew passes 1 and 2 and fails 4, for the recording's seal
is printed; one who also forges the recording is stopped only by a signature over the report.

A report that another version of the software made may fail 4 in a last digit; `versions` says so and how to find out.
"""

from __future__ import annotations

from pathlib import Path

from . import model
from .attachments import read_attachments
from .errors import DocumentError, ReportError
from .findings import Finding, Verification
from .source import here
from .verify_document import (
    attached_data,
    check_attachments,
    check_bytes,
    check_manifest,
    data_beside,
    load_pdf,
    read_manifest,
)
from .verify_recordings import check_recording, find_folder
from .versions import advice


def verify_report(pdf: Path, recording: Path | None = None) -> Verification:
    """Check a report's PDF, against the run folders in or below `recording` (default: where its manifest
    says).

    Raises DocumentError only when `pdf` cannot be read as a file; everything else is a finding.
    """
    content = load_pdf(pdf)
    findings, manifest = list(check_manifest(pdf, content)), read_manifest(pdf)
    data: model.ReportData | None
    try:
        attached = read_attachments(content)
        data = attached_data(attached)
        findings += check_attachments(attached, data)
    except (DocumentError, ReportError) as error:
        findings.append(Finding("PDF", str(error)))
        data = data_beside(pdf, manifest)  # so that the recordings can still be checked
    if data is None:
        return Verification(tuple(findings))
    findings += check_bytes(content, data)
    for run in data.runs:
        findings += check_recording(run, data, find_folder(run, data, pdf, manifest, recording))
    return Verification(tuple(findings), advice(findings, data, here(), pdf, recording))
