"""The environment in which the nodes of one graph run.

Two ways to have ROS 2 Jazzy, and nothing else may know which (docs/decisions/0002): Python wheels in this virtual environment
with the workspace built by ``ros_ws/bootstrap.py``, or the official packages, sourced before `pilotbench` was called.

Each graph talks on a ROS domain of its own over the loopback interface, so that two graphs on one machine, or two
machines on one network, never meet; and without shared memory, so that a killed process leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
INSTALL = _ROOT / "ros_ws" / "install"
PACKAGES = ("pilotbench_interfaces", "pilotbench_nodes")
#: Fast DDS on the loopback interface only; older and newer name of the variable that points to it.
PROFILE = Path(__file__).with_name("loopback.xml")
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
#: Domains whose ports lie below the range that Linux gives to ordinary sockets (ROS 2 documentation, "The ROS_DOMAIN_ID").
_DOMAINS = range(1, 102)


class RosMissing(Exception):
    """ROS 2 or the built workspace is not there; one clear line with what to do."""


def sourced() -> bool:
    """An official ROS 2 installation, with the workspace on top, has been sourced in this shell."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    return all(any((Path(p) / "share" / package).is_dir() for p in prefixes if p) for package in PACKAGES)


def ros_environment(domain: int) -> dict[str, str]:
    """Environment variables of a node process in ROS domain `domain`. Raises RosMissing."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS")
    }
    if not sourced():
        environment |= _wheels_environment(environment)
    return environment | {
        "ROS_DOMAIN_ID": str(domain),
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        # The profile says where to discover; LOCALHOST here would add the shared-memory transport to it.
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT",
        **dict.fromkeys(PROFILE_VARIABLES, str(PROFILE)),
        "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4",
        "RCUTILS_COLORIZED_OUTPUT": "0",
        "PYTHONUNBUFFERED": "1",
    }


def _wheels_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Paths of the wheels in this virtual environment and of the workspace built on them."""
    prefix, site_packages = Path(sys.prefix), Path(sysconfig.get_paths()["platlib"])
    if not (site_packages / "rclpy").is_dir():
        raise RosMissing(
            "ROS 2 is not available in this Python: source your ROS 2 Jazzy workspace first (docs/how-to/install-on-a-bench.md), "
            "run `make setup` in a checkout, or use --transport local"
        )
    overlays = [INSTALL / package for package in PACKAGES]
    missing = [overlay.name for overlay in overlays if not (overlay / "share" / overlay.name).is_dir()]
    if missing:
        raise RosMissing(
            f"the ROS workspace is not built ({', '.join(missing)} missing); run `make setup`, or use --transport local"
        )
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    libraries = [*(o / "lib" for o in overlays), prefix / "lib", *sorted(site_packages.glob("ros_*.libs"))]
    python = [o / "lib" / version / "site-packages" for o in overlays]
    return {
        "AMENT_PREFIX_PATH": os.pathsep.join(map(str, [*overlays, prefix])),
        "LD_LIBRARY_PATH": _joined(libraries, environment.get("LD_LIBRARY_PATH")),
        "PYTHONPATH": _joined(python, environment.get("PYTHONPATH")),
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",  # or the wheels would start every Python twice to find their libraries
    }


def _joined(paths: list[Path], before: str | None) -> str:
    rest = [part for part in (before or "").split(os.pathsep) if part and part not in {str(p) for p in paths}]
    return os.pathsep.join([*map(str, paths), *rest])


@contextlib.contextmanager
def own_domain() -> Iterator[int]:
    """A ROS domain that no other graph of this machine uses, for as long as the context lasts.

    The claim is a lock on a file, which the kernel drops when this process ends, however it ends. Raises RosMissing when
    none is free.
    """
    folder = Path(tempfile.gettempdir()) / f"pilotbench-domains-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    start = os.getpid() % len(_DOMAINS)
    for domain in [*_DOMAINS[start:], *_DOMAINS[:start]]:
        descriptor = os.open(folder / str(domain), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        if _ports_free(domain):
            try:
                yield domain
            finally:
                os.close(descriptor)
            return
        os.close(descriptor)
    raise RosMissing("no ROS domain is free on this machine; end other ROS graphs first")


def _ports_free(domain: int) -> bool:
    """Nobody outside our locks uses the domain: its first participant's unicast port (RTPS 2.2, 9.6.1.1) can be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", 7400 + 250 * domain + 10))
        except OSError:
            return False
    return True
