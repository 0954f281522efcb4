"""The slot between two threads: it keeps the newest item or all, and wakes whoever waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reenact.live.clock import Clock
from reenact.live.slot import Closed, Slot, Turns
from support.fakes import until
from support.simulation import SimulatedTime


class WatchedCondition(threading.Condition):
    """Counts the waits that have begun."""

    waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        return super().wait(timeout)


def attempt(call: Callable[[], object]) -> object:
    try:
        return call()
    except Closed:
        return Closed


@given(st.lists(st.sampled_from(["put", "take", "finish", "close"]), max_size=20))
def test_a_slot_that_replaces_holds_the_newest_item_until_it_is_closed(calls: list[str]) -> None:
    slot: Slot[int] = Slot(replaces=True)
    held: int | None = None
    finished = False
    for number, call in enumerate(calls):
        if call == "put":
            assert attempt(partial(slot.put, number)) == (Closed if finished else held)
            held = held if finished else number
        elif call == "take":
            empty = Closed if finished else None
            assert attempt(lambda: slot.take(0.0)) == (empty if held is None else held)
            held = None
        elif call == "finish":
            slot.finish()
            finished = True
        else:
            assert slot.close() == held
            held, finished = None, True
        assert slot.closed == ("close" in calls[: number + 1])


def test_only_an_unwanted_item_is_withdrawn() -> None:
    slot: Slot[int] = Slot(replaces=True)
    assert not slot.withdraw(lambda item: True)
    slot.put(1)
    assert not slot.withdraw(lambda item: item > 1)
    assert slot.withdraw(lambda item: item == 1)
    assert slot.take(0.0) is None


@pytest.mark.parametrize(
    ("full", "waiting", "waker", "result"),
    [
        (False, lambda slot: slot.take(), lambda slot: slot.put(2), 2),
        (False, lambda slot: slot.take(), lambda slot: slot.finish(), Closed),
        (False, lambda slot: slot.take(), lambda slot: slot.close(), Closed),
        (True, lambda slot: slot.put(2), lambda slot: slot.take(), None),
        (True, lambda slot: slot.put(2), lambda slot: slot.finish(), Closed),
        (True, lambda slot: slot.put(2), lambda slot: slot.close(), Closed),
        (False, lambda slot: slot.pause(600.0), lambda slot: slot.close(), None),
    ],
    ids=["take-put", "take-finish", "take-close", "put-take", "put-finish", "put-close", "pause"],
)
def test_a_waiting_thread_is_woken(
    full: bool,
    waiting: Callable[[Slot[int]], object],
    waker: Callable[[Slot[int]], object],
    result: object,
) -> None:
    condition = WatchedCondition()
    slot: Slot[int] = Slot(replaces=False, clock=Clock(condition=lambda: condition))
    if full:
        slot.put(1)
    results: list[object] = []
    thread = threading.Thread(
        target=lambda: results.append(attempt(lambda: waiting(slot))), daemon=True
    )
    thread.start()
    until(lambda: condition.waits == 1)
    assert results == []
    waker(slot)
    thread.join(20.0)
    assert results == [result]


def test_waits_end_by_the_slots_clock(time: SimulatedTime) -> None:
    slot: Slot[int] = Slot(replaces=False, clock=time.clock)
    begin_s = time.now_s
    assert slot.take(0.5) is None
    assert time.now_s == begin_s + 0.5
    slot.finish()
    slot.pause(2.0)  # a finished slot still paces the item inside
    assert time.now_s == begin_s + 2.5
    slot.close()
    slot.pause(2.0)
    assert time.now_s == begin_s + 2.5


def test_turns_are_taken_in_the_order_in_which_they_were_asked_for() -> None:
    turns, order = Turns("first"), list[int]()
    turns.lock = condition = WatchedCondition()

    def work(number: int) -> None:
        with turns.take():
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    with turns.take():
        for number, thread in enumerate(threads):
            thread.start()
            until(lambda number=number: condition.waits > number)  # type: ignore[misc]
    for thread in threads:
        thread.join(60.0)
    assert order == list(range(8))
