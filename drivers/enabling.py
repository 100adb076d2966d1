"""What every family asks before it lets torque flow; the order is that in which a technician mends it."""

from __future__ import annotations

import math
from collections.abc import Container

from drivers.device import CommandRefused, DeviceFault, Group, Mode, Setpoint, WatchdogRefused


def check_sound(device: str, fault: DeviceFault | None, *, lost: bool) -> None:
    """Raises CommandRefused for a device with a fault, or that is lost: it stays so until the bench is opened anew."""
    if fault is not None or lost:
        raise CommandRefused(
            device, f"it has a fault ({fault.what if fault else 'lost'})", "reopen the bench"
        )


def check_watchdog(
    device: str, armed: bool, what: str = "its watchdog is not armed", hint: str = "reopen the bench"
) -> None:
    """Raises WatchdogRefused for a device that would go on without its master."""
    if not armed:
        raise WatchdogRefused(device, what, hint)


def check_mode(device: str, model: str, mode: Mode, modes: Container[Mode]) -> None:
    """Raises CommandRefused for a mode that the model does not have."""
    if mode not in modes:
        raise CommandRefused(device, f"model {model} has no {mode} mode")


def check_setpoint(group: Group, device: str, setpoint: Setpoint, acceleration: float) -> None:
    """Raises CommandRefused for a set-point that is no number, or beyond a limit of the device: never clamped."""
    values = (setpoint.target, setpoint.rate, acceleration)
    if not all(math.isfinite(v) for v in values) or setpoint.rate <= 0 or acceleration <= 0:
        raise CommandRefused(
            device,
            f"set-point {setpoint.target}, rate {setpoint.rate}, acceleration {acceleration} is none",
        )
    lowest, highest = group.limits(device, setpoint.mode)
    if setpoint.target < lowest == 0.0 < highest:
        raise CommandRefused(
            device,
            f"{setpoint.mode} set-point {setpoint.target:g}: a brake's torque has no sign",
            "it works against the motion; write it positive",
        )
    if not lowest <= setpoint.target <= highest:
        limit = max(-lowest, highest)
        raise CommandRefused(
            device, f"{setpoint.mode} set-point {setpoint.target:g} exceeds its limit {limit:g}"
        )
    _, fastest = group.limits(device, Mode.VELOCITY)
    if setpoint.mode is Mode.POSITION and setpoint.rate > fastest:
        raise CommandRefused(
            device,
            f"speed {setpoint.rate:g} rad/s exceeds its limit {fastest:g}",
        )
