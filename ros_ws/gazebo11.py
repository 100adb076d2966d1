#!/usr/bin/env python3
"""A headless Gazebo 11 for this checkout, from Debian's own packages: no root, no chroot, nothing outside ``.cache``.

For try-out and CI. ROS 2 Jazzy pairs with Gazebo Harmonic (docs/how-to/run-in-gazebo.md), which no package registry has;
a Gazebo 11 server is in Debian bullseye, and runs beside the system on any newer Debian::

    python3 ros_ws/gazebo11.py

It may be run at any time: it does what has not been done yet, and says nothing when there is nothing to do.

1. Packages, by a private apt state, from the mirror that this machine's own apt sources name, checked with Debian's keys.
   bullseye's support has ended, so keep them where they may one day be the only ones: PILOTBENCH_GAZEBO_PACKAGES names
   another folder for them, which several checkouts may share.
2. Unpacked side by side below ``.cache/gazebo11/root``; C and C++ runtime stay the host's.
3. The lock-step plug-in (ros_ws/src/pilotbench_gazebo/src), built with the host's compiler.

Exit code 0 when Gazebo is there, 3 when the packages cannot be had on this machine ("not run"), 2 when something that
should have worked did not.
"""

from __future__ import annotations

import concurrent.futures
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

WORKSPACE = Path(__file__).resolve().parent
CACHE = WORKSPACE.parent / ".cache" / "gazebo11"
ROOT, PLUGINS = CACHE / "root", CACHE / "plugins"
PACKAGES = Path(os.environ.get("PILOTBENCH_GAZEBO_PACKAGES") or CACHE / "packages").absolute()
LIST = WORKSPACE / "gazebo11_packages.txt"
SOURCES = WORKSPACE / "src" / "pilotbench_gazebo" / "src"
PLUGIN_SOURCES = ("gazebo11_lockstep.cc", "lockstep.hh")
PLUGIN = "libpilotbench_gazebo11_lockstep.so"
SUITE, KEYRING = "bullseye", Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TRIPLET = "x86_64-linux-gnu"
#: The host's are newer, and everything else on the machine runs with them.
RUNTIME = (
    "libc",
    "libm",
    "ld",
    "libpthread",
    "libdl",
    "librt",
    "libresolv",
    "libnss_",
    "libgcc_s",
    "libstdc++",
)
UNUSED = (
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
    "./usr/share/icons",
    "./usr/share/lintian",
)
NOT_RUN = 3
RETRIES = 3


class NotHere(Exception):
    """Gazebo 11 cannot be had on this machine, through no fault of the checkout; one clear line."""


class SetupError(Exception):
    """Something that should have worked did not; one clear line."""


def main() -> int:
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            install()
    except NotHere as error:
        sys.stderr.write(f"pilotbench: not run: Gazebo 11 cannot be set up here: {error}\n")
        return NOT_RUN
    except SetupError as error:
        sys.stderr.write(f"pilotbench: Gazebo 11: {error}\n")
        return 2
    return 0


def install() -> None:
    """Each stage when its inputs have changed. Raises NotHere or SetupError."""
    packages = sha256(LIST.read_text())
    unpacked, built = ROOT / "unpacked.sha256", PLUGINS / "built.sha256"
    if stamp(unpacked) != packages:
        say("Gazebo 11: unpacking Debian's packages into .cache/gazebo11 (once, one to two minutes) …")
        unpack(have_packages(packages))
        unpacked.write_text(packages)
    sources = sha256(packages, *((SOURCES / name).read_text() for name in PLUGIN_SOURCES))
    if stamp(built) != sources:
        say("Gazebo 11: building the lock-step plug-in …")
        build()
        built.write_text(sources)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def stamp(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def sha256(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def package_names() -> list[str]:
    return [
        line for text in LIST.read_text().splitlines() if (line := text.strip()) and not line.startswith("#")
    ]


# ---------------------------------------------------------------------------------------------- packages


def have_packages(wanted: str) -> list[Path]:
    """All packages of the list, downloaded unless they are there. Raises NotHere or SetupError."""
    complete = PACKAGES / "complete.sha256"
    if stamp(complete) != wanted:
        if platform.machine() != "x86_64":
            raise NotHere(f"the list of packages is for x86_64, this machine is {platform.machine()}")
        for program in ("apt-get", "dpkg-deb", "tar"):
            if shutil.which(program) is None:
                raise NotHere(f"{program} not found; this way needs a Debian system")
        PACKAGES.mkdir(parents=True, exist_ok=True)
        download(mirrors())
        complete.write_text(wanted)
    return sorted(PACKAGES.glob("*.deb"))


def mirrors() -> list[str]:
    """Debian mirrors that this machine's apt uses. Raises NotHere when there is none."""
    named = os.environ.get("PILOTBENCH_DEBIAN_MIRROR")
    if named:
        return [named]
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    found = [uri for uri in dict.fromkeys(told) if uri.rstrip("/").endswith("/debian")]
    if not found:
        raise NotHere(
            "this machine's apt sources name no Debian mirror (PILOTBENCH_DEBIAN_MIRROR may name one)"
        )
    if not KEYRING.is_file():
        raise NotHere(f"{KEYRING} not found; install debian-archive-keyring")
    return found


def download(uris: Sequence[str]) -> None:
    """By apt with a state of its own, so that neither the system's sources nor its list of packages play a part."""
    apt = CACHE / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "status").write_text("")
    (apt / "sources.list").write_text(
        "".join(f"deb [signed-by={KEYRING}] {uri} {SUITE} main\n" for uri in uris)
    )
    (apt / "apt.conf").write_text(
        f'Dir::State "{apt}";\nDir::State::status "{apt}/status";\nDir::State::lists "{apt}/lists";\n'
        f'Dir::Cache "{apt}";\nDir::Etc::sourcelist "{apt}/sources.list";\nDir::Etc::sourceparts "-";\n'
        f'Acquire::Languages "none";\nAcquire::Retries "{RETRIES}";\nAPT::Sandbox::User "root";\n'
        'APT::Architecture "amd64";\nAPT::Architectures { "amd64"; };\n'
    )
    say(f"Gazebo 11: downloading {len(package_names())} packages, about 160 MB, into {PACKAGES} (once) …")
    for command in (["update"], ["download", *package_names()]):
        done = subprocess.run(
            ["apt-get", "-qq", *command],
            cwd=PACKAGES, env={**os.environ, "APT_CONFIG": str(apt / "apt.conf"), "LC_ALL": "C"},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("E:")]
            raise NotHere(f"apt-get {command[0]}: {errors[0][3:] if errors else done.stderr.strip()[-200:]}")


# ---------------------------------------------------------------------------------------------- unpacking


def unpack(packages: Sequence[Path]) -> None:
    """Side by side below ROOT, without what a headless server never opens. Raises SetupError."""
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir(parents=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(unpack_one, packages))
    for library in [*ROOT.glob("lib/**/*.so*"), *ROOT.glob(f"usr/lib/{TRIPLET}/*.so*")]:
        name = library.name
        if any(
            name.startswith((f"{r}.so", f"{r}-2")) or (r.endswith("_") and name.startswith(r))
            for r in RUNTIME
        ):
            library.unlink()
    if not (ROOT / "usr" / "bin" / "gzserver").exists():
        raise SetupError(f"the packages hold no gzserver; remove {PACKAGES} and run this again")


def unpack_one(package: Path) -> None:
    """One package; tar reads what dpkg-deb writes. Raises SetupError."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as archive:
        excluded = [f"--exclude={path}" for path in UNUSED]
        tar = ["tar", "-x", "--no-same-owner", "--keep-directory-symlink", "-C", str(ROOT), *excluded]
        done = subprocess.run(tar, stdin=archive.stdout, check=False)
    if done.returncode or archive.returncode:
        raise SetupError(
            f"{package} cannot be unpacked; remove it and {PACKAGES}/complete.sha256, and run this again"
        )


# ---------------------------------------------------------------------------------------------- plug-in


def build() -> None:
    """Raises SetupError with the compiler's first complaint."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise SetupError("g++ not found; on Debian: apt-get install g++")
    PLUGINS.mkdir(parents=True, exist_ok=True)
    include = ROOT / "usr" / "include"
    folders = [include, include / "gazebo-11", *include.glob("sdformat-*"), *(include / "ignition").iterdir()]
    made = PLUGINS / (PLUGIN + ".part")
    command = [compiler, "-std=c++17", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-o", str(made)]
    command += [str(SOURCES / PLUGIN_SOURCES[0]), *(f"-isystem{folder}" for folder in folders)]
    command += [f"-isystem{include / TRIPLET}", f"-L{ROOT}/usr/lib/{TRIPLET}", "-Wl,--allow-shlib-undefined"]
    command += ["-lgazebo_physics", "-lgazebo_common", "-lsdformat9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr[-300:]]
        raise SetupError(f"building {PLUGIN} failed: {complaints[0]}")
    made.replace(PLUGINS / PLUGIN)


if __name__ == "__main__":
    raise SystemExit(main())
