"""An emulated Dynamixel servo: control table, instructions, torque, bus watchdog, in front of a plant.

Same table as the driver (`drivers.dynamixel.model`). Where the e-manual is silent the harsher reading is taken: goal
registers keep what was last written to them, so that a driver that switches torque on without looking moves the machine.

What its bus watchdog does is what the e-manual says: without any instruction packet for the time set, while torque is
on, the device *stops*. Goal velocity and current become 0, goal position the present one, goals are read only, and
Torque Enable stays 1. `on_power` is told "off" at that moment: from then on no set-point gives torque.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from drivers.device import Command, Mode
from drivers.dynamixel.codec import ALERT, CLEAR_TURNS, Refusal
from drivers.dynamixel.model import ZERO_CELSIUS, DynamixelModel, Register
from drivers.emulators.host import Surroundings

WATCHDOG_STEP_S = 0.02
TRIPPED = -1
_TICKS = 32768
_BOOT_S = 0.1
_MOVING_RAD_S = 0.1
_FACTORY_ALL, _FACTORY_KEEP_ID, _FACTORY_KEEP_ID_AND_BAUD = 0xFF, 0x01, 0x02


class Refused(Exception):
    """Answered with an error number."""

    def __init__(self, number: Refusal) -> None:
        self.number = number
        super().__init__(number.name)


class EmulatedDynamixel:
    """One servo. The fault switch `mute` and the methods `fail` and `reboot` are for tests as well."""

    def __init__(
        self,
        name: str,
        device: int,
        model: DynamixelModel,
        around: Surroundings,
        *,
        baudrate: int = 57_600,
        firmware: int | None = None,
        return_delay: int = 250,
    ) -> None:
        self.name, self.model = name, model
        self.firmware = model.emulated_firmware if firmware is None else firmware
        self.mute = False
        self.set_points: list[tuple[str, int]] = []  # every goal that was accepted
        self._around, self._plant = around, around.plant
        self._memory = bytearray(1024)
        self._writable = {r.address: r for r in model.registers.values()}
        self._of_byte = {r.address + n: r for r in model.registers.values() for n in range(r.size)}
        pointers, self._indirect = model.indirect, {}
        for n in range(pointers.count):
            self._of_byte |= {
                pointers.address + 2 * n + k: _pointer(pointers.address + 2 * n) for k in (0, 1)
            }
            self._writable[pointers.address + 2 * n] = _pointer(pointers.address + 2 * n)
            self._indirect[pointers.data + n] = pointers.address + 2 * n
            self._writable[pointers.data + n] = _storage(pointers.data + n)
        self._torque_on = self._stopped = False
        self._turns = 0  # taken away by "clear"
        self.registered: tuple[int, bytes] | None = None
        code = next((c for c, baud in model.bauds.items() if baud == baudrate), 1)
        self._factory(keep=())
        for register, value in (("id", device), ("baud_rate", code), ("return_delay", return_delay)):
            self.put(register, value)
        self._power_up(0.0)

    # ── what the line needs to know ──

    @property
    def id(self) -> int:
        return self.get("id")

    @property
    def baudrate(self) -> int:
        return self.model.bauds[self.get("baud_rate")]

    @property
    def return_delay_s(self) -> float:
        return 2e-6 * self.get("return_delay")

    @property
    def alert(self) -> int:
        return ALERT if self.get("hardware_error") else 0

    def get(self, register: str) -> int:
        r = self.model.registers[register]
        return r.unpack(bytes(self._memory[r.address : r.address + r.size]))

    def put(self, register: str, value: int) -> None:
        """As the device itself writes, past every check."""
        r = self.model.registers[register]
        self._memory[r.address : r.address + r.size] = r.pack(value)

    # ── instructions ──

    def heard(self, now_s: float) -> None:
        """Any instruction packet on the bus feeds the watchdog."""
        self._heard_s = now_s

    def answers(self, now_s: float) -> bool:
        return not self.mute and now_s >= self._ready_s

    def read(self, address: int, size: int, now_s: float) -> bytes:
        """Raises Refused. The plant stands at the present."""
        self._sample(now_s)
        data = bytearray()
        for byte in range(address, address + size):
            source = self._source(byte)
            if source not in self._of_byte and source not in self._indirect:
                raise Refused(Refusal.ACCESS)
            data.append(self._memory[source])
        return bytes(data)

    def write(self, address: int, data: bytes, now_s: float) -> None:
        """All or nothing. Raises Refused."""
        self._now_s = now_s
        parts = list(self._parts(address, data))
        for register, raw in parts:
            self._check(register, register.unpack(raw))
        for register, raw in parts:
            self._memory[register.address : register.address + register.size] = raw
        for register, raw in parts:
            self._written(register, register.unpack(raw))

    def register_write(self, address: int, data: bytes) -> None:
        self.registered = address, data
        self.put("registered_instruction", 1)

    def action(self, now_s: float) -> None:
        if self.registered is None:
            raise Refused(Refusal.INSTRUCTION)
        (address, data), self.registered = self.registered, None
        self.put("registered_instruction", 0)
        self.write(address, data, now_s)

    def factory_reset(self, option: int, now_s: float) -> None:
        keep = {
            _FACTORY_ALL: (),
            _FACTORY_KEEP_ID: ("id",),
            _FACTORY_KEEP_ID_AND_BAUD: ("id", "baud_rate"),
        }
        if option not in keep:
            raise Refused(Refusal.RANGE)
        self._torque(False, "factory reset", now_s)
        self._factory(keep[option])
        self._power_up(now_s)

    def reboot(self, now_s: float, reason: str = "reboot") -> None:
        self._torque(False, reason, now_s)
        self._power_up(now_s)
        self._ready_s = now_s + _BOOT_S

    def clear(self, parameters: bytes) -> None:
        """Forget whole turns; only at rest."""
        if parameters != CLEAR_TURNS:
            raise Refused(Refusal.RANGE)
        if abs(self._plant.read(self.name, "velocity")) > _MOVING_RAD_S:
            raise Refused(Refusal.RESULT)
        per_turn = round(2.0 * math.pi / self.model.readings["position"].digit)
        self._turns += (self._position() // per_turn) * per_turn

    # ── time ──

    def watchdog_due(self) -> float:
        """When the bus watchdog trips unless an instruction comes before; inf when it does not run."""
        steps = self.get("bus_watchdog")
        if steps <= 0 or not self._torque_on:
            return math.inf
        return self._heard_s + steps * WATCHDOG_STEP_S

    def trip(self, now_s: float) -> None:
        """The bus watchdog: stop, and lock the goals."""
        self._now_s = now_s
        self.put("bus_watchdog", TRIPPED)
        self.put("goal_velocity", 0)
        self.put("goal_current", 0)
        self.put("goal_position", self._position())
        self._actuate()
        self._stopped = True
        self._around.on_power(self.name, False, "bus watchdog", now_s)

    def excuse(self, frozen_s: float) -> None:
        self._heard_s += frozen_s

    def fail(self, bits: int, now_s: float) -> None:
        """Hardware error: torque off where register `shutdown` says so, alert bit until reboot."""
        self.put("hardware_error", self.get("hardware_error") | bits)
        if bits & self.get("shutdown"):
            self._torque(False, f"hardware error {bits:02X}h", now_s)

    # ── inside ──

    def _power_up(self, now_s: float) -> None:
        """RAM to its defaults."""
        for register in self.model.registers.values():
            if register.address >= self.model.ram:
                self.put(register.name, register.default)
        if self.model.indirect.address >= self.model.ram:
            self._reset_pointers()
        self.put("model_number", self.model.number)
        self.put("firmware", self.firmware)
        self._booted_s = self._heard_s = self._now_s = now_s
        self._ready_s = -math.inf
        self._stopped = False
        self.registered = None

    def _factory(self, keep: Iterable[str]) -> None:
        kept = {name: self.get(name) for name in keep}
        for register in self.model.registers.values():
            self.put(register.name, register.default)
        self._reset_pointers()
        for name, value in kept.items():
            self.put(name, value)

    def _reset_pointers(self) -> None:
        """Every pointer to its own data byte, as from the factory."""
        for data, pointer in self._indirect.items():
            self._memory[pointer : pointer + 2] = data.to_bytes(2, "little")
            self._memory[data] = 0

    def _source(self, byte: int) -> int:
        pointer = self._indirect.get(byte)
        return byte if pointer is None else int.from_bytes(self._memory[pointer : pointer + 2], "little")

    def _parts(self, address: int, data: bytes) -> Iterable[tuple[Register, bytes]]:
        """Whole registers that `data` covers."""
        at = 0
        while at < len(data):
            register = self._writable.get(self._source(address + at))
            if register is None or not register.writable:
                raise Refused(Refusal.ACCESS)
            if len(data) - at < register.size:
                raise Refused(Refusal.LENGTH)
            yield register, data[at : at + register.size]
            at += register.size

    def _check(self, register: Register, value: int) -> None:
        if register.address < self.model.ram and self.get("torque_enable"):
            raise Refused(Refusal.ACCESS)
        if register.goal and self.get("bus_watchdog") == TRIPPED:
            raise Refused(Refusal.RANGE)
        if not register.min <= value <= register.max:
            raise Refused(Refusal.RANGE)
        if register.limit and abs(value) > self.get(register.limit):
            raise Refused(Refusal.LIMIT)
        codes = {target.code for target in self.model.targets.values()} | {3, 5, 16}
        if register.name == "operating_mode" and value not in codes:
            raise Refused(Refusal.RANGE)

    def _written(self, register: Register, value: int) -> None:
        if register.name == "torque_enable":
            shut_down = self.get("hardware_error") & self.get("shutdown")
            self._torque(bool(value) and not shut_down, f"torque enable {value}", self._now_s)
        elif register.name == "bus_watchdog" and self._stopped and self._torque_on:
            self._stopped = False  # goals may be written again
        elif register.goal:
            self.set_points.append((register.name, value))
            self._actuate()

    def _torque(self, on: bool, reason: str, now_s: float) -> None:
        self.put("torque_enable", int(on))
        was_on, self._torque_on = self._torque_on, on
        if was_on != on:
            if on:
                self._heard_s = now_s
            if on or not self._stopped:
                self._around.on_power(self.name, on, reason, now_s)
            self._stopped = False
        self._actuate()

    def _actuate(self) -> None:
        self._plant.command(self.name, self._command() if self._torque_on else None)

    def _command(self) -> Command | None:
        code = self.get("operating_mode")
        for mode, target in self.model.targets.items():
            if target.code == code or (mode is Mode.POSITION and code in (3, 5)):
                digits = self.get(target.register.name)
                if mode is Mode.POSITION:
                    digits += self._turns - self.get("homing_offset")
                return Command(mode, digits * target.digit)
        return None  # PWM mode moves nothing here

    def _position(self) -> int:
        digit = self.model.readings["position"].digit
        return (
            round(self._plant.read(self.name, "position") / digit) + self.get("homing_offset") - self._turns
        )

    def _sample(self, now_s: float) -> None:
        """Present values into the table, quantised to the device's digits."""
        readings = self.model.readings
        velocity, torque = self._plant.read(self.name, "velocity"), self._plant.read(self.name, "torque")
        self.put("realtime_tick", int((now_s - self._booted_s) * 1000.0) % _TICKS)
        self.put("moving", int(abs(velocity) > _MOVING_RAD_S))
        self.put("present_position", self._position())
        self.put("present_velocity", round(velocity / readings["velocity"].digit))
        self.put("present_current", max(-0x8000, min(0x7FFF, round(torque / readings["torque"].digit))))
        self.put("present_voltage", round(self.model.supply_V * 10.0))
        self.put("present_temperature", round(298.15 - ZERO_CELSIUS))


def _storage(address: int) -> Register:
    return Register(f"indirect_data_{address}", address, 1, True, False, 0, 0, 255, False, "")


def _pointer(address: int) -> Register:
    return Register(f"indirect_{address}", address, 2, True, False, 0, 0, 1023, False, "")
