"""The world a server is started with: the template of its simulator, with this bench's model, step and inertias.

The model says where things are; the bench description says how heavy they turn. The moment of inertia about the axis of
each joint is written into a copy of the model, so that no figure stands in two places.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

from verification_platform.bench.description import BenchError

_PRINCIPAL = ("ixx", "iyy", "izz")
#: What makes a folder a model.
_CONFIG = '<?xml version="1.0"?>\n<model><name>bench</name><sdf version="{version}">model.sdf</sdf></model>\n'


def write_world(
    template: Path, model: Path, folder: Path, step_s: float, inertias: Mapping[str, float]
) -> Path:
    """Write the model's folder and a world around it into `folder`; returns the world.

    `inertias` (kg·m² about the joint's axis) by joint, in the order of the plant's bodies. Raises BenchError for a model
    that cannot be this bench.
    """
    copy = folder / "model"
    copy.mkdir(parents=True, exist_ok=True)
    tree = _parse(model)
    for joint, inertia in inertias.items():
        _set_inertia(tree, model, joint, inertia)
    tree.write(copy / "model.sdf", encoding="utf-8", xml_declaration=True)
    (copy / "model.config").write_text(_CONFIG.format(version=_version(tree)), encoding="utf-8")
    world = _parse(template)
    root = world.getroot()
    _only(root, "./world/physics/max_step_size", template).text = repr(step_s)
    include = _only(root, "./world/include", template)
    _only(include, "./uri", template).text = copy.absolute().as_uri()
    plugin = _only(include, "./plugin", template)
    for stale in plugin.findall("joint"):
        plugin.remove(stale)
    for joint in inertias:
        ET.SubElement(plugin, "joint").text = joint
    path = folder / template.name
    world.write(path, encoding="utf-8", xml_declaration=True)
    return path


def _parse(path: Path) -> ET.ElementTree[ET.Element]:
    try:
        return ET.parse(path)
    except OSError as error:
        raise BenchError(f"{path}: cannot be read ({error.strerror})") from None
    except ET.ParseError as error:
        raise BenchError(f"{path}: not valid XML ({error})") from None


def _version(tree: ET.ElementTree[ET.Element]) -> str:
    root = tree.getroot()
    return "1.6" if root is None else root.get("version", "1.6")


def _only(root: ET.Element, path: str, where: Path) -> ET.Element:
    found = root.find(path)
    if found is None:
        raise BenchError(f"{where}: no element {path.removeprefix('./')}")
    return found


def _set_inertia(tree: ET.ElementTree[ET.Element], where: Path, joint: str, inertia: float) -> None:
    """About the one coordinate axis on which the joint turns its child."""
    root = tree.getroot()
    assert root is not None
    found = root.find(f"./model/joint[@name='{joint}']")
    if found is None:
        known = ", ".join(str(j.get("name")) for j in root.findall("./model/joint"))
        raise BenchError(f"{where}: no joint {joint!r}; the model has {known or 'none'}")
    if found.get("type") not in ("revolute", "continuous"):
        raise BenchError(f"{where}: joint {joint} is {found.get('type')}; the plant's bodies turn (revolute)")
    axis = [abs(float(part)) for part in (found.findtext("./axis/xyz") or "0 0 1").split()]
    if sorted(axis) != [0.0, 0.0, 1.0]:
        raise BenchError(f"{where}: joint {joint} must turn about x, y or z of its child, not about {axis}")
    child = found.findtext("child")
    moment = root.find(f"./model/link[@name='{child}']/inertial/inertia/{_PRINCIPAL[axis.index(1.0)]}")
    if moment is None:
        raise BenchError(f"{where}: link {child} has no inertia about the axis of joint {joint}")
    moment.text = repr(inertia)
