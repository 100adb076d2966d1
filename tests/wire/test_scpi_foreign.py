"""SCPI with peers that others wrote: PyVISA as master of our emulated instruments, sinstruments as server of a slave.

PyVISA (with its backend in Python) reads the message framing, the numbers and the blocks as its authors understand the
standard. The slave of sinstruments brings its own TCP server and line handling; what it says is written here by hand,
not taken from our table, with the liberties that instruments take: CR before LF, blanks, lower-case exponents.
"""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.device import CommandRefused, Quality
from drivers.emulators.host import EmulatorHost
from drivers.emulators.scpi_instrument import ScpiInstrument
from drivers.emulators.scpi_line import ScpiSerial, ScpiSocket
from drivers.family import BusPlan, Column, DevicePlan
from drivers.scpi.family import SCPI
from drivers.scpi.model import load_model

from .foreign import needed
from .served import serving

MEND = "pip install '.[test]'"
ANALYSER, METER = "scpi_power_analyser_2e", "scpi_power_meter_serial"


class Steady:
    def advance(self, t_s: float) -> None:
        """Nothing moves."""

    def command(self, device: str, command: Any) -> None:
        """Nothing moves."""

    def read(self, device: str, signal: str) -> float:
        known = {"voltage": 48.25, "current": -2.5, "power": -120.625, "power_factor": 0.875}
        return known.get(signal.rstrip("_12"), 50.0)


@pytest.fixture
def served() -> Iterator[tuple[str, str]]:
    """VISA names of the analyser on TCP and of the meter on a pty."""
    host = EmulatorHost(Steady())
    tcp = ScpiSocket(host.loop, host.advance, ScpiInstrument("PA1", load_model(ANALYSER), host.plant, 4711))
    serial = ScpiSerial(
        host.loop, host.advance, ScpiInstrument("PM1", load_model(METER), host.plant, 4712), 115_200
    )
    with serving(host):
        yield f"TCPIP::127.0.0.1::{tcp.port}::SOCKET", f"ASRL{serial.path}::INSTR"
    for line in (tcp, serial):
        line.close()


def opened(name: str, terminator: str) -> Any:
    needed(importlib.util.find_spec("pyvisa"), "pyvisa", MEND)
    needed(importlib.util.find_spec("pyvisa_py"), "pyvisa-py", MEND)
    import pyvisa

    resource = pyvisa.ResourceManager("@py").open_resource(name)
    resource.read_termination = resource.write_termination = terminator
    resource.timeout = 5000
    return resource


def test_pyvisa_reads_the_analyser_over_tcp(served: tuple[str, str]) -> None:
    analyser = opened(served[0], "\n")
    try:
        assert analyser.query("*IDN?") == "PILOTBENCH,PA-2E,4711,1.04"
        values = analyser.query_ascii_values(":NUM:VAL?")
        assert values[:3] == pytest.approx([48.25, -2.5, -120.625])
        assert len(values) == 9
        analyser.write(":INP:VOLT:RANG 150;CURR:RANG 5")  # the second header follows the path of the first
        assert float(analyser.query(":input:voltage:range?")) == 150.0
        assert analyser.query("SYST:ERR?") == '-113,"Undefined header"'  # … which leads to INP:VOLT:CURR here
        analyser.write("NONSENSE")
        analyser.write(":RATE 0.07")
        analyser.write(":RATE")
        queue = [analyser.query("SYST:ERR:NEXT?") for _ in range(4)]
        assert [entry.partition(",")[0] for entry in queue] == ["-113", "-224", "-109", "0"]
        assert analyser.query("*OPC?;*ESR?") == "1;0"
    finally:
        analyser.close()


def test_pyvisa_reads_blocks_of_the_meter_on_its_serial_line(served: tuple[str, str]) -> None:
    meter = opened(served[1], "\r\n")
    try:
        assert meter.query("*IDN?") == "PILOTBENCH,PM-1S,4712,2.11"
        values = meter.query_binary_values(":FETC?", datatype="f", is_big_endian=True)
        assert values == pytest.approx([48.25, -2.5, -120.62])
        meter.write("SENS:AVER:COUN 8")
        assert float(meter.query("SENSE:AVERAGE:COUNT?")) == 8.0
    finally:
        meter.close()


# ── a slave on sinstruments ──

_SLAVE = '''
import sys
import gevent
from sinstruments.simulator import BaseDevice, Server

class Analyser(BaseDevice):
    """Settings kept as text, queries in the form that the model's table names, a queue with one error."""
    newline = b"\\n"
    kept, errors, enable, count = {}, [], b"0", 0

    def handle_message(self, message):
        answers = []
        for unit in message.decode().strip().lstrip(":").split(";"):
            unit = unit.strip().lstrip(":")
            if not unit:
                continue
            header, _, value = unit.partition(" ")
            if header == "*IDN?":
                answers.append("Pilotbench, PA-2E, X7, 9.9")
            elif header == "*ESE?":
                answers.append(" " + self.enable)
            elif header == "*ESE":
                self.enable = value
            elif header == "*CLS":
                self.errors.clear()
            elif header == "SYSTEM:ERROR?":
                answers.append(self.errors.pop(0) if self.errors else '+0,"No error"')
            elif header == "NUMERIC:VALUE?":
                self.count += 1
                overload = "9.91e37" if self.count == 3 else "1.5e0"
                answers.append("48.25, 2.5 ,+120.625E+00,%s,2,3,.5,50,79.9" % overload)
            elif header == "STATUS:OPERATION:CONDITION?":
                answers.append("256")
            elif header.endswith("?"):
                answers.append(self.kept.get(header[:-1], "0"))
            elif header == "RATE" and STUBBORN:
                self.errors.append('-203,"Command protected"')
            elif header != "SYSTEM:LOCAL":
                self.kept[header] = value
        return (";".join(answers) + "\\r\\n").encode() if answers else None

    enable = "0"

STUBBORN = sys.argv[1] == "stubborn"
server = Server(devices=[{"name": "pa", "class": "Analyser", "package": "__main__",
    "transports": [{"type": "tcp", "url": ["127.0.0.1", 0]}]}])
server.start()
(transport,) = next(iter(server.devices.values())).transports
while not transport.server_port:
    gevent.sleep(0.01)
print(transport.server_port, flush=True)
server.serve_forever()
'''


@pytest.fixture
def slave(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    needed(importlib.util.find_spec("sinstruments"), "sinstruments", MEND)
    script = tmp_path / "slave.py"
    script.write_text(_SLAVE, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), getattr(request, "param", "")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield f"tcp:127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait(5)
        process.stdout.close()


def plan(uri: str) -> BusPlan:
    columns = [Column(name, "PA1", name) for name in ("voltage_1", "voltage_2", "efficiency")]
    return BusPlan("power", uri, 115_200, 0.05, 0.1, [DevicePlan("PA1", 1, ANALYSER)], columns)


def test_our_driver_on_a_slave_of_sinstruments(slave: str) -> None:
    group = SCPI.group(plan(slave))
    (identity,) = group.open()
    assert (identity.serial, identity.firmware) == ("X7", "9.9")
    try:
        rows = []
        while len(rows) < 4:
            group._device.next_poll_s = -math.inf
            rows.append(group.cycle({}))
        for number, row in enumerate(rows):
            assert row.values[0] == 48.25
            assert row.values[2] == pytest.approx(0.799)
            assert row.quality[1] is (Quality.BAD if number == 2 else Quality.GOOD)
        counters = group.counters()["PA1"]
        assert counters == {"timeout": 0, "garbled": 0, "nak": 0, "late": 0, "stray": 0}
    finally:
        group.close()


@pytest.mark.parametrize("slave", ["stubborn"], indirect=True)
def test_the_error_queue_of_a_foreign_slave_is_told(slave: str) -> None:
    group = SCPI.group(plan(slave))
    with pytest.raises(CommandRefused, match=r"setting :RATE reads back '0', .* Command protected \(-203\)"):
        group.open()
