"""From a recording to results with verdicts: one function for `run`, `analyze` and `verify`, the same bits
every time.

It reads the recording, and of the run only what was frozen before it (order, parameters) and its journal (was
it done to its end?). What stands against the run is collected first: a run that was aborted, lost samples, or
measured outside its conditions may have numbers, but never a verdict (protocol specification §0.5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from drivers.device import Quality
from verification_platform.analysis.errors import AnalysisError
from verification_platform.bench.dut import Limit, Order
from verification_platform.disk import write_whole
from verification_platform.metrology.budget import BudgetError
from verification_platform.metrology.decision import Limits, Rule, judge, worst
from verification_platform.metrology.result import LimitType, Result, RunStatus, Verdict
from verification_platform.metrology.units import UnitError, parse
from verification_platform.records.errors import RecordingError
from verification_platform.records.mapper import Mapper
from verification_platform.records.one_thread import one_thread
from verification_platform.records.reader import open_recording
from verification_platform.records.recording import Recording
from verification_platform.records.spread import mapped

from .journal import read_journal
from .parameters import ParameterUse, deviations, parameter_uses
from .protocol import Curve, Evaluation, Protocol, ProtocolError, ProtocolParameters, Text
from .results import curve_to_json, load_curves, load_results, result_to_json, to_text
from .resume import Resumption, resumption
from .run_folder import RunFolder

#: Largest share of samples that may be missing, flagged or clipped in a VALID run (§0.5).
LOSS_LIMIT = 1e-3


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What came out of a run: standing, verdict, results with limits applied, and everything a reader must
    know."""

    protocol_id: str
    status: RunStatus
    verdict: Verdict
    results: tuple[Result, ...]
    curves: tuple[Curve, ...] = ()
    findings: tuple[Text, ...] = ()
    deviations: tuple[Text, ...] = ()
    parameters: tuple[ParameterUse, ...] = ()


def evaluate_run(
    path: Path, find: Callable[[str], Protocol], *, write: bool = True, mapper: Mapper | None = None
) -> Evaluated:
    """Evaluate the run in folder `path` and write its results beside the recording.

    `find` gives the protocol of an id (`test_protocols.get`). With ``write=False`` nothing is touched: that
    is how `verify` recomputes. `mapper` as in `evaluate_recording`. Raises ProtocolError, RecordingError or
    JournalError when the folder cannot be read."""
    folder = RunFolder.load(path)
    protocol = find(folder.protocol_id)
    parameters = protocol.Parameters.model_validate(dict(folder.parameters))
    standing = resumption(read_journal(folder.journal))
    evaluated = evaluate_recording(
        protocol, open_recording(folder.samples), parameters, folder.order, standing, mapper
    )
    if write:
        write_whole(folder.results, to_text([result_to_json(r) for r in evaluated.results]))
        write_whole(folder.curves, to_text([curve_to_json(c) for c in evaluated.curves]))
        write_whole(folder.evaluation, to_text(_standing(evaluated)))
    return evaluated


def evaluate_recording(
    protocol: Protocol,
    recording: Recording,
    parameters: ProtocolParameters,
    order: Order,
    standing: Resumption | None = None,
    mapper: Mapper | None = None,
) -> Evaluated:
    """Evaluate any recording, whoever measured it. `standing` is that of the run's journal, when there is
    one. `mapper` spreads the work (this process alone by default); the results are the same bits.

    Never raises for what is wrong with the data: that makes the status INVALID and a finding. Raises
    ProtocolError for a limit in the order that cannot be applied, MapperError when workers fail."""
    if mapper is not None:
        recording = mapped(recording, mapper)
    with one_thread():
        return _evaluated(protocol, recording, parameters, order, standing)


def _evaluated(
    protocol: Protocol,
    recording: Recording,
    parameters: ProtocolParameters,
    order: Order,
    standing: Resumption | None,
) -> Evaluated:
    status, findings = _standing_of(standing)
    lost = tuple(_integrity_findings(protocol, recording))
    if lost and status is RunStatus.VALID:
        status = RunStatus.INVALID
    evaluation = Evaluation((), (), status)
    if standing is None or standing.completed:
        evaluation = _guarded(protocol, recording, parameters, order)
        if status is RunStatus.VALID:
            status = evaluation.status
    results = tuple(_judged(result, order, valid=status is RunStatus.VALID) for result in evaluation.results)
    verdict = worst(result.verdict for result in results)
    return Evaluated(
        protocol.id,
        status,
        verdict,
        results,
        tuple(evaluation.curves),
        (*findings, *lost, *evaluation.findings),
        (*deviations(protocol, parameters), *evaluation.deviations),
        parameter_uses(protocol, parameters),
    )


def _guarded(
    protocol: Protocol, recording: Recording, parameters: ProtocolParameters, order: Order
) -> Evaluation:
    try:
        return protocol.evaluate(recording, parameters, order)
    except (AnalysisError, ProtocolError, RecordingError, BudgetError) as error:
        line = str(error)
        return Evaluation(
            (), (), RunStatus.INVALID, (Text(f"无法评定：{line}", f"cannot be evaluated: {line}"),)
        )


# ---------------------------------------------------------------------- what stands against a run


def _standing_of(standing: Resumption | None) -> tuple[RunStatus, tuple[Text, ...]]:
    if standing is None:
        return RunStatus.VALID, ()
    findings = [
        Text(
            f"试验在第 {gap.step} 步中断（{gap.last_utc}），于 {gap.resumed_utc} 继续",
            f"the run was interrupted in step {gap.step} ({gap.last_utc}) and resumed at {gap.resumed_utc}",
        )
        for gap in standing.interruptions
    ]
    if standing.completed:
        return RunStatus(standing.status), tuple(findings)
    status = RunStatus(standing.status) if standing.status else RunStatus.INVALID
    reason = standing.reason or "the run was interrupted and not resumed"
    findings.append(Text(f"试验未完成：{reason}", f"the run was not completed: {reason}"))
    return status, tuple(findings)


def _integrity_findings(protocol: Protocol, recording: Recording) -> Iterator[Text]:
    integrity = recording.integrity()
    if not integrity.complete:
        yield Text(
            f"数据不连续：缺 {integrity.lost_rows} 行，{integrity.gaps} 处中断",
            f"samples were lost: {integrity.lost_rows} rows, {integrity.gaps} gaps",
        )
    for channel in protocol.requires.channels:
        if channel in recording.channels:
            yield from _channel_findings(recording, channel, recording.channels[channel].range)


def _channel_findings(recording: Recording, channel: str, limit: float | None) -> Iterator[Text]:
    """Flagged and clipped samples of one channel inside the segments."""
    rows = bad = clipped = 0
    for segment in recording.segments():
        try:
            for samples in segment.blocks(channel):
                rows += len(samples.stamps_s)
                bad += int(np.count_nonzero(samples.quality != Quality.GOOD))
                if limit is not None:
                    clipped += int(np.count_nonzero(np.abs(samples.values) >= limit))
        except RecordingError:  # a segment need not have rows of every bus
            continue
    if bad > LOSS_LIMIT * rows:
        share = f"{bad / rows:.2%}"
        yield Text(
            f"通道 {channel}：{share} 的采样无效（允许 {LOSS_LIMIT:.1%}）",
            f"channel {channel}: {share} of the samples are not valid (at most {LOSS_LIMIT:.1%} allowed)",
        )
    if clipped > LOSS_LIMIT * rows:
        yield Text(
            f"通道 {channel}：{clipped} 个采样达到量程 {limit:g}",
            f"channel {channel}: {clipped} samples at the end of the range {limit:g}",
        )


# ---------------------------------------------------------------------- limits and verdicts


def _judged(result: Result, order: Order, *, valid: bool) -> Result:
    """Apply the order's limit to a result that its protocol offers for judgement; only a VALID run gets a
    verdict."""
    limit = order.limits.get(result.quantity)
    if result.limit_type is LimitType.REPORT_ONLY or limit is None:
        return replace(result, limit_type=LimitType.REPORT_ONLY, rule=order.decision.rule)
    limits = _limits(result, limit)
    w = order.decision.w
    rule = Rule(order.decision.rule, None if w is None else _parsed(w, result, "decision.w"))
    judged = judge(result, limits, rule)
    return judged if valid else replace(judged, verdict=Verdict.NONE)


def _limits(result: Result, limit: Limit) -> Limits:
    low = None if limit.min is None else _parsed(limit.min, result, "min")
    high = None if limit.max is None else _parsed(limit.max, result, "max")
    return Limits(low, high)


def _parsed(text: str | float, result: Result, where: str) -> float:
    try:
        return parse(text, result.unit)
    except UnitError as error:
        raise ProtocolError(f"limit of {result.quantity} ({where}): {error}") from None


# ---------------------------------------------------------------------- on disk


def _standing(evaluated: Evaluated) -> dict[str, Any]:
    return {
        "protocol": evaluated.protocol_id,
        "status": evaluated.status.value,
        "verdict": evaluated.verdict.value,
        "findings": [_text(text) for text in evaluated.findings],
        "deviations": [_text(text) for text in evaluated.deviations],
        "parameters": [use.as_data() for use in evaluated.parameters],
    }


def _text(text: Text) -> dict[str, str]:
    return {"zh": text.zh, "en": text.en}


def _texts(tables: list[dict[str, str]]) -> tuple[Text, ...]:
    return tuple(Text(**table) for table in tables)


def load_evaluated(path: Path) -> Evaluated:
    """What `evaluate_run` wrote in run folder `path`. Raises ProtocolError when it is not there."""
    file = path / "evaluation.json"
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        return Evaluated(
            table["protocol"],
            RunStatus(table["status"]),
            Verdict(table["verdict"]),
            tuple(load_results(path / "results.json")),
            tuple(load_curves(path / "curves.json")),
            _texts(table["findings"]),
            _texts(table["deviations"]),
            tuple(ParameterUse.from_data(use) for use in table["parameters"]),
        )
    except OSError as error:
        raise ProtocolError(f"{file}: cannot be read ({error.strerror}); evaluate the run first") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"{file}: damaged ({error})") from None


__all__ = ["Evaluated", "evaluate_recording", "evaluate_run", "load_evaluated", "result_to_json"]
