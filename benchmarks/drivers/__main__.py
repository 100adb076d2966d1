"""`python -m benchmarks.drivers [--only TEXT] [--out FILE]`: all modules there are, results to
benchmarks/results/drivers.json.

Rates are by wall time, because a master's time is mostly spent waiting; ours and the peers' take turns within each
round and the median round counts, so that a disturbance of the machine meets all of them.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

from benchmarks import table

MODULES = ("modbus", "dynamixel", "cyclic")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drivers", description=__doc__)
    parser.add_argument("--only", default="", help=f"one of {', '.join(MODULES)}")
    parser.add_argument("--out", type=Path, help="file for the results (default: only of a complete run)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' own
    table.print_heading(table.machine())
    rows: list[dict[str, Any]] = []
    for name in MODULES:
        if arguments.only not in ("", name):
            continue
        if importlib.util.find_spec(f"{__package__}.{name}") is None:
            continue
        for row in importlib.import_module(f".{name}", __package__).rows():
            table.print_row(row)
            rows.append(row)
    path = arguments.out or (table.FOLDER / "drivers.json" if not arguments.only else None)
    if path is not None:
        table.write(rows, path)
    table.print_missed(rows)


main()
