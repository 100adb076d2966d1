"""What every benchmark of this repository prints and writes: one row for each peer, ours beside its, with the goal."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Where the results are kept, one JSON file a benchmark.
FOLDER = Path(__file__).resolve().parent / "results"


def best_of(peers: Mapping[str, float]) -> str:
    """The fastest of several peers: it is the one that counts."""
    return max(peers, key=lambda name: peers[name])


def result(
    name: str,
    n: int,
    ours: float,
    peers: Mapping[str, float],
    goal: float,
    *,
    agrees: bool,
    peak_mb: float,
    unit: str = "",
    agreement: str = "",
    group: str = "peer",
    note: str = "",
    on: str = "",
    paired: tuple[str, tuple[float, float, float], int] | None = None,
) -> dict[str, Any]:
    """One row: rates in `unit` a second, of ours and of each peer; `goal` is the ratio we want to reach at least.

    `on` describes the machine, `agreement` how far the answers agree, `note` what a reader must know. The ratio is that of
    the rates, unless both were measured in turn: `paired` has the peer that counts, median and quartiles of the ratio
    over the rounds, and the number of rounds.
    """
    if paired is None:
        best = best_of(peers)
        ratio, more = ours / peers[best], {}
    else:
        best, (ratio, lower, upper), rounds = paired
        more = {"ratio_quartiles": [round(lower, 3), round(upper, 3)], "rounds": rounds}
    return {
        "name": name,
        "n": n,
        "unit": unit,
        "ours": ours,
        "peer": best,
        "group": group,
        "peer_rate": peers[best],
        "all_peers": {peer: round(rate, 1) for peer, rate in peers.items()},
        "ratio": round(ratio, 3),
        **more,
        "goal": goal,
        "reached": bool(ratio >= goal and agrees),
        "agrees": agrees,
        "agreement": agreement,
        "note": note,
        "peak_mb": round(peak_mb, 2),
        "machine": on or machine(),
    }


def print_heading(on: str) -> None:
    print(on, end="\n\n")
    print(
        f"{'row':44} {'peer':22} {'ours/s':>9} {'peer/s':>9} {'ratio':>7} {'(quartiles)':15} {'goal':>6}      MB  agreement"
    )


def print_row(row: Mapping[str, Any]) -> None:
    quartiles = "({:.2f}–{:.2f})".format(*row["ratio_quartiles"]) if "ratio_quartiles" in row else ""
    text = row.get("agreement", "") + (f" [{row['note']}]" if row.get("note") else "")
    print(
        f"{row['name']:44} {row['peer']:22} {row['ours']:9.2e} {row['peer_rate']:9.2e} {row['ratio']:7.2f} "
        f"{quartiles:15} {row['goal']:6g} {'ok ' if row['reached'] else '-- '} {row['peak_mb']:5.1f}  {text}",
        flush=True,
    )


def write(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}")


def print_missed(rows: Sequence[Mapping[str, Any]]) -> None:
    missed = [f"{row['name']} ({row['peer']})" for row in rows if not row["reached"]]
    if missed:
        print("not reached: " + "; ".join(missed))


def machine(note: str = "") -> str:
    """Processor, system, interpreter, load: what the rates hold for."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        model = f"{names[0]} × {len(names)}" if names else model
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return (
        f"{model}{note}; {platform.system()}, Python {platform.python_version()}; "
        f"load average {load:.1f} at the start"
    )
