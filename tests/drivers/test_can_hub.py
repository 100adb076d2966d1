"""The emulated bus: arbitration, order, bit time, faults."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from drivers.bus.can_hub import CanHub, Fault, FaultKind
from drivers.bus.frame import ERROR_BUS_OFF, FdFrame, Frame, fd_wire_bits, wire_bits


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[Frame, float]] = []

    def deliver(self, frame: Frame, now_s: float) -> None:
        self.heard.append((frame, now_s))

    @property
    def ids(self) -> list[int]:
        return [frame.can_id for frame, _ in self.heard]


def bus(paced: bool = False) -> tuple[CanHub, Listener, Listener, Listener]:
    hub = CanHub(1_000_000, paced=paced)
    seats = Listener(), Listener(), Listener()
    for seat in seats:
        hub.join(seat)
    return hub, *seats


def test_everybody_hears_but_the_sender() -> None:
    hub, a, b, c = bus()
    hub.transmit(a, Frame(0x123), 0.0)
    hub.pump(0.0)
    assert (a.ids, b.ids, c.ids) == ([], [0x123], [0x123])


def test_lowest_identifier_wins_and_each_sender_keeps_its_order() -> None:
    hub, a, b, c = bus()
    for can_id in (0x300, 0x080):
        hub.transmit(a, Frame(can_id), 0.0)
    for can_id in (0x181, 0x701):
        hub.transmit(b, Frame(can_id), 0.0)
    hub.pump(0.0)
    assert c.ids == [0x181, 0x300, 0x080, 0x701]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.lists(st.builds(Frame, st.integers(0, 7), st.binary(max_size=8)), max_size=4),
        )
    )
)
def test_without_bit_time_the_bus_carries_the_same_in_the_same_order(
    sent: list[tuple[int, list[Frame]]],
) -> None:
    buses = [bus(), bus(paced=True)]
    for hub, *seats in buses:
        for sender, frames in sent:
            hub.transmit_all(seats[sender], frames, 0.0)
        hub.pump(0.0)
        while (due := hub.next_due()) is not None:
            hub.pump(due)
    (at_once, *heard), (paced, *heard_paced) = buses
    assert [[f for f, _ in seat.heard] for seat in heard] == [
        [f for f, _ in seat.heard] for seat in heard_paced
    ]
    assert at_once.statistics() == paced.statistics()


def test_bits_are_accounted_and_take_their_time_when_paced() -> None:
    hub, a, _, c = bus(paced=True)
    for _ in range(10):
        hub.transmit(a, Frame(0x100, bytes(8)), 0.0)
    now = 0.0
    hub.pump(now)
    while (due := hub.next_due()) is not None:
        now = due
        hub.pump(now)
    assert [round((after - before) * 1e6) for (_, before), (_, after) in pairwise(c.heard)] == [135] * 9
    assert hub.statistics().bits == 1350
    assert hub.statistics().frames == 10


def test_frames_of_can_fd_take_their_own_time() -> None:
    hub, a, b, c = bus(paced=True)
    hub.transmit(a, FdFrame(0x101, bytes(64)), 0.0)
    hub.transmit(a, Frame(0x102, bytes(8)), 0.0)
    hub.pump(0.0)
    while (due := hub.next_due()) is not None:
        hub.pump(due)
    bits = fd_wire_bits(64), fd_wire_bits(64) + wire_bits(8)
    assert [(frame.can_id, round(at * 1e6)) for frame, at in c.heard] == [(0x101, bits[0]), (0x102, bits[1])]
    assert hub.statistics().bits == bits[1]
    assert [frame.fd for frame, _ in b.heard] == [True, False]


def test_an_answer_sent_while_a_frame_is_delivered_is_delivered_too() -> None:
    hub, a, b, c = bus()

    class Parrot(Listener):
        def deliver(self, frame: Frame, now_s: float) -> None:
            super().deliver(frame, now_s)
            if frame.can_id == 1:
                hub.transmit(self, Frame(2), now_s)

    hub.join(Parrot())
    hub.transmit(a, Frame(1), 0.0)
    hub.pump(0.0)
    assert (a.ids, b.ids, c.ids) == ([2], [1, 2], [1, 2])


def test_faults_strike_the_frames_they_name() -> None:
    hub, a, b, _ = bus()
    hub.faults = [
        Fault(FaultKind.DROP, 0x181, 0x7FF, skip=1),
        Fault(FaultKind.DUPLICATE, 0x281, 0x7FF),
        Fault(FaultKind.DELAY, 0x381, 0x7FF, delay_s=0.5),
        Fault(FaultKind.CORRUPT, 0x481, 0x7FF),
        Fault(FaultKind.ERROR, 0x701, 0x7FF),
    ]
    for can_id in (0x181, 0x181, 0x181, 0x281, 0x381, 0x481, 0x701):
        hub.transmit(a, Frame(can_id, bytes(4)), 0.0)
    hub.pump(0.0)
    good = [f.can_id for f, _ in b.heard if not f.error]
    assert good == [0x181, 0x181, 0x281, 0x281, 0x481]
    assert sum(f.error for f, _ in b.heard) == 1
    corrupted = next(f.data for f, _ in b.heard if f.can_id == 0x481)
    assert sum(byte.bit_count() for byte in corrupted) == 1
    assert hub.next_due() == 0.5
    hub.pump(0.5)
    assert b.ids[-1] == 0x381
    assert hub.statistics().faults == 5


def test_silence_and_bus_off() -> None:
    hub, a, b, _ = bus()
    hub.bus_off(1.0)
    assert b.heard[0][0].error
    assert b.heard[0][0].can_id == ERROR_BUS_OFF
    hub.silent = True
    hub.transmit(a, Frame(1), 2.0)
    hub.pump(2.0)
    assert len(b.heard) == 1


def test_a_seat_hears_what_passes_its_filter_and_the_filter_may_change() -> None:
    hub, a, _, _ = bus()
    wanted = {0x181}
    filtered = Listener()
    hub.join(filtered, wanted.__contains__)
    for can_id in (0x181, 0x182):
        hub.transmit(a, Frame(can_id), 0.0)
    hub.transmit(a, Frame(0x182, extended=True), 0.0)
    hub.pump(0.0)
    assert [(f.can_id, f.extended) for f, _ in filtered.heard] == [(0x181, False), (0x182, True)]
    wanted.add(0x182)
    hub.filters_changed()
    hub.transmit(a, Frame(0x182), 0.0)
    hub.pump(0.0)
    assert filtered.ids == [0x181, 0x182, 0x182]


def test_frames_of_a_seat_that_left_are_gone_and_its_place_is_a_new_one() -> None:
    hub, a, b, c = bus()
    hub.transmit(a, Frame(0x100), 0.0)
    hub.leave(a)
    hub.join(a)
    hub.transmit(a, Frame(0x200), 0.0)
    hub.transmit(b, Frame(0x300), 0.0)
    hub.pump(0.0)
    assert c.ids == [0x200, 0x300]


def test_it_tells_once_when_there_is_nothing_left_to_deliver() -> None:
    hub, a, b, _ = bus()
    told: list[int] = []
    hub.on_idle = lambda: told.append(len(b.heard))
    for can_id in range(3):
        hub.transmit(a, Frame(can_id), 0.0)
    hub.pump(0.0)
    assert told == [3]
