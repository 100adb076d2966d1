"""Runs the rows, prints the table, writes the results.

Machines that run benchmarks are rarely idle: wall time is not taken, but CPU time of this process on one pinned
core, our code and the peers in turn within each round, so that a disturbance meets all of them. The ratio is the
median over the rounds of the ratio within a round, with its quartiles in brackets; rates are from the median round,
and their quotient is not that ratio (`rounds`). Of peers with one goal the one that comes closest to us counts.
Ratios carry over between machines, rates do not.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import statistics
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import table

from . import rounds
from .case import ROWS, Case, Peer, Row

MODULES = (
    "rows_rainflow",
    "rows_allan",
    "rows_spectrum",
    "rows_statistics",
    "rows_weibull",
    "rows_angle",
    "rows_uncertainty",
)
RESULTS = table.FOLDER / "analysis.json"
_OURS = ""  # our name among the peers


def main() -> None:
    arguments = _arguments()
    _pin()
    warnings.simplefilter("ignore")  # the peers' own; ours are errors in the tests
    for module in MODULES:
        importlib.import_module(f".{module}", __package__)
    rows = [r for r in ROWS if arguments.only.lower() in r.name.lower()]
    if arguments.list:
        for r in rows:
            print(f"{r.name}  (n = {r.n:g} {r.unit})")
        return
    machine = table.machine(f", one core, numpy {np.__version__}")
    table.print_heading(machine)
    found: list[dict[str, Any]] = []
    for r in rows:
        found += _run(r, arguments.rounds, machine)
    path = arguments.out or (RESULTS if not arguments.only else None)
    if path is not None:
        table.write(found, path)
    table.print_missed(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analysis", description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name contains this text")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds at least; the median counts (default 5)"
    )
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument("--out", type=Path, help="file for the results (default: only of a complete run)")
    return parser.parse_args()


def _run(r: Row, least: int, machine: str) -> list[dict[str, Any]]:
    """One row: time, compare, print; a result for each group of peers."""
    try:
        case = r.make(r.n)
    except ImportError as error:
        print(f"{r.name:44} left out: {error}")
        return []
    calls = {_OURS: case.ours} | {name: peer.call for name, peer in case.peers.items()}
    timing = rounds.measure(calls, _OURS, max(least, case.rounds))
    answers = timing.answers
    try:
        agreement, agrees = case.agrees(answers.pop(_OURS), answers), True
    except AssertionError as error:
        agreement, agrees = f"DISAGREES: {error}", False
    work = {name: peer.n or r.n for name, peer in case.peers.items()} | {_OURS: case.work or r.n}
    times = {name: [t / work[name] for t in seconds] for name, seconds in timing.seconds.items()}
    rates = {name: 1 / statistics.median(each) for name, each in times.items()}
    answers.clear()
    gc.collect()
    peak_mb = _peak_mb(case)
    rows = []
    for group, members in _groups(case.peers).items():
        ratios = {name: rounds.paired(times[_OURS], times[name]) for name in members if name in times}
        if not ratios:
            continue
        best = table.best_of({name: 1 / ratio.median for name, ratio in ratios.items()})
        row = table.result(
            r.name,
            r.n,
            rates[_OURS],
            {name: rates[name] for name in ratios},
            members[best].goal,
            agrees=agrees,
            peak_mb=peak_mb,
            unit=r.unit,
            agreement=agreement,
            group=group,
            note="; ".join(note for note in (case.note, members[best].note) if note),
            on=machine,
            paired=(best, ratios[best], timing.rounds),
        )
        table.print_row(row)
        rows.append(row)
    return rows


def _groups(peers: dict[str, Peer]) -> dict[str, dict[str, Peer]]:
    groups: dict[str, dict[str, Peer]] = {}
    for name, peer in peers.items():
        groups.setdefault(peer.group, {})[name] = peer
    return groups


def _peak_mb(case: Case) -> float:
    """Memory beyond what was there before, of the streaming run if the row has one."""
    gc.collect()
    tracemalloc.start()
    try:
        (case.stream or case.ours)()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _pin() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def stream(update: Callable[[Any], Any], block: Any, total: int = 50_000_000) -> None:
    """Feed `total` samples to update(block), the same block again and again."""
    for _ in range(max(1, total // len(block))):
        update(block)


if __name__ == "__main__":
    sys.exit("use python -m benchmarks.analysis")
