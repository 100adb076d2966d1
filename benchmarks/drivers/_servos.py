"""The emulated servos of the Dynamixel benchmark, in a process of their own on a pty."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from drivers.device import Command
from drivers.dynamixel.model import load_model
from drivers.emulators.dynamixel_line import DynamixelLine
from drivers.emulators.dynamixel_servo import EmulatedDynamixel
from drivers.emulators.host import EmulatorHost
from drivers.realtime import claim_realtime, die_with_parent

BAUD, SERVOS, MODEL = 1_000_000, 6, load_model("dynamixel_xm430_w350")


class _Still:
    """Shafts that stand at an angle of their own."""

    def advance(self, t_s: float) -> None:
        pass

    def command(self, device: str, command: Command | None) -> None:
        pass

    def read(self, device: str, signal: str) -> float:
        return 0.5 * int(device) if signal == "position" else 0.0


def _serve(paced: bool, firmware: int) -> None:
    die_with_parent()
    claim_realtime(45)  # real servos wait for no processor
    host = EmulatorHost(_Still())
    servos = [
        EmulatedDynamixel(str(n), n, MODEL, host.around, baudrate=BAUD, firmware=firmware, return_delay=0)
        for n in range(1, SERVOS + 1)
    ]
    line = DynamixelLine(host.loop, host.advance, servos, BAUD, paced=paced)
    host.line("dxl", line)
    sys.stdout.write(line.path + "\n")
    sys.stdout.flush()
    host.run()


@contextlib.contextmanager
def served(*, paced: bool, firmware: int) -> Iterator[str]:
    arguments = [
        sys.executable,
        "-m",
        "benchmarks.drivers._servos",
        str(int(paced)),
        str(firmware),
    ]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    _serve(sys.argv[1] == "1", int(sys.argv[2]))
