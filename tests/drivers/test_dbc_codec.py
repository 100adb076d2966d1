"""The compiled decoder of a DBC database against cantools, bit by bit; checksum and tables."""

from __future__ import annotations

import math
import random
from pathlib import Path

import cantools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.dbc.codec import compile_field, crc8_j1850, numbers, protected
from drivers.dbc.device import NOT_IDENTIFIABLE, DbcSensor
from drivers.dbc.group import DbcGroup
from drivers.dbc.model import known_models, load_database, load_model

UNITS = {"torque": "N·m", "force": "N", "velocity": "rad/s", "temperature": "K"}


def test_crc_of_the_catalogue() -> None:
    """CRC-8/SAE-J1850 in the catalogue of parametrised CRC algorithms; AUTOSAR E2E gives the same for 00 00 00 00."""
    assert crc8_j1850(b"123456789") == 0x4B
    assert crc8_j1850(bytes(4)) == 0x59
    assert protected(b"\x01\xaa\x02", 1, 0x1234) == crc8_j1850(b"\x34\x12\x01\x02")


@pytest.mark.parametrize("name", known_models())
@settings(deadline=None)  # cantools reads a database meanwhile
@given(data=st.binary(min_size=8, max_size=8))
def test_every_field_is_read_as_cantools_reads_it(name: str, data: bytes) -> None:
    database = load_database(load_model(name).database)
    for message in database.messages:
        frame = data[: message.length]
        little, big = numbers(frame)
        fields = {s.name: compile_field(s, message.length) for s in message.signals}
        selector = next(
            (f for f, s in zip(fields.values(), message.signals, strict=True) if s.is_multiplexer), None
        )
        if selector is not None and selector.raw(little, big) not in (0, 1):
            continue
        for signal, raw in message.decode(frame, decode_choices=False, scaling=False).items():
            assert fields[signal].raw(little, big) == raw


def any_database(seed: int) -> str:
    """A message with one signal of each place, length and byte order that fits."""
    chance = random.Random(seed)
    lines = []
    for number in range(40):
        length = chance.randint(1, 32)
        order, start = chance.randint(0, 1), chance.randint(0, 63)
        if order == 0:
            left = 8 * (start // 8) + 7 - start % 8
            if left + length > 64:
                continue
        elif start + length > 64:
            continue
        lines.append(f' SG_ S{number} : {start}|{length}@{order}{chance.choice("+-")} (1,0) [0|0] "" H')
    return 'VERSION ""\nNS_ :\nBS_:\nBU_: H\nBO_ 1 M: 8 H\n' + "\n".join(lines) + "\n"


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.binary(min_size=8, max_size=8))
def test_any_place_length_and_byte_order(seed: int, data: bytes) -> None:
    database = cantools.database.load_string(any_database(seed), database_format="dbc", strict=False)
    message = database.get_message_by_name("M")
    little, big = numbers(data)
    for signal in message.signals:
        alone = cantools.database.can.Message(1, "M", 8, [signal])
        expected = alone.decode(data, scaling=False)[signal.name]
        assert compile_field(signal, 8).raw(little, big) == expected


@pytest.mark.parametrize("name", known_models())
def test_table(name: str) -> None:
    model = load_model(name)
    for signal in model.offered():
        assert signal.unit == UNITS[signal.name.rstrip("_0123456789")]
        assert signal.resolution > 0
    for message in model.messages:
        assert message.max_age_s > message.period_s > 0
        assert message.size <= 8
    assert (Path(model.database)).suffix == ".dbc"


def test_a_serial_number_that_nobody_can_check_is_refused() -> None:
    with pytest.raises(ValueError, match="sends no serial number"):
        DbcSensor("FT1", 1, load_model("dbc_force_torque_6axis"), "77")
    assert NOT_IDENTIFIABLE == "not identifiable"


def test_colliding_identifiers_and_a_busy_bus_are_refused() -> None:
    model = load_model("dbc_torque_flange_500nm")
    one, other = DbcSensor("A", 1, model), DbcSensor("B", 1, model)
    with pytest.raises(ValueError, match="both send identifier 310h"):
        DbcGroup("can1", [one, other], [], uri="unix:/x", bitrate=1_000_000, period_s=0.01)
    many = [DbcSensor(f"S{n}", n, model) for n in range(1, 6)]
    with pytest.raises(ValueError, match="load the bus"):
        DbcGroup("can1", many, [], uri="unix:/x", bitrate=500_000, period_s=0.01)
    with pytest.raises(ValueError, match="has no identifiers"):
        DbcGroup("can1", [DbcSensor("S", 400, model)], [], uri="unix:/x", bitrate=500_000, period_s=0.01)


def test_unknown_model() -> None:
    with pytest.raises(KeyError):
        load_model("no_such_model")
    assert math.isclose(load_model("dbc_torque_flange_500nm").offered()[0].resolution, 1e-4)
