"""What every family asks before it lets torque flow; the order is that in which a technician mends it."""

from __future__ import annotations

from collections.abc import Container

from drivers.device import CommandRefused, DeviceFault, Mode, WatchdogRefused


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
