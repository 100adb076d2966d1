"""The bench's clock waits for whom it should, and never goes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import clock
from drivers.clock import SLACK_S, Page

PATIENCE_S = 0.5


class Host:
    """The host's clock, turned by hand."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def monotonic(self) -> float:
        return self.time_s

    def sleep(self, duration_s: float) -> None:
        self.time_s += duration_s


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=host.monotonic, sleep=host.sleep))
    return host


@pytest.fixture
def page(host: Host, tmp_path: Path) -> Iterator[Page]:
    clock.create(tmp_path / "clock", PATIENCE_S)
    page = Page(tmp_path / "clock")
    yield page
    page.close()
    clock.join(None)


def test_without_a_page_it_is_the_hosts_clock(host: Host) -> None:
    clock.join(None)
    assert clock.now() == host.time_s
    clock.sleep_until(host.time_s + 3.0)
    assert clock.now() == host.time_s == pytest.approx(103.0)


def test_nobody_holds_an_empty_page(host: Host, page: Page) -> None:
    host.time_s += 7.0
    assert page.now() == host.time_s


def test_time_waits_for_a_late_owner_and_goes_on_from_there(host: Host, page: Page) -> None:
    seat = page.sit()
    page.hold(seat, 100.002)
    host.time_s = 100.2
    assert page.now() == pytest.approx(100.002 + SLACK_S)
    page.hold(seat, 100.004)
    assert page.now() == pytest.approx(100.002 + SLACK_S)
    host.time_s += 0.0005
    assert page.now() == pytest.approx(100.002 + SLACK_S + 0.0005)


def test_time_waits_for_the_latest_of_several(host: Host, page: Page) -> None:
    first, second = page.sit(), page.sit()
    page.hold(first, 100.01)
    page.hold(second, 100.02)
    host.time_s = 100.1
    page.hold(second, 100.05)
    assert page.now() == pytest.approx(100.01 + SLACK_S)
    page.hold(first, 100.05)
    host.time_s += 0.03
    assert page.now() == pytest.approx(100.01 + SLACK_S + 0.03)


def test_after_a_hang_longer_than_the_patience_time_goes_on_from_where_it_stood(
    host: Host, page: Page
) -> None:
    seat = page.sit()
    page.hold(seat, 100.0)
    stood_s = 100.0 + SLACK_S
    host.time_s = 100.0 + PATIENCE_S
    assert page.now() == pytest.approx(stood_s)
    host.time_s += 0.01
    assert page.now() == pytest.approx(stood_s)
    host.time_s += 0.3
    assert page.now() == pytest.approx(stood_s + 0.3)
    page.hold(seat, 100.4)  # it is back
    host.time_s += 0.3
    assert page.now() == pytest.approx(100.4 + SLACK_S)


def test_others_that_are_on_time_do_not_excuse_a_hang(host: Host, page: Page) -> None:
    hung, busy = page.sit(), page.sit()
    page._words[clock._PROCESSES + hung] = 1.0  # another process, which lives
    page.hold(hung, 100.0)
    for _ in range(100):
        host.time_s += PATIENCE_S / 50
        page.hold(busy, page.now() + 0.01)
    assert page.now() > 100.0 + PATIENCE_S / 2


def test_time_does_not_wait_for_the_dead(host: Host, page: Page, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from drivers.clock import Page
page = Page(Path({str(tmp_path / "clock")!r}))
page._words[1 + page.sit()] = 100.0
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    host.time_s = 100.015
    assert page.now() == pytest.approx(100.0 + SLACK_S)  # late; nobody has looked at it yet
    host.time_s = 100.03
    assert page.now() == pytest.approx(100.0 + SLACK_S)
    host.time_s += 0.5
    assert page.now() == pytest.approx(100.5 + SLACK_S)
    assert page.sit() == 1  # its seat is free again


def test_a_seat_is_left_at_the_end(host: Host, page: Page) -> None:
    with clock.seat():
        clock.waiting(100.001)
        host.time_s = 100.1
        assert clock.now() == pytest.approx(100.001 + SLACK_S)
    assert clock.now() == host.time_s


def test_waiting_without_a_seat_holds_nothing(host: Host, page: Page) -> None:
    clock.waiting(100.0)
    host.time_s = 101.0
    assert clock.now() == 101.0


def test_all_seats_taken(host: Host, page: Page) -> None:
    for _ in range(1, clock.SEATS):
        page.sit()
    with pytest.raises(OSError, match="seats"):
        page.sit()


@pytest.mark.parametrize("left", [0.0, 0.3, 0.0021])
def test_sleep_until_sleeps_no_longer_than_it_must(host: Host, page: Page, left: float) -> None:
    clock.sleep_until(host.time_s + left)
    assert 100.0 + left <= host.time_s <= 100.0 + left + 0.0002


def test_a_deadline_on_the_hosts_clock_is_met_by_watching_the_last_of_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    looks = iter([100.0, *(100.00291 + 1e-5 * n for n in range(20))])
    monkeypatch.setattr(host, "monotonic", lambda: next(looks))
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=host.monotonic, sleep=slept.append))
    clock.meet(100.003)
    assert slept == [pytest.approx(0.003 - clock.WATCH_S)]
    assert next(looks) == pytest.approx(100.003, abs=2e-5)


def test_a_clock_that_may_wait_is_not_watched(
    host: Host, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    until: list[float] = []
    monkeypatch.setattr(clock, "_page", page)
    monkeypatch.setattr(clock, "sleep_until", until.append)
    clock.meet(host.time_s + 1.0)
    assert until == [host.time_s + 1.0]


def test_a_knock_makes_time_wait_for_the_emulator(host: Host, page: Page) -> None:
    emulator = page.sit(emulator=True)
    page.hold(emulator, 100.5)
    host.time_s = 100.1
    with clock.request("unix:x"):
        pass
    host.time_s = 100.2
    assert page.now() == pytest.approx(100.1 + SLACK_S)
    page.hold(emulator, 100.5)
    host.time_s = 100.25
    assert page.now() == pytest.approx(100.15 + SLACK_S)


def test_a_request_holds_the_time_until_the_emulator_has_seen_to_it(host: Host, page: Page) -> None:
    emulator = page.sit(emulator=True)
    page.look(works=False)  # it looks, and nothing is there
    with clock.seat():
        with clock.request("unix:x"):
            pass
        page.hold(emulator, 100.5)  # it moved its hold before it found the request
        assert clock.wait_s(101.0) > 0
        host.time_s = 100.2
        assert page.now() == pytest.approx(100.0 + SLACK_S)
        page.look(works=True)
        page.look(works=False)
        clock.wait_s(101.0)
        host.time_s = 100.3
        assert page.now() > 100.0 + SLACK_S


def test_a_request_while_the_emulator_works_waits_for_the_look_after_the_next(host: Host, page: Page) -> None:
    page.sit(emulator=True)
    page.hold(0, 100.5)
    page.look(works=False)
    assert page.answered_by() == 2  # it sleeps, and wakes up for the request
    page.look(works=True)
    due = page.answered_by()
    page.look(works=False)
    assert not page.answered(due)
    page.look(works=True)
    page.look(works=False)
    assert page.answered(due)


def test_nobody_waits_for_an_emulator_that_is_gone(host: Host, page: Page) -> None:
    assert page.answered(page.answered_by())


def test_a_request_says_when_it_was_sent_and_its_sender_stamps_with_that(host: Host, page: Page) -> None:
    can, pty = clock.request("unix:/a"), clock.request("serial:/dev/pts/3")
    begun_s = clock.now()
    host.time_s = 100.0001
    with can:
        host.time_s = 100.0002  # sending takes its time
    assert clock.sent_s(begun_s) == 100.0001
    host.time_s = 100.0003
    assert clock.sent_s(100.00015) == 100.0003  # nothing was sent since then
    with pty:
        pass
    host.time_s = 100.0005
    assert page.asked_s("unix:/a", page.now()) == 100.0001  # the emulator has the page mapped for itself
    assert clock.asked_s("serial:/dev/pts/3", clock.now()) == 100.0003
    assert clock.asked_s("unix:/b", clock.now()) == 100.0005
    assert clock.asked_s("unix:/a", 100.00005) == 100.00005  # asked for an instant before it was sent
    clock.join(None)
    assert clock.asked_s("unix:/a", 100.0005) == 100.0005
    assert clock.sent_s(begun_s) == 100.0005


def test_of_more_lines_than_the_page_has_room_for_nothing_is_told(host: Host, page: Page) -> None:
    for number in range(clock.LINES + 1):
        with clock.request(f"unix:/{number}"):
            pass
    host.time_s += 0.0002
    assert page.asked_s(f"unix:/{clock.LINES - 1}", page.now()) == 100.0
    assert page.asked_s(f"unix:/{clock.LINES}", page.now()) == host.time_s


def test_time_does_not_wait_for_a_stopped_process(host: Host, page: Page) -> None:
    seat = page.sit()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        page._words[clock._PROCESSES + seat] = float(child.pid)
        page.hold(seat, 100.0)
        host.time_s = 100.1
        assert page.now() == pytest.approx(100.0 + SLACK_S)
        host.time_s = 100.2
        assert page.now() == pytest.approx(100.0 + SLACK_S)  # it lives
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        page.now()  # shows it the door
        host.time_s = 100.3
        assert page.now() == pytest.approx(100.1 + SLACK_S)
    finally:
        child.kill()
        child.wait()


actions = st.lists(
    st.tuples(st.integers(0, 2), st.floats(0, 0.05), st.floats(0, 0.02)), min_size=1, max_size=60
)


@given(actions)
@settings(deadline=None)
def test_it_never_goes_back_and_never_runs_ahead(actions: list[tuple[int, float, float]]) -> None:
    host = Host()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(clock, "time", SimpleNamespace(monotonic=host.monotonic, sleep=host.sleep))
        Page.write(Path(folder) / "clock", PATIENCE_S)
        page = Page(Path(folder) / "clock")
        seats = [page.sit() for _ in range(3)]
        last_s = page.now()
        for who, passed_s, ahead_s in actions:
            host.time_s += passed_s
            now_s = page.now()
            assert last_s - 1e-9 <= now_s <= host.time_s + 1e-9
            page.hold(seats[who], now_s + ahead_s)
            assert page.now() == pytest.approx(now_s, abs=2e-7)
            last_s = now_s
        page.close()
