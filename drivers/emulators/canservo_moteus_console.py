"""The text console of an emulated moteus: the few commands of mjbots/moteus, docs/protocol/diagnostic.md, that a master needs."""

from __future__ import annotations

from collections.abc import Callable

#: What a new one has in its flash.
_STORED: dict[str, float] = {
    "servo.default_timeout_s": 0.1,
    "servo.timeout_max_torque_Nm": 5.0,
    "servo.timeout_mode": 12,
    "servo.max_current_A": 100.0,
}


class EmulatedConsole:
    """Lines in, lines out. `settings` are in RAM; those in `forgetful` are not taken over (fault injection)."""

    def __init__(self, stop: Callable[[float], None]) -> None:
        self._stop = stop
        self.settings: dict[str, float] = {}
        self.forgetful: set[str] = set()
        self.restart()

    def restart(self) -> None:
        """As after switching on."""
        self.settings.update(_STORED)
        self._in = self._out = b""

    def hear(self, text: bytes, now_s: float) -> None:
        self._in += text
        while b"\n" in self._in:
            line, _, self._in = self._in.partition(b"\n")
            said = self._command(line.decode("ascii", "replace").split(), now_s)
            self._out += said.encode("ascii") + b"\r\n"

    def say(self, most: int) -> bytes:
        said, self._out = self._out[:most], self._out[most:]
        return said

    def _command(self, words: list[str], now_s: float) -> str:
        match words:
            case ["tel", "stop"]:
                return "OK"
            case ["d", "stop"]:
                self._stop(now_s)
                return "OK"
            case ["conf", "get", name] if name in self.settings:
                return self._printed(name)
            case ["conf", "set", name, value] if name in self.settings:
                return self._set(name, value)
            case ["conf", "enumerate"]:
                return "\r\n".join([f"{name} {self._printed(name)}" for name in self.settings] + ["OK"])
            case ["conf", "get" | "set", *_]:
                return "ERR unknown group"
        return "ERR unknown command"

    def _printed(self, name: str) -> str:
        value = self.settings[name]
        return f"{value:d}" if isinstance(value, int) else f"{value:f}"

    def _set(self, name: str, value: str) -> str:
        kind = int if isinstance(self.settings[name], int) else float
        try:
            found = kind(value)
        except ValueError:
            return "ERR error setting"
        if name not in self.forgetful:
            self.settings[name] = found
        return "OK"
