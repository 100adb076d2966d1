"""Who is called when, and what follows from the times.

A machine that is shared changes its speed, by up to a factor of two within one row. So a round calls ours and every
peer one after another, every other round the other way round, and what counts is the ratio within a round: the
median over the rounds of (peer's time / our time), each for a unit of work. The ratio of two medians would set
our good moments against the peer's bad ones. The quartiles say how far rounds differ.

Rows with short rounds get more of them: until they have been measured for `ENOUGH_S`, or `MOST` times.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

ENOUGH_S = 10.0  # CPU time measured
MOST = 25  # rounds
SLOW_S = 20.0  # a peer whose call takes longer is called once a run, not once a round


class Ratio(NamedTuple):
    """How many times the peer's rate ours is: median over the rounds, and both quartiles."""

    median: float
    lower: float
    upper: float


class Timing(NamedTuple):
    """seconds: of every call but the first, which warms up (unless it is the only one), in the order of rounds; a name
    that failed has none. answers: of the first call, or the exception.
    """

    seconds: dict[str, list[float]]
    answers: dict[str, Any]
    rounds: int


def order(names: Sequence[str], turn: int) -> list[str]:
    """Who is called in which order in round `turn`: forwards and backwards by turns, so that nobody always comes first."""
    return list(names) if turn % 2 == 0 else list(reversed(names))


def another(done: int, spent_s: float, least: int) -> bool:
    """Whether one more round follows `done` rounds that took `spent_s`."""
    return done < least or (done < MOST and spent_s < ENOUGH_S)


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """The ratio of rates from times for a unit of work, one of each in every round. A peer that was called only once is set
    against each of our rounds.
    """
    if len(theirs) == 1:
        theirs = list(theirs) * len(ours)
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    if len(ratios) == 1:
        return Ratio(ratios[0], ratios[0], ratios[0])
    lower, median, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median, lower, upper)


def measure(calls: Mapping[str, Callable[[], Any]], required: str, least: int) -> Timing:
    """CPU time of every call in at least `least` rounds. Only `required` may not fail."""
    seconds: dict[str, list[float]] = {}
    answers: dict[str, Any] = {}
    for name, call in calls.items():  # imports, compilation, caches
        try:
            took, answers[name] = _timed(call)
        except Exception as error:
            if name == required:
                raise
            answers[name] = error
            continue
        seconds[name] = [took] if took > SLOW_S else []
    again = [name for name, times in seconds.items() if not times]
    done, spent = 0, 0.0
    gc.collect()
    gc.freeze()  # collecting takes a tenth of a second where the peers' modules have to be looked through
    while another(done, spent, least):
        for name in order(again, done):
            took = _timed(calls[name])[0]
            seconds[name].append(took)
            spent += took
        done += 1
    gc.unfreeze()
    return Timing(seconds, answers, done)


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    begin = time.process_time()
    answer = call()
    return time.process_time() - begin, answer
