"""What is shown of a request: headers, the body's own figures, records, metrics. All say the same, and only to their owner."""

import asyncio
import random
import re
from collections import Counter
from decimal import Decimal

import msgspec
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from prometheus_client.parser import text_string_to_metric_families
from rig import ADMIN_KEY, Rig, call, question

from tokenrouter.sandbox.faults import Fault

NO_STORE = {"cache-control": "no-store"}
ID = "x-tokenrouter-request-id"


async def families(rig: Rig) -> dict:
    text = (await rig.get("/metrics")).body.decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


async def total(rig: Rig, name: str, **labels: str) -> Decimal:
    samples = [sample for family in (await families(rig)).values() for sample in family.samples if sample.name == name]
    return sum((Decimal(str(s.value)) for s in samples if labels.items() <= s.labels.items()), Decimal(0))


async def traffic(rig: Rig) -> None:
    """A bit of everything."""
    big = {"role": "system", "content": "Rules. " * 4000}
    for model in ("gpt-4.1", "claude-sonnet-4-5", "echo"):
        for stream in (False, True):
            for turn in range(3):
                messages = [big, {"role": "user", "content": f"{turn % 2}: Answer in 40 words"}]
                await rig.chat(question(model=model, stream=stream, messages=messages))
    rig.sandbox.fault(Fault(kind="truncate", after=3))
    await rig.chat(question("cut", stream=True))
    rig.sandbox.fault(Fault(kind="status", status=500))
    await rig.chat(question("refused"))
    await rig.chat(b"{")
    await rig.chat(question(model="nobody"))
    await rig.together(3, lambda _: rig.chat(question("shared"), headers=NO_STORE), calls=1)
    await rig.chat(question("Answer in 300 words, and I leave", stream=True), hang_up_after=2)
    gone = asyncio.Event()
    rig.sandbox.fault(Fault(kind="stall_start"))
    leaver = asyncio.create_task(rig.chat(question("nobody waits for this"), gone=gone))
    await rig.sandbox.stalling(1)
    gone.set()
    await leaver
    rig.sandbox.release()
    await rig.landed()


async def test_metrics_add_up_to_the_ledger(rig: Rig):
    await traffic(rig)
    rows = rig.rows()
    nano = Decimal(1_000_000_000)
    assert await total(rig, "tokenrouter_cost_usd_total") == sum(row["cost"] for row in rows) / nano
    for source in ("prompt_cache", "exact", "dedup"):
        saved = sum(row[f"saved_{source}"] for row in rows)
        assert await total(rig, "tokenrouter_saved_usd", source=source) == saved / nano, source
        assert saved > 0
    billed = [row for row in rows if row["settled"] != "free"]
    for bucket in ("fresh_input", "cache_read", "cache_write", "cache_write_1h", "output"):
        assert await total(rig, "tokenrouter_tokens_total", bucket=bucket) == sum(row[bucket] for row in billed), bucket
    assert sum(line.nano_usd for line in rig.sandbox.bill.lines if line.vendor != "echo") <= sum(row["cost"] for row in rows)


async def test_every_request_is_counted_once(rig: Rig):
    await traffic(rig)
    assert await total(rig, "tokenrouter_requests_total") == 18 + 4 + 3 + 2
    by_cache = Counter()
    for sample in (await families(rig))["tokenrouter_requests"].samples:
        by_cache[sample.labels["cache"]] += int(sample.value)
    assert by_cache["coalesced"] == 2
    assert by_cache["hit"] == 12
    assert await total(rig, "tokenrouter_errors_total", code="upstream_truncated") == 1
    assert await total(rig, "tokenrouter_calls_under_way") == 0


async def test_names_of_metrics_follow_the_rules(rig: Rig):
    await traffic(rig)
    text = (await rig.get("/metrics")).body.decode()
    for family in text_string_to_metric_families(text):
        assert re.fullmatch(r"tokenrouter_[a-z0-9_]+", family.name)
        assert family.documentation
        assert not re.search(r"_(ms|millis|milliseconds|us|ns|kb|mb)\b", family.name)
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total") or sample.name.endswith("_created")
            else:
                assert not sample.name.endswith("_total")
            assert not {"key", "key_id", "tenant", "user", "request_id"} & set(sample.labels)


async def test_ten_thousand_invented_models_make_no_new_series(rig: Rig):
    prefixes = ["", "openai/", "gpt-", "anthropic/", "claude-"]
    for prefix in prefixes:
        await rig.chat(question(model=f"{prefix}warm-up"))
    before = (await rig.get("/metrics")).body.count(b"\n")
    rng = random.Random(1)
    for number in range(500):
        await rig.chat(question(model=f"{rng.choice(prefixes)}invented-{number}"))
    known = rig.services.recorder.find((await rig.chat()).headers[ID], "default")
    settled = (await rig.get("/metrics")).body.count(b"\n")
    for number in range(10_000):
        rig.services.recorder.metrics.add(msgspec.structs.replace(known, model=f"invented-{number}", vendor=rng.choice(["openai", f"v-{number}"])))
    after = await rig.get("/metrics")
    assert settled - before < 40  # one listed model more
    assert after.body.count(b"\n") - settled < 40  # "other", once per vendor
    assert b"invented" not in after.body


async def test_metrics_are_open_on_this_machine_and_for_the_admin_elsewhere(start):
    async with start() as rig:
        assert (await call(rig.app, "GET", "/metrics")).status == 200
    async with start(HOST="0.0.0.0") as rig:
        assert (await call(rig.app, "GET", "/metrics")).status == 401
        assert (await rig.get("/metrics")).status == 401
        assert (await rig.get("/metrics", key=ADMIN_KEY)).status == 200
    async with start(HOST="0.0.0.0", METRICS_PUBLIC="true") as rig:
        assert (await call(rig.app, "GET", "/metrics")).status == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
async def test_headers_say_who_answered_and_what_it_cost(rig: Rig, model: str, stream: bool):
    miss, hit = await rig.chat(question(model=model, stream=stream)), await rig.chat(question(model=model, stream=stream))
    for answer, cache in ((miss, "miss"), (hit, "hit")):
        headers = answer.headers
        assert re.fullmatch(r"req_[0-9a-f]{24}", headers[ID])
        assert headers["x-tokenrouter-provider"] == ("openai" if model == "gpt-4.1" else "anthropic")
        assert headers["x-tokenrouter-cache"] == cache
        assert headers["x-tokenrouter-sandbox"] == "true"
        assert "x-tokenrouter-edits" in headers
        assert ("x-tokenrouter-cost-usd" in headers) == ("x-tokenrouter-saved-usd" in headers) == (not stream or "x-tokenrouter-cost-usd" in headers)
    if not stream:
        assert Decimal(miss.headers["x-tokenrouter-cost-usd"]) == Decimal(rig.spent()) / 1_000_000_000 > 0
        assert hit.headers["x-tokenrouter-cost-usd"] == "0.00"
        assert hit.headers["x-tokenrouter-saved-usd"] == miss.headers["x-tokenrouter-cost-usd"]
        assert "x-tokenrouter-cached-tokens" in miss.headers
    else:
        assert "x-tokenrouter-cost-usd" not in miss.headers  # not known before the stream
    assert miss.headers[ID] != hit.headers[ID]


async def test_edits_are_named_where_they_were_made(rig: Rig):
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("b", "a")]
    sorted_ = await rig.chat(question(tools=tools, stream=True))
    assert {"tools.order", "usage.ask"} <= set(sorted_.headers["x-tokenrouter-edits"].split(","))
    assert await total(rig, "tokenrouter_edits_total", edit="tools.order") == 1
    off = await rig.chat(question(tools=tools, stream=True), headers={"x-edits-off": "tools.order,usage.ask", **NO_STORE})
    assert not {"tools.order", "usage.ask"} & set(off.headers["x-tokenrouter-edits"].split(","))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_shown_to_its_own_tenant_only(rig: Rig, stream: bool):
    mine, same, other = rig.new_key("acme"), rig.new_key("acme"), rig.new_key("evil")
    answer = await rig.chat(question(stream=stream), key=mine)
    place = f"/v1/requests/{answer.headers[ID]}"
    shown = (await rig.get(place, key=mine)).json
    assert (shown["model"], shown["cache"], shown["settled"], shown["stream"]) == ("gpt-4.1", "miss", "exact", stream)
    assert Decimal(shown["cost_usd"]) == Decimal(rig.spent(mine)) / 1_000_000_000
    assert (await rig.get(place, key=same)).status == 200
    for stranger in (other, rig.key):
        refused = await rig.get(place, key=stranger)
        assert (refused.status, refused.error["code"]) == (404, "not_found")
    assert (await rig.get("/v1/requests/req_nothing")).status == 404


async def test_a_request_is_still_shown_after_a_restart(start):
    async with start() as rig:
        key, other = rig.new_key("acme"), rig.new_key("evil")
        answer = await rig.chat(key=key)
        place = f"/v1/requests/{answer.headers[ID]}"
        before = (await rig.get(place, key=key)).json
    async with start() as rig:
        after = (await rig.get(place, key=key)).json
        assert {name: after[name] for name in ("usage", "cost_usd", "cache", "model", "status")} == {
            name: before[name] for name in ("usage", "cost_usd", "cache", "model", "status")
        }
        assert (await rig.get(place, key=other)).status == 404


@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize("wish", [{"headers": {"x-metadata": "true"}}, {"body": {"x-metadata": True}}])
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
async def test_figures_come_before_the_end_of_a_stream_and_the_sdk_can_read_on(rig: Rig, model: str, wish: dict, include_usage: bool):
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    body = question(model=model, stream=True, **options, **wish.get("body", {}))
    for cache in ("miss", "hit"):
        answer = await rig.chat(body, headers=wish.get("headers"))
        *chunks, done = answer.events
        assert done == "[DONE]"
        place = len(chunks) - (2 if include_usage else 1)  # accumulators read the usage last
        figures = chunks[place]["x_tokenrouter"]
        assert (figures["cache"], figures["sandbox"], figures["settled"]) == (cache, True, "exact" if cache == "miss" else "free")
        assert (Decimal(figures["cost_usd"]) > 0) == (cache == "miss")
        assert [number for number, chunk in enumerate(chunks) if "x_tokenrouter" in chunk] == [place]
        state = ChatCompletionStreamState()
        for chunk in chunks:
            state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
        final = state.get_final_completion()
        assert final.choices[0].message.content == answer.text
        assert final.choices[0].finish_reason == "stop"
        if include_usage:
            assert final.usage.completion_tokens > 0
        shown = (await rig.get(f"/v1/requests/{answer.headers[ID]}")).json
        assert {name: shown[name] for name in figures} == figures


async def test_nobody_gets_figures_who_did_not_ask(rig: Rig):
    bodies = [question(stream=stream) for stream in (False, True)]
    asked = await rig.together(4, lambda n: rig.chat(bodies[n % 2], headers={"x-metadata": "1"} if n > 1 else {}), calls=2)
    assert [b"x_tokenrouter" in answer.body for answer in asked] == [False, False, True, True]
