"""The process that drives a device is killed or stopped, for every model table that gives torque: the device's own watchdog
takes it off, within its time and 20 ms, in real time. A new table is tried without a line here.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from drivers.families import FAMILIES, models

from ..loading import load_script

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]


def _harness() -> ModuleType:
    """What the benchmark measures with, too."""
    return load_script("benchmarks/drivers/deaths.py", "master_deaths")


deaths = _harness()


@pytest.fixture(scope="module", params=deaths.torque_models())
def device(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with deaths.Device(request.param, tmp_path_factory.mktemp("device")) as device:
        yield device


@pytest.mark.flaky(reruns=3, reruns_delay=5)  # real time, on a machine that is shared
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda s: s.name)
def test_the_torque_is_off_in_time(
    device: Any, number: signal.Signals, record_property: Callable[[str, object], None]
) -> None:
    seen = device.death(number)
    record_property("torque off after the signal, ms", round(seen.took_s * 1e3, 1))
    assert seen.reason in deaths.BY_ITSELF
    assert seen.took_s <= device.watchdog_s + deaths.GRACE_S + seen.allowance_s
    assert seen.took_s >= 0.5 * device.watchdog_s, "not before its time: a cycle may be missed"
    if (
        number is signal.SIGSTOP
    ):  # it noticed what had happened, and `death` has seen that it gave no torque again
        assert seen.said.startswith("X: ")


def test_every_other_model_gives_no_torque_at_all() -> None:
    """Sensors and instruments; and a module without a watchdog, to which the drivers give none (tests/wire)."""
    without = set(models()) - set(deaths.torque_models())
    assert {name for name in without if models()[name].describe(name).modes} == {"mini_cheetah"}
    carriers = {models()[name].name for name in deaths.torque_models()}
    assert set(FAMILIES) - carriers == {"dbc", "scpi"}
