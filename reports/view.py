"""From report data to what the template sets: every number becomes text here, in display units.

`view(data)` is pure: the same data give the same JSON, hence the same PDF. The template adds layout and the
words that every report carries; it does no arithmetic on results.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from verification_platform.engine.parameters import worded
from verification_platform.engine.protocol import Text
from verification_platform.metrology.result import LimitType, Verdict

from . import formatting as fmt
from . import statements, texts
from .charts import is_wide
from .model import PlottedCurve, ReportData, Run
from .tables import pair, results_view, summary, text, verdict
from .traceability import equipment, fixture, seal, software
from .typefaces import FAMILIES

#: The PDF's attachments: name, relationship, MIME type, description.
ATTACHMENTS = (
    {
        "file": "results.json",
        "relationship": "data",
        "mime": "application/json",
        "description": "Results with uncertainty budgets and seals",
    },
    {
        "file": "report.json",
        "relationship": "source",
        "mime": "application/json",
        "description": "All data of this report",
    },
)


def view(data: ReportData, figures: dict[tuple[str, str], str]) -> dict[str, Any]:
    """The template's ``data.json``. `figures` maps (run id, curve name) to the file of its chart."""
    moment = data.moment
    draft_note = (statements.DRAFT_STATEMENT,) if data.draft else ()
    return {
        "langs": list(data.languages),
        "fonts": list(FAMILIES),
        "title": f"检测报告 Test Report {data.number}",
        "author": _words(data.lab.name) if data.lab.name else "not stated",
        "description": "Test report with results and sealed raw data references",
        "date": {"year": moment.year, "month": moment.month, "day": moment.day},
        "number": data.number,
        "draft": data.draft,
        "lab": {
            "name": text(data.lab.name),
            "address": text(data.lab.address),
            "contact": data.lab.contact,
            "site": text(data.lab.site) or text(data.lab.address),
        },
        "customer": {"name": data.customer.name, "contact": data.customer.contact},
        "item": _item(data),
        "performed": _period(data.runs),
        "issued": data.issued.isoformat() if data.issued else None,
        "methods": _method_names(data.runs),
        "verdict": {**verdict(data.verdict), "sentence": text(statements.SENTENCES[data.verdict])},
        "summary": [row for run in data.runs for row in summary(run)],
        "signatories": _signatories(data),
        "statements": [text(t) for t in (*draft_note, *statements.STATEMENTS)],
        "bench": _bench(data.runs),
        "runs": [_run(run, figures) for run in data.runs],
        "deviations": [
            {"protocol": run.protocol, "texts": [text(d) for d in run.deviations]}
            for run in data.runs
            if run.deviations
        ],
        "parameters": [
            {
                "protocol": run.protocol,
                "name": p.name,
                "value": _either(worded(p.value)),
                "default": _either(worded(p.default)),
                "mark": p.mark,
                "why": _either(p.why),
                "changed": p.changed,
            }
            for run in data.runs
            for p in run.parameters
        ],
        "rules": _rules(data.runs),
        "zones": _zones(),
        "equipment": equipment(data.runs),
        "fixture": fixture(data.runs),
        "emulated": any(run.bench_kind != "hardware" for run in data.runs),
        "seals": [seal(run) for run in data.runs],
        "software": software(data),
        "attachments": [dict(a) for a in ATTACHMENTS],
    }


def _words(text: Text) -> str:
    return text.zh if text.zh == text.en else f"{text.zh} {text.en}"


def _moment(moment: dt.datetime | None) -> str:
    return "" if moment is None else moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _period(runs: Sequence[Run]) -> str:
    days = sorted(
        m.astimezone(dt.UTC).date().isoformat() for run in runs for m in (run.started, run.ended) if m
    )
    if not days:
        return ""
    return days[0] if days[0] == days[-1] else f"{days[0]} – {days[-1]}"


def _item(data: ReportData) -> dict[str, Any]:
    dut, rated = data.order.dut, fmt.quantity
    kind = {
        "harmonic": ("谐波减速器", "harmonic reducer"),
        "rv": ("RV 减速器", "RV reducer"),
        "cycloid": ("摆线减速器", "cycloidal reducer"),
        "planetary": ("行星减速器", "planetary reducer"),
    }[dut.type]
    rows = [
        (pair("名称", "Kind"), pair(*kind)),
        (pair("制造商", "Manufacturer"), dut.manufacturer),
        (pair("型号", "Model"), dut.model),
        (pair("编号", "Serial number"), dut.serial),
        (pair("减速比 i", "Ratio i"), f"{dut.ratio:g}"),
        (pair("转向 s", "Rotation sense s"), fmt.typographic(f"{dut.sense:+d}")),
        (pair("额定转矩 T_N", "Rated torque T_N"), rated(dut.rated_torque, "N·m")),
        (pair("最大转矩", "Maximum torque"), rated(dut.max_torque, "N·m")),
        (pair("额定输入转速 n_N", "Rated input speed n_N"), rated(dut.rated_speed, "r/min")),
        (pair("最高输入转速", "Maximum input speed"), rated(dut.max_speed, "r/min")),
        (
            pair("转矩分段 T_1 / T_2", "Torque breaks T_1 / T_2"),
            f"{rated(dut.torque_1, 'N·m')} / {rated(dut.torque_2, 'N·m')}",
        ),
        (pair("壳体温度上限", "Housing limit"), rated(dut.housing_limit, "°C")),
        (pair("润滑剂", "Lubricant"), dut.lubricant or None),
        (pair("收样状态", "Condition on receipt"), text(data.item.condition)),
        (
            pair("收样日期", "Date of receipt"),
            data.item.received.isoformat() if data.item.received else None,
        ),
        (pair("抽样", "Sampling"), text(data.item.sampling)),
    ]
    return {
        "headline": f"{dut.manufacturer} {dut.model}",
        "name": f"{dut.manufacturer} {dut.model}",
        "serial": dut.serial,
        "received": data.item.received.isoformat() if data.item.received else "",
        "rows": [{"label": label, "value": value} for label, value in rows],
    }


def _methods(run: Run) -> list[dict[str, str]]:
    zh, en = ("参照", "based on") if run.modified else ("依据", "according to")
    return [pair(f"{zh} {s.name} 第 {s.clause} 条", f"{en} {s.name} cl. {s.clause}") for s in run.standards]


def _method_names(runs: Sequence[Run]) -> list[str]:
    names = [f"{run.protocol} · {s.name} ({s.clause})" for run in runs for s in run.standards[:1]]
    return list(dict.fromkeys(names))


def _signatories(data: ReportData) -> list[dict[str, Any]]:
    signed = {person.role: person for person in data.signatories}
    rows = []
    for role, label in statements.ROLES.items():
        person = signed.get(role)  # type: ignore[call-overload]
        rows.append(
            {
                "role": text(label),
                "name": person.name if person else None,
                "date": person.signed.isoformat() if person else "",
            }
        )
    return rows


def _bench(runs: Sequence[Run]) -> dict[str, Any]:
    """The benches and their kinds; runs of one order usually share one."""
    names = dict.fromkeys((run.bench, run.bench_title) for run in runs)
    kinds = dict.fromkeys(
        statements.BENCH_KINDS.get(run.bench_kind, Text(run.bench_kind, run.bench_kind)) for run in runs
    )
    return {
        "name": pair(
            "；".join(f"{bench} {title.zh if title else ''}".strip() for bench, title in names),
            "; ".join(f"{bench} {title.en if title else ''}".strip() for bench, title in names),
        ),
        "kind": pair("；".join(k.zh for k in kinds), "; ".join(k.en for k in kinds)),
    }


def _run(run: Run, figures: dict[tuple[str, str], str]) -> dict[str, Any]:
    status, tone = statements.STATUSES[run.status]
    return {
        "protocol": run.protocol,
        "title": text(run.title),
        "purpose": text(run.purpose),
        "methods": _methods(run),
        "status": {"label": text(status), "tone": tone},
        "started": _moment(run.started),
        "ended": _moment(run.ended),
        "environment": _environment(run),
        "findings": [text(f) for f in run.findings],
        **results_view(run.results),
        "figures": [
            {
                "file": figures[run.id, curve.name],
                "wide": is_wide(run.curves),
                "caption": text(curve.title),
                "alt": _alternative(curve),
            }
            for curve in run.curves
            if (run.id, curve.name) in figures
        ],
    }


def _alternative(curve: PlottedCurve) -> str:
    """What a reader who cannot see the chart is told."""
    axes = f"{curve.y_label.zh} {curve.y_label.en} / {curve.x_label.zh} {curve.x_label.en}"
    return f"{curve.title.zh} {curve.title.en}: {axes}; {', '.join(curve.ys)}"


def _environment(run: Run) -> list[dict[str, Any]]:
    rows = []
    for e in run.environment:
        shown = "°C" if e.unit == "K" else e.unit
        label = texts.CHANNELS.get(e.channel, Text(e.channel, e.channel))
        span = f"{fmt.plain(e.minimum, shown, 4)} … {fmt.plain(e.maximum, shown, 4)}"
        rows.append({"label": text(label), "value": f"{span} {fmt.unit_symbol(shown)}"})
    return rows


_RULES = {
    "SIMPLE": ("0", Text("误判概率最高 50 %", "probability of a wrong decision up to 50 %")),
    "GUARD_U": (
        "U (k = 2)",
        Text("合格时误收概率不超过 2.5 %", "pass: probability of false acceptance below 2.5 %"),
    ),
    "GUARD_083": (
        "0.83 U",
        Text("合格时误收概率不超过 5 %", "pass: probability of false acceptance below 5 %"),
    ),
    "GUARD_15": (
        "1.5 U",
        Text("合格时误收概率不超过 0.2 %", "pass: probability of false acceptance below 0.2 %"),
    ),
    "CUSTOMER": (
        "–",
        Text(
            "由客户规定保护带，风险逐项计算", "guard band set by the customer, risk computed for each result"
        ),
    ),
}


def _either(words: Text) -> str | dict[str, str] | None:
    """In two languages where they differ."""
    return words.en if words.zh == words.en else text(words)


def _rules(runs: Sequence[Run]) -> list[dict[str, Any]]:
    used = dict.fromkeys(
        r.rule for run in runs for r in run.results if r.limit_type is not LimitType.REPORT_ONLY
    )
    rows = []
    for rule in used or {"GUARD_U": None}:
        w, risk = _RULES.get(rule, ("–", Text(rule, rule)))
        rows.append({"id": rule, "w": w, "risk": text(risk)})
    return rows


def _zones() -> list[dict[str, Any]]:
    zones = (
        (Verdict.PASS, "y ≤ TL − w", "y ≥ TL + w"),
        (Verdict.CONDITIONAL_PASS, "TL − w < y ≤ TL", "TL ≤ y < TL + w"),
        (Verdict.CONDITIONAL_FAIL, "TL < y ≤ TL + w", "TL − w ≤ y < TL"),
        (Verdict.FAIL, "y > TL + w", "y < TL − w"),
    )
    return [{"verdict": verdict(v), "upper": upper, "lower": lower} for v, upper, lower in zones]
