"""How old a value is at its row's stamp: from the driver through the runner into the block. The fault matrix holds the ages of
every family against the truth; here is what they look like.
"""

from __future__ import annotations

import math
import threading
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from drivers.canopen.group import CanopenGroup
from drivers.device import Block, Quality, Row
from drivers.modbus.group import ModbusGroup
from drivers.runner import BusRunner


def test_what_is_latched_together_and_answered_has_no_age(can_group: CanopenGroup) -> None:
    can_group.open()
    rows = [can_group.cycle({}) for _ in range(20)]
    whole = [row for row in rows if not any(row.quality)]
    assert whole
    assert all(row.age_s is None for row in whole)


def test_a_stale_value_counts_from_the_last_row_in_which_it_was_there(
    bench: Any, can_group: CanopenGroup
) -> None:
    can_group.open()
    node = bench.host.racks["can0"].nodes["EN2"]
    last = can_group.cycle({})
    while any(last.quality):
        last = can_group.cycle({})
    bench.on_loop(lambda: setattr(node, "mute_tpdo", True))
    stale: list[Row] = []
    for _ in range(3):
        row = can_group.cycle({})
        if row.quality[2] == Quality.GOOD:
            last = row
        else:
            stale.append(row)
    assert stale
    for row in stale:
        assert row.age_s is not None
        assert row.age_s[2] == pytest.approx(row.stamp_s - last.stamp_s)
        good = [age for age, quality in zip(row.age_s, row.quality, strict=True) if quality == Quality.GOOD]
        assert good == [0.0] * len(good)
    bench.on_loop(lambda: setattr(node, "mute_tpdo", False))
    until = time.monotonic() + 2.0
    while any((row := can_group.cycle({})).quality) and time.monotonic() < until:
        pass
    assert row.age_s is None


def test_what_was_never_measured_has_no_number(bench: Any, can_group: CanopenGroup) -> None:
    bench.on_loop(lambda: setattr(bench.host.racks["can0"].nodes["EN2"], "mute_tpdo", True))
    can_group.open()
    row = can_group.cycle({})
    assert row.quality[2] == Quality.BAD
    assert row.age_s is not None
    assert math.isnan(row.age_s[2])


def test_a_value_that_is_asked_for_now_and_then_is_good_and_tells_its_age(modbus_group: ModbusGroup) -> None:
    modbus_group.open()
    begun, ages = time.monotonic(), []
    while time.monotonic() - begun < 1.5:
        row = modbus_group.cycle({})
        assert row.age_s is not None
        torques = [abs(a) for a, q in zip(row.age_s[:2], row.quality[:2], strict=True) if q == Quality.GOOD]
        assert all(age < 0.05 for age in torques)  # one after the other in the same cycle
        if row.quality[2] == Quality.GOOD:
            ages.append(row.age_s[2])
        time.sleep(0.005)
    assert max(ages) > 0.1  # the temperature module is asked once in a while
    assert any(later < earlier for earlier, later in pairwise(ages))  # and asked anew


def test_the_runner_makes_room_for_ages_only_where_there_are_some(
    bench: Any, can_group: CanopenGroup
) -> None:
    blocks: list[Block] = []
    seen = threading.Event()

    def take(block: Block) -> None:
        blocks.append(block)
        if block.age_s is not None:
            seen.set()

    runner = BusRunner(can_group, take, block_rows=5, lease_s=10.0)
    runner.start()
    try:
        until = time.monotonic() + 5.0
        while not any(b.age_s is None for b in list(blocks)) and time.monotonic() < until:
            time.sleep(0.01)
        assert any(block.age_s is None for block in blocks)
        bench.on_loop(lambda: setattr(bench.host.racks["can0"].nodes["EN2"], "mute_tpdo", True))
        assert seen.wait(5.0)
    finally:
        runner.stop()
    block = next(block for block in blocks if block.age_s is not None)
    assert block.age_s is not None
    assert block.age_s.shape == block.values.shape
    assert block.age_s.dtype == np.float32
    good = block.quality == Quality.GOOD
    assert not block.age_s[good].any()
    assert (block.age_s[block.quality == Quality.STALE] > 0).all()
