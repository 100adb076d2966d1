"""What can be checked of model, worlds and package where no simulator is: structure, names, and that colcon builds it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from verification_platform.bench.description import BenchDescription, BenchError, load_bench
from verification_platform.bench.gazebo.installation import find_gazebo, package_share
from verification_platform.bench.gazebo.world import write_world
from verification_platform.bench.plant import plant_parameters
from verification_platform.bench.write import write_bench

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ros_ws" / "src" / "pilotbench_gazebo"
MODEL = PACKAGE / "models" / "pilot_bench" / "model.sdf"
WORLDS = ["gazebo11.world", "harmonic.sdf"]


def parse(path: Path) -> ET.Element:
    root = ET.parse(path).getroot()
    assert root is not None
    return root


def test_the_model_is_rigid_bodies_and_nothing_else() -> None:
    root = parse(MODEL)
    assert root.get("version") == "1.6"
    for absent in ("plugin", "sensor", "gearbox", "mimic", "uri"):
        assert list(root.iter(absent)) == [], absent
    joints = {j.get("name"): j for j in root.findall("./model/joint")}
    assert {j.get("type") for j in joints.values()} == {"fixed", "revolute"}
    for name in ("rotor_joint", "flange_joint"):
        dynamics = joints[name].find("./axis/dynamics")
        assert dynamics is not None
        assert [float(e.text or "") for e in dynamics] == [0.0, 0.0]  # both are the plant's
    names = [e.get("name") for e in root.iter("visual")]
    assert len(names) == len(set(names)) > 50


@pytest.mark.parametrize("link", ["bed", "input_shaft", "output_shaft"])
def test_every_link_could_exist(link: str) -> None:
    """A body's principal moments are positive and each is less than the sum of the two others."""
    inertia = parse(MODEL).find(f"./model/link[@name='{link}']/inertial/inertia")
    assert inertia is not None
    xx, yy, zz = (float(inertia.findtext(name) or "nan") for name in ("ixx", "iyy", "izz"))
    assert min(xx, yy, zz) > 0
    assert xx < yy + zz
    assert yy < xx + zz
    assert zz < xx + yy


def test_the_models_inertias_are_the_descriptions_defaults(bench: BenchDescription) -> None:
    parameters, root = plant_parameters(bench), parse(MODEL)
    for link, value in (
        ("input_shaft", parameters.rotor_inertia),
        ("output_shaft", parameters.flange_inertia),
    ):
        assert float(root.findtext(f"./model/link[@name='{link}']/inertial/inertia/ixx") or "nan") == value


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_is_written_for_the_bench(name: str, tmp_path: Path) -> None:
    inertias = {"rotor_joint": 4e-4, "flange_joint": 7e-3}
    world = write_world(package_share() / "worlds" / name, MODEL, tmp_path, 0.25e-3, inertias)
    root = parse(world)
    assert root.findtext("./world/physics/max_step_size") == "0.00025"
    include = root.find("./world/include")
    assert include is not None
    assert include.findtext("uri") == (tmp_path / "model").as_uri()
    assert [j.text for j in include.findall("./plugin/joint")] == list(inertias)
    model = parse(tmp_path / "model" / "model.sdf")
    assert model.findtext("./model/link[@name='input_shaft']/inertial/inertia/ixx") == "0.0004"
    assert model.findtext("./model/link[@name='output_shaft']/inertial/inertia/ixx") == "0.007"
    assert parse(tmp_path / "model" / "model.config").findtext("sdf") == "model.sdf"


@pytest.mark.parametrize(
    ("inertias", "said"),
    [
        ({"motor_joint": 1.0}, "no joint 'motor_joint'; the model has bed_on_ground, rotor_joint"),
        ({"bed_on_ground": 1.0}, "is fixed"),
    ],
)
def test_a_model_without_the_joints_is_refused_in_one_line(
    inertias: dict[str, float], said: str, tmp_path: Path
) -> None:
    with pytest.raises(BenchError, match=said):
        write_world(package_share() / "worlds" / WORLDS[0], MODEL, tmp_path, 5e-4, inertias)


def test_worlds_load_the_plugins_that_are_built() -> None:
    cmake, sources = (PACKAGE / "CMakeLists.txt").read_text(), PACKAGE / "src"
    plugin = parse(PACKAGE / "worlds" / "harmonic.sdf").find("./world/include/plugin")
    assert plugin is not None
    assert f"add_library({plugin.get('filename')} SHARED src/gz_sim_lockstep.cc)" in cmake
    assert f"GZ_ADD_PLUGIN({plugin.get('name')}," in (sources / "gz_sim_lockstep.cc").read_text()
    old = parse(PACKAGE / "worlds" / "gazebo11.world").find("./world/include/plugin")
    assert old is not None
    assert f'PLUGIN = "{old.get("filename")}"' in (ROOT / "ros_ws" / "gazebo11.py").read_text()


def test_the_package_names_what_it_uses() -> None:
    root = parse(PACKAGE / "package.xml")
    named = {e.text for e in root if e.tag.endswith("depend")}
    cmake = (PACKAGE / "CMakeLists.txt").read_text()
    vendors = set(re.findall(r"find_package\((\w+_vendor)", cmake))
    assert vendors <= named
    node = (PACKAGE / "nodes" / "bodies_node.py").read_text()
    messages = set(re.findall(r"^from (\w+)\.(?:msg|srv) import", node, re.MULTILINE))
    assert messages - {"builtin_interfaces"} <= named


def test_colcon_builds_and_installs_it(tmp_path: Path) -> None:
    """Without Gazebo Harmonic: everything but its plug-in, and a warning that says so."""
    sys.path.insert(0, str(ROOT / "ros_ws"))
    try:
        import bootstrap
    finally:
        sys.path.remove(str(ROOT / "ros_ws"))
    command = [
        sys.executable, "-m", "colcon", "--log-base", str(tmp_path / "log"), "build", "--base-paths", str(PACKAGE),
        "--build-base", str(tmp_path / "build"), "--install-base", str(tmp_path / "install"), "--event-handlers", "console_direct+",
        "--cmake-args", "-DBUILD_TESTING=OFF",
    ]  # fmt: skip
    environment = {**bootstrap.build_environment(), "COLCON_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    share = tmp_path / "install" / "pilotbench_gazebo" / "share" / "pilotbench_gazebo"
    installed = {str(path.relative_to(share)) for path in share.rglob("*") if path.is_file()}
    assert {f"worlds/{name}" for name in WORLDS} | {
        "models/pilot_bench/model.sdf",
        "package.xml",
    } <= installed
    assert os.access(share.parents[1] / "lib" / "pilotbench_gazebo" / "bodies_node", os.X_OK)
    assert "Gazebo Harmonic" in done.stdout + done.stderr


def test_a_model_of_ones_own_lies_beside_its_description(tmp_path: Path) -> None:
    text = (ROOT / "benches" / "gazebo.toml").read_text(encoding="utf-8")
    (tmp_path / "own.toml").write_text(
        text.replace('# model = "my_bench.sdf"', 'model = "my_bench.sdf"'), encoding="utf-8"
    )
    bench = load_bench(tmp_path / "own.toml")
    assert bench.bodies.model == tmp_path / "my_bench.sdf"
    (tmp_path / "elsewhere").mkdir()
    assert load_bench(write_bench(bench, tmp_path / "elsewhere" / "bench.toml")) == bench


def test_the_gazebo_bench_is_the_emulated_one_with_other_bodies(
    bench: BenchDescription, built_in: BenchDescription
) -> None:
    """So that a protocol's results on both can be compared."""
    assert bench.bodies.engine == "gazebo"
    assert built_in.bodies.engine == "built-in"
    for table in ("bus", "device", "actuator", "fixture", "interlock", "plant"):
        assert getattr(bench, table) == getattr(built_in, table)
    for name, channel in bench.channel.items():
        other = built_in.channel[name]
        assert channel.model_copy(update={"calibration": None}) == other.model_copy(
            update={"calibration": None}
        )
        if channel.calibration is not None and other.calibration is not None:
            certificate = other.calibration.certificate.replace("EMU", "GAZ")
            assert channel.calibration == other.calibration.model_copy(update={"certificate": certificate})


def test_without_a_gazebo_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PILOTBENCH_GAZEBO11", str(tmp_path))
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    for server, said in (
        ("auto", "no Gazebo with"),
        ("gazebo11", "no Gazebo 11"),
        ("harmonic", "no Gazebo Harmonic"),
    ):
        with pytest.raises(BenchError, match=f"{said}.*make gazebo"):
            find_gazebo(server)  # type: ignore[arg-type]


def test_harmonic_is_found_where_its_workspace_is_sourced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugins = tmp_path / "install" / "lib" / "pilotbench_gazebo"
    plugins.mkdir(parents=True)
    (plugins / "libpilotbench_gz_sim_lockstep.so").write_bytes(b"")
    gz = tmp_path / "bin" / "gz"
    gz.parent.mkdir()
    gz.write_text("#!/bin/sh\n")
    gz.chmod(0o755)
    monkeypatch.setenv("PATH", str(gz.parent))
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "install"))
    found = find_gazebo()
    assert found.command == (str(gz), "sim", "-s", "-r")
    assert found.world.name == "harmonic.sdf"
    assert found.environment["GZ_SIM_SYSTEM_PLUGIN_PATH"].split(os.pathsep)[0] == str(plugins)


def test_protocols_engine_and_reports_know_no_gazebo() -> None:
    for folder in ("test_protocols", "verification_platform/engine", "reports"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".toml", ".typ", ".md"):
                assert "gazebo" not in path.read_text(encoding="utf-8").lower(), path


def test_the_picture_shows_the_model_as_it_is() -> None:
    """docs/images/bench.png carries the digest of the model it was rendered from."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import render_bench
    finally:
        sys.path.remove(str(ROOT / "docs"))
    shapes = render_bench.load_shapes(MODEL)
    assert len(shapes) == len(list(parse(MODEL).iter("visual")))
    assert all(np.isfinite(shape.centre).all() for shape in shapes)
    assert render_bench.digest(MODEL).encode() in (ROOT / "docs" / "images" / "bench.png").read_bytes()
