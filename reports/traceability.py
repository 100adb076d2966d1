"""What the numbers rest on, as the template sets it: calibrations, fixture, seals of the recordings, software."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from verification_platform.metrology.records import ChannelRecord
from verification_platform.metrology.units import unit

from . import formatting as fmt
from .model import ReportData, Run
from .tables import pair


def equipment(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Every calibrated channel of all runs, once."""
    channels: dict[tuple[str, str, str], ChannelRecord] = {}
    for run in runs:
        for c in run.channels:
            channels.setdefault((c.name, c.sensor, c.certificate), c)
    return [_channel(c) for c in channels.values()]


def _channel(c: ChannelRecord) -> dict[str, Any]:
    shown = {"rad": "arcsec"}.get(c.unit, c.unit)
    parts = []
    if c.U > 0:
        parts.append(
            f"{fmt.typographic(f'{c.U / unit(shown).factor:.3g}')} {fmt.unit_symbol(shown)}".rstrip()
        )
    if c.U_relative > 0:
        parts.append(f"{100 * c.U_relative:.3g} %")
    known = bool(c.certificate)
    return {
        "name": c.name,
        "sensor": c.sensor,
        "certificate": c.certificate,
        "laboratory": c.laboratory,
        "calibrated": c.calibrated.isoformat() if c.calibrated else fmt.DASH,
        "due": c.due.isoformat() if c.due else None,
        "U": parts if known and parts else None,
        "k": f"{c.k:g}" if known else fmt.DASH,
    }


def fixture(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What the bench adds to every reading, with its U."""
    if not runs:
        return []
    f = runs[0].fixture
    rows = (
        (
            pair("夹具与联轴器柔度", "Compliance of fixture and couplings"),
            f.compliance,
            f.compliance_U,
            "rad/(N·m)",
        ),
        (pair("台架阻力矩", "Drag torque of the bench"), f.drag_coulomb, f.drag_U, "mN·m"),
        (pair("角度通道同步偏差", "Sync skew of angle channels"), 0.0, f.sync_skew_U, "µs"),
        (pair("安装偏心", "Mounting eccentricity"), 0.0, f.mounting_U, "arcsec"),
    )
    return [
        {
            "label": label,
            "value": fmt.difference(value, symbol),
            "U": fmt.difference(U, symbol),
            "unit": fmt.unit_symbol(symbol),
        }
        for label, value, U, symbol in rows
    ]


def seal(run: Run) -> dict[str, Any]:
    """Seal, files and continuity of one recording."""
    lines = []
    if run.continuity is None:
        lines.append(pair("未填写", "not stated"))
    else:
        c = run.continuity
        lines.append(pair(f"{c.rows} 行", f"{c.rows} rows"))
        lines.append(pair(f"丢失 {c.lost_rows}，间断 {c.gaps}", f"lost {c.lost_rows}, gaps {c.gaps}"))
        bad = {name: n for name, n in c.not_good.items() if n}
        lines += [pair(f"{name}：{n} 个无效样本", f"{name}: {n} samples not good") for name, n in bad.items()]
    files = [
        {"name": f.name, "bytes": f"{f.bytes:,} B".replace(",", " "), "sha256": f.sha256}
        for f in (run.seal.files if run.seal else ())
    ]
    return {
        "protocol": run.protocol,
        "run": run.id,
        "sha256": run.seal.sha256 if run.seal else None,
        "files": files,
        "continuity": lines,
    }


def software(data: ReportData) -> list[dict[str, Any]]:
    """What measured and what typeset."""
    ran = dict.fromkeys(_software_name(run.software) for run in data.runs)
    setting = data.typesetting
    return [
        {"label": pair("测量与评定软件", "Measured with"), "value": "; ".join(ran)},
        {"label": pair("报告软件", "Report by"), "value": _software_name(setting.pilotbench)},
        {
            "label": pair("排版", "Typesetting"),
            "value": f"typst {setting.typst}, matplotlib {setting.matplotlib}",
        },
        {
            "label": pair("字体与模板", "Fonts, template"),
            "value": f"{setting.fonts_sha256[:12]}, {setting.layout_sha256[:12]}",
        },
    ]


def _software_name(software: Any) -> str:
    parts = [software.name, software.version or "version not stated"]
    if software.commit:
        parts.append(software.commit[:12])
    return " ".join(parts)
