"""An interlock and everybody whom it hears."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.device import Block, Quality
from verification_platform.bench.description import TripLimit
from verification_platform.bench.interlock import (
    Interlock,
    InterlockError,
    InterlockState,
    NodeState,
)

SILENCE_S = 0.1
NODES = ("device_can0", "device_rs485", "recorder_node", "protocol_node")
DEVICES = NODES[:2]
LIMIT = TripLimit(channel="input_torque", low=-5.0, high=5.0)


class Bench:
    """Peers that behave, on a clock of their own, until told otherwise."""

    def __init__(self, limit: TripLimit = LIMIT, torque_off_s: float = math.inf) -> None:
        channels = {"input_angle": "can0", "input_torque": "rs485", "stop": "rs485"}
        self.interlock = Interlock(
            DEVICES, NODES[2:], channels, [limit], SILENCE_S, estops=["stop"], torque_off_s=torque_off_s
        )
        self.now_s = 100.0
        self.silent: set[str] = set()
        self.deaf: set[str] = set()
        self.torque, self.contact = 1.0, 1.0
        self.states: dict[str, NodeState] = {}
        self.quality = Quality.GOOD
        self.sequence = 0

    def run(self, duration_s: float, step_s: float = 0.01) -> None:
        for _ in range(round(duration_s / step_s)):
            self.now_s += step_s
            for node in NODES:
                if node not in self.silent:
                    held = self.interlock.permission if node in DEVICES and node not in self.deaf else 0
                    state = self.states.get(node, NodeState.ACTIVE)
                    self.interlock.heard(node, self.now_s, state, "its reason", permission=held)
            for group, values in (
                ("can0", {"input_angle": 0.0}),
                ("rs485", {"input_torque": self.torque, "stop": self.contact}),
            ):
                if group not in self.silent:
                    self.interlock.block(self.block(group, values), self.now_s)
            self.interlock.tick(self.now_s)

    def block(self, group: str, values: dict[str, float]) -> Block:
        self.sequence += 1
        rows = np.array([list(values.values())] * 2)
        quality = np.full(rows.shape, Quality.GOOD, dtype=np.uint8)
        quality[:, 0] = self.quality
        stamps = np.array([self.now_s, self.now_s + 0.001])
        return Block(group, self.sequence, 2 * self.sequence, tuple(values), stamps, rows, quality)

    def refused(self) -> str:
        """Why a reset is refused."""
        with pytest.raises(InterlockError) as caught:
            self.interlock.reset(self.now_s)
        assert self.interlock.state is InterlockState.TRIPPED
        return str(caught.value)

    def cause(self) -> str:
        return self.interlock.trip.cause if self.interlock.trip is not None else ""

    def arm(self, *limits: TripLimit) -> None:
        self.run(0.1)
        self.interlock.arm(self.now_s, limits)
        self.run(0.1)
