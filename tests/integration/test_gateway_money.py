"""Money: held before anything is sent, booked once as it was, never more than the quota, and not lost in a crash."""

import asyncio
import json
import os
import random
import sqlite3
import sys
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import crash_child
import pytest
from rig import Rig, question, running, until

from tokenrouter.errors import GatewayError
from tokenrouter.sandbox.faults import Fault
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.storage import journal
from tokenrouter.upstream.transport import NeverSent

HERE = Path(__file__).parent
NO_STORE = {"cache-control": "no-store"}
LONG = "Answer in 300 words, please."


class Watched:
    """The real books, looked at after every step."""

    def __init__(self, rig: Rig, quotas: dict[str, int]) -> None:
        self.rig, self.real, self.quotas = rig, rig.services.books, quotas
        self.holds: list[tuple[int, int]] = []
        self.most_in_flight = 0
        rig.set(books=self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def check(self) -> None:
        for key_id, quota in self.quotas.items():
            state = self.rig.state(key_id, f"c:{key_id}.quota")
            assert min(state.held, state.spent, state.presumed) >= 0
            assert state.total <= quota, "more than the quota is out"

    async def admit(self, bound, ask):
        try:
            admitted = await self.real.admit(bound, ask)
        finally:
            self.check()
        self.most_in_flight += admitted.hold is not None
        return admitted

    def settle(self, hold, record):
        self.holds.append((hold.usd, record.cost))
        self.real.settle(hold, record)
        self.check()


def racer(number: int, **more):
    """A question of its own, so that nothing is shared."""
    return question(f"{number:06}", temperature=None, max_tokens=1000, **more)


async def worst_of_one(rig: Rig) -> int:
    """What a racer is held for."""
    watched = Watched(rig, {})
    await rig.chat(racer(0))
    rig.set(books=watched.real)
    return watched.holds[0][0]


async def test_a_thousand_racers_on_room_for_fifty_are_fifty(rig: Rig):
    worst = await worst_of_one(rig)
    rig.sandbox.reset()
    key = rig.new_key(quota=50 * worst)
    watched = Watched(rig, {rig.key_id(key): 50 * worst})
    rig.sandbox.hold()
    tasks = [asyncio.create_task(rig.chat(racer(number), key=key)) for number in range(1000)]
    await rig.sandbox.waiting(50)
    await until(lambda: sum(task.done() for task in tasks) == 950)
    assert rig.held(key) == 50 * worst
    rig.sandbox.release()
    answers = await asyncio.gather(*tasks)
    assert sorted(answer.status for answer in answers) == [200] * 50 + [429] * 950
    assert {answer.error["code"] for answer in answers if answer.status == 429} == {"insufficient_quota"}
    assert rig.sandbox.requests.seen == watched.most_in_flight == 50
    assert (rig.spent(key), rig.held(key)) == (rig.sandbox.bill.nano_usd, 0)


@pytest.mark.parametrize("seed", range(8))
async def test_no_interleaving_of_sizes_failures_and_hang_ups_overspends(rig: Rig, seed: int):
    rng = random.Random(seed)
    quota = rng.randrange(20_000_000, 200_000_000)
    key = rig.new_key(quota=quota)
    watched = Watched(rig, {rig.key_id(key): quota})
    faults = ("status", "truncate", "no_usage", "error_event", "html", "stall_start")
    rig.timeouts(first_byte=0.02, idle=0.02)

    async def one(number: int) -> None:
        for _ in range(rng.randrange(20)):
            await asyncio.sleep(0)
        if rng.random() < 0.2:
            rig.sandbox.fault(Fault(kind=rng.choice(faults), after=rng.randrange(1, 6)))
        body = racer(
            number,
            stream=rng.random() < 0.5,
            model=rng.choice(["gpt-4.1", "gpt-4.1-mini", "claude-sonnet-4-5"]),
        )
        body["max_tokens"] = rng.randrange(10, 3000)
        await rig.chat(body, key=key, hang_up_after=rng.randrange(1, 5) if rng.random() < 0.2 else None)

    await asyncio.gather(*(one(number) for number in range(120)))
    await rig.landed()
    rows = rig.rows()
    assert rig.held(key) == 0
    assert rig.spent(key) == sum(row["cost"] for row in rows) <= quota
    assert all(cost <= amount for amount, cost in watched.holds)
    billed = sum(line.nano_usd for line in rig.sandbox.bill.lines)
    assert rig.spent(key) >= billed > 0


SYSTEM = "You are careful. " + "Every rule counts, and this one says something of its own. " * 200


async def test_rows_of_the_ledger_equal_the_vendors_bill_to_the_token(rig: Rig, clock):
    """A few hundred mixed calls, one after the other: the n-th row is the n-th line of the bill."""
    rng = random.Random(7)
    keys = [rig.new_key(f"tenant-{number}", quota=10**12) for number in range(3)]
    watched = Watched(rig, {})
    models = ["gpt-4.1", "gpt-4.1-mini", "gpt-5.4", "gpt-6-sol", "claude-sonnet-4-5", "claude-opus-4-8", "claude-opus-5-5", "echo"]
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}}
    sent = []
    for number in range(300):
        model, key = rng.choice(models), rng.choice(keys)
        words = rng.randrange(5, 200)
        messages = [
            {"role": "system", "content": SYSTEM * rng.randrange(1, 4)},
            {"role": "user", "content": f"{number % 40}: say it in {words} words"},
        ]
        if rng.random() < 0.3:
            messages += [{"role": "assistant", "content": "so"}, {"role": "user", "content": "call look"}]
        body = question(
            model=model,
            messages=messages,
            temperature=None,
            stream=rng.random() < 0.4,
            max_tokens=None if model.startswith("gpt-6") or rng.random() < 0.5 else 400,
            tools=[tool] if rng.random() < 0.5 else None,
            n=2 if model in ("gpt-4.1", "gpt-4.1-mini") and rng.random() < 0.2 else None,
        )
        if model in ("gpt-5.4", "gpt-6-sol"):
            body.pop("max_tokens", None)
        answer = await rig.chat(body, key=key)
        assert answer.status == 200, answer.body
        sent.append((rig.key_id(key), f"{model}"))
        clock.advance(rng.random() * 20)
    lines, rows = rig.sandbox.bill.lines, rig.billed_rows()
    assert len(lines) == len(rows) == 300
    for (key_id, model), line, row in zip(sent, lines, rows, strict=True):
        assert (row["key_id"], row["model"], row["settled"], row["sandbox"]) == (key_id, model, "exact", 1)
        ours = (row["fresh_input"], row["cache_read"], row["cache_write"], row["cache_write_1h"], row["output"])
        tokens = line.tokens
        assert ours == (tokens.input, tokens.cache_read, tokens.cache_write_5m + tokens.cache_write_30m, tokens.cache_write_1h, tokens.output)
        assert row["cost"] == (0 if model == "echo" else line.nano_usd)
    assert sum(row["cache_read"] for row in rows) > 100_000
    assert sum(row["cache_write"] for row in rows) > 10_000
    assert all(cost <= amount for amount, cost in watched.holds)
    for key in keys:
        assert rig.spent(key) == sum(row["cost"] for row in rows if row["key_id"] == rig.key_id(key))


BROKEN = [
    # fault, stream, settled, the vendor charged something
    (Fault(kind="status", status=400), False, "void"),
    (Fault(kind="status", status=429, retry_after="7"), True, "void"),
    (Fault(kind="status", status=500), True, "void"),
    (Fault(kind="status", status=529), False, "void"),
    (Fault(kind="status", status=401), False, "void"),
    (Fault(kind="truncate", after=9), True, "estimated"),
    (Fault(kind="truncate"), False, "presumed"),
    (Fault(kind="truncate_bytes", after=2500), True, "estimated"),
    (Fault(kind="truncate_bytes", after=10), False, "presumed"),
    (Fault(kind="error_event", after=9), True, "estimated"),
    (Fault(kind="error_body"), False, "presumed"),
    (Fault(kind="html"), False, "presumed"),
    (Fault(kind="empty"), False, "presumed"),
    (Fault(kind="empty"), True, "presumed"),
    (Fault(kind="stall_start"), False, "presumed"),
    (Fault(kind="stall_start"), True, "presumed"),
    (Fault(kind="stall", after=9), True, "estimated"),
    (Fault(kind="stall"), False, "presumed"),
    (Fault(kind="no_usage"), False, "estimated"),
    (Fault(kind="no_usage"), True, "estimated"),
]


@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
@pytest.mark.parametrize(
    ("fault", "stream", "settled"), BROKEN, ids=lambda value: value.kind + str(value.status) if isinstance(value, Fault) else str(value)
)
async def test_what_broke_is_booked_by_what_is_known_and_never_below_the_bill(rig: Rig, model: str, fault: Fault, stream: bool, settled: str):
    rig.timeouts(first_byte=0.05, idle=0.05)
    watched = Watched(rig, {})
    rig.sandbox.fault(fault)
    await rig.chat(question(LONG, model=model, stream=stream))
    await rig.landed()
    (row,) = rig.billed_rows()
    ((amount, cost),) = watched.holds
    # The message of an answer that Anthropic began says what the input was: what is known is better than the whole hold.
    assert row["settled"] == settled
    assert row["cost"] == cost
    assert {"void": cost == 0, "presumed": cost == amount}.get(settled, 0 < cost <= amount)
    assert cost >= rig.sandbox.bill.nano_usd
    assert (rig.spent(), rig.held()) == (cost, 0)


async def test_nobody_at_the_providers_door_costs_nothing(start):
    async with start(OPENAI_API_KEY="sk-test-nobody", OPENAI_BASE_URL="http://127.0.0.1:9/v1") as rig:
        for stream in (False, True):
            answer = await rig.chat(question(stream=stream))
            assert (answer.status, answer.error["code"]) == (502, "upstream_error")
            assert "sk-test" not in answer.body.decode()
        assert [row["settled"] for row in rig.billed_rows()] == ["void", "void"]
        assert (rig.spent(sandbox=False), rig.held(sandbox=False)) == (0, 0)


async def test_never_sent_is_void_and_the_same_words_after_sending_are_not(rig: Rig):
    class Broken:
        def __init__(self, error: GatewayError) -> None:
            self.error = error

        async def send(self, *_):
            raise self.error

    real = rig.services.sandbox_transport
    rig.set(sandbox_transport=Broken(NeverSent("no connection")))
    assert (await rig.chat()).status == 502
    assert rig.spent() == 0
    rig.set(sandbox_transport=real)
    assert [row["settled"] for row in rig.billed_rows()] == ["void"]


@pytest.mark.parametrize("model", ["openai/gpt-unpriced-42", "anthropic/claude-unpriced-9"])
async def test_a_model_without_a_price_is_refused_and_nothing_is_sent(rig: Rig, model: str):
    answer = await rig.chat(question(model=model))
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_priced", "model")
    assert model in answer.error["message"]
    assert rig.sandbox.requests.seen == 0


async def test_what_was_spent_is_still_spent_after_a_restart(start):
    async with start() as rig:
        key = rig.new_key(quota=10**9)
        await rig.chat(key=key)
        before = rig.spent(key)
    async with start() as rig:
        assert rig.spent(key) == before > 0
        listed = (await rig.admin("GET", f"/admin/api-keys/{rig.key_id(key)}")).json
        assert listed["sandbox_spent_usd"] != "0.00"
        assert listed["spent_usd"] == "0.00"


async def test_a_spent_quota_is_still_spent_after_a_restart(start):
    async with start() as rig:
        worst = await worst_of_one(rig)
        key = rig.new_key(quota=worst)
        assert [(await rig.chat(racer(number), key=key)).status for number in range(2)] == [200, 429]
    async with start() as rig:
        assert (await rig.chat(racer(2), key=key)).status == 429


async def test_simulated_money_takes_nothing_from_the_real_quota(start):
    async with start() as rig:
        worst = await worst_of_one(rig)
        key = rig.new_key(quota=worst)
        await rig.chat(racer(1), key=key)
        sandbox, clock = rig.sandbox, rig.clock
        clock.advance(1)
    async with start(OPENAI_API_KEY="sk-test", OPENAI_BASE_URL="http://sandbox/openai/v1") as rig:
        await rig.services.transport.aclose()
        rig.set(transport=_to(sandbox))
        answer = await rig.chat(racer(2), key=key)
        assert answer.status == 200, answer.body
        assert rig.spent(key, sandbox=False) > 0
        rows = rig.rows(f"key_id = '{rig.key_id(key)}'")
        assert [row["sandbox"] for row in rows] == [1, 0]


def _to(sandbox):
    from tokenrouter.upstream.asgi_transport import AsgiTransport
    from tokenrouter.upstream.transport import Timeouts

    return AsgiTransport(sandbox, Timeouts())


async def test_a_journal_on_a_full_disk_refuses_and_sends_nothing(rig: Rig):
    books = rig.ledger._journal
    good, books._file = books._file, os.open("/dev/full", os.O_WRONLY)
    try:
        for stream in (False, True):
            answer = await rig.chat(question(stream=stream))
            assert (answer.status, answer.error["code"]) == (503, "unavailable")
            assert "journal" in answer.error["message"]
    finally:
        os.close(books._file)
        books._file = good
    assert rig.sandbox.requests.seen == 0
    assert (rig.spent(), rig.held()) == (0, 0)
    assert (await rig.chat()).status == 200
    assert [row["settled"] for row in rig.billed_rows()] == ["void", "void", "exact"]


async def test_a_locked_ledger_says_so_loses_nothing_and_catches_up(rig: Rig):
    writer = rig.ledger.writer
    writer._connection.execute("PRAGMA busy_timeout=5")
    with closing(sqlite3.connect(rig.folder / "state.db", isolation_level=None)) as thief:
        thief.execute("BEGIN IMMEDIATE")
        assert (await rig.chat()).status == 200
        await until(lambda: bool(writer.failing))
        ready = await rig.get("/readyz")
        assert (ready.status, "ledger" in ready.json["problems"][0]) == (503, True)
        assert (await rig.get("/livez")).status == 200
        thief.execute("ROLLBACK")
    (row,) = rig.billed_rows()
    assert row["cost"] == rig.sandbox.bill.nano_usd
    assert (await rig.get("/readyz")).status == 200


async def test_the_journal_does_not_grow_with_what_is_settled(rig: Rig, monkeypatch):
    monkeypatch.setattr(journal, "_SEGMENT_BYTES", 2000)
    for number in range(60):
        await rig.chat(racer(number))
        if number % 10 == 0:
            assert rig.ledger.writer.flush()
    assert rig.ledger.writer.flush()
    await rig.chat(racer(100))
    assert len(list(rig.folder.glob("journal*"))) <= 3


async def test_nothing_is_left_in_the_journal_after_a_clean_stop(start):
    async with start() as rig:
        await rig.chat()
        folder = rig.folder
    assert not list(folder.glob("journal*.jsonl"))


PRESUMED = {"after the intent", "while the provider thinks", "in the middle", "after the last byte"}


async def test_a_killed_process_loses_no_call_and_books_none_twice(tmp_path):
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "crash_child.py"), str(tmp_path), env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, problems = await child.communicate()
    assert child.returncode == 0, problems.decode()[-2000:]
    for number, (point, form) in enumerate(product(crash_child.POINTS, crash_child.FORMS)):
        said = json.loads((tmp_path / f"{number}.json").read_text())
        for _ in range(2):  # a second start changes nothing
            async with running(tmp_path / str(number)) as rig:
                first, *rest = rig.billed_rows()
                assert first["settled"] == "exact"
                wanted = [] if point == "before the intent" else ["presumed"] if point in PRESUMED else ["exact"]
                assert [row["settled"] for row in rest] == wanted, (point, form)
                booked = sum(row["cost"] for row in (first, *rest))
                assert booked > said["bill"] if point in PRESUMED else booked == said["bill"], (point, form)
                assert (rig.spent(said["key"]), rig.held(said["key"])) == (booked, 0)


def test_tokens_of_the_bill_are_what_this_file_thinks():
    assert Tokens.__struct_fields__ == ("input", "cache_read", "cache_write_5m", "cache_write_30m", "cache_write_1h", "output")


@pytest.mark.parametrize("model", ["gpt-4.1", "o3"])
async def test_who_keeps_us_from_asking_for_usage_is_booked_at_the_hold(rig: Rig, model: str):
    """Else a caller could switch off its own metering: what a model thought in silence would cost nothing."""
    watched = Watched(rig, {})
    body = question(LONG, model=model, stream=True)
    if model == "o3":
        del body["temperature"]
    answer = await rig.chat(body, headers={"x-edits-off": "usage.ask"})
    assert answer.events[-1] == "[DONE]"
    await rig.landed()
    ((amount, cost),) = watched.holds
    assert cost == amount > rig.sandbox.bill.nano_usd
    (row,) = rig.billed_rows()
    assert row["settled"] == "presumed"


async def test_the_larger_of_two_output_limits_is_held_for(rig: Rig):
    watched = Watched(rig, {})
    for limits in ({"max_completion_tokens": 1, "max_tokens": 900}, {"max_tokens": 900}):
        await rig.chat(question(str(limits), **limits))
    await rig.landed()
    (both, _), (one, _) = watched.holds
    assert abs(both - one) < one // 10


SPOKEN = [{"role": "assistant", "audio": {"id": "a"}, "content": None}, {"role": "user", "content": "x"}]
FILED = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-of-somebody"}}]}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"web_search_options": {}}, "web_search_options"),
        ({"models": ["openai/o3"]}, "models"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"messages": FILED}, "messages[0]"),
        ({"messages": SPOKEN}, "messages[0]"),
    ],
)
async def test_what_has_no_known_price_or_owner_is_refused_and_nothing_is_sent(rig: Rig, fields: dict[str, Any], param: str):
    answer = await rig.chat(question(**fields))
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "unsupported_parameter", param)
    assert rig.sandbox.requests.seen == 0
    assert rig.held() == rig.spent() == 0
