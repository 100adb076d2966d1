"""Evaluation: what stands against a run, limits and verdicts, and the same bits every time."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from verification_platform.analysis.errors import AnalysisError
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Decision, Limit, Order
from verification_platform.engine.channels import channel_records, groups
from verification_platform.engine.evaluation import (
    Evaluated,
    evaluate_recording,
    evaluate_run,
    load_evaluated,
)
from verification_platform.engine.local import run_local
from verification_platform.engine.protocol import Curve, Evaluation, ProtocolError, Text
from verification_platform.engine.results import (
    curve_from_json,
    curve_to_json,
    load_results,
    result_from_json,
    result_to_json,
)
from verification_platform.engine.resume import Resumption
from verification_platform.engine.run_folder import RunFolder
from verification_platform.metrology.budget import make_result
from verification_platform.metrology.records import FixtureRecord
from verification_platform.metrology.result import Contribution, LimitType, Result, RunStatus, Verdict
from verification_platform.records.recording import Integrity, Samples

BUDGET = [Contribution("certificate", "B", 0.5), Contribution("repeatability", "A", 0.1, nu=4)]


class Memory:
    """A recording in memory with one segment of one channel."""

    channels: ClassVar[dict[str, Any]] = {}
    attributes: ClassVar[dict[str, Any]] = {}
    fixture = FixtureRecord()

    def __init__(self, integrity: Integrity | None = None, bad: int = 0, clipped: int = 0) -> None:
        self._integrity = integrity or Integrity(1000, 0, 0, {})
        self._quality = np.where(np.arange(1000) < bad, 1, 0).astype(np.uint8)[:, None]
        self._values = np.where(np.arange(1000) < clipped, 5.0, 1.0)[:, None]
        self.index, self.tag = 0, {}

    def segments(self, **tag: Any) -> Iterator[Any]:
        return iter([self])

    def blocks(self, *channels: str) -> Iterator[Samples]:
        yield Samples(np.arange(1000) * 0.01, self._values, self._quality)

    def integrity(self) -> Integrity:
        return self._integrity


@pytest.fixture
def memory(bench_description: BenchDescription) -> type[Memory]:
    records = channel_records(bench_description)
    Memory.channels = {name: records[name] for name in ("input_angle", "output_torque")}
    Memory.channels["output_torque"] = dataclasses.replace(records["output_torque"], range=5.0)
    return Memory


def judge(
    rig: Any, recording: Any, evaluation: Evaluation, order: Order | None = None, standing: Any = None
) -> Evaluated:
    rig.protocol.evaluate = lambda recording, p, order: evaluation
    return evaluate_recording(rig.protocol, recording, rig.parameters, order or rig.order, standing)


def offered(value: float, limit: LimitType = LimitType.MAX, quantity: str = "TE_pp") -> Result:
    return dataclasses.replace(make_result(quantity, value, "rad", BUDGET, n=3), limit_type=limit)


def with_limit(order: Order, **limits: Limit) -> Order:
    return order.model_copy(update={"limits": limits})


def test_a_result_offered_for_judgement_gets_limit_and_verdict(rig: Any, memory: Any) -> None:
    order = with_limit(rig.order, TE_pp=Limit(max="10 rad"))
    found = judge(rig, memory(), Evaluation([offered(1.0)]), order)
    assert (found.status, found.verdict) == (RunStatus.VALID, Verdict.PASS)
    assert (found.results[0].TL_high, found.results[0].rule) == (10.0, "GUARD_U")
    found = judge(rig, memory(), Evaluation([offered(1.0), offered(12.0)]), order)
    assert [r.verdict for r in found.results] == [Verdict.PASS, Verdict.FAIL]
    assert found.verdict is Verdict.FAIL


def test_a_result_that_is_not_offered_or_has_no_limit_is_reported_only(rig: Any, memory: Any) -> None:
    order = with_limit(rig.order, TE_pp=Limit(max="10 rad"))
    found = judge(
        rig, memory(), Evaluation([offered(99.0, LimitType.REPORT_ONLY), offered(99.0, quantity="Q")]), order
    )
    assert [r.limit_type for r in found.results] == [LimitType.REPORT_ONLY] * 2
    assert found.verdict is Verdict.NONE


def test_the_rule_of_the_order_is_applied(rig: Any, memory: Any) -> None:
    order = with_limit(rig.order, TE_pp=Limit(max="2 rad"))
    assert judge(rig, memory(), Evaluation([offered(1.5)]), order).verdict is Verdict.CONDITIONAL_PASS
    simple = order.model_copy(update={"decision": Decision(rule="SIMPLE")})
    assert judge(rig, memory(), Evaluation([offered(1.5)]), simple).verdict is Verdict.PASS
    own = order.model_copy(update={"decision": Decision(rule="CUSTOMER", w="0.1 rad")})
    assert judge(rig, memory(), Evaluation([offered(1.5)]), own).verdict is Verdict.PASS


def test_a_limit_in_another_unit_is_one_clear_line(rig: Any, memory: Any) -> None:
    order = with_limit(rig.order, TE_pp=Limit(max="10 N·m"))
    with pytest.raises(ProtocolError, match=r"limit of TE_pp \(max\)"):
        judge(rig, memory(), Evaluation([offered(1.0)]), order)


@pytest.mark.parametrize(
    ("integrity", "finding"),
    [
        (Integrity(1000, 3, 1, {}), "3 rows, 1 gaps"),
        (Integrity(1000, 0, 1, {}), "0 rows, 1 gaps"),
    ],
)
def test_lost_samples_make_the_run_invalid_and_take_the_verdict(
    rig: Any, memory: Any, integrity: Integrity, finding: str
) -> None:
    order = with_limit(rig.order, TE_pp=Limit(max="10 rad"))
    found = judge(rig, memory(integrity), Evaluation([offered(1.0)]), order)
    assert found.status is RunStatus.INVALID
    assert found.verdict is Verdict.NONE
    assert found.results[0].TL_high == 10.0
    assert finding in found.findings[0].en


@pytest.mark.parametrize(("bad", "status"), [(1, RunStatus.VALID), (2, RunStatus.INVALID)])
def test_more_than_one_in_a_thousand_bad_samples_make_the_run_invalid(
    rig: Any, memory: Any, bad: int, status: RunStatus
) -> None:
    assert judge(rig, memory(bad=bad), Evaluation([])).status is status
    assert judge(rig, memory(clipped=bad), Evaluation([])).status is status


def test_an_analysis_that_refuses_makes_the_run_invalid(rig: Any, memory: Any) -> None:
    def refuse(*_: Any) -> Evaluation:
        raise AnalysisError("undersampled for order 200")

    rig.protocol.evaluate = refuse
    found = evaluate_recording(rig.protocol, memory(), rig.parameters, rig.order)
    assert found.status is RunStatus.INVALID
    assert found.results == ()
    assert found.findings[0].en == "cannot be evaluated: undersampled for order 200"


def test_an_error_of_the_software_is_not_dressed_up_as_a_finding(rig: Any, memory: Any) -> None:
    def fail(*_: Any) -> Evaluation:
        raise KeyError("x")

    rig.protocol.evaluate = fail
    with pytest.raises(KeyError):
        evaluate_recording(rig.protocol, memory(), rig.parameters, rig.order)


def test_an_aborted_run_has_no_results(rig: Any, memory: Any) -> None:
    standing = Resumption(begun=True, status="ABORTED_SAFETY", reason="interlock: torque")
    found = judge(rig, memory(), Evaluation([offered(1.0)]), standing=standing)
    assert (found.status, found.results) == (RunStatus.ABORTED_SAFETY, ())
    assert "interlock: torque" in found.findings[0].en


def test_a_killed_run_is_invalid_and_says_so(rig: Any, memory: Any) -> None:
    found = judge(rig, memory(), Evaluation([]), standing=Resumption(begun=True))
    assert found.status is RunStatus.INVALID
    assert "interrupted and not resumed" in found.findings[0].en


def test_a_changed_parameter_is_a_declared_deviation(rig: Any, memory: Any) -> None:
    rig.parameters = rig.parameters.model_copy(update={"speed": 12.0})
    found = judge(rig, memory(), Evaluation([], deviations=[Text("甲", "own")]))
    assert [text.en for text in found.deviations] == [
        "parameter speed: 12 rad/s instead of default 10 rad/s",
        "own",
    ]
    assert [use.mark for use in found.parameters] == ["P", "P", "P"]


# --------------------------------------------------------------------------------------------- on disk


def test_results_survive_the_disk_bit_for_bit() -> None:
    value = dataclasses.replace(
        offered(0.1 + 0.2), conditions={"direction": -1, "load": 1 / 3, "how": "x", "ok": True}
    )
    text = json.dumps(result_to_json(value), allow_nan=False)
    back = result_from_json(json.loads(text))
    assert back == value
    assert back.budget[0].nu == math.inf


def test_curves_survive_the_disk_bit_for_bit() -> None:
    x = np.linspace(0, 1, 7) / 3
    curve = Curve(
        "c",
        Text("甲", "a"),
        Text("x", "x"),
        Text("y", "y"),
        x,
        {"e": x**2},
        "rad",
        "rad",
        "°",
        "arcsec",
        "stem",
    )
    back = curve_from_json(json.loads(json.dumps(curve_to_json(curve))))
    assert back.ys["e"].tobytes() == curve.ys["e"].tobytes()
    assert (back.kind, back.title, back.y_display) == ("stem", curve.title, "arcsec")


@pytest.fixture
def run_folder(rig: Any) -> RunFolder:
    from test_protocols import get

    protocol = get("RED-NL")
    parameters = protocol.Parameters(
        speeds=["2000 r/min", "3000 r/min"],
        acceleration="400 rad/s²",
        dwell=0.5,
        dwell_limit=0.5,
        uncouple_output=False,
    )
    return RunFolder.create(
        rig.folder / "run",
        protocol,
        parameters,
        rig.order,
        rig.bench_description,
        seed=5,
        clock="virtual",
        transport="local",
    )


def test_a_local_run_from_end_to_end_and_the_same_bits_again(run_folder: RunFolder) -> None:
    from test_protocols import get

    outcome = run_local(run_folder, get("RED-NL"))
    assert outcome.status is RunStatus.VALID
    first = evaluate_run(run_folder.path, get)
    assert first.status is RunStatus.VALID
    texts = [path.read_bytes() for path in (run_folder.results, run_folder.curves, run_folder.evaluation)]
    again = evaluate_run(run_folder.path, get)
    assert [
        path.read_bytes() for path in (run_folder.results, run_folder.curves, run_folder.evaluation)
    ] == texts
    assert again.results == first.results
    assert tuple(load_results(run_folder.results)) == first.results
    stored = load_evaluated(run_folder.path)
    assert (stored.results, stored.findings, stored.deviations) == (
        first.results,
        first.findings,
        first.deviations,
    )


def test_without_writing_nothing_is_touched(run_folder: RunFolder) -> None:
    from test_protocols import get

    run_local(run_folder, get("RED-NL"))
    evaluate_run(run_folder.path, get, write=False)
    assert not run_folder.results.exists()


def test_a_run_folder_comes_back_as_it_was_frozen(run_folder: RunFolder) -> None:
    back = RunFolder.load(run_folder.path)
    assert back == run_folder
    assert back.software["name"] == "pilotbench"
    assert set(back.channels) == set(back.bench.channel)
    assert back.bench.fixture.record() == back.fixture
    assert set(groups(back.bench)) == {"can0", "rs485"}


def test_a_run_folder_is_not_overwritten(run_folder: RunFolder, rig: Any) -> None:
    from test_protocols import get

    protocol = get("RED-NL")
    with pytest.raises(ProtocolError, match="already holds a run"):
        RunFolder.create(run_folder.path, protocol, protocol.Parameters(), rig.order, rig.bench_description)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "not valid JSON"),
        ("{}", "not a run"),
        ('{"schema": "pilotbench.run/1"}', "damaged"),
    ],
)
def test_a_damaged_run_folder_is_one_clear_line(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(ProtocolError, match=message):
        RunFolder.load(tmp_path)


def test_an_interrupted_local_run_is_resumed_and_states_the_gap(
    run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from test_protocols import get

    abort = threading.Event()
    seen: list[float] = []

    def stop_half_way(progress: Any) -> None:
        seen.append(progress.fraction)
        if progress.fraction > 0.4:
            abort.set()

    monkeypatch.setattr("verification_platform.engine.progress._PROGRESS_EVERY_S", 0.0)
    assert not run_local(run_folder, get("RED-NL"), on_progress=stop_half_way, abort=abort).finished
    assert evaluate_run(run_folder.path, get).status is RunStatus.INVALID
    outcome = run_local(run_folder, get("RED-NL"))
    assert outcome.finished
    assert outcome.resumed_at
    found = evaluate_run(run_folder.path, get)
    assert found.status is RunStatus.VALID
    assert "was interrupted in step" in found.findings[0].en
    assert {r.quantity for r in found.results} >= {"T_NL", "T_C"}
