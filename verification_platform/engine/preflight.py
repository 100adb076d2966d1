"""Before anything moves: can this run be done here, today, within what bench and component allow?

Every objection is one clear line. `refusals` stop the run; `remarks` go into its record.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from drivers.device import CommandRefused
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.bench.envelope import SafetyEnvelope

from .dry_run import DryRun, answered, dry_run
from .protocol import Protocol, ProtocolError, ProtocolParameters, Text


@dataclass(frozen=True, slots=True)
class Preflight:
    """Outcome: expected duration of the procedure, s; why it is refused; what must be known."""

    duration_s: float
    refusals: tuple[str, ...]
    remarks: tuple[Text, ...]

    def require(self) -> None:
        """Raises ProtocolError with the first refusal."""
        if self.refusals:
            more = f" (and {len(self.refusals) - 1} more)" if len(self.refusals) > 1 else ""
            raise ProtocolError(self.refusals[0] + more)


def accelerations(bench: BenchDescription) -> dict[str, float]:
    """Acceleration of position moves by role, rad/s²."""
    return {role: record.max_rate.velocity for role, record in bench.actuator.items()}


def preflight(
    protocol: Protocol,
    parameters: ProtocolParameters,
    order: Order,
    bench: BenchDescription,
    on: dt.date | None = None,
) -> Preflight:
    """Check a run against its bench on the day `on` (today). Raises nothing: objections are in the
    outcome."""
    on = on or dt.datetime.now(dt.UTC).date()
    refusals = [*_kind(protocol, order), *_roles(protocol, bench), *_calibrations(protocol, bench, on)]
    remarks: tuple[Text, ...] = ()
    duration_s = 0.0
    if not refusals:
        try:
            plan = dry_run(answered(protocol, parameters, order.dut), order.dut, accelerations(bench))
            duration_s = plan.total_s
            refusals += _envelope(plan, bench, order)
            rates = {
                name: 1 / bench.bus[bench.device[c.device].bus].cycle for name, c in bench.channel.items()
            }
            ranges = {name: c.range for name, c in bench.channel.items() if c.range is not None}
            objections = protocol.check(parameters, order.dut, rates, ranges)
            refusals += objections.refusals
            remarks = tuple(objections.remarks)
        except ProtocolError as error:
            refusals.append(str(error))
    return Preflight(duration_s, tuple(refusals), remarks)


def _kind(protocol: Protocol, order: Order) -> Iterator[str]:
    if order.dut.kind not in protocol.dut_kinds:
        yield f"{protocol.id} tests {' or '.join(protocol.dut_kinds)}, not a {order.dut.kind}"


def _roles(protocol: Protocol, bench: BenchDescription) -> Iterator[str]:
    needs, here = protocol.requires, bench.bench.id
    for role in needs.actuators:
        if role not in bench.actuator:
            yield (
                f"{protocol.id} needs actuator {role!r}, which bench {here} does not have; "
                f"add [actuator.{role}] to its description"
            )
    for role in needs.holds_position:
        if role in bench.actuator and not bench.actuator[role].holds_position:
            yield (
                f"{protocol.id} needs {role!r} to lock its shaft; "
                f"bench {here} does not say holds_position = true for it"
            )
    for role in needs.channels:
        if role not in bench.channel:
            yield (
                f"{protocol.id} needs channel {role!r}, which bench {here} does not have; "
                f"add [channel.{role}] to its description"
            )


def _calibrations(protocol: Protocol, bench: BenchDescription, on: dt.date) -> Iterator[str]:
    for name in protocol.requires.channels:
        channel = bench.channel.get(name)
        if channel is None:
            continue
        record = channel.calibration
        if record is None:
            if name in protocol.requires.calibrated:
                yield f"channel {name} has no calibration record; {protocol.id} needs one for its uncertainty"
        elif record.due < on:
            yield (
                f"calibration of channel {name} expired on {record.due} "
                f"(certificate {record.certificate}); recalibrate it before the run"
            )
        elif record.date > on:
            yield f"calibration of channel {name} is dated {record.date}, after today ({on}); check the date"


def _envelope(plan: DryRun, bench: BenchDescription, order: Order) -> Iterator[str]:
    envelope = SafetyEnvelope.from_bench(bench, order)
    seen: set[str] = set()
    for sent in plan.sent:
        try:
            envelope.check(sent.role, sent.setpoint)
        except CommandRefused as error:
            if str(error) not in seen:
                seen.add(str(error))
                yield f"step {sent.place}: {error}"
