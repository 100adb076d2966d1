"""From a bench description to bodies that Gazebo turns, identified before they are used."""

from __future__ import annotations

from pathlib import Path

from verification_platform.bench.description import BenchDescription, BenchError
from verification_platform.bench.plant.bodies_datagram import ADDRESS_VARIABLE, DatagramBodies, Meeting
from verification_platform.bench.plant.parameters import PlantParameters
from verification_platform.bench.plant.rigid import BodiesLost

from .installation import Installation, find_gazebo, package_share
from .server import GazeboServer
from .world import write_world

#: A cold start from a slow disk on a loaded machine; two seconds on a quiet one.
_START_S = 60.0
_TRIES = 3
#: What may lie between the inertia described and the one found by turning.
_SAME = 1e-6


def gazebo_bodies(
    bench: BenchDescription, parameters: PlantParameters, folder: Path, priority: int | None = None
) -> DatagramBodies:
    """Start a server in `folder` and return its bodies, at rest at time zero.

    `priority`: of the server's threads under SCHED_FIFO, where permitted. Raises BenchError when there is no Gazebo, or
    when its model is not the bench that is described.
    """
    folder = folder.absolute()  # the server works in it, and must find itself there
    installation = find_gazebo(bench.bodies.server)
    model = bench.bodies.model or package_share() / "models" / "pilot_bench" / "model.sdf"
    names = bench.bodies.joints
    inertias = dict(zip(names, (parameters.rotor_inertia, parameters.flange_inertia), strict=True))
    world = write_world(installation.world, model, folder, parameters.step, inertias)
    bodies, server = _start(installation, world, folder, len(names))
    try:
        if priority is not None:
            server.claim_realtime(priority)
        _identify(bodies, model, inertias, parameters.step)
    except BodiesLost as error:
        bodies.close()
        raise BenchError(f"bench {bench.bench.id}: {error}") from None
    except BenchError:
        bodies.close()
        raise
    return bodies


def _start(
    installation: Installation, world: Path, folder: Path, bodies: int
) -> tuple[DatagramBodies, GazeboServer]:
    """Once more when another program was faster at the port. Raises BenchError."""
    reason = ""
    for _ in range(_TRIES):
        with Meeting(bodies) as meeting:
            server = GazeboServer(installation, world, folder, {ADDRESS_VARIABLE: meeting.address})
            try:
                return meeting.meet(server, _START_S), server
            except BodiesLost as error:
                server.close()
                meeting.close()
                reason = f"{error}{server.last_words()}"
        if "in use" not in reason:
            break
    raise BenchError(f"Gazebo could not be started: {reason} (log: {folder / 'server.log'})")


def _identify(bodies: DatagramBodies, model: Path, inertias: dict[str, float], step_s: float) -> None:
    """Turn each body alone for one step: it must move as its inertia says, and move no other. Raises BenchError."""
    if bodies.step_s != step_s:
        raise BenchError(f"{model}: Gazebo steps by {bodies.step_s} s instead of {step_s} s")
    for turned, (joint, inertia) in enumerate(inertias.items()):
        bodies.reset()
        efforts = [inertia / step_s if body == turned else 0.0 for body in range(len(inertias))]
        _, _, speeds = bodies.step(efforts)  # 1 rad/s
        found = inertia / speeds[turned] if speeds[turned] else float("inf")
        if abs(found - inertia) > _SAME * inertia:
            raise BenchError(
                f"{model}: joint {joint} turns with {found:.6g} kg·m² instead of the {inertia:.6g} kg·m² described; is there "
                "friction or damping in the model, a centre of mass beside the axis, or a second link on the joint?"
            )
        for other, joint_moved in enumerate(inertias):
            if other != turned and abs(speeds[other]) > _SAME:
                raise BenchError(
                    f"{model}: turning {joint} also turns {joint_moved}; the plant connects them, the model must not"
                )
    bodies.reset()
