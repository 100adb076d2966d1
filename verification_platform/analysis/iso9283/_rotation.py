"""Rotations: matrices, rotation vectors, quaternions and the angles a, b, c, for stacks of shape (…, 3, 3)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ..blocks import Float
from ..errors import AnalysisError

#: A measured matrix may be this far from orthonormal (largest element of RᵀR − 1) before it is refused.
_ORTHONORMAL = 1e-6
#: Nearer than this to b = ±90° the angles a and c are not separable.
_GIMBAL_RAD = math.radians(0.5)


def as_rotations(matrices: ArrayLike, what: str) -> Float:
    """Proper rotation matrices of shape (n, 3, 3). Raises AnalysisError for anything else."""
    r = np.asarray(matrices, dtype=np.float64)
    if r.ndim != 3 or r.shape[1:] != (3, 3):
        raise AnalysisError(f"{what}: rotation matrices of shape (n, 3, 3) are needed, not {r.shape}")
    error = np.abs(np.swapaxes(r, 1, 2) @ r - np.eye(3)).max(axis=(1, 2), initial=0.0)
    wrong = np.flatnonzero(~(error < _ORTHONORMAL) | (np.linalg.det(r) < 0))
    if wrong.size:
        raise AnalysisError(f"{what}[{wrong[0]}] is not a rotation matrix (off by {error[wrong[0]]:.2g})")
    return r


def from_quaternions(quaternions: ArrayLike) -> Float:
    """Rotation matrices (n, 3, 3) from quaternions (n, 4) in the order x, y, z, w; normalised here.

    Raises AnalysisError for a quaternion whose norm is not within 1 ± 1e-3.
    """
    q = np.asarray(quaternions, dtype=np.float64)
    if q.ndim != 2 or q.shape[1] != 4:
        raise AnalysisError(f"quaternions of shape (n, 4) are needed, not {q.shape}")
    norm = np.linalg.norm(q, axis=1)
    wrong = np.flatnonzero(~(np.abs(norm - 1) < 1e-3))
    if wrong.size:
        raise AnalysisError(f"quaternion[{wrong[0]}] has the norm {norm[wrong[0]]:.4g}, not 1")
    x, y, z, w = (q / norm[:, None]).T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def from_rotation_vectors(vectors: ArrayLike) -> Float:
    """Rotation matrices (n, 3, 3) of rotation vectors (n, 3), rad (Rodrigues)."""
    v = np.asarray(vectors, dtype=np.float64)
    if v.ndim != 2 or v.shape[1] != 3:
        raise AnalysisError(f"rotation vectors of shape (n, 3) are needed, not {v.shape}")
    half = np.linalg.norm(v, axis=1) / 2
    # sin(x)/x without a division by 0; np.sinc has the factor π inside
    q = np.concatenate([v * (0.5 * np.sinc(half / np.pi))[:, None], np.cos(half)[:, None]], axis=1)
    return from_quaternions(q)


def rotation_vectors(matrices: ArrayLike) -> Float:
    """Rotation vectors (n, 3), rad, norm in [0, π], of rotation matrices (n, 3, 3).

    By the quaternion of largest component (Shepperd 1978), exact for small and for half-turn rotations.
    """
    r = as_rotations(matrices, "rotation")
    trace = np.trace(r, axis1=1, axis2=2)
    candidates = np.concatenate([np.diagonal(r, axis1=1, axis2=2), trace[:, None]], axis=1)
    pick = np.argmax(candidates, axis=1)
    q = np.empty((len(r), 4))
    for k in range(3):
        n = np.flatnonzero(pick == k)
        i, j = (k + 1) % 3, (k + 2) % 3
        m = r[n]
        q[n, k] = 1 - trace[n] + 2 * m[:, k, k]
        q[n, i] = m[:, i, k] + m[:, k, i]
        q[n, j] = m[:, j, k] + m[:, k, j]
        q[n, 3] = m[:, j, i] - m[:, i, j]
    n = np.flatnonzero(pick == 3)
    m = r[n]
    q[n, 0] = m[:, 2, 1] - m[:, 1, 2]
    q[n, 1] = m[:, 0, 2] - m[:, 2, 0]
    q[n, 2] = m[:, 1, 0] - m[:, 0, 1]
    q[n, 3] = 1 + trace[n]
    q /= np.linalg.norm(q, axis=1)[:, None]
    q[q[:, 3] < 0] *= -1
    sine = np.linalg.norm(q[:, :3], axis=1)
    half = np.arctan2(sine, q[:, 3])
    return np.asarray(q[:, :3] * (2 / np.sinc(half / np.pi))[:, None])


def deviations(command: Float, attained: Float) -> Float:
    """Rotation vectors of R_cᵀ·R_j, shape (n, 3), for one command (3, 3) and attained rotations (n, 3, 3)."""
    return rotation_vectors(command.T @ attained)


def euler_angles(matrices: ArrayLike) -> Float:
    """Angles (a, b, c) about x, y, z, rad, with R = R_z(c)·R_y(b)·R_x(a), shape (n, 3).

    a and c are NaN where |b| is within 0.5° of 90°: there only their sum or difference exists.
    """
    r = as_rotations(matrices, "rotation")
    out = np.stack(
        [
            np.arctan2(r[:, 2, 1], r[:, 2, 2]),
            np.arctan2(-r[:, 2, 0], np.hypot(r[:, 0, 0], r[:, 1, 0])),
            np.arctan2(r[:, 1, 0], r[:, 0, 0]),
        ],
        axis=1,
    )
    out[np.abs(out[:, 1]) > math.pi / 2 - _GIMBAL_RAD, 0::2] = np.nan
    return out


def from_euler_angles(angles: ArrayLike) -> Float:
    """Rotation matrices (n, 3, 3) of angles (a, b, c) as in `euler_angles`, shape (n, 3), rad."""
    angles = np.asarray(angles, dtype=np.float64)
    if angles.ndim != 2 or angles.shape[1] != 3:
        raise AnalysisError(f"angles of shape (n, 3) are needed, not {angles.shape}")
    about = [from_rotation_vectors(angles[:, k : k + 1] * np.eye(3)[k]) for k in range(3)]
    return np.asarray(about[2] @ about[1] @ about[0])


def wrap(angles: Float) -> Float:
    """Angles brought into (−π, π]."""
    return -np.mod(math.pi - angles, 2 * math.pi) + math.pi
