"""Transactions with one servo: steps of its scripts, one after another at the start, one a cycle in a run."""

from __future__ import annotations

import contextlib

from drivers import clock
from drivers.device import DriverError, TransportLost
from drivers.dynamixel.codec import Status
from drivers.dynamixel.master import DynamixelMaster
from drivers.dynamixel.script import Script, Step
from drivers.dynamixel.servo import DynamixelServo


def ask(master: DynamixelMaster, servo: DynamixelServo, step: Step, retries: int = 0) -> Status:
    """One step, tried again only where that does no harm. Raises what `DynamixelMaster.ask` raises."""
    attempts = 1 + (retries if step.repeatable else 0)
    while True:
        attempts -= 1
        try:
            return master.ask(
                servo.name, servo.number, step.request, step.size, servo.longest_delay_s, servo.counters
            )
        except TransportLost:
            raise
        except DriverError:
            if attempts == 0:
                raise


def finish(master: DynamixelMaster, servo: DynamixelServo, script: Script, retries: int = 0) -> None:
    """A whole script. Raises what it raises."""
    with contextlib.suppress(StopIteration):
        step = next(script)
        while True:
            try:
                status = ask(master, servo, step, retries)
            except TransportLost:
                raise
            except DriverError as error:
                step = script.throw(error)
            else:
                step = script.send(status)


def advance(master: DynamixelMaster, servo: DynamixelServo, script: Script) -> None:
    """One transaction of a script; the servo keeps it until it has ended. Raises TransportLost."""
    try:
        step = servo.pending or next(script)
        servo.pending = None
        try:
            status = ask(master, servo, step)
        except TransportLost:
            raise
        except DriverError as error:
            servo.pending = script.throw(error)
        else:
            servo.pending = script.send(status)
    except StopIteration:
        servo.script = servo.pending = None
    except TransportLost:
        raise
    except DriverError as error:
        servo.script = servo.pending = None
        servo.script_failed(error, clock.now())
