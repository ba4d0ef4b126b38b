"""Providers that break in every way: a clear error in the client's dialect, nothing kept, no clean end where there was none."""

import asyncio
import json
import tracemalloc

import pytest
from msgspec.structs import replace
from rig import Response, Rig, call, question, until

from tokenrouter.errors import UpstreamFailed, UpstreamTruncated
from tokenrouter.sandbox.faults import Fault
from tokenrouter.upstream.asgi_transport import AsgiTransport
from tokenrouter.upstream.transport import Timeouts

LONG = "Answer in 300 words, please."
NATIVE, TRANSLATED = "gpt-4.1", "claude-sonnet-4-5"
MODELS = (NATIVE, TRANSLATED)


def broken(answer: Response, status: int, code: str) -> str:
    """Check a whole error; gives its message."""
    assert (answer.status, answer.error["code"]) == (status, code), answer.body
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.finished
    return answer.error["message"]


def broken_stream(answer: Response, code: str) -> str:
    """Check that a stream ends with an error and nothing else; gives its message."""
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    *said, last = answer.events
    assert "[DONE]" not in said
    assert set(last["error"]) == {"message", "type", "param", "code"}
    assert last["error"]["code"] == code, last
    assert not any("error" in event for event in said)
    assert answer.finished
    return last["error"]["message"]


async def fine(rig: Rig, model: str) -> None:
    """The gateway goes on, and nothing of the trouble was kept."""
    answer = await rig.chat(question(LONG, model=model))
    assert (answer.status, answer.cache) == (200, "miss")
    assert (rig.held(), rig.services.flights.under_way) == (0, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("retry_after", ["7", "Wed, 21 Oct 2099 07:28:00 GMT", "soon", "1000000000"])
@pytest.mark.parametrize("model", MODELS)
async def test_a_rate_limit_passes_with_its_words_and_its_retry_after(rig: Rig, model: str, retry_after: str, stream: bool):
    rig.sandbox.fault(Fault(kind="status", status=429, retry_after=retry_after, message="Slow down, please."))
    answer = await rig.chat(question(LONG, model=model, stream=stream))
    assert (answer.status, answer.headers["retry-after"]) == (429, retry_after)
    assert "Slow down, please." in answer.error["message"]
    assert answer.headers["content-type"].startswith("application/json")
    await fine(rig, model)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 404, 408, 409, 413, 422, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("model", MODELS)
async def test_a_refusal_passes_with_its_status_and_its_words(rig: Rig, model: str, status: int, stream: bool):
    rig.sandbox.fault(Fault(kind="status", status=status, message="No, because of reasons."))
    answer = await rig.chat(question(LONG, model=model, stream=stream))
    assert answer.status == status
    assert "No, because of reasons." in answer.error["message"]
    assert "x-tokenrouter-cost-usd" not in answer.headers
    await fine(rig, model)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [401, 403, 407])
@pytest.mark.parametrize("model", MODELS)
async def test_a_refused_credential_of_ours_is_never_the_clients_401_and_never_shown(rig: Rig, model: str, status: int, stream: bool):
    rig.sandbox.fault(Fault(kind="status", status=status, message="Incorrect API key provided: sk-live-SECRET."))
    answer = await rig.chat(question(LONG, model=model, stream=stream))
    assert "SECRET" not in answer.body.decode() + str(answer.headers)
    assert str(status) in broken(answer, 502, "upstream_error")
    await fine(rig, model)


@pytest.mark.parametrize("kind", ["error_body", "html", "empty"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
async def test_a_200_that_is_no_answer_is_an_error(rig: Rig, model: str, stream: bool, kind: str):
    rig.sandbox.fault(Fault(kind=kind, message="Quietly failing."))
    answer = await rig.chat(question(LONG, model=model, stream=stream))
    said = broken_stream(answer, answer.events[-1]["error"]["code"]) if answer.status == 200 else broken(answer, 502, answer.error["code"])
    assert said
    assert "<html" not in said
    if kind == "error_body" and not stream:
        assert "Quietly failing." in said
    await fine(rig, model)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
async def test_a_provider_that_never_begins_is_a_504(rig: Rig, model: str, stream: bool):
    rig.timeouts(first_byte=0.05, idle=5)
    rig.sandbox.fault(Fault(kind="stall_start"))
    answer = await rig.chat(question(LONG, model=model, stream=stream))
    broken(answer, 504, "upstream_timeout")
    await fine(rig, model)


@pytest.mark.parametrize("after", [0, 1, 8])
@pytest.mark.parametrize("model", MODELS)
async def test_a_stream_that_falls_silent_ends_with_an_error(rig: Rig, model: str, after: int):
    rig.timeouts(first_byte=5, idle=0.05)
    rig.sandbox.fault(Fault(kind="stall", after=after))
    answer = await rig.chat(question(LONG, model=model, stream=True))
    if answer.status == 200:
        assert "silent" in broken_stream(answer, "upstream_timeout")
    else:
        broken(answer, 504, "upstream_timeout")
    await fine(rig, model)


async def test_a_translated_stream_that_pauses_says_that_it_lives_and_a_relayed_one_is_left_alone(rig: Rig):
    rig.set(switches=replace(rig.services.switches, keep_alive_s=0.01))
    for model, told in (("claude-opus-4-8", True), ("gpt-4.1", False)):
        rig.sandbox.fault(Fault(kind="stall", after=4))
        answer = Response()
        asked = asyncio.create_task(rig.chat(question(LONG, model=model, stream=True), into=answer))
        await rig.sandbox.stalling(1)
        if told:
            await until(lambda answer=answer: b": keep-alive\n\n" in answer.body)
        rig.sandbox.release()
        await asked
        assert (b": keep-alive" in answer.body) is told
        assert answer.events[-1] == "[DONE]"


@pytest.mark.parametrize("model", MODELS)
async def test_a_whole_answer_that_falls_silent_is_a_504(rig: Rig, model: str):
    rig.timeouts(first_byte=5, idle=0.05)
    rig.sandbox.fault(Fault(kind="stall"))
    broken(await rig.chat(question(LONG, model=model)), 504, "upstream_timeout")
    await fine(rig, model)


@pytest.mark.parametrize("model", MODELS)
async def test_no_cut_of_a_stream_anywhere_looks_like_its_end(rig: Rig, model: str):
    body = question("Answer in 12 words.", model=model, stream=True)
    whole = await rig.chat(body, headers={"cache-control": "no-store"})
    size = len(await _raw(rig, model, body))
    for cut in [*range(0, size, 17), size - 1]:
        rig.sandbox.fault(Fault(kind="truncate_bytes", after=cut))
        answer = await rig.chat(body, headers={"cache-control": "no-store"})
        if answer.status == 200:
            broken_stream(answer, "upstream_truncated")
            assert whole.text.startswith(answer.text)
        else:
            broken(answer, 502, answer.error["code"])
        assert not rig.services.answers._memory._answers
    assert (await rig.chat(body)).text == whole.text


async def _raw(rig: Rig, model: str, body: dict) -> bytes:
    """A stream as the vendor writes it."""
    sent = rig.sandbox.requests.items[-1]
    from rig import call

    prefix = "/openai" if model == NATIVE else "/anthropic"
    return (await call(rig.sandbox, "POST", prefix + sent.path, sent.body, sent.headers)).body


@pytest.mark.parametrize("model", MODELS)
async def test_no_cut_of_a_whole_answer_is_taken_for_one(rig: Rig, model: str):
    body = question("Answer in 12 words.", model=model)
    for cut in range(0, 900, 41):
        rig.sandbox.fault(Fault(kind="truncate_bytes", after=cut))
        answer = await rig.chat(body, headers={"cache-control": "no-store"})
        if answer.status != 200:
            broken(answer, 502, "upstream_truncated")
        else:
            assert answer.json["choices"][0]["finish_reason"] == "stop"  # the cut lay behind the end
    await fine(rig, model)


@pytest.mark.parametrize("kind", ["bad_utf8", "bad_json", "long_line"])
@pytest.mark.parametrize("model", MODELS)
async def test_garbage_in_a_stream_is_an_error_or_passes_unread_but_never_kills(rig: Rig, model: str, kind: str):
    rig.sandbox.fault(Fault(kind=kind, after=5))
    answer = await rig.chat(question(LONG, model=model, stream=True))
    assert answer.status == 200
    assert answer.finished
    assert answer.events[-1] == "[DONE]" or "error" in answer.events[-1]
    if kind == "long_line":
        broken_stream(answer, "upstream_error")
        assert len(answer.body) < 1 << 20
    if answer.events[-1] != "[DONE]":
        broken_stream(answer, answer.events[-1]["error"]["code"])
    again = await rig.chat(question(LONG, model=model, stream=True))
    assert again.text
    assert again.body.decode()


@pytest.mark.parametrize("after", [0, 1, 7])
@pytest.mark.parametrize("model", MODELS)
async def test_an_error_inside_a_stream_reaches_the_client_as_one(rig: Rig, model: str, after: int):
    rig.sandbox.fault(Fault(kind="error_event", after=after))
    answer = await rig.chat(question(LONG, model=model, stream=True))
    if answer.status == 200:
        assert broken_stream(answer, answer.events[-1]["error"]["code"])
    else:
        broken(answer, 502, "upstream_error")
    await fine(rig, model)


class Feeding:
    """A transport whose answer is given byte for byte: `parts` of a body, then what ends it."""

    def __init__(self, parts, end=None, status: int = 200, headers=(("content-type", "text/event-stream"),)) -> None:
        self.parts, self.end, self.status, self.headers = parts, end, status, tuple(headers)
        self.asked = 0
        self.closed = 0

    async def send(self, url, headers, body):
        self.asked += 1
        return self

    async def read(self):
        return b"".join([part async for part in self.chunks()])

    async def chunks(self):
        for part in self.parts:
            await asyncio.sleep(0)
            yield part
        if self.end is not None:
            raise self.end

    async def aclose(self):
        self.closed += 1


def chunk(text: str, finish: str | None = None, **more) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return (
        b"data: " + json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}).encode() + b"\n\n"
    )


USAGE = b'data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13}}\n\n'
DONE = b"data: [DONE]\n\n"
GOOD = chunk("a ") + chunk("b \u00e9\U0001f600") + chunk("", "stop") + USAGE + DONE


async def fed(rig: Rig, parts, *, stream: bool = True, **more) -> Response:
    """The answer to a question when the provider says `parts`."""
    real = rig.services.sandbox_transport
    rig.set(sandbox_transport=Feeding(parts, **more))
    try:
        return await rig.chat(question(stream=stream), headers={"cache-control": "no-store"})
    finally:
        rig.set(sandbox_transport=real)


async def test_a_stream_may_be_cut_into_any_pieces(rig: Rig):
    for size in (1, 2, 3, 7, 64, len(GOOD)):
        answer = await fed(rig, [GOOD[at : at + size] for at in range(0, len(GOOD), size)])
        assert (answer.text, answer.events[-1]) == ("a b \u00e9\U0001f600", "[DONE]"), size
    crlf = GOOD.replace(b"\n", b"\r\n")
    for size in (1, 5, len(crlf)):
        answer = await fed(rig, [crlf[at : at + size] for at in range(0, len(crlf), size)])
        assert (answer.text, answer.events[-1]) == ("a b \u00e9\U0001f600", "[DONE]"), size
    assert {(row["fresh_input"], row["output"]) for row in rig.billed_rows()} == {(10, 3)}


@pytest.mark.parametrize(
    ("said", "settled"),
    [
        (GOOD, "exact"),
        (b": keep-alive\n\n" + GOOD, "exact"),
        (GOOD.replace(DONE, USAGE + DONE), "exact"),
        (GOOD + chunk("after the end"), "exact"),
        (GOOD + b"x" * 100_000, "exact"),
        (GOOD[: -len(DONE)], "exact"),
        (chunk("a") + chunk("", "stop") + DONE, "estimated"),
        (chunk("a", usage={"prompt_tokens": -1, "completion_tokens": 1}) + chunk("", "stop") + DONE, "estimated"),
        (chunk("a", usage={"prompt_tokens": 1.5, "completion_tokens": "1"}) + chunk("", "stop") + DONE, "estimated"),
        (chunk("a", usage={"prompt_tokens": 1 << 63, "completion_tokens": 1}) + chunk("", "stop") + DONE, "estimated"),
        (chunk("a", usage=[]) + chunk("", "stop") + DONE, "estimated"),
        (chunk("a", usage="x") + chunk("", "stop") + DONE, "estimated"),
    ],
)
async def test_odd_streams_that_end_are_passed_on_and_booked(rig: Rig, said: bytes, settled: str):
    answer = await fed(rig, [said])
    assert (answer.status, answer.text[:1]) == (200, "a")
    assert "after the end" not in answer.text
    (row,) = rig.billed_rows()
    assert row["settled"] == settled
    assert min(row["cost"], row["fresh_input"], row["output"]) > 0


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\n\n\n\n",
        b": nothing\n\n",
        DONE,
        chunk("a"),
        chunk("a") + USAGE,
        chunk("a")[:-30],
        b"data: [1,2]\n\n" + GOOD,
        b"data: null\n\n",
        b"<html>" + b"x" * 1000,
        b'{"id":"x","choices":[]}',
        b"data: " + b"[" * 100_000 + b"\n\n" + DONE,
        b"\x00" * 5000,
        b"\xff" * 5000,
        b'data: {"error":{"message":"boom"}}\n\n' + GOOD,
        b'data: {"error":"boom"}\n\n',
        chunk("a") + b'event: error\ndata: {"error":{"message":"boom","code":1}}\n\n' + DONE,
    ],
)
async def test_odd_streams_never_break_the_gateway(rig: Rig, said: bytes):
    for size in (7, 1 << 20):
        answer = await fed(rig, [said[at : at + size] for at in range(0, len(said), size)])
        assert answer.finished
        if answer.status == 200:
            assert answer.events[-1] == "[DONE]" or answer.events[-1]["error"]["code"]
        else:
            broken(answer, 502, answer.error["code"])
    assert rig.held() == 0
    assert (await rig.chat()).status == 200


@pytest.mark.parametrize("end", [UpstreamTruncated("gone"), UpstreamFailed("gone")])
async def test_a_broken_connection_after_the_last_frame_is_still_an_error_to_the_books_only_if_the_end_was_missing(rig: Rig, end):
    """`[DONE]` came, then the connection broke: nothing is missing from the answer."""
    answer = await fed(rig, [GOOD], end=end)
    assert answer.status == 200
    assert answer.text == "a b \u00e9\U0001f600"
    assert rig.billed_rows()[0]["cost"] > 0


@pytest.mark.parametrize("status", [204, 301, 302, 307, 308])
async def test_no_redirect_is_followed_or_passed_on(rig: Rig, status: int):
    headers = (("location", "http://169.254.169.254/"), ("content-type", "application/json"))
    for body in (b"", b'{"error":{"message":"moved"}}'):
        answer = await fed(rig, [body], stream=False, status=status, headers=headers)
        broken(answer, 502, "upstream_error")
        assert "location" not in answer.headers


async def test_headers_of_a_provider_pass_but_for_those_of_the_connection_and_of_the_account(rig: Rig):
    theirs = (
        ("content-type", "application/json"),
        ("x-request-id", "req_1"),
        ("X-RateLimit-Remaining-Requests", "5"),
        ("anthropic-ratelimit-tokens-remaining", "5"),
        ("anthropic-priority-input-tokens-remaining", "5"),
        ("ratelimitbysize-remaining", "5"),
        ("RateLimit-Policy", "5;w=60"),
        ("set-cookie", "a=b"),
        ("server", "x"),
        ("transfer-encoding", "chunked"),
        ("content-length", "99999"),
        ("connection", "keep-alive"),
        ("openai-organization", "org-secret"),
        ("X-TokenRouter-Cost-USD", "0.00000001"),
        ("strict-transport-security", "max-age=1"),
    )
    body = json.dumps({"id": "x", "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}).encode()
    answer = await fed(rig, [body], stream=False, headers=theirs)
    assert answer.status == 200
    assert answer.headers["x-request-id"] == "req_1"
    assert not [name for name in answer.headers if "ratelimit" in name.lower() or "remaining" in name]
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["x-tokenrouter-cost-usd"] != "0.00000001"
    assert not {"set-cookie", "server", "transfer-encoding", "connection", "openai-organization", "strict-transport-security"} & set(answer.headers)
    assert len({name for name, _ in answer.raw_headers}) == len(answer.raw_headers)


async def test_what_a_client_sends_in_headers_stays_here(rig: Rig):
    secret = {"cookie": "a=b", "x-forwarded-for": "1.2.3.4", "openai-organization": "org-mine", "x-api-key": "other", "user-agent": "mine"}
    for model in MODELS:
        assert (await rig.chat(question(model=model), headers=secret)).status == 200
    for sent in rig.sandbox.requests.items:
        assert not {"cookie", "x-forwarded-for", "openai-organization"} & set(sent.headers)
        assert rig.key not in str(sent.headers) + sent.body.decode()
        assert "other" not in sent.headers.values()


async def test_our_own_fields_never_reach_a_provider(rig: Rig):
    for model in MODELS:
        body = question(model=model, **{"x-cache": "off", "x-metadata": True, "x-routing-strategy": "cheapest", "x-anything": {"a": 1}})
        assert (await rig.chat(body)).status == 200
    for sent in rig.sandbox.requests.items:
        assert b"x-" not in sent.body
        assert b'"x_' not in sent.body


async def test_with_all_edits_off_the_body_goes_up_as_it_came(rig: Rig):
    raw = b'{ "model":"gpt-4.1" ,"messages":[{"content":"\\u0068i","role":"user"}], "top_p":1.0, "new_field" : {"b":1,"a":[2.50]}\n}'
    answer = await rig.chat(raw, headers={"x-edits-off": "all"})
    (sent,) = rig.sandbox.requests.items
    assert sent.body == raw
    assert (answer.headers["x-tokenrouter-edits"], answer.headers.get("x-tokenrouter-dropped")) == ("none", None)


async def test_a_reader_that_stops_reading_holds_nobody_else_up(rig: Rig):
    """The slow one gets everything in the end; the others get theirs at once."""
    go = asyncio.Event()
    body = question(LONG, stream=True)
    slow = Response()
    task = asyncio.create_task(rig.chat(body, headers={"cache-control": "no-store"}, pace=go.wait, into=slow))
    await until(lambda: slow.status == 200)
    others = [await rig.chat(question(f"{n}", stream=True)) for n in range(20)]
    assert all(answer.events[-1] == "[DONE]" for answer in others)
    assert not slow.frames
    go.set()
    await task
    assert slow.events[-1] == "[DONE]"


async def test_an_endless_stream_is_cut_before_it_fills_the_memory(rig: Rig):
    frame = chunk("word " * 20_000)

    class Endless(Feeding):
        async def chunks(self):
            while True:
                await asyncio.sleep(0)
                yield frame

    real = rig.services.sandbox_transport
    rig.set(sandbox_transport=Endless(()))
    tracemalloc.start()
    try:
        async with asyncio.timeout(60):
            answer = await rig.chat(question(stream=True, model="gpt-4.1", max_tokens=10), headers={"cache-control": "no-store"})
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        rig.set(sandbox_transport=real)
    assert "error" in answer.events[-1]
    assert peak < 400 << 20
    assert (await rig.chat()).status == 200


async def test_an_answer_in_a_coding_that_was_not_asked_for_is_refused(rig: Rig):
    """The network transport asks for identity; a provider that compresses all the same is not relayed as bytes that nobody can read."""
    import gzip

    class Coded:
        async def __call__(self, scope, receive, send):
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": gzip.compress(b"{}")})

    real = rig.services.sandbox_transport
    rig.set(sandbox_transport=AsgiTransport(Coded(), Timeouts()))
    broken(await rig.chat(), 502, "upstream_error")
    rig.set(sandbox_transport=real)


def event(**said) -> bytes:
    return b"data: " + json.dumps(said).encode() + b"\n\n"


BEGUN = event(type="message_start", message={"id": "m", "role": "assistant", "content": [], "usage": {"input_tokens": 5, "output_tokens": 1}})
NO_TEXT = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": "HERE"}}
CALLED = event(type="content_block_start", index=0, content_block=NO_TEXT).replace(b"HERE", b"\xff")
OVER = event(type="message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 5}) + event(type="message_stop")
WHOLE = json.dumps({"id": "m", "type": "message", "role": "assistant", "content": [NO_TEXT], "stop_reason": "tool_use"}).encode()


@pytest.mark.parametrize(
    ("said", "kind", "settled"),
    [
        (BEGUN + CALLED, "text/event-stream", "estimated"),
        (BEGUN + CALLED + OVER, "text/event-stream", "exact"),
        (WHOLE.replace(b"HERE", b"\xff"), "application/json", "estimated"),
    ],
)
async def test_an_answer_that_is_no_text_is_passed_on_and_booked(rig: Rig, said: bytes, kind: str, settled: str):
    rig.set(sandbox_transport=Feeding([said], headers=(("content-type", kind),)))
    asked = {"model": "claude-sonnet-4-5", "max_tokens": 50, "stream": kind != "application/json", "messages": [{"role": "user", "content": "hi"}]}
    asked["tools"] = [{"name": "f", "input_schema": {"type": "object"}}]
    answer = await asyncio.wait_for(call(rig.app, "POST", "/v1/messages", json.dumps(asked).encode(), {"x-api-key": rig.key}), 10)
    assert answer.status == 200
    assert b"\xff" in answer.body
    assert not rig.services.flights.under_way
    assert not rig.held()
    (row,) = rig.billed_rows()
    assert (row["settled"], row["cost"] > 0) == (settled, True)
