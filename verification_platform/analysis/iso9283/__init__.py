"""Performance of manipulating robots: the characteristics of ISO 9283:1998 (GB/T 12642-2013, identical).

Protocol specification §5. Positions are (x, y, z) in metres in the base frame, orientations rotation matrices
(or rotation vectors in radians), times seconds, forces newtons. Every function takes what the tracker measured
in the standard's number of cycles and refuses fewer, because ISO 9283 defines its statistics for that number.

Orientation deviations are rotation vectors of R_cᵀ·R: their components are the small rotations about x, y and
z. They neither wrap at ±180° nor degenerate where Euler angles do; the differences of the standard's angles
a, b, c are reported beside them where those exist.

Frames: AP and AT compare with numeric commands in the robot's base frame. If that frame was found by fitting
the same poses, AP is understated; that belongs into the report and cannot be seen from the numbers here.
"""

from ._rotation import (
    euler_angles,
    from_euler_angles,
    from_quaternions,
    from_rotation_vectors,
    rotation_vectors,
)
from .compliance import Compliance, static_compliance
from .cornering import Corner, Cornering, cornering
from .drift import Drift, DriftWatch, drift
from .path import (
    CommandPath,
    PathCharacteristics,
    circular_path,
    path_characteristics,
    straight_path,
)
from .pose import (
    Distance,
    Exchangeability,
    PoseCharacteristics,
    Variation,
    distance_characteristics,
    exchangeability,
    multidirectional_variation,
    pose_characteristics,
    worst_pose,
)
from .settling import (
    Arrival,
    PosingTime,
    Stabilization,
    arrival,
    posing_time,
    stabilization,
)
from .velocity import (
    VelocityCharacteristics,
    Weaving,
    path_velocity,
    velocity_characteristics,
    weaving,
)

__all__ = [
    "Arrival",
    "CommandPath",
    "Compliance",
    "Corner",
    "Cornering",
    "Distance",
    "Drift",
    "DriftWatch",
    "Exchangeability",
    "PathCharacteristics",
    "PoseCharacteristics",
    "PosingTime",
    "Stabilization",
    "Variation",
    "VelocityCharacteristics",
    "Weaving",
    "arrival",
    "circular_path",
    "cornering",
    "distance_characteristics",
    "drift",
    "euler_angles",
    "exchangeability",
    "from_euler_angles",
    "from_quaternions",
    "from_rotation_vectors",
    "multidirectional_variation",
    "path_characteristics",
    "path_velocity",
    "pose_characteristics",
    "posing_time",
    "rotation_vectors",
    "stabilization",
    "static_compliance",
    "straight_path",
    "velocity_characteristics",
    "weaving",
    "worst_pose",
]
