"""`pilotbench`: the command line. One module a group of commands; this one puts them together.

Errors of every layer end here, as one clear line and an exit code (`errors.ExitCode`); a traceback is shown only with
``--debug``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from drivers.device import DriverError
from reports.errors import ReportError
from verification_platform.bench.description import BenchError
from verification_platform.engine.journal import JournalError
from verification_platform.engine.protocol import ProtocolError
from verification_platform.metrology.decision import DecisionError
from verification_platform.metrology.units import UnitError
from verification_platform.records.errors import RecordingError
from verification_platform.ros import GraphError, RosMissing

from . import bench, catalogue, data, demo, home, lock, report, reset, run
from .errors import CommandError, ExitCode

#: Every layer's family of errors that a user can cause and mend.
_USER_ERRORS = (
    BenchError, UnitError, DecisionError, ProtocolError, JournalError, RecordingError, DriverError, GraphError, RosMissing,
    ReportError,
)  # fmt: skip
#: typer vendors click; this is the public way to its UsageError.
_UsageError: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="pilotbench",
    help="机器人中试验证平台 — protocols, benches, recordings and reports of a pilot-verification lab.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for module in (lock, reset, home):
    module.register(bench.app)
app.add_typer(bench.app, name="bench")
for module in (demo, catalogue, run, data, report):
    module.register(app)

_debug = False


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    global _debug
    _debug = debug


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs a command and ends the process with its exit code."""
    sys.exit(run_command(list(sys.argv[1:] if arguments is None else arguments)))


def run_command(arguments: list[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        code = app(arguments, standalone_mode=False)
    except CommandError as error:
        return _complain(str(error), error.code)
    except _USER_ERRORS as error:
        return _complain(str(error), ExitCode.USAGE)
    except _UsageError as error:
        return _complain(error.format_message(), ExitCode.USAGE)
    except KeyboardInterrupt:
        return _complain("stopped by the user", ExitCode.INVALID)
    return int(code or 0)


def _complain(line: str, code: ExitCode) -> int:
    if _debug:
        raise
    print(f"pilotbench: {' '.join(line.split())}", file=sys.stderr)
    return int(code)
