"""The slot between two threads: it keeps the newest, or loses nothing, and wakes who waits."""

from __future__ import annotations

import threading
from collections.abc import Callable

from reenact.live.slot import Closed, Slot


def test_slot_that_replaces_keeps_the_newest() -> None:
    slot: Slot[str] = Slot(replaces=True)
    assert slot.put("old") is None
    assert slot.put("new") == "old"
    assert slot.take() == "new"
    assert slot.take(0.0) is None


def test_slot_that_waits_loses_nothing_and_keeps_the_order() -> None:
    slot: Slot[int] = Slot(replaces=False)
    taken = []

    def take_all() -> None:
        try:
            while (item := slot.take()) is not None:
                taken.append(item)
        except Closed:
            pass

    thread = threading.Thread(target=take_all)
    thread.start()
    for number in range(500):
        assert slot.put(number) is None
    slot.finish()
    thread.join()
    assert taken == list(range(500))


def test_closing_a_slot_wakes_who_waits_and_gives_the_item_back() -> None:
    full: Slot[int] = Slot(replaces=False)
    full.put(1)
    empty: Slot[int] = Slot(replaces=False)
    raised = []

    def wait_in(call: Callable[[], object]) -> None:
        try:
            call()
        except Closed as error:
            raised.append(error)

    threads = [
        threading.Thread(target=wait_in, args=(lambda: full.put(2),)),
        threading.Thread(target=wait_in, args=(empty.take,)),
    ]
    for thread in threads:
        thread.start()
    assert full.close() == 1
    assert empty.close() is None
    for thread in threads:
        thread.join()
    assert len(raised) == 2
