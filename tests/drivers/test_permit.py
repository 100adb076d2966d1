"""Reasons against torque: a trip, the guard, a lease that nobody renews."""

from __future__ import annotations

import pytest

from drivers.device import CommandRefused
from drivers.permit import Permit


def permit(guard: str | None = None) -> Permit:
    return Permit(lambda: guard, lease_s=0.1, longest_gap_s=0.01, now_s=0.0)


def test_a_lease_lasts_from_when_it_was_renewed() -> None:
    torque = permit()
    torque.renew()
    for n in range(1, 10):
        torque.tick(0.01 * n)
        assert not torque.lapsed
    torque.renew()
    for n in range(10, 20):
        torque.tick(0.01 * n)
        assert not torque.lapsed
    torque.tick(0.21)
    assert torque.lapsed


def test_the_absence_of_the_machine_is_nobodys_silence() -> None:
    torque = permit()
    torque.renew()
    torque.tick(60.0)
    assert not torque.lapsed, "it counts as the longest gap"


def test_the_first_trip_is_kept_and_refuses_torque() -> None:
    torque = permit()
    torque.check("AX1")
    torque.trip("emergency stop")
    torque.trip("something else")
    with pytest.raises(CommandRefused, match="AX1: the bus has tripped \\(emergency stop\\)"):
        torque.check("AX1")


def test_what_the_guard_says_refuses_torque_and_is_no_trip() -> None:
    torque = permit("the door is open")
    assert torque.objection() == "the door is open"
    with pytest.raises(CommandRefused, match="torque is not allowed: the door is open"):
        torque.check("AX1")
    assert torque.tripped is None


def test_a_lease_of_no_length_is_none() -> None:
    with pytest.raises(ValueError, match="lease"):
        Permit(None, 0.0, 0.01, 0.0)
