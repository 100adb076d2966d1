"""The benchmark's own statistics: who is called when, how often, and the ratio that follows."""

from __future__ import annotations

import math

import pytest

from ..loading import load_script

# The module alone: the peers of its package are installed in another environment.
rounds = load_script("benchmarks/analysis/rounds.py", "analysis_rounds")


def test_a_drift_that_meets_both_leaves_the_paired_ratio() -> None:
    """The machine becomes four times slower within the row; ours is three times as fast all the time."""
    speed = [1.0, 1.2, 1.9, 2.0, 4.0]
    ratio = rounds.paired([1.0 * s for s in speed], [3.0 * s for s in speed])
    assert ratio == pytest.approx((3.0, 3.0, 3.0))


def test_the_ratio_is_the_median_of_the_rounds_not_the_ratio_of_medians() -> None:
    ours, theirs = [1.0, 2.0, 4.0, 4.0, 1.0], [2.0, 4.0, 8.0, 4.0, 9.0]
    assert (
        rounds.paired(ours, theirs).median == 2.0
    )  # of 2, 2, 2, 1, 9; the medians' would be 4/2 of other rounds
    assert (
        rounds.paired([1.0, 5.0, 6.0], [4.0, 5.0, 1.0]).median == 1.0
    )  # 4, 1, 1/6; the medians' would be 4/5


def test_quartiles_tell_how_far_rounds_differ() -> None:
    ratio = rounds.paired([1.0] * 5, [5.0, 1.0, 3.0, 2.0, 4.0])
    assert ratio == (3.0, 2.0, 4.0)


def test_a_peer_called_once_is_set_against_each_of_our_rounds() -> None:
    assert rounds.paired([1.0, 2.0, 4.0], [8.0]).median == 4.0
    assert rounds.paired([2.0], [8.0]) == (4.0, 4.0, 4.0)


def test_rounds_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        rounds.paired([1.0, 2.0, 3.0], [1.0, 2.0])


def test_every_other_round_runs_backwards() -> None:
    names = ["ours", "a", "b"]
    assert [rounds.order(names, turn) for turn in range(3)] == [names, ["b", "a", "ours"], names]


def test_short_rounds_are_repeated_until_enough_is_measured() -> None:
    def count(round_s: float, least: int = 5) -> int:
        done = 0
        while rounds.another(done, done * round_s, least):
            done += 1
        return done

    assert count(0.01) == rounds.MOST == 25
    assert count(0.999) == 11  # 10 s
    assert count(1.5) == 7
    assert count(60.0) == 5
    assert count(60.0, least=7) == 7
    assert count(0.01, least=40) == 40


def _count_calls(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> tuple[list[str], object]:
    """Calls in their order, on a clock that only calls move."""
    clock, called = [0.0], list[str]()
    monkeypatch.setattr(rounds.time, "process_time", lambda: clock[0])

    def call(name: str) -> str:
        called.append(name)
        clock[0] += seconds[name]
        if math.isnan(seconds[name]):
            clock[0] = 0.0
            raise RuntimeError(name)
        return name.upper()

    calls = {name: (lambda name=name: call(name)) for name in seconds}
    return called, rounds.measure(calls, "ours", 3)


def test_the_first_call_of_each_warms_up_and_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    called, timing = _count_calls(monkeypatch, {"ours": 2.0, "a": 3.0})
    assert called == ["ours", "a", *("ours", "a"), *("a", "ours"), *("ours", "a")]
    assert timing.rounds == 3
    assert timing.seconds == {"ours": [2.0] * 3, "a": [3.0] * 3}
    assert timing.answers == {"ours": "OURS", "a": "A"}


def test_a_slow_peer_is_called_once(monkeypatch: pytest.MonkeyPatch) -> None:
    called, timing = _count_calls(monkeypatch, {"ours": 4.0, "slow": 21.0})
    assert called.count("slow") == 1
    assert timing.seconds == {"ours": [4.0] * 3, "slow": [21.0]}


def test_a_peer_that_fails_is_left_out_and_ours_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    called, timing = _count_calls(monkeypatch, {"ours": 4.0, "broken": math.nan})
    assert called.count("broken") == 1
    assert set(timing.seconds) == {"ours"}
    assert isinstance(timing.answers["broken"], RuntimeError)
    with pytest.raises(RuntimeError, match="ours"):
        _count_calls(monkeypatch, {"ours": math.nan})
