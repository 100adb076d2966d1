"""Results as tables: what a reader compares stands side by side.

Conditions that all results of a run share are said once; results of one quantity stand together; a family such as the
amplitudes of many orders becomes a matrix of quantity against condition. Everything is text in display units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from verification_platform.engine.protocol import Text
from verification_platform.metrology.decision import worst
from verification_platform.metrology.result import Contribution, LimitType, Result, Verdict

from . import formatting as fmt
from . import statements, texts
from .model import Run

_ACCEPTED = (Verdict.PASS, Verdict.CONDITIONAL_PASS)
_TIGHT = ("″", "′", "°")  # these stand close to their number
_MOST_BUDGETS = 4
_MATRIX_FROM, _MATRIX_COLUMNS = 9, 6
Conditions = Mapping[str, str | float | int | bool]


def text(words: Text | None) -> dict[str, str] | None:
    """A text in both languages as the template takes it."""
    return None if words is None else {"zh": words.zh, "en": words.en}


def pair(zh: str, en: str) -> dict[str, str]:
    """The same from two strings."""
    return {"zh": zh, "en": en}


def verdict(value: Verdict) -> dict[str, Any]:
    """Words and colour family of a verdict."""
    return {"label": text(statements.VERDICTS[value]), "tone": statements.TONES[value]}


def results_view(results: Sequence[Result]) -> dict[str, Any]:
    """All results of a run: shared conditions, one table, and matrices of families."""
    common = _common(results)
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(_name_key(result), []).append(result)
    rows, matrices = [], []
    for group in groups.values():
        if _is_family(group):
            matrices += _matrices(group, common)
        else:
            rows += [_row(r, common) | ({} if i == 0 else {"name": None}) for i, r in enumerate(group)]
    return {
        "common": _said(common, {}),
        "rows": rows,
        "matrices": matrices,
        "budgets": [_budget(r, common) for r in budgeted(results)],
    }


def _common(results: Sequence[Result]) -> Conditions:
    """Conditions that most results share: said once, "unless stated otherwise"."""
    counts: dict[tuple[str, Any], int] = {}
    for result in results:
        for item in result.conditions.items():
            counts[item] = counts.get(item, 0) + 1
    return {key: value for (key, value), n in counts.items() if n > 1 and n > 0.6 * len(results)}


def _is_family(group: Sequence[Result]) -> bool:
    judged = any(r.limit_type is not LimitType.REPORT_ONLY for r in group)
    return not judged and len(group) >= _MATRIX_FROM and len({r.quantity for r in group}) >= 3


def _matrices(group: Sequence[Result], common: Conditions) -> list[dict[str, Any]]:
    """Rows are quantities, the largest first; columns are conditions. Rows that lie below their U everywhere are counted."""
    columns: dict[tuple[tuple[str, Any], ...], Conditions] = {}
    cells: dict[str, dict[tuple[tuple[str, Any], ...], Result]] = {}
    for result in group:
        rest = {k: v for k, v in result.conditions.items() if common.get(k) != v and k not in texts.UNSAID}
        columns.setdefault(tuple(rest.items()), rest)
        cells.setdefault(result.quantity, {})[tuple(rest.items())] = result
    shown = [q for q, found in cells.items() if any(abs(r.value) > r.U for r in found.values())]
    shown.sort(key=lambda q: -max(abs(r.value) for r in cells[q].values()))
    keys = list(columns)
    return [
        {
            "name": text(texts.quantity_name(group[0].quantity)),
            "unit": fmt.show(group[0]).unit,
            "columns": [_said(columns[key], {}) for key in part],
            "rows": [
                {"symbol": _symbol(q), "cells": [_cell(cells[q].get(key)) for key in part]} for q in shown
            ],
            "hidden": len(cells) - len(shown),
        }
        for part in (keys[i : i + _MATRIX_COLUMNS] for i in range(0, len(keys), _MATRIX_COLUMNS))
    ]


def _cell(result: Result | None) -> dict[str, str] | None:
    if result is None:
        return None
    shown = fmt.show(result)
    return {"value": shown.value, "U": shown.U}


def _symbol(quantity: str) -> dict[str, str]:
    sign = texts.symbol(quantity)
    return {"base": sign.base, "sub": sign.sub}


def _said(conditions: Conditions, common: Conditions) -> dict[str, str]:
    """Conditions in words, without those that are said elsewhere."""
    words = texts.conditions({k: v for k, v in conditions.items() if common.get(k) != v})
    return pair("，".join(t.zh for t in words), ", ".join(t.en for t in words))


def _row(result: Result, common: Conditions) -> dict[str, Any]:
    shown = fmt.show(result)
    judged = result.verdict is not Verdict.NONE and result.limit_type is not LimitType.REPORT_ONLY
    p = result.p_conform
    risk = ""
    if judged and p is not None and 0.0001 < p < 0.9999:
        accepted = result.verdict in _ACCEPTED
        risk = f"{'PFA' if accepted else 'PFR'} {fmt.probability(1 - p if accepted else p)}"
    return {
        "symbol": _symbol(result.quantity),
        "name": text(texts.quantity_name(result.quantity)),
        "conditions": _said(result.conditions, common),
        "value": shown.value,
        "U": shown.U,
        "unit": shown.unit,
        "gap": "" if shown.unit in _TIGHT else " ",
        "k": f"{result.k:.2f}",
        "limit": fmt.limit(result),
        "rule": result.rule,
        "judged": judged,
        "verdict": verdict(result.verdict)
        if judged or result.limit_type is LimitType.REPORT_ONLY
        else _no_verdict(),
        "p": fmt.probability(p),
        "risk": risk,
    }


def _no_verdict() -> dict[str, Any]:
    """A result with a limit in a run that is not VALID."""
    return {"label": text(statements.NO_VERDICT), "tone": "open"}


def _name_key(result: Result) -> str:
    """Results with the same name belong together: amplitudes of all orders are one kind of quantity."""
    name = texts.quantity_name(result.quantity)
    return name.en if name else result.quantity


def summary(run: Run) -> list[dict[str, Any]]:
    """Of each judged quantity the worst result: worst verdict, then least probability of conformity."""
    judged: dict[str, list[Result]] = {}
    for result in run.results:
        if result.verdict is not Verdict.NONE:
            judged.setdefault(result.quantity, []).append(result)
    rows = []
    for group in judged.values():
        overall = worst(r.verdict for r in group)
        shown = min(
            (r for r in group if r.verdict is overall),
            key=lambda r: 1.0 if r.p_conform is None else r.p_conform,
        )
        rows.append({"protocol": run.protocol, "count": len(group), **_row(shown, {})})
    return rows


def budgeted(results: Iterable[Result]) -> list[Result]:
    """Results whose budget is printed; all are attached.

    Of each kind of judged quantity the result with the largest U; without judged quantities, of every kind the first.
    """
    chosen: dict[str, Result] = {}
    for result in results:
        key = _name_key(result)
        if not result.budget or (key in chosen and not _rank(result) > _rank(chosen[key])):
            continue
        chosen[key] = result
    judged = [result for result in chosen.values() if result.limit_type is not LimitType.REPORT_ONLY]
    return judged or list(chosen.values())[:_MOST_BUDGETS]


def _rank(result: Result) -> tuple[bool, float]:
    return (result.limit_type is not LimitType.REPORT_ONLY, result.U)


_KINDS = {
    "normal": ("正态", "normal"),
    "rectangular": ("矩形", "rectangular"),
    "triangular": ("三角", "triangular"),
    "u-shaped": ("反正弦", "U-shaped"),
    "t": ("t", "t"),
}


def _budget(result: Result, common: Conditions) -> dict[str, Any]:
    symbol = result.display_unit or result.unit
    total = sum(line.share**2 for line in result.budget)
    largest = max((line.share**2 for line in result.budget), default=0.0)
    return {
        "symbol": _symbol(result.quantity),
        "name": text(texts.quantity_name(result.quantity)),
        "conditions": _said(result.conditions, common),
        "unit": fmt.unit_symbol(symbol) or "1",
        "u": fmt.difference(result.u, symbol),
        "U": fmt.show(result).U,
        "k": f"{result.k:.2f}",
        "nu": _degrees(result.nu_eff),
        "lines": [_budget_line(line, symbol, total, largest) for line in result.budget],
    }


def _degrees(nu: float) -> str:
    """Effective degrees of freedom, truncated (JCGM 100 G.4.1)."""
    return "= ∞" if nu == float("inf") else f"= {int(nu)}" if nu < 10_000 else "> 9999"


def _budget_line(line: Contribution, symbol: str, total: float, largest: float) -> dict[str, Any]:
    share = line.share**2 / total if total > 0 else 0.0
    return {
        "source": text(texts.source(line.source)),
        "kind": line.kind,
        "distribution": pair(*_KINDS.get(line.distribution, (line.distribution, line.distribution))),
        "u": fmt.significant(line.u, 3),
        "c": fmt.significant(line.c, 3) if line.c != 1 else "1",
        "cu": fmt.difference(line.share, symbol),
        "share": f"{100 * share:.1f} %",
        "share_width": round(100 * line.share**2 / largest, 2) if largest > 0 else 0,
    }
