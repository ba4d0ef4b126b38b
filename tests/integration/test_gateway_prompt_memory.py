"""What the gateway remembers of prompts, seen from outside: what is read, who saved it, what broke, and who may decide."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fleets import Fleet, eventually
from redis_servers import RedisServer
from rig import ADMIN_KEY, Response, Rig, call, running, until

from tokenrouter.prefixes.memory import PromptMemory
from tokenrouter.prefixes.premiums import Allowance
from tokenrouter.sandbox.faults import Fault
from tokenrouter.upstream.asgi_transport import AsgiTransport
from tokenrouter.upstream.transport import Timeouts

MODEL = "claude-sonnet-5"
SYSTEM = "\n".join(f"Rule {number}: you are the memory of room {number * 7} of a house, and you answer in few words." for number in range(90))
TOOLS = [
    {"name": name, "description": f"{name} does one thing in the house. " * 12, "input_schema": {"type": "object", "properties": {}}}
    for name in ("ask", "look", "walk")
]


@pytest.fixture
async def fleet(tmp_path: Path, postgres_url: str, own_redis: RedisServer) -> AsyncIterator[Fleet]:
    made = Fleet(tmp_path, postgres_url, own_redis)
    yield made
    await made.aclose()


class Talk:
    """A conversation of the Messages API without any mark of its own."""

    def __init__(self, rig: Rig, words: str = "one", *, key: str | None = None, marks: bool = False, **headers: str) -> None:
        self.rig, self.headers, self.key, self.marks = rig, headers, key or rig.key, marks
        self.body: dict[str, Any] = {"model": MODEL, "max_tokens": 50, "system": SYSTEM, "tools": TOOLS, "messages": []}
        self.words = words

    async def turn(self, **changed: Any) -> Response:
        messages = self.body["messages"]
        messages.append(
            {
                "role": "user",
                "content": f"{self.words}, turn {len(messages)}. " + f"What do you remember of what {self.words} has told you? " * 20,
            }
        )
        body = {**self.body, **changed}
        if self.marks:
            body["system"] = [{"type": "text", "text": body["system"], "cache_control": {"type": "ephemeral"}}]
        response = await call(self.rig.app, "POST", "/v1/messages", json.dumps(body).encode(), {"x-api-key": self.key, **self.headers})
        assert response.status == 200, response.body
        messages.append({"role": "assistant", "content": response.json["content"]})
        return response


def read(response: Response) -> int:
    return response.json["usage"]["cache_read_input_tokens"]


def written(response: Response) -> int:
    return response.json["usage"]["cache_creation_input_tokens"]


def sent(rig: Rig) -> dict[str, Any]:
    return json.loads(rig.sandbox.requests.items[-1].body)


async def test_the_second_conversation_reads_what_the_first_one_wrote_and_the_books_say_through_whom(rig: Rig):
    first, second = Talk(rig, "one"), Talk(rig, "two", key=rig.new_key())
    turns = [await first.turn(), await first.turn(), await second.turn()]
    assert read(turns[0]) == 0
    assert read(turns[1]) >= written(turns[0]) > 1_000
    assert read(turns[2]) > 0.8 * written(turns[0]), "tools and system text"
    rows = rig.billed_rows()
    assert [row["saved_by_client"] for row in rows] == [0, 0, 0], "the client marked nothing"
    assert [row["saved_by_gateway"] for row in rows] == [row["saved_prompt_cache"] for row in rows]
    assert rows[0]["saved_by_gateway"] < 0 < rows[1]["saved_by_gateway"], "a write costs, a read pays"
    assert [row["read_across_sessions"] for row in rows] == [0, 0, read(turns[2])]
    assert [row["read_across_users"] for row in rows] == [0, 0, read(turns[2])]
    assert len({row["session"] for row in rows}) == 2
    assert [row["cache_break"] for row in rows] == ["", "", ""]


async def test_what_clients_mark_themselves_is_theirs(rig: Rig):
    talk = Talk(rig, marks=True, **{"x-edits-off": "all"})
    for _ in range(3):
        await talk.turn()
    rows = rig.billed_rows()
    assert [row["saved_by_gateway"] for row in rows] == [0, 0, 0]
    assert [row["saved_by_client"] for row in rows] == [row["saved_prompt_cache"] for row in rows]
    assert sum(row["saved_by_client"] for row in rows) > 0


async def test_a_broken_prefix_is_named_in_the_answer_the_ledger_the_metrics_and_the_admin_api(rig: Rig):
    talk = Talk(rig)
    await talk.turn()
    await talk.turn()
    other = [TOOLS[0], {**TOOLS[1], "description": "It does something else. " * 12}, TOOLS[2]]
    broken = await talk.turn(tools=other)
    assert read(broken) == 0
    assert broken.headers["x-tokenrouter-cache-break"].startswith("tools.changed,tools[1]")
    row = rig.billed_rows()[-1]
    assert (row["cache_break"], row["cache_break_cost"] > 0) == ("tools.changed", True)
    metrics = (await rig.get("/metrics")).body.decode()
    assert 'tokenrouter_prompt_cache_breaks_total{cause="tools.changed"' in metrics
    found = (await rig.admin("GET", "/admin/prompt-cache/breaks")).json["data"]
    assert [(each["cause"], each["id"]) for each in found] == [("tools.changed", row["id"])]
    assert "does one thing" in json.dumps(found[0]["details"]), "the text that differs, from memory"
    summary = (await rig.admin("GET", "/admin/prompt-cache/summary")).json["sandbox"]
    assert [(each["cause"], each["requests"]) for each in summary["breaks"]] == [("tools.changed", 1)]
    turns = (await rig.admin("GET", f"/admin/prompt-cache/sessions/{row['session']}")).json["data"]
    assert [turn["cause"] for turn in turns] == [None, None, "tools.changed"]


async def test_who_only_observes_changes_nothing_and_decides_all_the_same(tmp_path):
    async with running(tmp_path / "observe", PROMPT_CACHE_MODE="observe") as rig:
        talk = Talk(rig)
        assert [read(await talk.turn()) + written(await talk.turn()) for _ in range(2)] == [0, 0]
        assert "cache_control" not in json.dumps(sent(rig))


async def test_a_tenant_has_the_last_word_on_the_mode(rig: Rig):
    await rig.admin("PATCH", "/admin/tenants/default", {"prompt_cache": {"mode": "off"}})
    await rig.gateway.keys.refresh()
    talk = Talk(rig)
    await talk.turn()
    assert "cache_control" not in json.dumps(sent(rig))
    await rig.admin("PATCH", "/admin/tenants/default", {"prompt_cache": {"mode": "on"}})
    await rig.gateway.keys.refresh()
    await Talk(rig, "two").turn()
    assert "cache_control" in json.dumps(sent(rig))


@pytest.mark.parametrize("model", ["gpt-5.6-sol"])
async def test_one_shots_are_not_written_where_the_vendor_would_write_by_itself(rig: Rig, model: str):
    for number in range(30):
        text = f"{number} " + "A question that nobody asks again, with much to read before it. " * 120
        answer = await rig.chat({"model": model, "messages": [{"role": "user", "content": text}]})
        assert answer.status == 200, answer.body
    assert sent(rig)["prompt_cache_options"] == {"mode": "explicit"}
    assert sum(row["cache_write"] for row in rig.billed_rows()) == 0


async def test_what_a_client_says_about_writes_is_not_touched(rig: Rig):
    options = {"mode": "implicit", "ttl": "30m"}
    await rig.chat({"model": "gpt-5.6-sol", "messages": [{"role": "user", "content": "hello " * 2_000}], "prompt_cache_options": options})
    assert sent(rig)["prompt_cache_options"] == options


async def test_two_gateways_learn_as_one_and_losing_redis_loses_no_request(fleet: Fleet):
    one, two = await fleet.start(), await fleet.start()
    key = (await one.admin("POST", "/admin/api-keys", {}, key=ADMIN_KEY)).json["key"]
    talk = Talk(one, key=key)
    await talk.turn()
    model = f"anthropic/{MODEL}"

    def known() -> bool:
        trees = two.services.prompts.forest._trees
        return any(scope.model == model and len(tree) for scope, tree in trees.items())

    await eventually(known, "the other one hears of it", within_s=5)
    fleet.redis.kill()
    assert written(await Talk(two, "two", key=key).turn()) > 0, "each for itself"


def restless(chance: random.Random) -> list[dict[str, Any]]:
    """Tools in any order, and the properties of their schemas, too."""
    tools = []
    for tool in chance.sample(TOOLS, len(TOOLS)):
        words = {word: {"type": "string", "description": f"The {word} of it."} for word in chance.sample(("room", "floor", "door", "key", "hour"), 5)}
        tools.append({**tool, "input_schema": {"type": "object", "properties": words}})
    return tools


async def test_two_gateways_act_as_one_on_what_either_of_them_learned(fleet: Fleet):
    one, two = await fleet.start(), await fleet.start()
    two.set(sandbox_transport=AsgiTransport(one.sandbox, Timeouts(60, 60, 60)))
    key = (await one.admin("POST", "/admin/api-keys", {}, key=ADMIN_KEY)).json["key"]
    talk, chance = Talk(one, key=key), random.Random(5)

    def links(rig: Rig) -> set[bytes]:
        trees = rig.services.prompts.forest._trees
        return {link for scope, tree in trees.items() if scope.model == f"anthropic/{MODEL}" for link in tree._nodes}

    before = 0
    for turn in range(6):
        talk.rig = (one, two)[turn % 2]
        answer = await talk.turn(tools=restless(chance))
        assert read(answer) == before, f"turn {turn}: what the other one wrote, to the last token"
        before = read(answer) + written(answer)
        await eventually(lambda: links(one) == links(two), "both know the same", within_s=10)


async def fan_out(rig: Rig, count: int) -> list[Response]:
    """Parallel first requests of one app: each has its own question behind the same tools and system text."""
    talks = [Talk(rig, f"branch {number}") for number in range(count)]
    return await asyncio.gather(*(talk.turn() for talk in talks))


async def held(rig: Rig, hold_ms: int) -> None:
    await rig.admin("PATCH", "/admin/tenants/default", {"prompt_cache": {"hold_ms": hold_ms}})
    await rig.gateway.keys.refresh()


async def test_parallel_first_requests_all_write_unless_they_are_to_wait(rig: Rig):
    talks = [Talk(rig, f"branch {number}") for number in range(5)]
    answers = await rig.together(5, lambda number: talks[number].turn(), calls=5)
    assert [read(answer) for answer in answers] == [0] * 5
    assert all(written(answer) > 1_000 for answer in answers)


async def test_of_parallel_first_requests_one_writes_and_the_others_read(rig: Rig):
    await held(rig, 5_000)
    answers = await fan_out(rig, 5)
    shared = max(written(answer) for answer in answers)
    assert sorted(read(answer) > 0.8 * shared for answer in answers) == [False, True, True, True, True]
    assert not rig.services.cold_starts._writing


async def test_nobody_waits_for_a_writer_that_fails_or_longer_than_was_said(rig: Rig):
    await held(rig, 5_000)
    rig.sandbox.faults.add(Fault(kind="status", status=500))
    answers = await asyncio.gather(*(Talk(rig, f"branch {number}").turn() for number in range(3)), return_exceptions=True)
    assert sum(isinstance(answer, AssertionError) for answer in answers) == 1, "the one that met the fault"
    assert not rig.services.cold_starts._writing


async def test_texts_that_differ_from_request_to_request_are_reported_with_their_price(rig: Rig):
    for hour in range(5):
        talk = Talk(rig, f"talk {hour}")
        talk.body["system"] = f"It is 2026-11-21T0{hour}:15:00Z now.\n{SYSTEM}"
        await talk.turn(tools=[])
    found = (await rig.admin("GET", "/admin/prompt-cache/volatile?tenant=default")).json["data"]
    clock = next(each for each in found if each["kind"] == "time")
    assert (clock["place"], clock["distinct"] >= 4, float(clock["cost_usd"]) > 0) == ("system[0]", True, True)
    assert "It is <time> now." in clock["template"]
    assert (await rig.admin("GET", "/admin/prompt-cache/volatile?tenant=nobody")).status == 404


class Slow:
    """Credentials that have to be fetched first."""

    def __init__(self, credentials: Any) -> None:
        self.credentials, self.fetched = credentials, asyncio.Event()

    async def headers(self, *asked: Any) -> Any:
        await self.fetched.wait()
        return await self.credentials.headers(*asked)


async def test_premiums_of_requests_that_wait_for_a_credential_are_in_flight(rig: Rig):
    catalog, allowance = rig.services.catalog, Allowance(tokens=8_000)
    slow = Slow(rig.services.credentials)
    rig.set(prompts=PromptMemory(lambda name: catalog.model(*name.split("/", 1)).cache, allowance=allowance), credentials=slow)
    apps = [[{**tool, "description": f"{number} {tool['description']}"} for tool in TOOLS] for number in range(20)]
    asked = [asyncio.ensure_future(Talk(rig).turn(tools=tools)) for tools in apps]
    await until(lambda: rig.services.flights.under_way == 20)
    slow.fetched.set()
    billed = sum(answer.json["usage"]["input_tokens"] + written(answer) + read(answer) for answer in await asyncio.gather(*asked))
    rig.set(credentials=slow.credentials)
    book = rig.services.prompts.books.of("default", f"anthropic/{MODEL}")
    assert book.in_flight == 0
    assert 0 < book.led <= book.never * allowance.share_per_mille // 1000 + allowance.tokens * (book.never // billed)
