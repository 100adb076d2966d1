"""Which rigid bodies a bench description asks for: the built-in ones, or those of another engine."""

from __future__ import annotations

from pathlib import Path

from .description import BenchDescription, BenchError, BodiesRecord
from .plant import RigidBodies, plant_parameters


def make_bodies(bench: BenchDescription, folder: Path, priority: int | None = None) -> RigidBodies | None:
    """None for the built-in bodies, which need nothing. What an engine writes, it writes into `folder`.

    `priority`: of an engine of its own under SCHED_FIFO, where permitted. Raises BenchError.
    """
    if bench.bodies.engine == "built-in":
        return None
    from .gazebo import gazebo_bodies  # only who asks for it

    return gazebo_bodies(bench, plant_parameters(bench), folder, priority)


def with_server(bench: BenchDescription, server: str) -> BenchDescription:
    """The bench with another Gazebo behind it. Raises BenchError for a bench that is not in Gazebo."""
    if bench.bodies.engine != "gazebo":
        raise BenchError(
            f'bench {bench.bench.id} is not in Gazebo; add [bodies] engine = "gazebo" to its description'
        )
    bodies = BodiesRecord.model_validate({**bench.bodies.model_dump(), "server": server})
    return bench.model_copy(update={"bodies": bodies})
