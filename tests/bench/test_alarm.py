"""Which rows do not wait for their block."""

from __future__ import annotations

from drivers.device import Quality, Row
from verification_platform.bench.alarm import Alarm
from verification_platform.bench.description import Interlock

INTERLOCK = Interlock.model_validate(
    {
        "heartbeat": 0.04,
        "silence": 0.4,
        "estop": ["stop"],
        "limits": [{"channel": "torque", "low": -5.0, "high": 5.0}, {"channel": "elsewhere", "high": 1.0}],
    }
)


def _row(torque: float, stop: float = 1.0, quality: Quality = Quality.GOOD) -> Row:
    return Row(0.0, (0.0, torque, stop), (Quality.GOOD, quality, Quality.GOOD))


def test_a_row_is_urgent_when_one_more_channel_leaves_its_limits_and_only_then() -> None:
    alarm = Alarm(INTERLOCK, ("angle", "torque", "stop"))
    seen = [
        alarm(row) for row in (_row(1.0), _row(6.0), _row(7.0), _row(7.0, stop=0.0), _row(1.0), _row(-6.0))
    ]
    assert seen == [False, True, False, True, False, True]


def test_a_value_that_is_not_good_is_no_reason_to_hurry() -> None:
    alarm = Alarm(INTERLOCK, ("angle", "torque", "stop"))
    assert not alarm(_row(9.0, quality=Quality.STALE))
    assert not alarm(_row(float("nan"), quality=Quality.BAD))


def test_a_bus_without_limits_is_never_in_a_hurry() -> None:
    assert not Alarm(INTERLOCK, ("angle",))(Row(0.0, (1e9,), (Quality.GOOD,)))
