"""The launch files start what the supervisor starts; checked with stand-ins, since the wheels lack ``launch``."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from verification_platform.bench.description import BenchDescription, load_bench
from verification_platform.bench.devices import with_uris
from verification_platform.bench.write import write_bench
from verification_platform.ros.environment import PROFILE
from verification_platform.ros.graph import nodes_for

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
_NAMES = {
    "launch": ["LaunchContext", "LaunchDescription"],
    "launch.actions": [
        "DeclareLaunchArgument", "EmitEvent", "ExecuteProcess", "IncludeLaunchDescription", "OpaqueFunction",
        "RegisterEventHandler", "SetEnvironmentVariable",
    ],
    "launch.conditions": ["IfCondition"],
    "launch.event_handlers": ["OnProcessExit", "OnProcessIO"],
    "launch.events": ["Shutdown"],
    "launch.launch_description_sources": ["PythonLaunchDescriptionSource"],
    "launch.substitutions": ["LaunchConfiguration"],
    "launch_ros": [],
    "launch_ros.actions": ["Node"],
}  # fmt: skip


class Action:
    """Remembers how it was made."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.arguments, self.settings = arguments, settings


class Configuration(Action):
    def perform(self, context: dict[str, str]) -> str:
        return context[self.arguments[0]]


@pytest.fixture
def launch_file(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Load a launch file with the stand-ins in the place of `launch` and `launch_ros`."""
    for name, classes in _NAMES.items():
        module = types.ModuleType(name)
        for kind in classes:
            base = Configuration if kind == "LaunchConfiguration" else Action
            setattr(module, kind, type(kind, (base,), {}))
        monkeypatch.setitem(sys.modules, name, module)

    def load(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(name.replace(".", "_"), LAUNCH / name)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def _of(kind: str, actions: list[Any]) -> list[Any]:
    return [action for action in actions if type(action).__name__ == kind]


def _opaque(module: Any, context: dict[str, str]) -> list[Any]:
    (description,) = module.generate_launch_description().arguments
    (opaque,) = _of("OpaqueFunction", description)
    return list(opaque.settings["function"](context))


def test_the_bench_launch_starts_the_nodes_of_the_supervisor(
    launch_file: Callable[[str], Any], bench: BenchDescription, tmp_path: Path
) -> None:
    path = write_bench(
        with_uris(bench, {"can0": "socketcan:can0", "rs485": "serial:/dev/x"}), tmp_path / "b.toml"
    )
    actions = _opaque(launch_file("bench.launch.py"), {"bench": str(path)})
    *nodes, bring_up = _of("Node", actions)
    specs = nodes_for(load_bench(path), path)
    assert [(n.settings["name"], n.settings["executable"]) for n in nodes] == [
        (s.name, s.executable) for s in specs
    ]
    assert [n.settings["parameters"] for n in nodes] == [[dict(s.parameters)] for s in specs]
    assert all(_of("EmitEvent", n.settings["on_exit"]) for n in nodes)
    assert bring_up.settings["executable"] == "bring_up"
    assert bring_up.settings["arguments"] == [str(path)]


def test_a_bench_that_does_not_come_up_is_ended(launch_file: Callable[[str], Any]) -> None:
    brought_up = launch_file("bench.launch.py")._brought_up
    assert brought_up(types.SimpleNamespace(returncode=0), {}) == []
    assert len(brought_up(types.SimpleNamespace(returncode=1), {})) == 1


def test_every_argument_is_described(launch_file: Callable[[str], Any]) -> None:
    for name, expected in (
        ("bench.launch.py", {"bench", "loopback"}),
        ("emulated.launch.py", {"bench", "dut", "seed", "folder"}),
    ):
        (description,) = launch_file(name).generate_launch_description().arguments
        arguments = _of("DeclareLaunchArgument", description)
        assert {a.arguments[0] for a in arguments} == expected
        assert all(a.settings["description"].endswith(".") for a in arguments)


def test_the_nodes_talk_on_the_loopback_unless_told_otherwise(launch_file: Callable[[str], Any]) -> None:
    (description,) = launch_file("bench.launch.py").generate_launch_description().arguments
    variables = _of("SetEnvironmentVariable", description)
    assert {v.arguments[0] for v in variables} == {
        "FASTRTPS_DEFAULT_PROFILES_FILE",
        "FASTDDS_DEFAULT_PROFILES_FILE",
    }
    assert all(v.arguments[1] == str(PROFILE) and "condition" in v.settings for v in variables)


def test_the_emulated_launch_waits_for_the_wires_and_includes_the_bench(
    launch_file: Callable[[str], Any], bench: BenchDescription, tmp_path: Path
) -> None:
    path = write_bench(bench, tmp_path / "bench_as_written.toml")
    context = {"bench": str(path), "dut": "d.toml", "seed": "3", "folder": str(tmp_path)}
    emulator, handler = _opaque(launch_file("emulated.launch.py"), context)
    command = emulator.settings["cmd"]
    assert command[1:3] == ["-m", "verification_platform.bench.emulated"]
    assert command[command.index("--seed") + 1] == "3"
    said = handler.arguments[0].settings["on_stdout"]
    assert said(types.SimpleNamespace(text=b"something else\n")) == []
    ready = b'{"ready": true, "bus": {"can0": "unix:/x", "rs485": "serial:/dev/pts/9"}, "clock": null}\n'
    (include,) = said(types.SimpleNamespace(text=ready))
    ((name, resolved),) = include.settings["launch_arguments"]
    assert name == "bench"
    assert load_bench(Path(resolved)).bus["rs485"].uri == "serial:/dev/pts/9"
    assert include.arguments[0].arguments[0].endswith("launch/bench.launch.py")
