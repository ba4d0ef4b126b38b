"""Kept answers: given again to the same question of the same tenant, and to nobody else."""

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest
from rig import Rig, question, running

from tokenrouter.sandbox.answers import Scripted, ToolCall
from tokenrouter.sandbox.faults import Fault

LONG = "Answer in 300 words, please."
STREAM = {"stream": True}
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}}


@pytest.mark.parametrize("form", [{}, STREAM, WITH_USAGE])
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
async def test_a_hit_is_the_same_bytes(rig: Rig, model: str, form: dict):
    body = question(LONG, model=model, **form)
    first, second = await rig.chat(body), await rig.chat(body)
    assert (first.cache, second.cache) == ("miss", "hit")
    assert first.body == second.body
    assert first.headers["content-type"].split(";")[0] == second.headers["content-type"].split(";")[0]
    assert rig.sandbox.requests.seen == 1
    assert rig.spent() == rig.sandbox.bill.nano_usd


@pytest.mark.parametrize("kept", [{}, STREAM, WITH_USAGE])
@pytest.mark.parametrize("wanted", [{}, STREAM, WITH_USAGE])
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
async def test_a_hit_in_another_form_says_the_same(rig: Rig, model: str, kept: dict, wanted: dict):
    tools = {"tools": [TOOL], "messages": [{"role": "user", "content": "call look"}]}
    for fields in ({}, tools):
        first = await rig.chat(question(LONG, model=model, **fields, **kept))
        second = await rig.chat(question(LONG, model=model, **fields, **wanted))
        assert second.cache == "hit"
        assert _said(first) == _said(second)
        if wanted:
            assert second.headers["content-type"].startswith("text/event-stream")
            assert second.events[-1] == "[DONE]"
            used = [event["usage"] for event in second.events if isinstance(event, dict) and event.get("usage")]
            assert len(used) == (1 if wanted is WITH_USAGE else 0)
        else:
            used = [second.json["usage"]]
        for usage in used:
            (row,) = rig.rows(f"id = '{first.headers['x-tokenrouter-request-id']}'")
            buckets = row["fresh_input"] + row["cache_read"] + row["cache_write"] + row["cache_write_1h"]
            assert (usage["prompt_tokens"], usage["completion_tokens"]) == (buckets, row["output"])


def _said(answer) -> tuple:
    """Text, calls and finish reason, whatever the form."""
    if not answer.body.startswith(b"data:"):
        (choice,) = answer.json["choices"]
        calls = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in choice["message"].get("tool_calls") or ()]
        return choice["message"]["content"] or "", calls, choice["finish_reason"]
    text, calls, finish = "", {}, None
    for event in answer.events:
        for choice in event["choices"] if isinstance(event, dict) else ():
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
            for piece in choice["delta"].get("tool_calls") or ():
                known = calls.setdefault(piece["index"], [piece.get("id"), piece["function"].get("name"), ""])
                known[2] += piece["function"].get("arguments") or ""
    return text, [tuple(call) for call in calls.values()], finish


PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://img.example/a.png"}}]}]


async def test_a_kept_answer_expires(start, clock):
    async with start(CACHE_TTL_SECONDS="60") as rig:
        await rig.chat()
        clock.advance(59.9)
        late = await rig.chat()
        assert (late.cache, late.headers["age"]) == ("hit", "59")
        clock.advance(0.1)
        assert (await rig.chat()).cache == "miss"


async def test_room_for_kept_answers_is_bounded_and_the_least_used_go_first(start):
    async with start(CACHE_MAX_MB="1") as rig:
        for number in range(30):
            await rig.chat(question(f"{number}: answer in 12000 words"))
            assert (await rig.chat(question("0: answer in 12000 words"))).cache == "hit"
        assert 0 < rig.services.answers._memory.held_bytes <= 1 << 20
        for number in range(30):  # what left memory is on disk
            assert rig.services.answers.writer.flush()
            assert (await rig.chat(question(f"{number}: answer in 12000 words"))).cache == "hit"


async def test_disk_room_is_bounded_too(start):
    async with start(CACHE_MAX_MB="1") as rig:
        for number in range(90):
            await rig.chat(question(f"{number}: answer in 12000 words"))
        key, file = rig.key, rig.folder / "answers.db"
    with closing(sqlite3.connect(file)) as db:
        count, size = db.execute("SELECT COUNT(*), SUM(LENGTH(answer)) FROM kept").fetchone()
    assert 30 < count < 90
    assert size <= 4 << 20
    async with start(CACHE_MAX_MB="1") as rig:
        assert (await rig.chat(question("89: answer in 12000 words"), key=key)).cache == "hit"
        assert (await rig.chat(question("0: answer in 12000 words"), key=key)).cache == "miss"


@pytest.mark.parametrize("form", [{}, STREAM])
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
async def test_an_answer_cut_by_its_limit_is_not_kept(rig: Rig, model: str, form: dict):
    body = question(LONG, model=model, max_tokens=5, **form)
    first, second = await rig.chat(body), await rig.chat(body)
    assert _said(first)[2] == "length"
    assert (first.cache, second.cache) == ("miss", "miss")


@pytest.mark.parametrize("form", [{}, STREAM])
@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(kind="status", status=status) for status in (400, 404, 429, 500, 503, 529)),
        *(Fault(kind=kind, after=3) for kind in ("truncate", "truncate_bytes", "bad_utf8", "bad_json", "long_line", "error_event")),
        *(Fault(kind=kind) for kind in ("error_body", "html", "empty")),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}" if fault.kind == "status" else fault.kind,
)
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
async def test_nothing_broken_is_kept(rig: Rig, model: str, fault: Fault, form: dict):
    rig.sandbox.fault(fault)
    body = question(LONG, model=model, **form)
    await rig.chat(body)
    again = await rig.chat(body)
    # Harmless: spaces before a document that is read in full, and a field that nobody reads in an answer that is written anew.
    harmless = (fault.kind == "long_line" and not form) or (fault.kind == "bad_utf8" and model.startswith("claude"))
    assert again.cache == ("hit" if harmless else "miss")
    assert again.status == 200
    assert again.body.decode()
    assert _said(again)[2] == "stop"
    if again.cache == "miss":
        assert (await rig.chat(body)).cache == "hit"


async def test_a_content_filter_end_is_not_kept(rig: Rig):
    """No simulated vendor filters, so the word is put into a vendor's answer on its way."""
    rig.set(sandbox_transport=Rewriting(rig.services.sandbox_transport, b'"finish_reason":"stop"', b'"finish_reason":"content_filter"'))
    for form in ({}, STREAM):
        answers = [await rig.chat(question(**form)) for _ in range(2)]
        assert [answer.cache for answer in answers] == ["miss", "miss"]


class Rewriting:
    """A transport that replaces bytes in whole answers and frames."""

    def __init__(self, inner, old: bytes, new: bytes) -> None:
        self.inner, self.old, self.new = inner, old, new

    async def send(self, url, headers, body):
        response = await self.inner.send(url, headers, body)
        return _Rewritten(response, self.old, self.new)

    async def aclose(self):
        await self.inner.aclose()


class _Rewritten:
    def __init__(self, response, old: bytes, new: bytes) -> None:
        self.response, self.old, self.new = response, old, new
        self.status, self.headers = response.status, response.headers

    async def read(self):
        return (await self.response.read()).replace(self.old, self.new)

    async def chunks(self):
        async for data in self.response.chunks():
            yield data.replace(self.old, self.new)

    async def aclose(self):
        await self.response.aclose()


async def test_tool_calls_are_kept(rig: Rig):
    rig.sandbox.script(Scripted(calls=(ToolCall("look", '{"at":"1"}'), ToolCall("look", '{"at":"2"}'))))
    body = question("call look", tools=[TOOL])
    first, second = await rig.chat(body), await rig.chat(body)
    assert (second.cache, _said(second)[1]) == ("hit", _said(first)[1])
    assert len(_said(second)[1]) == 2


@pytest.mark.parametrize(
    ("first", "second", "hits"),
    [
        ({}, {}, True),
        ({"cache-control": "no-store"}, {}, False),
        ({}, {"cache-control": "no-store"}, False),
        ({}, {"cache-control": "no-cache"}, False),
        ({"cache-control": "no-cache"}, {}, True),
        ({}, {"cache-control": "max-age=0"}, False),
        ({}, {"Cache-Control": "Max-Age=29"}, False),
        ({}, {"cache-control": "max-age=30"}, True),
        ({}, {"cache-control": "private, max-age=31"}, True),
        ({}, {"x-cache": "off"}, False),
        ({"x-cache": "off"}, {}, False),
        ({"x-cache": "all"}, {"x-cache": "all"}, True),
    ],
)
async def test_a_caller_says_what_may_be_kept_and_how_old_it_may_be(rig: Rig, clock, first, second, hits):
    assert (await rig.chat(headers=first)).status == 200
    clock.advance(30)
    lower = {name.lower(): value for name, value in second.items()}
    assert (await rig.chat(headers=lower)).cache == ("hit" if hits else "miss")


@pytest.mark.parametrize(
    ("settings", "fields", "options", "hits"),
    [
        ({}, {}, {}, True),
        ({}, {"temperature": None}, {}, False),
        ({}, {"temperature": None, "x-cache": "all"}, {}, True),
        ({}, {"temperature": None}, {"cache_mode": "all"}, True),
        ({}, {}, {"cache_mode": "off"}, False),
        ({"CACHE_MODE": "all"}, {"temperature": None}, {}, True),
        ({"CACHE_MODE": "off"}, {"x-cache": "all"}, {"cache_mode": "all"}, False),
        ({"CACHE_TTL_SECONDS": "0"}, {}, {}, False),
        ({"CACHE_MAX_MB": "0"}, {}, {}, False),
        ({"CACHE_MODE": "all"}, {"messages": PICTURE}, {}, False),
    ],
)  # fmt: skip
async def test_whose_answers_are_kept(start, settings, fields, options, hits):
    async with start(**settings) as rig:
        key = rig.new_key(**options)
        await rig.chat(question(**fields), key=key)
        again = await rig.chat(question(**fields), key=key)
        assert (again.cache == "hit") == hits


async def test_questions_that_differ_in_anything_that_matters_have_answers_of_their_own(rig: Rig):
    base = question(LONG)
    others = [
        {**base, "model": "gpt-4.1-mini"},
        {**base, "seed": 1},
        {**base, "top_p": 0.5},
        {**base, "stop": ["x"]},
        {**base, "max_tokens": 5000},
        {**base, "tools": [TOOL]},
        {**base, "messages": [{"role": "system", "content": "s"}, *base["messages"]]},
        {**base, "messages": [{"role": "user", "content": LONG + " "}]},
        {**base, "messages": [{"role": "user", "content": LONG, "name": "n"}]},
        {**base, "reasoning_effort": "low", "model": "gpt-5"},
    ]
    await rig.chat(base)
    for other in others:
        answer = await rig.chat(other)
        assert (answer.status, answer.cache) == (200, "miss"), other


async def test_spellings_that_mean_the_same_hit(rig: Rig):
    base = question(LONG)
    same = [
        json.dumps(base, indent=3),
        json.dumps(dict(reversed(base.items()))),
        json.dumps(base).replace("Answer", "\\u0041nswer"),
        json.dumps({**base, "temperature": 0.0}),
        json.dumps({**base, "model": "openai/gpt-4.1"}),
        json.dumps({**base, "user": "u", "metadata": {"a": "b"}, "n": 1, "top_p": None}),
        json.dumps({**base, "messages": [{"content": [{"type": "text", "text": LONG}], "role": "user"}]}),
    ]
    await rig.chat(base)
    for spelling in same:
        assert (await rig.chat(spelling.encode())).cache == "hit", spelling


async def test_kept_answers_survive_a_restart(start):
    body = question(LONG)
    async with start() as rig:
        first = await rig.chat(body)
        key = rig.key
    async with start() as rig:
        again = await rig.chat(body, key=key)
        assert (again.cache, again.body) == ("hit", first.body)
        assert rig.sandbox.requests.seen == 0


async def test_kept_answers_on_disk_are_read_by_many_at_once_and_never_mixed_up(start):
    bodies = [question(f"question {number}") for number in range(64)]
    async with start() as rig:
        before = [(await rig.chat(body)).body for body in bodies]
        key = rig.key
    async with start() as rig:
        answers = await asyncio.gather(*(rig.chat(body, key=key) for body in bodies * 4))
        assert {answer.cache for answer in answers} == {"hit"}
        assert [answer.body for answer in answers] == before * 4


async def test_a_damaged_file_of_kept_answers_costs_misses_only(start):
    async with start() as rig:
        await rig.chat()
        key, file = rig.key, rig.folder / "answers.db"
    with closing(sqlite3.connect(file)) as db, db:
        assert db.execute("UPDATE kept SET answer = x'00'").rowcount == 1
    async with start() as rig:
        assert (await rig.chat(key=key)).cache == "miss"


async def test_hits_are_served_when_the_quota_is_spent(rig: Rig):
    key = rig.new_key(quota=20_000_000)
    worst = 0
    for number in range(1_000):
        answer = await rig.chat(question(str(number), max_tokens=1000), key=key)
        if answer.status == 429:
            break
        worst = number
    assert worst > 10
    assert (answer.error["code"], answer.error["type"]) == ("insufficient_quota", "insufficient_quota")
    assert "0." in answer.error["message"]
    hit = await rig.chat(question(str(worst), max_tokens=1000), key=key)
    assert (hit.status, hit.cache) == (200, "hit")
    assert rig.spent(key) + rig.held(key) <= 20_000_000


async def test_a_hit_takes_from_the_request_bucket(rig: Rig, clock):
    key = rig.new_key(rpm=2)
    assert [(await rig.chat(key=key)).status for _ in range(3)] == [200, 200, 429]
    refused = await rig.chat(key=key)
    assert refused.error["code"] == "rate_limit_exceeded"
    clock.advance(int(refused.headers["retry-after"]))
    assert (await rig.chat(key=key)).cache == "hit"


async def test_an_answer_of_the_sandbox_is_never_given_for_the_real_model(start, clock):
    async with start() as rig:
        simulated = await rig.chat()
        assert simulated.headers["x-tokenrouter-sandbox"] == "true"
        key, sandbox = rig.key, rig.sandbox
    clock.advance(1)
    async with start(OPENAI_API_KEY="sk-test-real") as rig:
        await rig.services.transport.aclose()
        rig.set(transport=_into(sandbox))
        real = await rig.chat(key=key)
        assert (real.status, real.cache) == (200, "miss")
        assert "x-tokenrouter-sandbox" not in real.headers
        assert (await rig.chat(key=key)).cache == "hit"
    async with start() as rig:
        assert (await rig.chat(key=key)).cache == "miss"


def _into(sandbox):
    """A transport that takes the vendor's real address to the simulator, as a proxy would."""
    from tokenrouter.upstream.asgi_transport import AsgiTransport
    from tokenrouter.upstream.transport import Timeouts

    class Proxied(AsgiTransport):
        async def send(self, url, headers, body):
            return await super().send(url.replace("https://api.openai.com", "https://sandbox/openai"), headers, body)

    return Proxied(sandbox, Timeouts())


async def test_a_key_that_may_not_use_a_model_gets_no_kept_answer_of_it(rig: Rig):
    await rig.chat()
    narrow = rig.new_key(models=("gpt-4.1-mini",))
    refused = await rig.chat(key=narrow)
    assert (refused.status, refused.error["code"]) == (403, "forbidden")


async def test_figures_in_a_hit_are_of_the_hit(rig: Rig):
    body = question(**{"x-metadata": True})
    first, second = await rig.chat(body), await rig.chat(body)
    assert (first.json["x_tokenrouter"]["cache"], second.json["x_tokenrouter"]["cache"]) == ("miss", "hit")
    assert second.json["x_tokenrouter"]["cost_usd"] == "0.00"
    assert second.json["x_tokenrouter"]["saved_by_usd"]["exact"] == first.json["x_tokenrouter"]["cost_usd"]
    plain = await rig.chat()
    assert plain.cache == "hit"
    assert "x_tokenrouter" not in plain.json


async def test_a_restart_drops_what_expired_in_the_meantime(tmp_path, clock):
    async with running(tmp_path, clock=clock, CACHE_TTL_SECONDS="60") as rig:
        await rig.chat()
    clock.advance(61)
    async with running(tmp_path, clock=clock) as rig:
        assert not rig.services.answers._on_disk


@pytest.mark.parametrize("form", [{}, STREAM, WITH_USAGE])
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
async def test_the_tenth_repeat_is_what_the_first_was(rig: Rig, clock, model: str, form: dict):
    """Repeats to the byte take a shorter way from the third on; nobody may notice."""
    body = question(LONG, model=model, **{"x-metadata": True}, **form)
    answers = [await rig.chat(body) for _ in range(10)]
    assert [answer.cache for answer in answers] == ["miss"] + ["hit"] * 9
    assert {_said(answer) == _said(answers[0]) for answer in answers} == {True}
    assert {len(answer.raw_headers) for answer in answers[1:]} == {len(answers[1].raw_headers)}
    for answer in answers:
        record = (await rig.get(f"/v1/requests/{answer.headers['x-tokenrouter-request-id']}")).json
        assert (record["model"], record["stream"], record["model_asked"]) == (model, bool(form), model)
    assert len(rig.rows("cache = 'hit' AND saved_exact > 0")) == 9
    for headers in ({"cache-control": "no-cache"}, {"x-cache": "off"}, {"cache-control": "max-age=0"}):
        assert (await rig.chat(body, headers={**headers, "x-dedup": "off"})).cache != "hit"
    clock.advance(3600)
    assert (await rig.chat(body)).cache == "miss"


async def test_a_repeat_to_the_byte_is_let_in_like_any_other_request(rig: Rig, clock):
    key, other, stranger = rig.new_key(rpm=5), rig.new_key(models=("gpt-4.1-mini",)), rig.new_key("evil")
    assert [(await rig.chat(key=key)).status for _ in range(6)] == [200] * 5 + [429]
    assert (await rig.chat(key=other)).status == 403
    assert (await rig.chat(key=stranger)).cache == "miss"
    clock.advance(60)
    assert (await rig.chat(key=key)).cache == "hit"
    await rig.gateway.keys.revoke(rig.key_id(key))
    assert (await rig.chat(key=key)).status == 401
