"""What is charged when things go well, when the client leaves, and when the vendor fails."""

import asyncio
import json
from typing import Any

import pytest

from tokenrouter.sandbox import PRICES, ConnectionCut, Fault, Scripted, Tokens, ToolCall, create_app
from tokenrouter.sandbox.prices import Price


def chat(user: str = "hi", model: str = "gpt-4.1", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": user}], **more}


def claude(**more: Any) -> dict[str, Any]:
    return {"model": "claude-opus-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **more}


def test_price_of_the_published_example():
    assert PRICES["claude-opus-5-5"].cost(Tokens(input=2000, cache_read=6000, cache_write_5m=500, cache_write_1h=1500)) == 23_700_000


def test_long_prompts_are_priced_as_a_whole_by_their_total_with_cached_tokens_in_it():
    price = PRICES["claude-haiku-5-5"]
    assert price.cost(Tokens(input=110_000)) == 55_000_000
    assert price.cost(Tokens(input=5000, cache_read=105_000)) == 7_750_000
    assert price.cost(Tokens(input=90_000)) == 9_000_000
    assert price.cost(Tokens(input=100_000)) == 10_000_000


@pytest.mark.parametrize(
    ("model", "field", "breaks_even_at"),
    [("claude-opus-4-8", "cache_write_5m", 1), ("claude-opus-4-8", "cache_write_1h", 2), ("gpt-6-sol", "cache_write_30m", 1)],
)
def test_a_mark_pays_from_this_read_on(model, field, breaks_even_at):
    price, size = PRICES[model], 10_000
    for reads in range(4):
        marked = price.cost(Tokens(**{field: size})) + reads * price.cost(Tokens(cache_read=size))
        assert (marked < (reads + 1) * price.cost(Tokens(input=size))) == (reads >= breaks_even_at)


def test_halves_round_to_even():
    price = Price(input=500_000, read=0, write=0, write_long=0, output=0)
    assert [price.cost(Tokens(input=count)) for count in (1, 2, 3, 5)] == [0, 1, 2, 2]


async def test_bill_is_usage_times_price_for_every_vendor(app, call, text):
    for _ in range(2):
        assert (await call.openai(chat(text(2000), "gpt-6.1-sol"))).status == 200
        assert (await call.openai(chat(text(2000), "o4-mini"))).status == 200
        assert (await call.claude(claude(system=text(1000), cache_control={"type": "ephemeral", "ttl": "1h"}))).status == 200
        assert (await call.deepseek(chat(text(2000), "deepseek-v4-pro"))).status == 200
        assert (await call.gemini("gemini-2.5-pro", {"contents": [{"parts": [{"text": text(3000)}]}]})).status == 200
        assert (await call.post("/echo/v1/chat/completions", chat(model="echo"))).status == 200
    lines = app.bill.lines
    assert all(line.status == "complete" and line.nano_usd == PRICES[line.model].cost(line.tokens) > 0 for line in lines)
    assert {line.vendor for line in lines if line.tokens.cache_read} == {"openai", "anthropic", "deepseek", "gemini"}
    assert app.bill.total(app.account("k")).nano_usd == app.bill.nano_usd == sum(line.nano_usd for line in lines)


async def test_bill_equals_the_reported_usage(app, call, text):
    usage = (await call.openai(chat(text(2000), "gpt-6-sol"))).json["usage"]
    tokens = app.bill.lines[-1].tokens
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (tokens.prompt, tokens.output)
    usage = (await call.claude(claude(system=text(1000), cache_control={"type": "ephemeral"}))).json["usage"]
    tokens = app.bill.lines[-1].tokens
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"] == tokens.prompt
    assert usage["output_tokens"] == tokens.output


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "deepseek", "echo"])
async def test_hanging_up_is_charged_for_input_and_what_was_produced(app, call, vendor):
    send = {
        "openai": call.openai,
        "anthropic": call.claude,
        "deepseek": call.deepseek,
        "echo": lambda body, **more: call.post("/echo/v1/chat/completions", body, **more),
    }[vendor]
    model = {"openai": "gpt-4.1", "anthropic": "claude-opus-5", "deepseek": "deepseek-chat", "echo": "echo"}[vendor]
    body = {**claude(), "model": model} if vendor == "anthropic" else chat("word " * 50, model)
    whole = await send({**body, "stream": True})
    full = app.bill.lines[-1]
    left = await send({**body, "stream": True}, hang_up_after=6)
    line = app.bill.lines[-1]
    assert (line.status, len(left.frames)) == ("cancelled", 6)
    assert line.tokens.prompt == full.tokens.prompt
    assert 0 < line.tokens.output < full.tokens.output
    assert len(whole.frames) > 6


async def test_the_first_event_of_claude_reports_one_output_token_and_the_bill_says_the_same(app, call):
    left = await call.claude(claude(stream=True), hang_up_after=1)
    assert left.events[0]["message"]["usage"]["output_tokens"] == app.bill.lines[-1].tokens.output == 1


async def test_hanging_up_at_the_barrier_is_charged_for_the_input(app, call):
    app.hold("openai")
    left = asyncio.Event()
    task = asyncio.create_task(call.openai(chat(), left=left))
    await app.waiting(1)
    left.set()
    await task
    line = app.bill.lines[-1]
    assert (line.status, line.http_status, line.tokens.output) == ("cancelled", 0, 0)
    assert line.tokens.input > 0
    assert app.barrier.waiting_now == 0


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("openai", 429, "requests"),
        ("openai", 500, "server_error"),
        ("anthropic", 529, "overloaded_error"),
        ("anthropic", 429, "rate_limit_error"),
        ("deepseek", 503, "server_error"),
    ],
)
async def test_status_faults_speak_the_vendors_language_and_cost_nothing(app, call, path, status, kind):
    app.fault(Fault(kind="status", vendor=path, status=status, retry_after="7", times=2))
    for _ in range(2):
        response = await (call.claude(claude()) if path == "anthropic" else call.post(f"/{path}/v1/chat/completions", chat()))
        assert (response.status, response.json["error"]["type"], response.headers["retry-after"]) == (status, kind, "7")
    assert (app.bill.lines[-1].status, app.bill.nano_usd) == ("failed", 0)
    assert app.faults.pending == ()


async def test_faults_wait_for_their_vendor_and_come_in_order(app, call):
    app.fault(Fault(kind="status", vendor="anthropic", status=529))
    app.fault(Fault(kind="status", vendor="openai", status=500))
    app.fault(Fault(kind="status", vendor="*", status=503))
    assert [(await call.openai(chat())).status for _ in range(3)] == [500, 503, 200]
    assert (await call.claude(claude())).status == 529


@pytest.mark.parametrize("stream", [False, True])
async def test_truncation_ends_the_connection_without_an_end(app, call, stream):
    for fault in (Fault(kind="truncate", after=2), Fault(kind="truncate_bytes", after=300)):
        app.fault(fault)
        with pytest.raises(ConnectionCut):
            await call.openai(chat(stream=stream))
        assert app.bill.lines[-1].status == "failed"
        assert app.bill.lines[-1].tokens.input > 0


async def test_garbage_in_the_middle_of_a_stream(app, call):
    for kind, bytes_ in (("bad_utf8", b"\xff\xfe"), ("bad_json", b"data: {not json"), ("long_line", b"x" * 1000)):
        app.fault(Fault(kind=kind, after=2))
        response = await call.openai(chat(stream=True))
        assert bytes_ in response.frames[2]
        assert response.frames[-1] == b"data: [DONE]\n\n"
        assert len(response.body) > (10_000_000 if kind == "long_line" else 0)


async def test_an_error_may_come_in_the_middle_of_a_stream(app, call):
    app.fault(Fault(kind="error_event", after=3))
    response = await call.claude(claude(stream=True))
    assert response.frames[-1].startswith(b"event: error\n")
    assert (response.status, response.finished, app.bill.lines[-1].status) == (200, True, "failed")


@pytest.mark.parametrize(("kind", "start"), [("html", b"<!doctype html>"), ("empty", b""), ("error_body", b'{"error":{"message":"The sandbox')])
async def test_status_200_without_an_answer_costs_nothing(app, call, kind, start):
    app.fault(Fault(kind=kind))
    response = await call.openai(chat())
    assert response.status == 200
    assert response.body.startswith(start)
    assert (app.bill.lines[-1].status, app.bill.nano_usd) == ("failed", 0)


async def test_missing_usage_is_still_charged(app, call):
    app.fault(Fault(kind="no_usage", times=3))
    assert "usage" not in (await call.openai(chat())).json
    streamed = await call.openai(chat(stream=True, stream_options={"include_usage": True}))
    assert not any(event.get("usage") for event in streamed.events[:-1])
    assert "usage" not in (await call.claude(claude())).json
    assert all(line.nano_usd > 0 for line in app.bill.lines)


async def test_stalls_last_until_released_or_for_their_seconds(clock, call):
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    app = create_app(clock, sleep=sleep)
    call.app = app
    app.fault(Fault(kind="stall", after=2, seconds=9.0))
    assert (await call.openai(chat(stream=True))).finished
    app.fault(Fault(kind="stall_start"))
    task = asyncio.create_task(call.openai(chat()))
    await app.stalling(1)
    assert not task.done()
    app.release()
    assert (await task).status == 200
    assert slept == [9.0]


async def test_scripted_answers_come_first(app, call):
    app.script(Scripted(text="exactly this"), Scripted(vendor="anthropic", thinking="hm", calls=(ToolCall("f", '{"a": 1.0}'),)))
    assert (await call.openai(chat())).json["choices"][0]["message"]["content"] == "exactly this"
    assert [block["type"] for block in (await call.claude(claude())).json["content"]] == ["thinking", "tool_use"]


async def test_control_endpoints_work_from_outside(app, call):
    async def post(name: str, body: Any = None) -> int:
        return (await call.request("POST", f"/__sandbox/{name}", json.dumps(body).encode() if body is not None else b"")).status

    async def get(name: str) -> Any:
        return (await call.request("GET", f"/__sandbox/{name}")).json

    assert await post("faults", {"kind": "status", "status": 503}) == 200
    assert await post("faults", {"kind": "nonsense"}) == 400
    assert await post("script", [{"text": "from outside"}]) == 200
    assert (await call.openai(chat())).status == 503
    assert (await call.openai(chat())).json["choices"][0]["message"]["content"] == "from outside"
    assert await post("hold", {"vendor": "openai"}) == 200
    task = asyncio.create_task(call.openai(chat()))
    await app.waiting(1)
    assert await get("hold") == {"held": ["openai"], "waiting": 1}
    assert await post("release") == 200
    await task
    before = app.clock.time_ns()
    assert await post("clock", {"advance_s": 1.5}) == 200
    assert app.clock.time_ns() - before == 1_500_000_000
    log = (await get("requests?last=1"))["requests"][0]
    assert (json.loads(log["body"]), log["headers"]["authorization"]) == (chat(), "***")
    assert len((await get("bill"))["lines"]) == 3
    assert await post("reset") == 200
    assert (await get("bill"))["lines"] == []
    assert await post("nowhere") == 404


async def test_log_keeps_the_newest_requests_raw(app, call):
    for number in range(1005):
        await call.post("/echo/v1/chat/completions", chat(str(number), "echo"))
    assert len(app.requests) == 1000
    assert json.loads(app.requests.items[-1].body)["messages"][0]["content"] == "1004"
    assert app.requests.items[-1].headers["authorization"] == "Bearer k"


async def test_another_seed_gives_other_answers(clock, call):
    first = (await call.openai(chat())).json["choices"]
    call.app = create_app(clock, seed=1)
    assert (await call.openai(chat())).json["choices"] != first
