"""Runs the rows, prints the table, writes the results.

Machines that run benchmarks are rarely idle: wall time is not taken, but CPU time of this process on one pinned
core, our code and the peers in turn within each round, so that a disturbance meets all of them; rates are from
the median round. Ratios carry over between machines, rates do not.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import statistics
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import table

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
_SLOW_S = 20.0  # a peer whose call takes longer is called once a run, not once a round


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
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the median counts (default 5)")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument("--out", type=Path, help="file for the results (default: only of a complete run)")
    return parser.parse_args()


def _run(r: Row, rounds: int, machine: str) -> list[dict[str, Any]]:
    """One row: time, compare, print; a result for each group of peers."""
    try:
        case = r.make(r.n)
    except ImportError as error:
        print(f"{r.name:44} left out: {error}")
        return []
    ours_s, peers_s, answer, answers = _time(case, rounds)
    try:
        agreement, agrees = case.agrees(answer, answers), True
    except AssertionError as error:
        agreement, agrees = f"DISAGREES: {error}", False
    del answer, answers
    gc.collect()
    peak_mb = _peak_mb(case)
    rate = (case.work or r.n) / ours_s
    rows = []
    for group, members in _groups(case.peers).items():
        timed = {name: (peer.n or r.n) / peers_s[name] for name, peer in members.items() if name in peers_s}
        if not timed:
            continue
        row = table.result(
            r.name,
            r.n,
            rate,
            timed,
            members[table.best_of(timed)].goal,
            agrees=agrees,
            peak_mb=peak_mb,
            unit=r.unit,
            agreement=agreement,
            group=group,
            note=case.note,
            on=machine,
        )
        table.print_row(row)
        rows.append(row)
    return rows


def _groups(peers: dict[str, Peer]) -> dict[str, dict[str, Peer]]:
    groups: dict[str, dict[str, Peer]] = {}
    for name, peer in peers.items():
        groups.setdefault(peer.group, {})[name] = peer
    return groups


def _time(case: Case, rounds: int) -> tuple[float, dict[str, float], Any, dict[str, Any]]:
    """Median CPU time of our call and of each peer's, and the answers of the first round."""
    times: dict[str, list[float]] = {}
    answers: dict[str, Any] = {}
    calls: dict[str, Callable[[], Any]] = {"": case.ours} | {name: p.call for name, p in case.peers.items()}
    for turn in range(rounds + 1):  # the first one warms up: imports, compilation, caches
        for name, call in calls.items():
            slow = times.get(name) and times[name][0] > _SLOW_S
            if slow and turn > 0:
                continue
            gc.collect()
            begin = time.process_time()
            try:
                answer = call()
            except Exception as error:
                if not name:
                    raise
                answers[name] = error
                times[name] = [float("inf")]
                continue
            took = time.process_time() - begin
            if turn == 0:
                answers[name] = answer
            if turn > 0 or took > _SLOW_S:
                times.setdefault(name, []).append(took)
    medians = {name: statistics.median(t) for name, t in times.items()}
    ours = medians.pop("")
    return ours, medians, answers.pop(""), answers


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
