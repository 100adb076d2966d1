"""Which Gazebo there is on this machine, and how its headless server is started.

Two ways to have one, and nothing else may know which: Harmonic beside the official ROS 2 Jazzy packages, with the
workspace sourced that holds our plug-in, or Gazebo 11 unpacked by ``ros_ws/gazebo11.py`` into this checkout.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from verification_platform.bench.description import BenchError

_CHECKOUT = Path(__file__).resolve().parents[3]
_TRIPLET = "x86_64-linux-gnu"
PACKAGE = "pilotbench_gazebo"
GAZEBO_11_PLUGIN = "libpilotbench_gazebo11_lockstep.so"
HARMONIC_PLUGIN = "libpilotbench_gz_sim_lockstep.so"
#: Another folder than ``.cache/gazebo11`` of this checkout.
GAZEBO_11_VARIABLE = "PILOTBENCH_GAZEBO11"

Kind = Literal["gazebo11", "harmonic"]


@dataclass(frozen=True, slots=True)
class Installation:
    """A server that can be started: `command` takes the world file as last argument."""

    kind: Kind
    command: tuple[str, ...]
    environment: Mapping[str, str]
    world: Path  # template
    plugin: str


def package_share() -> Path:
    """Worlds and models: of the sourced workspace, else of this checkout. Raises BenchError."""
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for share in [*(p / "share" / PACKAGE for p in prefixes), _CHECKOUT / "ros_ws" / "src" / PACKAGE]:
        if (share / "worlds").is_dir():
            return share
    raise BenchError(
        f"{PACKAGE} is neither in a sourced workspace nor in a checkout; build ros_ws/src and source it"
    )


def find_gazebo(server: Literal["auto", "gazebo11", "harmonic"] = "auto") -> Installation:
    """The server asked for; of both, Harmonic. Raises BenchError saying how to get one."""
    found = (server != "gazebo11" and _harmonic()) or (server != "harmonic" and _gazebo_11())
    if not found:
        wanted = {"auto": "no Gazebo", "gazebo11": "no Gazebo 11", "harmonic": "no Gazebo Harmonic"}[server]
        raise BenchError(
            f"{wanted} with the lock-step plug-in on this machine: run `make gazebo` in a checkout, or install "
            "Harmonic and source the workspace (docs/how-to/run-in-gazebo.md)"
        )
    return found


def _gazebo_11() -> Installation | None:
    folder = Path(os.environ.get(GAZEBO_11_VARIABLE) or _CHECKOUT / ".cache" / "gazebo11").absolute()
    root, plugin = folder / "root", folder / "plugins" / GAZEBO_11_PLUGIN
    servers = sorted((root / "usr" / "bin").glob("gzserver-11*"))
    if not servers or not plugin.is_file():
        return None
    usr = root / "usr" / "lib"
    own = usr / _TRIPLET
    libraries = [own, root / "lib" / _TRIPLET, own / "blas", own / "lapack", own / "pulseaudio", usr]
    environment = {
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "GAZEBO_RESOURCE_PATH": str(root / "usr" / "share" / "gazebo-11"),
        "GAZEBO_PLUGIN_PATH": os.pathsep.join(map(str, (plugin.parent, own / "gazebo-11" / "plugins"))),
        "OGRE_RESOURCE_PATH": str(own / "OGRE-1.9.0"),
        "GAZEBO_MODEL_DATABASE_URI": "",
        "GAZEBO_IP": "127.0.0.1",
    }
    return Installation(
        "gazebo11",
        (str(servers[0]), "-e", "dart"),
        environment,
        package_share() / "worlds" / "gazebo11.world",
        GAZEBO_11_PLUGIN,
    )


def _harmonic() -> Installation | None:
    gz = shutil.which("gz")
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    folders = [p / "lib" / PACKAGE for p in prefixes if (p / "lib" / PACKAGE / HARMONIC_PLUGIN).is_file()]
    if gz is None or not folders:
        return None
    before = os.environ.get("GZ_SIM_SYSTEM_PLUGIN_PATH", "")
    environment = {
        "GZ_SIM_SYSTEM_PLUGIN_PATH": os.pathsep.join([str(folders[0]), *filter(None, [before])]),
        "GZ_IP": "127.0.0.1",
    }
    return Installation(
        "harmonic",
        (gz, "sim", "-s", "-r"),
        environment,
        package_share() / "worlds" / "harmonic.sdf",
        HARMONIC_PLUGIN,
    )
