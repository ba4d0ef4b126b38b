"""The native lane of Anthropic's API: nothing but the published edits goes up, and streams cut anywhere come down the same."""

import json
from itertools import pairwise

import msgspec
import pytest
from anthropic_requests import HOUR, MARK, marked_requests, marking_places, requests
from chat_requests import Respelled, deep_copy
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support import NO_EDITS, SEED, as_body, catalog, marks_in, see
from support import lane as lane_of
from support import render as render_in
from test_relay import message_streams

from tokenrouter.adapters.inbound.anthropic import AnthropicMessagesDialect
from tokenrouter.adapters.outbound.anthropic_native import AnthropicCountNative, AnthropicNative
from tokenrouter.adapters.outbound.anthropic_relay import MessagesRelay
from tokenrouter.adapters.wire.foreign_reasoning import seal
from tokenrouter.errors import InvalidRequest, UpstreamFailed
from tokenrouter.model.answer import Reasoning
from tokenrouter.model.cache_plan import NO_PLAN
from tokenrouter.model.edits import DEFAULT_EDITS
from tokenrouter.pipeline.canonicalizer import Memo
from tokenrouter.pipeline.chunker import chunk

DIALECT = AnthropicMessagesDialect()
OPUS, HAIKU = "claude-opus-4-8", "claude-haiku-4-5"
LINE = "x-anthropic-billing-header: cc_version=1; cch=abc;"


def render(request, model=OPUS, **more):
    return render_in(request, model, dialect=DIALECT, **more)


def without_marks(value):
    """A prompt without directives: payload is not looked into."""
    if isinstance(value, list):
        return [without_marks(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: inner if name in ("input", "input_schema") else without_marks(inner) for name, inner in value.items() if name != "cache_control"}


def as_prompt(raw):
    """What the vendor reads: a string is one text block, directives are nothing, tools are in the order of their names."""
    request = without_marks(json.loads(raw))
    for holder, name in ((request, "system"), *((message, "content") for message in request["messages"])):
        if isinstance(holder.get(name), str) and holder[name]:
            holder[name] = [{"type": "text", "text": holder[name]}]
    if "tools" in request:
        request["tools"] = sorted(request["tools"], key=lambda tool: tool["name"])
    return json.dumps(request, sort_keys=False)


def ordered(raw):
    """The same, the members of the outside in one order."""
    return json.dumps(dict(sorted(json.loads(as_prompt(raw)).items())))


# -- requests --------------------------------------------------------------------------------------------------------------------------


@given(marked_requests(most=6), st.randoms(use_true_random=False))
def test_with_all_edits_off_the_body_is_the_very_body_that_came(request, random):
    body = Respelled(random).write(request).encode()
    sent = render(body, edits=NO_EDITS)
    assert sent.body is body
    assert (sent.edits, sent.dropped, sent.path) == ((), (), "/v1/messages")


@given(marked_requests(), st.randoms(use_true_random=False))
def test_with_all_edits_on_the_vendor_reads_the_same_prompt(request, random):
    body = Respelled(random).write(request).encode()
    try:
        sent = render(body)
    except InvalidRequest:
        assert len(marks_in(request)) > 3  # more than the vendor takes
        return
    assert ordered(sent.body) == ordered(body)
    assert list(json.loads(sent.body)) == list(json.loads(body))


@given(requests(), st.randoms(use_true_random=False))
def test_what_is_not_touched_keeps_its_bytes(request, random):
    body = Respelled(random).write({**request, "x-ours": {"a": 1}}).encode()
    sent = render(body, edits=DEFAULT_EDITS - {"tools.order"})
    came, went = (msgspec.json.decode(data, type=dict[str, msgspec.Raw]) for data in (body, sent.body))
    assert {name: bytes(raw) for name, raw in came.items() if name not in ("messages", "system", "tools", "x-ours")} == {
        name: bytes(raw) for name, raw in went.items() if name not in ("messages", "system", "tools")
    }
    before, after = ([bytes(raw) for raw in msgspec.json.decode(fields["messages"], type=list[msgspec.Raw])] for fields in (came, went))
    for one, other in zip(before, after, strict=True):
        assert one == other or b"cache_control" in other
        blocks = [msgspec.json.decode(raw, type=dict[str, msgspec.Raw])["content"] for raw in (one, other)]
        if bytes(blocks[0])[:1] == b'"':
            assert bytes(blocks[0]) in other
        else:
            for old, new in zip(*(msgspec.json.decode(raw, type=list[msgspec.Raw]) for raw in blocks), strict=True):
                assert bytes(new).startswith(bytes(old).rstrip()[:-1].rstrip()[:-1] if bytes(new) != bytes(old) else bytes(old))
    assert "extensions.strip" in sent.edits


@given(requests(), st.sampled_from(sorted(DEFAULT_EDITS)))
def test_an_edit_that_is_off_is_never_applied(request, edit):
    assert edit not in render(request, edits=DEFAULT_EDITS - {edit}).edits


@given(marked_requests(), st.sampled_from([OPUS, HAIKU]))
def test_a_changed_body_names_its_edits_and_an_unchanged_one_names_none(request, model):
    body = as_body({**request, "model": model})
    try:
        sent = render(body, model)
    except InvalidRequest:
        return
    assert bool(sent.edits) == (sent.body != body)


def shorter_behind_longer():
    """A result whose mark lives shorter than the one inside it, behind enough text that ours come as well."""
    inner = [{"type": "text", "text": "word " * 2_000, "cache_control": HOUR}]
    return {"model": OPUS, "max_tokens": 64, "system": "word " * 2_000, "messages": [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": inner, "cache_control": MARK}]}
    ]}  # fmt: skip


@given(marked_requests(most=3), st.sampled_from([OPUS, HAIKU]))
@example(shorter_behind_longer(), OPUS)
def test_what_goes_up_is_within_the_vendors_rules_and_keeps_the_clients_marks(request, model):
    own = marks_in(request)
    try:
        sent = json.loads(render({**request, "model": model}, model).body)
    except InvalidRequest:
        return
    marks = marks_in(sent)  # the automatic one is on the outside, and so among them
    assert len(marks) <= max(4, len(own))
    kept = list(marks)
    for _, mark in own:
        kept.remove(next(found for found in kept if found[1] == mark))
    for block, mark in kept:
        assert mark in (MARK, HOUR)
        assert block.get("type", "custom") in ("text", "image", "document", "tool_use", "tool_result", "custom", "bash_20250124")
        assert block.get("text") != ""
    inside = [place["cache_control"].get("ttl") == "1h" for place in marking_places(sent) if "cache_control" in place]
    assert len(inside) == len(marks) - ("cache_control" in sent)
    assert inside == sorted(inside, reverse=True)  # in the order of the prompt, where what is inside a result comes before its end
    assert sent.get("cache_control") == request.get("cache_control")


@given(requests())
def test_the_automatic_mark_and_ours_never_meet(request):
    """The vendor puts its mark on the last block that takes one; a second one there is an error, or a slot lost."""
    sent = json.loads(render({**request, "cache_control": HOUR}).body)
    places = [json.dumps(place.get("cache_control")) for place in marking_places(sent)]
    last = request["messages"][-1]["content"]
    if places and isinstance(last, list) and last[-1] in marking_places(request):
        assert places[-1] == "null"
    assert len(marks_in(sent)) <= 4


@given(requests(), st.integers(1, 3))
def test_a_conversation_that_grows_is_read_the_same_from_its_start(request, steps):
    messages = request["messages"]
    ends = [place + 1 for place, message in enumerate(messages) if message["role"] == "user"]
    before: list = []
    for end in ends:
        sent = json.loads(as_prompt(render({**request, "messages": messages[:end]}).body))
        now = [sent.get("tools"), sent.get("system"), *sent["messages"]]
        assert now[: len(before)] == before
        before = now


@given(requests(), st.randoms(use_true_random=False))
def test_a_clients_mark_on_the_last_tool_stays_on_the_last_tool(request, random):
    tools = request.get("tools", [])
    assume(len(tools) > 1)
    shuffled = deep_copy(request)
    random.shuffle(shuffled["tools"])
    shuffled["tools"][-1]["cache_control"] = MARK
    sent = json.loads(render(shuffled).body)["tools"]
    assert [("cache_control" in tool) for tool in sent] == [False] * (len(tools) - 1) + [True]


def test_the_model_is_called_by_the_vendors_own_name():
    sent = render({"model": f"anthropic/{OPUS}", "messages": [{"role": "user", "content": "a"}]}, f"anthropic/{OPUS}", edits=NO_EDITS)
    assert json.loads(sent.body)["model"] == OPUS
    assert sent.edits == ("model.name",)


def test_a_string_becomes_a_block_only_where_a_mark_sits():
    long = "word " * 2_000
    request = {"model": OPUS, "system": long, "messages": [{"role": "user", "content": text} for text in ("a", "b")]}
    request["messages"].insert(1, {"role": "assistant", "content": "c"})
    sent = json.loads(render(request).body)
    assert sent["system"] == [{"type": "text", "text": long, "cache_control": MARK}]
    assert [type(message["content"]) for message in sent["messages"]] == [list, str, list]
    for edit in ("content.parts", "marks.plan"):
        assert json.loads(render(request, edits=DEFAULT_EDITS - {edit}).body) == request


def test_a_mark_that_is_null_is_none_and_ours_takes_its_place():
    block = {"type": "text", "text": "word " * 2_000, "cache_control": None}
    sent = render({"model": OPUS, "messages": [{"role": "user", "content": [block]}]})
    assert sent.body.count(b'"cache_control"') == 1
    assert json.loads(sent.body)["messages"][0]["content"][0]["cache_control"] == MARK


def test_tools_that_are_loaded_later_take_no_mark():
    tools = [{"name": "a", "description": "word " * 2_000}, {"name": "b", "defer_loading": True}]
    sent = json.loads(render({"model": OPUS, "tools": tools, "messages": [{"role": "user", "content": "a"}]}).body)["tools"]
    assert [tool.get("cache_control") for tool in sent] == [MARK, None]


# -- known lines, and reasoning of others ----------------------------------------------------------------------------------------------


def through(request, native=None, *, keeps=(), edits=DEFAULT_EDITS, outside=None):
    """What a host gets that speaks this wire: `keeps` are the known lines that it handles itself."""
    envelope = DIALECT.parse(as_body(request), outside or {})
    seen = see(as_body(request), edits=edits, dialect=DIALECT)
    target = catalog().resolve(OPUS)
    deployment = msgspec.structs.replace(target.deployments[0], keeps_volatile=tuple(keeps))
    wire = native or AnthropicNative(catalog().volatile)
    return wire.native_request(envelope, seen.canonical, target.model, deployment, NO_PLAN, edits)


@pytest.mark.parametrize("form", ["string", "block", "line alone", "message"])
def test_known_lines_are_dropped_toward_hosts_that_would_read_them(form):
    rest = {"role": "user", "content": "a"}
    request = {
        "string": {"system": f"{LINE}\nrest", "messages": [rest]},
        "block": {"system": [{"type": "text", "text": f"{LINE}\nrest"}, {"type": "text", "text": "b"}], "messages": [rest]},
        "line alone": {"system": [{"type": "text", "text": LINE}, {"type": "text", "text": "b"}], "messages": [rest]},
        "message": {"messages": [{"role": "system", "content": f"{LINE}\nrest"}, rest]},
    }[form]
    request = {"model": OPUS, **request}
    ids = [line.id for line in catalog().volatile]
    assert through(request, keeps=ids).body == as_body(request)
    assert through(request, edits=DEFAULT_EDITS - {"volatile.known"}).body == as_body(request)
    sent = through(request)
    assert b"billing" not in sent.body
    assert sent.edits == ("volatile.known",)
    found = json.loads(sent.body)
    assert (
        found.get("system", found["messages"][0]["content"])
        == {
            "string": "rest",
            "block": [{"type": "text", "text": "rest"}, {"type": "text", "text": "b"}],
            "line alone": [{"type": "text", "text": "b"}],
            "message": "rest",
        }[form]
    )


def test_reasoning_of_another_vendor_is_left_out_and_reported():
    foreign = {"type": "thinking", "thinking": "hm", "signature": seal(Reasoning("hm", "s", format="f"))}
    own = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    text = {"type": "text", "text": "talk of tr1.x"}
    user = {"role": "user", "content": "a"}
    talk = [user, {"role": "assistant", "content": [foreign, own, text]}, user, {"role": "assistant", "content": [foreign]}, user]
    sent = render({"model": OPUS, "messages": talk}, edits=NO_EDITS)
    assert json.loads(sent.body)["messages"] == [user, {"role": "assistant", "content": [own, text]}, user, user]
    assert (sent.edits, sent.dropped) == (("extensions.strip",), ("messages.content.thinking",))
    body = as_body({"model": OPUS, "messages": [user, {"role": "assistant", "content": [text]}, {"role": "user", "content": "tr1."}]})
    assert render(body, edits=NO_EDITS).body is body


# -- the outside, and counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("native", "path"), [(AnthropicNative(()), "/v1/messages"), (AnthropicCountNative(()), "/v1/messages/count_tokens")])
def test_version_flags_and_query_go_up_as_they_came(native, path):
    request = {"model": OPUS, "messages": [{"role": "user", "content": "a"}]}
    plain = through(request, native)
    assert (plain.path, dict(plain.headers)) == (path, {"anthropic-version": "2023-06-01", "content-type": "application/json"})
    sent = through(request, native, outside={"anthropic-version": "2026-10-21", "anthropic-beta": "a, b", ":query": "beta=true"})
    assert sent.path == path + "?beta=true"
    assert dict(sent.headers) == {"anthropic-version": "2026-10-21", "anthropic-beta": "a, b", "content-type": "application/json"}
    assert (plain.auth, sent.auth) == (None, "bearer"), "a client of the later version shows its key in another way"


@given(marked_requests())
def test_a_prompt_to_be_counted_goes_up_as_it_came(request):
    body = as_body(request)
    envelope = DIALECT.parse(body)
    seen = see(body, dialect=DIALECT)
    target = catalog().resolve(OPUS)
    native = AnthropicCountNative(catalog().volatile)
    assert native.native_request(envelope, seen.canonical, target.model, target.deployments[0], NO_PLAN, DEFAULT_EDITS).body is body


# -- identities ------------------------------------------------------------------------------------------------------------------------


def seen_with(request, outside):
    envelope = DIALECT.parse(as_body(request), outside)
    return chunk(envelope, Memo(seed=SEED), ())[1]


def test_feature_flags_tell_two_questions_apart():
    request = {"model": OPUS, "messages": [{"role": "user", "content": "a"}]}
    one, other = (seen_with(request, {"anthropic-beta": flags}) for flags in ("a", "b"))
    assert one.answer_bytes != other.answer_bytes
    assert one.prompt_bytes != other.prompt_bytes


@given(marked_requests(most=3))
def test_marks_are_no_part_of_a_question(request):
    bare = without_marks(request)
    assert see(as_body(bare), dialect=DIALECT).answer() == see(as_body(request), dialect=DIALECT).answer()
    assert see(as_body(bare), dialect=DIALECT).chain() == see(as_body(request), dialect=DIALECT).chain()


# -- streams ---------------------------------------------------------------------------------------------------------------------------


def run(tap, *pieces):
    out = b"".join([tap.feed(piece) for piece in pieces])
    out += tap.close()
    return out, tap.end, (tap.usage, tap.finished, tap.reusable, tap.failure)


ENDS = st.sampled_from([b"\n\n", b"\r\n\r\n"])


@given(message_streams(), ENDS)
def test_a_stream_cut_at_any_byte_is_the_same_stream(stream, end):
    stream = stream.replace(b"\n", b"\r\n") if end == b"\r\n\r\n" else stream
    whole = run(MessagesRelay(), stream)
    assert whole[0] + whole[1] == stream
    assert whole[2][1]
    for cut in range(len(stream) + 1):
        assert run(MessagesRelay(), stream[:cut], stream[cut:]) == whole
    assert run(MessagesRelay(), *[stream[i : i + 1] for i in range(len(stream))]) == whole
    frames = [piece + end for piece in stream.split(end)[:-1]]
    assert run(MessagesRelay(), *frames) == whole


@given(message_streams(), st.lists(st.integers(0, 2000), max_size=5))
def test_usage_and_end_are_what_the_vendor_said(stream, cuts):
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    out, end, (usage, finished, reusable, failure) = run(MessagesRelay(), *[stream[a:b] for a, b in pairwise(places)])
    assert (usage.fresh_input, usage.cache_read, usage.output, usage.reported) == (5, 7, 9, True)
    assert (finished, failure) == (True, None)
    assert reusable == (b'"max_tokens"' not in stream)
    assert end.startswith(b"event: message_stop")
    assert b"message_stop" not in out


@given(message_streams())
def test_a_stream_cut_off_at_any_byte_is_finished_only_by_its_last_frame(stream):
    marker = stream.rindex(b"}")
    for cut in range(len(stream)):
        tap = MessagesRelay()
        out = tap.feed(stream[:cut]) + tap.close()
        assert tap.finished == (cut > marker), stream[:cut][-60:]
        assert stream.startswith(out)
        assert tap.failure is None


ERROR = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'


@given(message_streams())
def test_an_error_at_any_frame_is_its_end_and_what_was_used_is_known(stream):
    frames = [piece + b"\n\n" for piece in stream.split(b"\n\n")[:-1]]
    for place in range(1, len(frames)):
        before = b"".join(frames[:place])
        for cut in (0, len(before) // 2, len(before) + 20, len(before) + len(ERROR)):
            data = before + ERROR + b"".join(frames[place:])
            tap = MessagesRelay()
            out = tap.feed(data[:cut]) + tap.feed(data[cut:]) + tap.close()
            assert out == before
            assert (tap.failure, tap.finished, tap.reusable) == ("overloaded_error: Overloaded", False, False)
            assert tap.usage.fresh_input == 5


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
        b'event: error\ndata: {"error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
        b'event:error\r\ndata:{"type" : "error" , "error":{"type":"overloaded_error","message":"Overloaded"}}\r\n\r\n',
    ],
)
def test_an_error_is_noticed_however_it_is_spelled_and_cut(error):
    for cut in range(len(error) + 1):
        tap = MessagesRelay()
        assert tap.feed(error[:cut]) + tap.feed(error[cut:]) + tap.close() == b""
        assert tap.failure == "overloaded_error: Overloaded"


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


DELTA = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1})


@pytest.mark.parametrize(
    "special",
    [
        event("content_block_start", index=0, content_block={"type": "server_tool_use", "id": "s", "name": "web_fetch", "input": {}}),
        event("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {}}),
        event("content_block_start", index=0, content_block={"type": "text", "text": "", "citations": [{}]}),
    ],
)
def test_what_another_form_would_lose_is_not_given_again(special):
    assert run(MessagesRelay(), special + DELTA + event("message_stop"))[2][1:] == (True, False, None)
    plain = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    assert run(MessagesRelay(), plain + DELTA + event("message_stop"))[2][1:] == (True, True, None)


def test_events_that_nobody_knows_pass():
    strange = event("brand_new", index=[]) + b": a comment\n\n" + b"event: empty\n\n"
    assert run(MessagesRelay(), strange + event("message_stop"))[0] == strange


@pytest.mark.parametrize(
    "data", [b"<html><body>502</body></html>", b'{"type":"error"}\n\n', b"event: message_start\ndata: {broken\n\n", b"data: [1]\r\n\r\n"]
)
def test_what_is_no_stream_fails_or_stays_unfinished_however_it_is_cut(data):
    for cut in range(len(data) + 1):
        tap = MessagesRelay()
        try:
            tap.feed(data[:cut])
            tap.feed(data[cut:])
            tap.close()
        except UpstreamFailed:
            continue
        assert not tap.finished


def whole(**more):
    message = {
        "type": "message",
        "content": [{"type": "text", "text": "a"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    return json.dumps({**message, **more}).encode()


@pytest.mark.parametrize(
    ("body", "reusable"),
    [
        (whole(), True),
        (whole(stop_reason="tool_use"), True),
        (whole(stop_reason="stop_sequence"), True),
        (whole(stop_reason="max_tokens"), False),
        (whole(stop_reason="pause_turn"), False),
        (whole(stop_reason="refusal"), False),
        (whole(stop_reason=None), False),
        (whole(content=[{"type": "text", "text": "a", "citations": [{}]}]), False),
        (whole(content=[{"type": "server_tool_use"}]), False),
    ],
)
def test_a_whole_answer_is_judged(body, reusable):
    usage, found = AnthropicNative(()).verdict(body)
    assert (usage.fresh_input, usage.output, found) == (1, 2, reusable)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", whole(content=None), whole(type="error"), whole(error={"message": "no"}), b"[" * 5000]
)
def test_a_good_status_without_an_answer_fails(body):
    with pytest.raises(UpstreamFailed):
        AnthropicNative(()).verdict(body)


def test_an_endless_line_is_no_stream(monkeypatch):
    monkeypatch.setattr("tokenrouter.adapters.outbound.anthropic_relay.MAX_FRAME", 100)
    tap = MessagesRelay()
    tap.feed(b"data: " + b"x" * 90)
    with pytest.raises(UpstreamFailed, match="endless"):
        tap.feed(b"x" * 9)


def test_the_lane_of_this_dialect_is_native_and_its_counts_cost_nothing():
    lane = lane_of(see({"model": OPUS, "messages": [{"role": "user", "content": "a"}]}, dialect=DIALECT), OPUS, dialect=DIALECT)
    assert lane.native
    assert lane.whole(whole()).body == whole()
    usage, reusable = AnthropicCountNative(()).verdict(b'{"input_tokens": 3}')
    assert (usage.input_total, usage.output, reusable) == (0, 0, True)
