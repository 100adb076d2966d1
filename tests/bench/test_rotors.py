"""The plant of benches on which nothing is coupled."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.device import Command, Mode
from verification_platform.bench.description import BenchDescription, BenchError, load_bench
from verification_platform.bench.dut import load_dut
from verification_platform.bench.plant import RotorsPlant, plant_behind_wires

ROOT = Path(__file__).resolve().parents[2]


def bench(**plant: object) -> BenchDescription:
    described = load_bench(ROOT / "benches/emulated.toml")
    return described.model_copy(update={"plant": {"model": "rotors", **plant}})


def test_a_rotor_follows_its_set_point_and_coasts_without_torque() -> None:
    plant = RotorsPlant(bench(), seed=1)
    plant.command("AX1", Command(Mode.VELOCITY, 50.0))
    plant.advance(1.0)
    assert plant.read("AX1", "velocity") == pytest.approx(50.0, rel=1e-3)
    assert plant.read("AX2", "velocity") == 0.0
    plant.command("AX1", None)
    plant.advance(6.0)
    assert abs(plant.read("AX1", "velocity")) < 5.0


def test_time_only_moves_forward_and_the_same_seed_gives_the_same_numbers() -> None:
    readings = []
    for _ in range(2):
        plant = RotorsPlant(bench(reading={"input_torque": "2 N·m"}), seed=3)
        plant.advance(0.5)
        plant.advance(0.2)
        readings.append([plant.read("TQ1", "torque") for _ in range(5)])
    assert readings[0] == readings[1]
    assert readings[0] == pytest.approx([2.0] * 5, rel=1e-3)


def test_the_bench_description_chooses_the_plant() -> None:
    order = load_dut(ROOT / "duts/harmonic-25-100.toml")
    assert isinstance(plant_behind_wires(bench(), order, 1), RotorsPlant)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"reading": {"nothing": "1 N·m"}}, "which is no channel"),
        ({"reading": {"input_torque": "1 K"}}, "input_torque"),
        ({"stiffness": 3}, "stiffness"),
    ],
)
def test_a_bad_plant_table_is_one_clear_line(table: dict[str, object], words: str) -> None:
    with pytest.raises(BenchError, match=words) as error:
        RotorsPlant(bench(**table), seed=1)
    assert "\n" not in str(error.value)
