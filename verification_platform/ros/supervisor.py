"""Starts the graph of a bench, runs protocols in it, and ends it, whatever happens to its parts.

::

    with Graph(bench_path, dut_path, work_dir) as graph:
        outcome = graph.run(run_folder, on_progress=show, confirm=ask)

The same nodes with the same parameters as `launch/bench.launch.py` (both read `graph.nodes_for`), as child processes of this
one. The death of any of them ends the run with one clear line; whoever is left takes the torque off by itself, the supervisor
is no part of the safety chain. All children end with the graph, within five seconds, and die with this process when it is
killed. Use a graph from the thread that made it: on Linux children die with the thread that started them.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from verification_platform.bench.description import BenchDescription, load_bench
from verification_platform.bench.devices import EMULATED
from verification_platform.metrology.result import RunStatus

from .children import Child, end
from .environment import own_domain, ros_environment
from .graph import PACKAGE, NodeSpec, nodes_for

CLIENT, EMULATOR = "client", "emulator"
#: Name of the bench description with the addresses of the emulated wires filled in.
RESOLVED = "bench.resolved.toml"
_EMULATOR_S, _UP_S, _DOWN_S, _END_S = 20.0, 60.0, 2.0, 2.0
#: After a process has died, so long for the others to end the run in order and say why.
_LAST_WORDS_S = 2.5


class GraphError(Exception):
    """The graph could not be started, or is no longer whole; one clear line."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the run does now, in both languages; fraction done; s left; live values in SI."""

    zh: str
    en: str
    fraction: float
    remaining_s: float
    live: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended; `reason` is one clear line, empty when the procedure was done to its end."""

    status: RunStatus
    reason: str = ""

    @property
    def safety(self) -> bool:
        """The torque was taken off by the safety chain."""
        return self.status is RunStatus.ABORTED_SAFETY


class Graph:
    """A context manager around all processes of one bench. Raises GraphError, BenchError or RosMissing when it cannot start.

    `seed` is that of the emulated bench (default: the bench description's). `work_dir` gets logs, sockets and the emulator's
    events. `remappings` (node → {topic: other topic}) is for tests that put something between two nodes.
    """

    def __init__(
        self,
        bench_path: Path,
        dut_path: Path,
        work_dir: Path,
        *,
        seed: int | None = None,
        remappings: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._bench_path, self._dut_path, self.work_dir, self._seed = bench_path, dut_path, work_dir, seed
        self._remappings = remappings or {}
        self.children: dict[str, Child] = {}
        self.domain = 0
        self._stack = contextlib.ExitStack()
        self._selector = selectors.DefaultSelector()
        self._buffer = b""
        self._events: list[dict[str, Any]] = []
        self._ended = ""

    # ------------------------------------------------------------------ start

    def __enter__(self) -> Self:
        self.work_dir.mkdir(parents=True, exist_ok=True)
        bench = load_bench(self._bench_path)
        try:
            self._start(bench)
        except BaseException:
            self.close()
            raise
        return self

    def _start(self, bench: BenchDescription) -> None:
        self.domain = self._stack.enter_context(own_domain())
        self.environment = ros_environment(self.domain) | {"ROS_LOG_DIR": str(self.work_dir / "ros_log")}
        bench_file = self._resolved(bench)
        for spec in nodes_for(bench, bench_file):
            self._spawn(spec.name, self._node_command(spec))
        self._spawn(
            CLIENT, [sys.executable, "-m", "verification_platform.ros.client", str(bench_file)], pipe=True
        )
        self._expect({"up"}, _UP_S)

    def _resolved(self, bench: BenchDescription) -> Path:
        """The description that the nodes read: as given, or with the wires of an emulator that is started here."""
        buses = [bus for bus, record in bench.bus.items() if record.uri == EMULATED]
        if not buses:
            return self._bench_path.resolve()
        seed = self._seed if self._seed is not None else int(bench.plant.get("seed", 0))
        command = [
            sys.executable, "-m", "verification_platform.bench.emulated",
            "--bench", str(self._bench_path), "--dut", str(self._dut_path), "--seed", str(seed), "--run-dir", str(self.work_dir),
        ]  # fmt: skip
        self._spawn(EMULATOR, command, pipe=True)
        return resolve(
            self._bench_path, self._expect({"ready"}, _EMULATOR_S)["bus"], self.work_dir / RESOLVED
        )

    def _node_command(self, spec: NodeSpec) -> list[str]:
        command = [
            sys.executable,
            "-m",
            f"{PACKAGE}.{spec.executable}",
            "--ros-args",
            "-r",
            f"__node:={spec.name}",
        ]
        for name, value in spec.parameters.items():
            command += ["-p", f"{name}:={value}"]
        for topic, other in self._remappings.get(spec.name, {}).items():
            command += ["-r", f"{topic}:={other}"]
        return command

    def _spawn(self, name: str, command: list[str], *, pipe: bool = False) -> None:
        child = Child(name, command, self.environment, self.work_dir / f"{name}.log", pipe=pipe)
        self.children[name] = child
        self._selector.register(child.pidfd, selectors.EVENT_READ, ("death", child))
        if child.process.stdout is not None:
            os.set_blocking(child.process.stdout.fileno(), False)
            self._selector.register(child.process.stdout.fileno(), selectors.EVENT_READ, ("line", child))

    # ------------------------------------------------------------------ run

    def run(
        self,
        run_folder: Path,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        confirm: Callable[[str, str, str], bool] | None = None,
        resume: bool = False,
    ) -> RunOutcome:
        """Run, or continue, the run frozen in `run_folder`; returns when it has ended and its recording is sealed.

        `confirm(key, zh, en)` asks the technician; without it every prompt is confirmed. Ctrl-C aborts the run in order.
        Never raises for anything that happens to the bench.
        """
        if self._ended:
            return RunOutcome(
                RunStatus.INVALID, f"the ROS graph is no longer whole ({self._ended}); start it again"
            )
        self._request(do="run", folder=str(run_folder.resolve()), resume=resume)
        give_up_s: float | None = None
        while True:
            try:
                event = self._next_event(0.2)
                if event is not None and event["event"] == "result":
                    return RunOutcome(RunStatus(event["status"]), self._with_cause(event["reason"]))
                if event is not None and event["event"] == "feedback":
                    self._feedback(event, on_progress, confirm)
            except KeyboardInterrupt:
                self._request(do="cancel")
                give_up_s = give_up_s or time.monotonic() + 10.0
            if self._ended:
                give_up_s = min(give_up_s or float("inf"), self._ended_s + _LAST_WORDS_S)
            if give_up_s is not None and time.monotonic() > give_up_s:
                reason = self._ended or "aborted by the operator"
                return RunOutcome(
                    RunStatus.ABORTED_SAFETY if self._ended else RunStatus.INVALID, self._with_cause(reason)
                )

    def _feedback(
        self,
        event: dict[str, Any],
        on_progress: Callable[[Progress], None] | None,
        confirm: Callable[[str, str, str], bool] | None,
    ) -> None:
        if event["prompt"] is not None:
            prompt = event["prompt"]
            accept = confirm is None or confirm(prompt["key"], prompt["zh"], prompt["en"])
            self._request(do="confirm", key=prompt["key"], accept=accept)
        elif on_progress is not None:
            on_progress(
                Progress(event["zh"], event["en"], event["fraction"], event["remaining_s"], event["live"])
            )

    def reset(self) -> None:
        """After a trip whose cause is gone: reset the interlock and open the devices anew. Raises GraphError."""
        if self._ended:
            raise GraphError(f"the ROS graph is no longer whole ({self._ended}); start it again")
        self._request(do="reset")
        self._expect({"reset"}, _UP_S)

    def _with_cause(self, reason: str) -> str:
        """What the nodes saw, led by the process whose death was the cause."""
        if not self._ended or self._ended in reason:
            return reason
        return f"{self._ended}; {reason}" if reason else self._ended

    # ------------------------------------------------------------------ events

    def _request(self, **request: Any) -> None:
        stdin = self.children[CLIENT].process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except OSError:
            self._note_death(self.children[CLIENT])

    def _expect(self, kinds: set[str], timeout_s: float) -> dict[str, Any]:
        """The next event of one of these kinds. Raises GraphError when it does not come, with the reason."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            event = self._next_event(0.2)
            if event is not None:
                if event.get("event") in kinds or kinds & event.keys():
                    return event
                if event.get("event") == "failed":
                    raise GraphError(self._with_cause(event["reason"]))
            if self._ended:
                raise GraphError(f"{self._ended}; see {self.work_dir}")
            if time.monotonic() > deadline_s:
                raise GraphError(
                    f"the ROS graph did not come up within {timeout_s:g} s; see the logs in {self.work_dir}"
                )

    def _next_event(self, timeout_s: float) -> dict[str, Any] | None:
        """An event of the client or emulator; None when nothing was said. Notes every death on the way."""
        if not self._events:
            for key, _ in self._selector.select(timeout_s):
                kind, child = key.data
                if kind == "death":
                    self._selector.unregister(key.fd)
                    self._note_death(child)
                else:
                    self._read(child)
        return self._events.pop(0) if self._events else None

    def _read(self, child: Child) -> None:
        assert child.process.stdout is not None
        data = os.read(child.process.stdout.fileno(), 65536)
        if not data:
            self._selector.unregister(child.process.stdout.fileno())
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._events += [json.loads(line) for line in lines if line.startswith(b"{")]

    def _note_death(self, child: Child) -> None:
        if not self._ended:
            with contextlib.suppress(Exception):
                child.process.wait(0.5)
            self._ended, self._ended_s = (
                child.how_it_ended() or f"{child.name} no longer listens",
                time.monotonic(),
            )

    # ------------------------------------------------------------------ end

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process, in order where that is possible, within five seconds. Idempotent."""
        if not self._ended and CLIENT in self.children:
            self._request(do="down")
            with contextlib.suppress(GraphError):
                self._expect({"down"}, _DOWN_S)
        nodes = [child for name, child in self.children.items() if name != EMULATOR]
        end(nodes, _END_S)  # the devices outlive their masters, as in life
        end(self.children.values(), 1.0)
        for child in self.children.values():
            child.close()
        self.children.clear()
        self._ended = self._ended or "it was closed"
        self._selector.close()
        self._stack.close()


def resolve(bench_path: Path, uris: Mapping[str, str], target: Path) -> Path:
    """Copy of a bench description in which the `uri` of some buses is replaced; comments and all else stay as written."""
    lines, table = [], ""
    for line in bench_path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("["):
            table = text.split("]")[0].lstrip("[").strip()
        bus = table.removeprefix("bus.") if table.startswith("bus.") else None
        if bus in uris and text.startswith("uri"):
            line = f"uri = {json.dumps(uris[bus])}"
        lines.append(line)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    written = load_bench(target)
    for bus, uri in uris.items():
        if written.bus[bus].uri != uri:
            raise GraphError(
                f"{bench_path}: the uri of bus {bus} must stand on a line of its own in [bus.{bus}]"
            )
    return target
