"""The launch files start what the supervisor starts; checked with stand-ins, since the wheels lack ``launch``."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from verification_platform.bench.description import BenchDescription, BenchError, load_bench
from verification_platform.bench.devices import with_uris
from verification_platform.bench.write import write_bench
from verification_platform.ros.environment import PROFILE
from verification_platform.ros.graph import nodes_for

from ..loading import load_script

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
_NAMES = {
    "launch": ["LaunchContext", "LaunchDescription"],
    "launch.actions": [
        "DeclareLaunchArgument", "EmitEvent", "ExecuteProcess", "IncludeLaunchDescription", "LogInfo", "OpaqueFunction",
        "RegisterEventHandler", "SetEnvironmentVariable", "TimerAction",
    ],
    "launch.conditions": ["IfCondition"],
    "launch.event_handlers": ["OnProcessIO", "OnProcessStart"],
    "launch.events": ["Shutdown", "matches_action"],
    "launch.launch_description_sources": ["PythonLaunchDescriptionSource"],
    "launch.substitutions": ["LaunchConfiguration", "NotEqualsSubstitution"],
    "launch_ros": [],
    "launch_ros.actions": ["LifecycleNode", "Node"],
    "launch_ros.event_handlers": ["OnStateTransition"],
    "launch_ros.events": [],
    "launch_ros.events.lifecycle": ["ChangeState"],
    "lifecycle_msgs": [],
    "lifecycle_msgs.msg": [],
}  # fmt: skip
CONFIGURE, ACTIVATE = 1, 3


class Action:
    """Remembers how it was made."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.arguments, self.settings = arguments, settings

    @property
    def node_name(self) -> str:
        return str(self.settings["name"])


class Configuration(Action):
    def perform(self, context: Context) -> str:
        return context.launch_configurations[self.arguments[0]]


class Context:
    """As much of a launch context as the files use."""

    def __init__(self, **arguments: str) -> None:
        self.launch_configurations = arguments
        self.is_shutdown = False


@pytest.fixture
def launch_file(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Load a launch file with the stand-ins in the place of `launch` and `launch_ros`."""
    for name, classes in _NAMES.items():
        module = types.ModuleType(name)
        for kind in classes:
            base = Configuration if kind == "LaunchConfiguration" else Action
            setattr(module, kind, type(kind, (base,), {}))
        monkeypatch.setitem(sys.modules, name, module)
    numbers = types.SimpleNamespace(TRANSITION_CONFIGURE=CONFIGURE, TRANSITION_ACTIVATE=ACTIVATE)
    monkeypatch.setattr(sys.modules["lifecycle_msgs.msg"], "Transition", numbers, raising=False)
    monkeypatch.setattr(
        sys.modules["lifecycle_msgs"], "msg", sys.modules["lifecycle_msgs.msg"], raising=False
    )
    monkeypatch.delitem(sys.modules, "verification_platform.ros.launching", raising=False)

    def load(name: str) -> Any:
        return load_script(LAUNCH / name)

    return load


def _of(kind: str, actions: list[Any]) -> list[Any]:
    return [action for action in actions if type(action).__name__ == kind]


def _opaque(module: Any, context: Context) -> list[Any]:
    (description,) = module.generate_launch_description().arguments
    (opaque,) = _of("OpaqueFunction", description)
    return list(opaque.settings["function"](context))


def _started(launch_file: Callable[[str], Any], path: Path, **arguments: str) -> list[Any]:
    context = Context(
        **{"bench": str(path), "respawn": "false", "respawn_delay": "1.5", "autostart": "true", **arguments}
    )
    return _opaque(launch_file("bench.launch.py"), context)


@pytest.fixture
def bench_file(bench: BenchDescription, tmp_path: Path) -> Path:
    uris = {"can0": "socketcan:can0", "rs485": "serial:/dev/x"}
    return write_bench(with_uris(bench, uris), tmp_path / "b.toml")


def test_the_bench_launch_starts_the_nodes_of_the_supervisor(
    launch_file: Callable[[str], Any], bench_file: Path
) -> None:
    nodes = _of("LifecycleNode", _started(launch_file, bench_file))
    specs = nodes_for(load_bench(bench_file), bench_file)
    assert [(n.settings["name"], n.settings["executable"]) for n in nodes] == [
        (s.name, s.executable) for s in specs
    ]
    assert [n.settings["parameters"] for n in nodes] == [[dict(s.parameters)] for s in specs]
    assert {n.settings["namespace"].arguments for n in nodes} == {("namespace",)}
    assert all(
        float(n.settings["sigterm_timeout"]) + float(n.settings["sigkill_timeout"]) < 5.0 for n in nodes
    )


class Bench:
    """Plays the nodes of a launched bench: starts them, and answers every transition."""

    def __init__(self, actions: list[Any], context: Context, refuse: dict[str, int] | None = None) -> None:
        self.nodes = _of("LifecycleNode", actions)
        self.states = dict.fromkeys((n.node_name for n in self.nodes), "unconfigured")
        self.handlers = [h.arguments[0] for h in _of("RegisterEventHandler", actions)]
        self.context, self.refuse = context, dict(refuse or {})
        self.asked: list[tuple[str, int]] = []
        self.ended: list[str] = []

    def start(self, node: Any) -> None:
        self.states[node.node_name] = "unconfigured"
        for handler in _of("OnProcessStart", self.handlers):
            if handler.settings["target_action"] is node:
                self._do([handler.settings["on_start"]])

    def _do(self, actions: list[Any]) -> None:
        for action in actions:
            if type(action).__name__ == "OpaqueFunction":
                self._do(action.settings["function"](self.context))
            elif type(action).__name__ == "TimerAction":
                self._do(action.settings["actions"])
            elif type(action).__name__ == "EmitEvent":
                event = action.settings["event"]
                if type(event).__name__ == "Shutdown":
                    self.ended.append(event.settings["reason"])
                else:
                    self._change(
                        event.settings["lifecycle_node_matcher"].arguments[0], event.settings["transition_id"]
                    )

    def _change(self, node: Any, transition: int) -> None:
        name = node.node_name
        self.asked.append((name, transition))
        refused = self.refuse.get(name, 0) > 0
        self.refuse[name] = self.refuse.get(name, 0) - 1
        before, after = ("configuring", "inactive") if transition == CONFIGURE else ("activating", "active")
        if refused:
            after = "unconfigured" if transition == CONFIGURE else "inactive"
        self.states[name] = after
        for handler in _of("OnStateTransition", self.handlers):
            settings = handler.settings
            if settings["target_lifecycle_node"] is node and (
                settings["start_state"],
                settings["goal_state"],
            ) == (before, after):
                self._do(settings["entities"])


def test_nodes_are_configured_in_order_then_activated_in_order(
    launch_file: Callable[[str], Any], bench_file: Path
) -> None:
    bench = Bench(_started(launch_file, bench_file), Context())
    for node in reversed(bench.nodes):
        bench.start(node)
    names = [node.node_name for node in bench.nodes]
    assert names[0] == "interlock_node"
    assert bench.asked == [*((n, CONFIGURE) for n in names), *((n, ACTIVATE) for n in names)]
    assert set(bench.states.values()) == {"active"}
    assert bench.ended == []


def test_a_device_may_need_a_second_knock_but_not_a_third(
    launch_file: Callable[[str], Any], bench_file: Path
) -> None:
    bench = Bench(_started(launch_file, bench_file), Context(), {"device_can0": 1})
    bench.start(bench.nodes[0])
    assert bench.asked.count(("device_can0", CONFIGURE)) == 2
    assert set(bench.states.values()) == {"active"}
    bench = Bench(_started(launch_file, bench_file), Context(), {"device_can0": 9})
    bench.start(bench.nodes[0])
    assert bench.ended == ["device_can0 could not be configured; its log says why"]
    assert bench.states["protocol_node"] == "unconfigured"


def test_the_first_death_ends_all_and_gives_the_reason(
    launch_file: Callable[[str], Any], bench_file: Path
) -> None:
    context = Context()
    bench = Bench(_started(launch_file, bench_file), context)
    for node in bench.nodes:
        assert node.settings["respawn"] is False
        bench._do(node.settings["on_exit"])
    assert bench.ended == ["interlock_node ended"]
    context.is_shutdown = True
    bench._do(bench.nodes[1].settings["on_exit"])
    assert len(bench.ended) == 1


def test_a_respawned_node_is_configured_and_waits_for_a_person(
    launch_file: Callable[[str], Any], bench_file: Path
) -> None:
    """Whoever died comes back inactive: devices open, torque off. Only a person makes it active."""
    bench = Bench(_started(launch_file, bench_file, respawn="true"), Context())
    assert all(node.settings["respawn"] and node.settings["on_exit"] is None for node in bench.nodes)
    assert {node.settings["respawn_delay"] for node in bench.nodes} == {1.5}  # a number, no substitution
    for node in reversed(bench.nodes):
        bench.start(node)
    for died in bench.nodes:
        bench.asked.clear()
        bench.start(died)
        assert bench.asked == [(died.node_name, CONFIGURE)]
        assert bench.states[died.node_name] == "inactive"
        bench._change(died, ACTIVATE)  # by `ros2 lifecycle`
    assert set(bench.states.values()) == {"active"}
    assert bench.ended == []


def test_a_respawned_node_that_cannot_be_configured_does_not_end_the_others(
    launch_file: Callable[[str], Any], bench_file: Path
) -> None:
    bench = Bench(_started(launch_file, bench_file, respawn="true"), Context())
    for node in reversed(bench.nodes):
        bench.start(node)
    bench.asked.clear()
    bench.refuse["device_can0"] = 9
    (died,) = (node for node in bench.nodes if node.node_name == "device_can0")
    bench.start(died)
    assert bench.asked == [("device_can0", CONFIGURE)] * 2
    assert bench.states["device_can0"] == "unconfigured"
    assert bench.ended == []


def test_a_node_that_dies_while_the_bench_comes_up_ends_it(
    launch_file: Callable[[str], Any], bench_file: Path
) -> None:
    bench = Bench(_started(launch_file, bench_file, respawn="true"), Context())
    bench.start(bench.nodes[1])
    bench.start(bench.nodes[1])
    assert bench.ended == ["recorder_node died while the bench was brought up"]


def test_without_autostart_nothing_is_changed(launch_file: Callable[[str], Any], bench_file: Path) -> None:
    actions = _started(launch_file, bench_file, autostart="false")
    assert _of("RegisterEventHandler", actions) == []
    assert len(_of("LifecycleNode", actions)) >= 5


ARGUMENTS = {
    "bench.launch.py": {"bench", "namespace", "autostart", "respawn", "respawn_delay", "log_dir", "loopback"},
    "emulated.launch.py": {
        "bench", "dut", "seed", "folder", "clock", "namespace", "autostart", "respawn", "respawn_delay", "log_dir", "loopback",
    },
    "gazebo.launch.py": {
        "bench", "server", "dut", "seed", "folder", "clock", "namespace", "autostart", "respawn", "respawn_delay", "log_dir", "loopback",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", list(ARGUMENTS))
def test_every_argument_is_described(launch_file: Callable[[str], Any], name: str) -> None:
    module = launch_file(name)
    (description,) = module.generate_launch_description().arguments
    arguments = {a.arguments[0]: a for a in _of("DeclareLaunchArgument", description)}
    assert set(arguments) == ARGUMENTS[name]
    assert all(a.settings["description"].endswith(".") for a in arguments.values())
    assert set(getattr(module, "PASSED_ON", ())) <= set(arguments)


def test_the_nodes_talk_on_the_loopback_unless_told_otherwise(launch_file: Callable[[str], Any]) -> None:
    (description,) = launch_file("bench.launch.py").generate_launch_description().arguments
    variables = {v.arguments[0]: v for v in _of("SetEnvironmentVariable", description)}
    assert set(variables) == {
        "FASTRTPS_DEFAULT_PROFILES_FILE",
        "FASTDDS_DEFAULT_PROFILES_FILE",
        "ROS_LOG_DIR",
    }
    assert all("condition" in v.settings for v in variables.values())
    del variables["ROS_LOG_DIR"]
    assert all(v.arguments[1] == str(PROFILE) for v in variables.values())


def test_the_emulated_launch_waits_for_the_wires_and_includes_the_bench(
    launch_file: Callable[[str], Any], bench: BenchDescription, tmp_path: Path
) -> None:
    path = write_bench(bench, tmp_path / "bench_as_written.toml")
    context = Context(bench=str(path), dut="d.toml", seed="3", folder=str(tmp_path))
    emulator, handler = _opaque(launch_file("emulated.launch.py"), context)
    command = emulator.settings["cmd"]
    assert command[1:3] == ["-m", "verification_platform.bench.emulated"]
    assert command[command.index("--seed") + 1] == "3"
    said = handler.arguments[0].settings["on_stdout"]
    assert said(types.SimpleNamespace(text=b"something else\n")) == []
    ready = b'{"ready": true, "bus": {"can0": "unix:/x", "rs485": "serial:/dev/pts/9"}, "clock": null}\n'
    include, clock = said(types.SimpleNamespace(text=ready))
    passed = dict(include.settings["launch_arguments"])
    assert load_bench(Path(passed["bench"])).bus["rs485"].uri == "serial:/dev/pts/9"
    assert passed.keys() == ARGUMENTS["bench.launch.py"]
    assert include.arguments[0].arguments[0].endswith("launch/bench.launch.py")
    assert clock.settings["executable"] == "clock_node"
    assert "condition" in clock.settings


def test_the_gazebo_launch_is_the_emulated_one_with_another_description(
    launch_file: Callable[[str], Any], tmp_path: Path
) -> None:
    path = LAUNCH.parent / "benches" / "gazebo.toml"
    context = Context(bench=str(path), server="gazebo11", folder=str(tmp_path / "new"))
    (include,) = _opaque(launch_file("gazebo.launch.py"), context)
    assert include.arguments[0].arguments[0].endswith("launch/emulated.launch.py")
    passed = dict(include.settings["launch_arguments"])
    assert passed.keys() <= ARGUMENTS["emulated.launch.py"]
    chosen = load_bench(Path(passed["bench"])).bodies
    assert (chosen.engine, chosen.server) == ("gazebo", "gazebo11")
    context = Context(
        bench=str(LAUNCH.parent / "benches" / "emulated.toml"), server="auto", folder=str(tmp_path)
    )
    with pytest.raises(BenchError, match="is not in Gazebo"):
        _opaque(launch_file("gazebo.launch.py"), context)
