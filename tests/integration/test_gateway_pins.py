"""Models whose reasoning is bound to the prompt: a conversation goes up in the form of its first turn, whatever happens in between."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from rig import Response, Rig, call, running
from shufflers import SYSTEM, TOOLS, shuffled

from tokenrouter.clock import ManualClock
from tokenrouter.errors import Unavailable
from tokenrouter.prefixes.forest import Forest

MODEL = "claude-opus-5-5"
BACKWARDS = TOOLS[::-1]
TOOLS_EDITS = {"tools.order", "tools.spelling"}


class Thinker:
    """A client that keeps everything the model said, and shuffles its tools anew in every request where it is told to."""

    def __init__(self, rig: Rig, seed: int = 1, *, shuffles: bool = True, tools: list[Any] | None = None) -> None:
        self.rig, self.rng, self.shuffles = rig, random.Random(seed), shuffles
        self.tools = list(TOOLS if tools is None else tools)
        self.messages: list[Any] = []

    def on(self, rig: Rig) -> "Thinker":
        """The same conversation through another gateway."""
        other = Thinker(rig, 99, shuffles=self.shuffles, tools=self.tools)
        other.messages = json.loads(json.dumps(self.messages))
        return other

    async def say(self, words: str, **headers: str) -> Response:
        self.messages.append({"role": "user", "content": words})
        tools = self.tools
        if self.shuffles:
            tools = [shuffled(tool, self.rng) for tool in tools]
            self.rng.shuffle(tools)
        body = {"model": MODEL, "max_tokens": 2_000, "system": SYSTEM, "tools": tools, "messages": self.messages, "thinking": {"type": "adaptive"}}
        response = await call(self.rig.app, "POST", "/v1/messages", json.dumps(body).encode(), {"x-api-key": self.rig.key, **headers})
        if response.status == 200:
            self.messages.append({"role": "assistant", "content": response.json["content"]})
        return response


def sent(rig: Rig) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in rig.sandbox.requests.items]


def form(body: dict[str, Any]) -> str:
    """What the provider prints of the tools."""
    return json.dumps([{name: value for name, value in tool.items() if name != "cache_control"} for tool in body["tools"]])


def edits(response: Response) -> set[str]:
    return set(response.headers["x-tokenrouter-edits"].split(","))


async def retries(rig: Rig) -> str:
    text = (await rig.get("/metrics", key="admin-of-these-tests")).body.decode()
    return next(line.split()[-1] for line in text.splitlines() if line.startswith("tokenrouter_bound_reasoning_retries_total"))


def as_killed(rig: Rig, folder: Path) -> Path:
    """What a gateway that is killed at this moment leaves behind."""
    shutil.copytree(rig.folder, folder, ignore=shutil.ignore_patterns("*.lock"))
    return folder


async def begun_in_another_form(rig: Rig, folder: Path) -> Thinker:
    """A conversation that was begun elsewhere, with its tools as they came; here its app is pinned in the order of their names."""
    assert (await Thinker(rig, shuffles=False, tools=BACKWARDS).say("one")).status == 200
    async with running(folder / "elsewhere", EDITS_OFF="tools.order,tools.spelling") as elsewhere:
        client = Thinker(elsewhere, shuffles=False, tools=BACKWARDS)
        await client.say("one")
        return client.on(rig)


async def test_a_shuffling_client_keeps_its_reasoning(rig: Rig):
    client = Thinker(rig)
    for turn in range(4):
        response = await client.say(f"turn {turn}")
        assert response.status == 200, response.body
        assert edits(response) >= TOOLS_EDITS or turn == 0
    assert len({form(body) for body in sent(rig)}) == 1
    assert len(sent(rig)) == 4
    assert any(block["type"] == "thinking" for block in client.messages[1]["content"])


async def test_without_the_edits_the_provider_refuses_what_was_thought_before(rig: Rig):
    client = Thinker(rig)
    off = {"x-edits-off": "all"}
    assert (await client.say("one", **off)).status == 200
    assert (await client.say("two", **off)).status == 400


async def test_a_gateway_that_is_killed_after_turn_one_goes_on_in_the_same_form(rig: Rig, tmp_path: Path):
    client = Thinker(rig)
    await client.say("one")
    first = form(sent(rig)[0])
    async with running(as_killed(rig, tmp_path / "killed")) as again:
        later = client.on(again)
        response = await later.say("two")
        assert response.status == 200, response.body
        assert form(sent(again)[0]) == first
        assert len(sent(again)) == 1


async def test_switches_apply_to_new_conversations_only(rig: Rig, tmp_path: Path):
    client = Thinker(rig)
    await client.say("one")
    first = form(sent(rig)[0])
    async with running(as_killed(rig, tmp_path / "switched"), EDITS_OFF="tools.order,tools.spelling") as again:
        assert (await client.on(again).say("two")).status == 200
        assert form(sent(again)[0]) == first
        fresh = Thinker(again, 5, tools=TOOLS[::-1], shuffles=False)
        assert not edits(await fresh.say("something else")) & TOOLS_EDITS
        assert form(sent(again)[-1]) == json.dumps(TOOLS[::-1])


async def test_a_conversation_that_was_begun_elsewhere_goes_up_as_it_came(rig: Rig, tmp_path: Path):
    backwards = TOOLS[::-1]
    async with running(tmp_path / "elsewhere", EDITS_OFF="tools.order,tools.spelling") as elsewhere:
        client = Thinker(elsewhere, shuffles=False, tools=backwards)
        await client.say("one")
        later = client.on(rig)
    response = await later.say("two")
    assert response.status == 200, response.body
    assert not edits(response) & TOOLS_EDITS
    assert form(sent(rig)[-1]) == json.dumps(backwards)
    assert await retries(rig) == "0.0"


async def test_reasoning_that_is_refused_for_our_edits_is_sent_once_more_as_it_came_and_stays_so(rig: Rig, tmp_path: Path):
    later = await begun_in_another_form(rig, tmp_path)
    before = len(sent(rig))
    response = await later.say("two")
    assert response.status == 200, response.body
    assert [form(body) == json.dumps(BACKWARDS) for body in sent(rig)[before:]] == [False, True]
    assert not edits(response) & TOOLS_EDITS
    assert await retries(rig) == "1.0"
    assert (await later.say("three")).status == 200
    assert len(sent(rig)) == before + 3
    assert [row["settled"] for row in rig.billed_rows()[-2:]] == ["exact", "exact"]


async def test_a_retry_that_can_not_be_sent_costs_nothing(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The first was refused, the second never left: nothing of either may be billed."""
    later = await begun_in_another_form(rig, tmp_path)
    headers_for, calls = rig.services.credentials.headers, iter([True, False])

    async def expiring(*arguments: Any) -> tuple[tuple[str, str], ...]:
        if not next(calls):
            raise Unavailable("the credential has just expired")
        return await headers_for(*arguments)

    monkeypatch.setattr(rig.services.credentials, "headers", expiring)
    before = len(sent(rig))
    assert (await later.say("two")).status == Unavailable.status
    assert len(sent(rig)) == before + 1
    assert rig.held() == 0
    assert [(row["settled"], row["cost"]) for row in rig.billed_rows()[-1:]] == [("void", 0)]
    assert all(book.in_flight == 0 for book in rig.services.prompts.books._books.values())


async def test_a_refusal_of_another_kind_is_the_clients(rig: Rig):
    client = Thinker(rig)
    await client.say("one")
    client.messages[0]["content"] = "something else was said"
    assert (await client.say("two")).status == 400
    assert await retries(rig) == "0.0"


async def test_a_client_that_changed_what_was_said_does_not_cost_its_conversation_the_pin(rig: Rig):
    client = Thinker(rig)
    for words in ("one", "two"):
        await client.say(words)
    said = client.messages[2]["content"]
    client.messages[2]["content"] = "something else was said"
    assert (await client.say("three")).status == 400
    client.messages.pop()
    client.messages[2]["content"] = said
    response = await client.say("three")
    assert response.status == 200, response.body
    assert form(sent(rig)[-1]) == form(sent(rig)[0])


async def test_a_pin_is_kept_as_long_as_it_is_used(tmp_path: Path):
    clock, day = ManualClock(), 86_400
    async with running(tmp_path, clock=clock) as rig:
        client = Thinker(rig)
        await client.say("one")
        for _ in range(4):
            clock.advance(20 * day)
            assert (await client.say("go on")).status == 200
        assert len({form(body) for body in sent(rig)}) == 1


async def test_nobody_waits_for_what_was_refused_and_sent_in_another_form(rig: Rig, tmp_path: Path):
    await rig.admin("PATCH", "/admin/tenants/default", {"prompt_cache": {"hold_ms": 5_000}})
    await rig.gateway.keys.refresh()
    later = await begun_in_another_form(rig, tmp_path)
    rig.services.prompts.forest = Forest()  # cold, so that there is something to be written
    assert (await later.say("two")).status == 200
    assert await retries(rig) == "1.0"
    assert not rig.services.cold_starts._writing
