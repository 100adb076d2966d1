"""A report on an imagined reducer, and a run with its report on the disk."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reports import ReportFiles, build_report, model, pdf, source, verify_recordings

from .imagined_reducer import example
from .swing import Swing, make_run


@pytest.fixture(scope="session")
def report() -> model.ReportData:
    return example()


@pytest.fixture(scope="session")
def report_pdf(report: model.ReportData) -> bytes:
    return pdf.render(report)


@pytest.fixture
def changed(report: model.ReportData) -> Callable[..., model.ReportData]:
    """The example with some fields replaced."""
    return lambda **fields: dataclasses.replace(report, **fields)


@pytest.fixture(scope="session", autouse=True)
def _knows_swing() -> Iterator[None]:
    """The catalogue of protocols has one more."""
    real = source.get
    with pytest.MonkeyPatch.context() as patch:
        for module in (source, verify_recordings):
            patch.setattr(module, "get", lambda name: Swing() if name == Swing.id else real(name))
        yield


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An order with one run and its report, made once."""
    order = tmp_path_factory.mktemp("finished") / "order"
    build_report([make_run(order / "TST-SWING")], order / "report")
    return order


@pytest.fixture
def run_folder(_finished: Path, tmp_path: Path) -> Path:
    """A copy of the run, beside a copy of its report."""
    shutil.copytree(_finished, tmp_path / "order")
    return tmp_path / "order" / "TST-SWING"


@pytest.fixture
def files(run_folder: Path) -> ReportFiles:
    """The finished report beside its run."""
    folder = run_folder.parent / "report"
    return ReportFiles(folder / "report.pdf", folder / "report.json", folder / "manifest.json")


@pytest.fixture
def other_run(tmp_path: Path) -> Path:
    """The same run measured again."""
    return make_run(tmp_path / "elsewhere" / "TST-SWING", seed=6)
