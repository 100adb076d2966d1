"""Setting Gazebo 11 up: what is there is left alone, and what cannot be had is "not run", never a failure and never a pass."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from ..loading import load_script

SCRIPT = Path(__file__).resolve().parents[2] / "ros_ws" / "gazebo11.py"


@pytest.fixture
def setup() -> ModuleType:
    return load_script("ros_ws/gazebo11.py")


@pytest.fixture
def elsewhere(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script with an empty cache of its own."""
    for name, folder in (
        ("CACHE", "c"),
        ("ROOT", "c/root"),
        ("PLUGINS", "c/plugins"),
        ("PACKAGES", "c/packages"),
    ):
        monkeypatch.setattr(setup, name, tmp_path / folder)
    return setup


def test_an_unreachable_mirror_is_not_run(
    elsewhere: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PILOTBENCH_DEBIAN_MIRROR", "http://127.0.0.1:9/debian")
    monkeypatch.setattr(elsewhere, "RETRIES", 0)
    assert elsewhere.main() == elsewhere.NOT_RUN
    said = capsys.readouterr().err
    assert said.startswith("pilotbench: not run: Gazebo 11 cannot be set up here: ")
    assert said.count("\n") == 1
    assert not elsewhere.ROOT.exists()


def test_without_apt_it_is_not_run(
    elsewhere: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(elsewhere.NotHere, match="apt-get not found"):
        elsewhere.install()


def test_the_mirror_is_the_machines_own(
    elsewhere: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Read from apt, whatever it is; and nothing is guessed where apt names none."""
    monkeypatch.delenv("PILOTBENCH_DEBIAN_MIRROR", raising=False)
    monkeypatch.setattr(elsewhere, "KEYRING", SCRIPT)
    monkeypatch.setenv("PATH", str(tmp_path))
    apt = tmp_path / "apt-get"
    own = "http://m.invalid/debian/"
    for uris, found in (
        (f"{own}\nhttp://m.invalid/debian-security/", [own]),
        ("http://u.invalid/ubuntu", []),
    ):
        apt.write_text(f"#!/bin/sh\necho '{uris}'\n")
        apt.chmod(0o755)
        if found:
            assert elsewhere.mirrors() == found
        else:
            with pytest.raises(elsewhere.NotHere, match="no Debian mirror"):
                elsewhere.mirrors()


def test_the_hosts_runtime_is_not_in_the_list(setup: ModuleType) -> None:
    names = setup.package_names()
    assert len(names) == len(set(names)) > 300
    assert not {"libc6", "libstdc++6", "libgcc-s1", "libc-bin"} & set(names)
    assert {"gazebo", "libgazebo-dev"} <= set(names)


@pytest.mark.gazebo
def test_what_is_there_is_left_alone(setup: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    if not (setup.ROOT / "unpacked.sha256").is_file():
        pytest.skip("NOT RUN: this Gazebo was not set up by ros_ws/gazebo11.py")
    before = (setup.PLUGINS / setup.PLUGIN).stat().st_mtime_ns
    assert setup.main() == 0
    assert capsys.readouterr() == ("", "")
    assert (setup.PLUGINS / setup.PLUGIN).stat().st_mtime_ns == before
