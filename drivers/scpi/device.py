"""One SCPI instrument: identification, settings, readings.

Settings are written once, at start, and read back; afterwards only the one query of the table is sent. What the
instrument answers becomes values in one step: an answer of another length or with anything that is no number gives
none. A serial line carries no checksum, so there the query is asked twice in one message, and both answers must agree.

SCPI numbers nothing either. So a message first writes a number into the event status enable register (``*ESE``, IEEE
488.2, 10.10, of no use to a driver that polls), and asks for it last: an answer to another message shows another one.
"""

from __future__ import annotations

import contextlib
import math

from drivers import clock
from drivers.device import (
    CommandRefused,
    DeviceState,
    Identity,
    IdentityMismatch,
    ProtocolViolation,
    Quality,
    Signal,
    TransportLost,
    TransportTimeout,
)
from drivers.scpi.codec import (
    IdentityLine,
    ScpiError,
    parse_error,
    parse_identity,
    parse_values,
    same_setting,
)
from drivers.scpi.link import ScpiLink
from drivers.scpi.model import ScpiModel

LOST_AFTER = 3
BACK_OFF_S = 1.0
START_TIMEOUT_S = 1.0
_ERRORS = 32  # more than any queue holds


class ScpiDevice:
    """`serial`, when given, is the only one accepted."""

    def __init__(self, name: str, model: ScpiModel, serial: str | None = None) -> None:
        self.name, self.model = name, model
        self.values: dict[str, float] = dict.fromkeys(model.quantities, math.nan)
        self.bad: set[str] = set()
        self.sampled_s = self.next_poll_s = -math.inf
        self.lost = False
        self._misses = 0
        self._in_step = True  # the next line is the answer to the next query
        self._serial = serial
        self._identity_text = ""
        self._link: ScpiLink | None = None
        self._twice = False
        self._tag = 0
        self._last_counters: dict[str, int] = dict.fromkeys(("timeout", "garbled", "nak", "late", "stray"), 0)

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self.model.offered()

    @property
    def state(self) -> DeviceState:
        return DeviceState.LOST if self.lost or self._link is None else DeviceState.READY

    @property
    def counters(self) -> dict[str, int]:
        if self._link is not None:
            self._last_counters = dict(self._link.counters)
        return self._last_counters

    def ask_twice(self, twice: bool) -> None:
        """Whether the wire carries no checksum."""
        self._twice = twice

    def attach(self, link: ScpiLink) -> None:
        """A link has been opened: everything known so far is forgotten, except who the device was."""
        self._link = link
        self.values = dict.fromkeys(self.model.quantities, math.nan)
        self.bad = set()
        self.sampled_s = self.next_poll_s = -math.inf
        self.lost, self._misses, self._in_step = False, 0, True

    def detach(self) -> None:
        self._last_counters = self.counters
        self._link = None

    # ── start-up ──

    def identify(self) -> Identity:
        """Raises IdentityMismatch when it is not the described device, TransportTimeout, ProtocolViolation."""
        text = self._ask("*IDN?")
        try:
            found = parse_identity(text)
        except ValueError as error:
            raise ProtocolViolation(self.name, str(error), "check terminator and baud rate") from error
        self._compare(found)
        self._identity_text = text
        return Identity(self.name, self.model.name, found.serial, found.firmware)

    def _compare(self, found: IdentityLine) -> None:
        model = self.model
        if (found.manufacturer.upper(), found.model.upper()) != (
            model.manufacturer.upper(),
            model.model.upper(),
        ):
            raise IdentityMismatch(
                self.name,
                f"is a {found.manufacturer} {found.model}, {model.name} is a {model.manufacturer} {model.model}",
                "check address and model in the bench file",
            )
        before = parse_identity(self._identity_text).serial if self._identity_text else None
        wanted = self._serial or before
        if wanted is not None and found.serial != wanted:
            raise IdentityMismatch(
                self.name,
                f"serial number is {found.serial}, expected {wanted}",
                "update the bench file and calibrations",
            )

    def prepare(self) -> None:
        """Write the settings and read them back. Raises CommandRefused with the words of the error queue."""
        link = self._opened()
        link.send("*CLS")
        for setting in self.model.settings:
            header = setting.header.upper()
            link.send(f"{header} {setting.value.upper()}")
            found = self._ask(f"{header}?")
            if not same_setting(setting.value, found):
                raise CommandRefused(
                    self.name,
                    f"setting {header} reads back {found!r}, not {setting.value!r}{self._complaints()}",
                    "check the model's table and the instrument's options",
                )
        complaints = self._complaints()
        if complaints:
            raise CommandRefused(self.name, f"refuses a setting{complaints}", "check the model's table")

    def _complaints(self) -> str:
        """All of the error queue as text, empty when there is none."""
        found = []
        for _ in range(_ERRORS):
            error = self._error()
            if error.code == 0:
                break
            found.append(f"{error.text} ({error.code})")
        return f" — {'; '.join(found)}" if found else ""

    def _error(self) -> ScpiError:
        text = self._ask("SYSTEM:ERROR?")
        try:
            return parse_error(text)
        except ValueError as error:
            raise ProtocolViolation(self.name, str(error)) from error

    def _ask(self, query: str) -> str:
        """A query at start, once more after a resynchronisation if it fails."""
        link = self._opened()
        try:
            answer = link.ask(query, 128, START_TIMEOUT_S)
        except (TransportTimeout, ProtocolViolation):
            if not self._identity_text:
                raise
            link.resynchronise(self._identity_text, START_TIMEOUT_S)
            answer = link.ask(query, 128, START_TIMEOUT_S)
        return answer.decode("latin-1").strip()

    def _opened(self) -> ScpiLink:
        if self._link is None:
            raise TransportLost(self.name, "the line is not open")
        return self._link

    # ── hot path ──

    def query(self) -> str:
        """The message of this cycle."""
        query = self.model.query.upper()
        if self._twice:
            query = f"{query};{query}"
        return f"*ESE {self._tag};{query};*ESE?" if self.model.tagged else query

    def answer_bytes(self) -> int:
        return self.model.answer_bytes() * (2 if self._twice else 1) + 5

    def poll(self, now_s: float) -> float | None:
        """Read all signals. Returns when they were asked for, None when no answer came. Raises TransportLost."""
        link, model = self._opened(), self.model
        try:
            if not self._in_step or self.lost:
                link.resynchronise(self._identity_text, model.timeout_s)
                self._in_step, self.lost = True, False
            asked_s = clock.now()
            self._tag = self._tag % 255 + 1
            answer = link.ask(self.query(), self.answer_bytes(), model.timeout_s)
            self._take(answer)
        except (TransportTimeout, ProtocolViolation):
            self._in_step = False
            self._misses += 1
            self.lost = self.lost or self._misses >= LOST_AFTER
            self.next_poll_s = now_s + (BACK_OFF_S if self.lost else 0.0)
            return None
        self._misses = 0
        self.sampled_s, self.next_poll_s = asked_s, now_s + model.period_s
        return asked_s

    def _take(self, answer: bytes) -> None:
        """All values of an answer, or ProtocolViolation."""
        model, counters = self.model, self._opened().counters
        try:
            numbers = parse_values(answer, model.form)
        except ValueError as error:
            counters["garbled"] += 1
            raise ProtocolViolation(self.name, f"answer is garbled ({error})") from error
        wanted = model.fields * (2 if self._twice else 1) + (1 if model.tagged else 0)
        if len(numbers) != wanted:
            counters["garbled"] += 1
            raise ProtocolViolation(self.name, f"answer has {len(numbers)} numbers, not {wanted}")
        if model.tagged and numbers.pop() != self._tag:
            counters["late"] += 1
            raise ProtocolViolation(self.name, "answers another message than the last")
        if self._twice:
            first, second = numbers[: model.fields], numbers[model.fields :]
            if any(
                a != b and not (math.isnan(a) and math.isnan(b)) for a, b in zip(first, second, strict=True)
            ):
                counters["garbled"] += 1
                raise ProtocolViolation(self.name, "both answers to one message differ")
        overload = False
        if model.status_field is not None:
            status = numbers[model.status_field]
            overload = not (status.is_integer() and int(status) & model.bad_mask == 0)
        self.bad = set()
        for name, quantity in model.quantities.items():
            value = numbers[quantity.field] * quantity.scale
            if overload or not abs(value) <= quantity.full_scale:  # also what is not a number
                self.bad.add(name)
            self.values[name] = value

    def quality(self, signal: str, now_s: float) -> Quality:
        if math.isnan(self.values[signal]):
            return Quality.BAD
        if self.lost or now_s - self.sampled_s > self.model.max_age_s:
            return Quality.STALE
        return Quality.BAD if signal in self.bad else Quality.GOOD

    def local(self) -> None:
        """At an orderly end: give the front panel back. Instruments without such a command note an error, no more."""
        with contextlib.suppress(TransportTimeout, TransportLost):
            self._opened().send("SYSTEM:LOCAL")
