"""Graphs do not meet, and what is missing is said in one line."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from verification_platform.ros import environment
from verification_platform.ros.environment import RosMissing, own_domain, ros_environment


def test_two_graphs_never_share_a_domain() -> None:
    with own_domain() as one, own_domain() as two:
        assert one != two


def test_a_domain_is_free_again_when_its_graph_has_ended() -> None:
    with own_domain() as first:
        pass
    with own_domain() as second:
        assert second == first


def test_a_domain_that_a_stranger_uses_is_left_alone() -> None:
    with own_domain() as first:
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 7400 + 250 * first + 10))
        with own_domain() as second:
            assert second != first


def test_nodes_talk_on_the_loopback_only_and_share_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "sourced", lambda: True)
    found = ros_environment(7)
    profile = Path(found["FASTRTPS_DEFAULT_PROFILES_FILE"]).read_text(encoding="utf-8")
    assert found["ROS_DOMAIN_ID"] == "7"
    assert "<address>127.0.0.1</address>" in profile
    assert "<useBuiltinTransports>false</useBuiltinTransports>" in profile
    assert "SHM" not in profile


def test_official_packages_are_left_as_they_were_sourced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for package in environment.PACKAGES:
        (tmp_path / "share" / package).mkdir(parents=True)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path}{os.pathsep}/opt/ros/jazzy")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/ros/jazzy/lib")
    found = ros_environment(7)
    assert found["AMENT_PREFIX_PATH"] == f"{tmp_path}{os.pathsep}/opt/ros/jazzy"
    assert found["LD_LIBRARY_PATH"] == "/opt/ros/jazzy/lib"


def test_without_ros_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    monkeypatch.setattr(environment.sysconfig, "get_paths", lambda: {"platlib": str(tmp_path)})
    with pytest.raises(RosMissing, match=r"^ROS 2 is not available.*make setup.*--transport local$"):
        ros_environment(7)


def test_without_the_workspace_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    (tmp_path / "rclpy").mkdir()
    monkeypatch.setattr(environment.sysconfig, "get_paths", lambda: {"platlib": str(tmp_path)})
    monkeypatch.setattr(environment, "INSTALL", tmp_path / "install")
    with pytest.raises(
        RosMissing, match=r"not built \(pilotbench_interfaces, pilotbench_nodes missing\).*make setup"
    ):
        ros_environment(7)


def test_every_node_imports_without_a_second_start_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheels restart Python to find their libraries unless told that they will be found."""
    if "site-packages" not in (getattr(sys.modules.get("numpy"), "__file__", "") or ""):
        pytest.skip("not in an environment of wheels")
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    try:
        found = ros_environment(7)
    except RosMissing as missing:
        pytest.skip(str(missing))
    assert found["_ROS_WHEELS_BOOTSTRAP_COMPLETE"] == "1"
