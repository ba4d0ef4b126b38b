"""Kept answers are counted and thrown away: the right ones, for good, whoever reads or writes at that moment."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from tokenrouter.clock import ManualClock
from tokenrouter.model.kept import KeptAnswer, KeptTotals
from tokenrouter.model.usage import Usage
from tokenrouter.storage.embedded_answers import EmbeddedAnswers

ROOM = 1 << 20
CASES = [("acme", "k1", "gpt-4.1"), ("acme", "k1", "gpt-5"), ("acme", "k2", "gpt-4.1"), ("other", "k3", "gpt-4.1"), ("other", "k3", "%")]


def answer(clock: ManualClock, key: str, model: str, *, size: int = 1000) -> KeptAnswer:
    now = clock.time_ns()
    return KeptAnswer(
        dialect="openai-chat",
        form="whole",
        body=b"x" * size,
        end=b"",
        usage=Usage(),
        cost=7,
        vendor="openai",
        model=model,
        sandbox=False,
        request_id="r",
        kept_ns=now,
        expires_ns=now + 3600 * 10**9,
        key_id=key,
    )


def filled(folder: Path, clock: ManualClock, room: int = ROOM) -> EmbeddedAnswers:
    store = EmbeddedAnswers(folder, clock, room)
    for number, (tenant, key, model) in enumerate(CASES):
        store.put(tenant, bytes([number]), answer(clock, key, model))
    return store


async def left(store: EmbeddedAnswers) -> set[int]:
    found = set()
    for number, (tenant, _, _) in enumerate(CASES):
        if store.get(tenant, bytes([number])) or await store.fetch(tenant, bytes([number])):
            found.add(number)
    return found


WHICH = [
    ({"tenant": "acme"}, {3, 4}),
    ({"tenant": "nobody"}, {0, 1, 2, 3, 4}),
    ({"tenant": ""}, {0, 1, 2, 3, 4}),
    ({"tenant": "acme", "key_id": "k1"}, {2, 3, 4}),
    ({"tenant": "acme", "vendor": "openai", "model": "gpt-4.1"}, {1, 3, 4}),
    ({"tenant": "acme", "vendor": "xai", "model": "gpt-4.1"}, {0, 1, 2, 3, 4}),
    ({"tenant": "other", "vendor": "openai"}, {0, 1, 2}),
    ({"tenant": "acme", "key_id": "k3"}, {0, 1, 2, 3, 4}),
    ({"tenant": "acme", "key_id": "k2", "model": "gpt-4.1"}, {0, 1, 3, 4}),
    ({"tenant": "%"}, {0, 1, 2, 3, 4}),
    ({"tenant": "other", "model": "%"}, {0, 1, 2, 3}),
    ({"tenant": "' OR 1=1 --"}, {0, 1, 2, 3, 4}),
]


@pytest.mark.parametrize(("which", "stay"), WHICH, ids=[repr(which) for which, _ in WHICH])
@pytest.mark.parametrize("where", ["memory", "disk", "both"])
async def test_what_matches_is_gone_for_good_and_nothing_else(tmp_path: Path, clock: ManualClock, which: dict[str, str], stay: set[int], where: str):
    store = filled(tmp_path, clock)
    if where != "memory":
        await asyncio.to_thread(store.close)
        store = EmbeddedAnswers(tmp_path, clock, ROOM)
    if where == "both":
        assert await left(store) == {0, 1, 2, 3, 4}, "read from the disk into memory"
    assert await store.purge(**which) == 5 - len(stay)
    assert await left(store) == stay
    assert (await store.totals()).answers == len(stay)
    await asyncio.to_thread(store.close)
    again = EmbeddedAnswers(tmp_path, clock, ROOM)
    assert await left(again) == stay
    await asyncio.to_thread(again.close)


async def test_an_answer_that_is_being_read_does_not_come_back(tmp_path: Path, clock: ManualClock):
    await asyncio.to_thread(filled(tmp_path, clock).close)
    store = EmbeddedAnswers(tmp_path, clock, ROOM)
    store._reading.acquire()  # a disk that takes its time
    reading = asyncio.create_task(store.fetch("acme", b"\x00"))
    await asyncio.sleep(0)
    purging = asyncio.create_task(store.purge("acme"))
    await asyncio.sleep(0)
    store._reading.release()
    assert await purging == 3
    assert await reading is None
    assert store.get("acme", b"\x00") is None
    await asyncio.to_thread(store.close)


async def test_an_answer_that_is_on_its_way_to_the_disk_does_not_arrive(tmp_path: Path, clock: ManualClock):
    store = EmbeddedAnswers(tmp_path, clock, 16_000)
    for number in range(40):
        store.put("acme", bytes([number]), answer(clock, "k1", "gpt-4.1"))
    assert await store.purge("acme") == 40
    assert await store.totals() == KeptTotals()
    await asyncio.to_thread(store.close)
    again = EmbeddedAnswers(tmp_path, clock, 16_000)
    assert await again.totals() == KeptTotals()
    await asyncio.to_thread(again.close)


async def test_totals_are_of_one_tenant_or_of_all_without_what_is_too_old(tmp_path: Path, clock: ManualClock):
    store = filled(tmp_path, clock)
    size = answer(clock, "k", "m").size
    assert await store.totals("acme") == KeptTotals(3, 3 * size)
    assert await store.totals() == KeptTotals(5, 5 * size)
    store.put("acme", b"new", replace(answer(clock, "k", "m"), expires_ns=clock.time_ns() + 7200 * 10**9))
    clock.advance(3600)
    assert await store.totals() == KeptTotals(1, size)
    await asyncio.to_thread(store.close)
