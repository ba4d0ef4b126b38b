import asyncio
import base64
import copy
import json

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenrouter.adapters.inbound.openai_chat_open import open_chat
from tokenrouter.adapters.outbound.anthropic_messages import AnthropicMessages
from tokenrouter.adapters.wire.anthropic import usage_from_wire
from tokenrouter.adapters.wire.openai_chat import ChatEventEncoder, decode_answer, encode_answer
from tokenrouter.errors import InvalidRequest, UnsupportedField, UpstreamFailed, UpstreamTruncated
from tokenrouter.model.answer import Answer, Choice, Failed, Finished, Reasoning, Spoken, TextDelta, ToolCall, UsageSeen, fold
from tokenrouter.model.cache_plan import NO_PLAN, Breakpoint, CachePlan
from tokenrouter.model.catalog import Deployment, Endpoint, Model, Secret
from tokenrouter.model.usage import NO_USAGE, Usage

CLAUDE = "anthropic-claude-v1"
ADAPTER = AnthropicMessages()
HI = {"role": "user", "content": "hi"}
MODEL = Model(name="claude-opus-4-6", vendor="anthropic", max_output=32_000)
DEPLOYMENT = Deployment(
    name="d", vendor="anthropic", endpoints=(Endpoint("anthropic-messages", "https://api.anthropic.com"),), api_key=Secret("sk-test")
)
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"x": {"type": "number"}}}}}


def model(**changes):
    return msgspec.structs.replace(MODEL, **changes)


def opened(messages, tools=(), **fields):
    def raw(value):
        return msgspec.Raw(json.dumps(value).encode())

    everything = {"model": "m", **fields}
    return open_chat({name: raw(value) for name, value in everything.items()}, [raw(one) for one in messages], [raw(one) for one in tools])


def sent(messages=(HI,), tools=(), *, to=MODEL, plan=NO_PLAN, **fields):
    return ADAPTER.translate(opened(messages, tools, **fields), to, DEPLOYMENT, plan)


def body(*args, **kwargs):
    return json.loads(sent(*args, **kwargs).body)


def refused(*args, **kwargs):
    with pytest.raises(InvalidRequest) as caught:
        sent(*args, **kwargs)
    return caught.value


def call(call_id, arguments="{}", name="f"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def called(*calls, content=None, **more):
    return {"role": "assistant", "content": content, "tool_calls": list(calls), **more}


def result(call_id, content="1"):
    return {"role": "tool", "tool_call_id": call_id, "content": content}


# --- the request as a whole


def test_a_plain_question_is_rendered_small_and_in_rendering_order():
    out = sent([{"role": "system", "content": "S"}, HI], [TOOL], stream=True)
    assert out.body == (
        b'{"model":"claude-opus-4-6","max_tokens":32000,"stream":true,'
        b'"tools":[{"name":"f","input_schema":{"type": "object", "properties": {"x": {"type": "number"}}},"description":"d"}],'
        b'"system":[{"type":"text","text":"S"}],"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}'
    )
    assert out.path == "/v1/messages"
    assert dict(out.headers) == {"anthropic-version": "2023-06-01", "content-type": "application/json"}
    assert (out.edits, out.dropped) == ((), ())


def test_parameters_with_a_counterpart_are_carried():
    out = body(
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        stop=["END"],
        user="u",
        service_tier="default",
        tool_choice="auto",
        parallel_tool_calls=False,
        tools=[TOOL],
    )
    assert (out["max_tokens"], out["temperature"], out["top_p"], out["stop_sequences"]) == (9, 0.5, 0.9, ["END"])
    assert (out["metadata"], out["service_tier"]) == ({"user_id": "u"}, "standard_only")
    assert out["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, "response_format.json_schema.schema"),
        ({"temperature": 1.5}, "temperature"),
        ({"reasoning_effort": "heroic"}, "reasoning_effort"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}}, "tool_choice.allowed_tools"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_fields_that_the_answer_depends_on_are_refused_by_name(fields, param):
    error = refused(**fields)
    assert error.param == param
    assert param.split(".")[0] in error.message


def test_hints_without_a_counterpart_are_dropped_and_reported():
    fields = {"frequency_penalty": 1, "logit_bias": {"1": 2}, "verbosity": "low", "prediction": {}, "store": True, "seed": 1, "service_tier": "flex"}
    out = sent([HI | {"name": "ann"}], **fields)
    assert set(out.dropped) == {*fields, "messages.name"}
    assert set(json.loads(out.body)) == {"model", "max_tokens", "messages"}


def test_blank_stop_strings_are_dropped_and_reported():
    out = sent(stop=["\n", "END", ""])
    assert json.loads(out.body)["stop_sequences"] == ["END"]
    assert out.dropped == ("stop",)
    assert "stop_sequences" not in body(stop="\n")


@pytest.mark.parametrize(
    ("choice", "parallel", "wire"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ({"type": "function", "function": {"name": "f"}}, False, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
    ],
)
def test_tool_choice_in_all_its_forms(choice, parallel, wire):
    assert body(tools=[TOOL], tool_choice=choice, parallel_tool_calls=parallel).get("tool_choice") == wire


def test_tool_choice_is_not_mentioned_where_there_are_no_tools():
    assert "tool_choice" not in body(tool_choice="auto", parallel_tool_calls=False)


def test_tools_keep_schema_spelling_and_get_one_where_they_have_none():
    tool = msgspec.Raw(b'{"type":"function","function":{"name":"f","parameters":{ "type":"object",  "x-n":1.0 },"strict":true}}')
    out = ADAPTER.translate(open_chat({}, [msgspec.Raw(json.dumps(HI).encode())], [tool]), MODEL, DEPLOYMENT, NO_PLAN)
    assert b'{"name":"f","input_schema":{ "type":"object",  "x-n":1.0 },"strict":true}' in out.body
    for bare in ({"name": "f"}, {"name": "f", "parameters": {}}):
        assert body(tools=[{"type": "function", "function": bare}])["tools"][0]["input_schema"] == {"type": "object", "properties": {}}


def test_a_wanted_schema_becomes_an_output_format():
    out = sent(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}})
    assert json.loads(out.body)["output_config"] == {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert out.dropped == ("response_format.json_schema.name",)


# --- effort and sampling


@pytest.mark.parametrize(
    ("reasoning", "effort", "thinking", "config", "dropped"),
    [
        ("adaptive", "minimal", {"type": "adaptive"}, {"effort": "low"}, ()),
        ("adaptive", "xhigh", {"type": "adaptive"}, {"effort": "xhigh"}, ()),
        ("adaptive", "none", None, None, ()),
        ("effort", "high", None, {"effort": "high"}, ()),
        ("budget", "medium", {"type": "enabled", "budget_tokens": 8192}, None, ()),
        ("none", "high", None, None, ("reasoning_effort",)),
    ],
)
def test_effort_is_asked_for_as_the_model_knows_it(reasoning, effort, thinking, config, dropped):
    out = sent(reasoning_effort=effort, to=model(reasoning=reasoning))
    wire = json.loads(out.body)
    assert (wire.get("thinking"), wire.get("output_config"), out.dropped) == (thinking, config, dropped)


def test_a_budget_leaves_room_for_the_answer_or_is_dropped():
    assert body(reasoning_effort="max", max_tokens=4096, to=model(reasoning="budget"))["thinking"]["budget_tokens"] == 3072
    out = sent(reasoning_effort="max", max_tokens=2000, to=model(reasoning="budget"))
    assert "thinking" not in json.loads(out.body)
    assert out.dropped == ("reasoning_effort",)


def test_a_forced_tool_wins_over_thinking():
    out = sent(tools=[TOOL], tool_choice="required", reasoning_effort="high", to=model(reasoning="budget"))
    assert out.dropped == ("reasoning_effort",)
    wire = body(tools=[TOOL], tool_choice="required", reasoning_effort="high", to=model(reasoning="adaptive"))
    assert "thinking" not in wire
    assert wire["output_config"] == {"effort": "high"}


def test_a_tool_loop_without_its_thinking_goes_on_without_thinking():
    loop = [HI, called(call("a")), result("a")]
    assert sent(loop, reasoning_effort="high", to=model(reasoning="budget")).dropped == ("reasoning_effort",)
    signed = [{"type": "reasoning.text", "text": "t", "signature": "s"}]
    assert sent([HI, called(call("a"), reasoning_details=signed), result("a")], reasoning_effort="high", to=model(reasoning="budget")).dropped == ()


def test_sampling_is_dropped_where_thinking_or_the_model_refuses_it_unless_it_is_the_default():
    for to, fields in ((model(sampling=False), {}), (model(reasoning="budget"), {"reasoning_effort": "low"})):
        out = sent(temperature=1.5, top_p=0.5, to=to, **fields)
        assert out.dropped == ("temperature", "top_p")
        assert not {"temperature", "top_p"} & set(json.loads(out.body))
        assert sent(temperature=1, top_p=1.0, to=to, **fields).dropped == ()


# --- turns


def test_opening_instructions_become_system_blocks_word_for_word():
    messages = [
        {"role": "developer", "content": " a\n"},
        {"role": "system", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": ""}, {"type": "text", "text": "c"}]},
        HI,
    ]
    assert [block["text"] for block in body(messages)["system"]] == [" a\n", "b", "c"]


def test_a_later_system_message_keeps_its_place_where_the_model_takes_it():
    messages = [HI, {"role": "developer", "content": "now"}, {"role": "assistant", "content": "a"}, HI]
    assert [message["role"] for message in body(messages)["messages"]] == ["user", "system", "assistant", "user"]
    assert refused(messages, to=model(mid_system=False)).param == "messages[1].role"


def test_a_later_system_message_in_a_place_that_the_vendor_refuses_is_named():
    assert refused([HI, {"role": "assistant", "content": "a"}, {"role": "system", "content": "x"}, HI]).param == "messages[2].role"
    assert refused([HI, {"role": "system", "content": "x"}, HI]).param == "messages[1].role"


def test_neighbours_of_one_role_stay_apart_but_tool_results_of_a_turn_come_together():
    messages = [HI, HI, called(call("a"), call("b"), content="t"), result("a"), result("b", [{"type": "text", "text": "2"}]), HI]
    assert body(messages)["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "t"},
                {"type": "tool_use", "id": "a", "name": "f", "input": {}},
                {"type": "tool_use", "id": "b", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "1"}]},
                {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "2"}]},
            ],
        },
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    ]


def test_a_tool_that_said_nothing_answers_without_content():
    assert body([HI, called(call("a")), result("a", "")])["messages"][-1]["content"] == [{"type": "tool_result", "tool_use_id": "a"}]


def test_empty_and_blank_text_is_left_out_and_what_is_more_than_empty_is_reported():
    parts = [{"type": "text", "text": ""}, {"type": "text", "text": "a"}]
    assert sent([{"role": "user", "content": parts}]).dropped == ()
    out = sent([HI, called(call("a"), content="\n"), result("a", " ")])
    assert [block["type"] for block in json.loads(out.body)["messages"][1]["content"]] == ["tool_use"]
    assert json.loads(out.body)["messages"][2]["content"][0]["content"] == [{"type": "text", "text": " "}]
    assert out.dropped == ("messages.content",)


def test_an_empty_assistant_message_is_left_out_and_an_empty_user_message_refused():
    out = sent([HI, {"role": "assistant", "content": ""}, HI])
    assert [message["role"] for message in json.loads(out.body)["messages"]] == ["user", "user"]
    assert out.dropped == ("messages.content",)
    assert refused([HI, {"role": "user", "content": ""}]).param == "messages[1].content"
    assert refused([{"role": "system", "content": "S"}]).param == "messages"


def test_refusals_go_back_as_text():
    assert body([HI, {"role": "assistant", "refusal": "no"}, HI])["messages"][1]["content"] == [{"type": "text", "text": "no"}]


def test_media_are_rendered_as_blocks():
    pdf = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}}
    note = {"type": "file", "file": {"file_data": "data:text/plain;base64," + base64.b64encode("né".encode()).decode()}}
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "auto"}},
        pdf,
        note,
    ]
    out = sent([{"role": "user", "content": parts}])
    assert json.loads(out.body)["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}, "title": "a.pdf"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "né"}},
    ]
    assert out.dropped == ("messages.content.image_url.detail",)


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "file", "file": {"file_id": "file-1"}}, "messages[0].content[0].file.file_id"),
        ({"type": "file", "file": {"file_data": "data:text/csv;base64,AAAA"}}, "messages[0].content[0].file.file_data"),
        ({"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}, "messages[0].content[0].file.file_data"),
        ({"type": "input_audio", "input_audio": {"data": "A", "format": "wav"}}, "messages[0].content[0]"),
        ({"type": "image_url", "image_url": {"url": "gs://a/b"}}, "messages[0].content[0].image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA"}}, "messages[0].content[0].image_url.url"),
    ],
)
def test_media_that_the_vendor_can_not_read_are_refused_by_name(part, param):
    assert refused([{"role": "user", "content": [part]}]).param == param


def test_an_earlier_spoken_answer_is_refused():
    assert isinstance(refused([HI, {"role": "assistant", "audio": {"id": "audio_1"}}]), UnsupportedField)


def test_signed_thinking_goes_in_front_of_its_turn_and_foreign_thinking_is_dropped():
    details = [
        {"type": "reasoning.text", "text": "t", "signature": "s", "format": CLAUDE},
        {"type": "reasoning.encrypted", "data": "d", "format": CLAUDE},
        {"type": "reasoning.encrypted", "data": "x", "format": "openai-responses-v1"},
    ]
    out = sent([HI, {"role": "assistant", "content": "a", "reasoning_details": details}, HI])
    assert json.loads(out.body)["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "a"},
    ]
    assert out.dropped == ("messages.reasoning_details",)
    assert sent([HI, {"role": "assistant", "content": "a", "reasoning_content": "t"}, HI]).dropped == ("messages.reasoning_content",)


def test_strange_call_ids_are_rewritten_alike_in_call_and_result_and_the_same_every_time():
    def ids(call_id):
        wire = body([HI, called(call(call_id)), result(call_id)])["messages"]
        return wire[1]["content"][0]["id"], wire[2]["content"][0]["tool_use_id"]

    assert ids("call_1-A") == ("call_1-A", "call_1-A")
    for strange in ("functions.f:0", "x" * 65, "", "né"):
        used, answered = ids(strange)
        assert used == answered == ids(strange)[0]
        assert used.startswith("toolu_")
        assert len(used) <= 64


def test_ids_that_a_client_uses_again_are_told_apart_with_their_results():
    round_trip = [called(call("call_0"), call("call_0")), result("call_0", "1"), result("call_0", "2")]
    wire = body([HI, *round_trip, *round_trip])["messages"]
    used = [block["id"] for message in (wire[1], wire[3]) for block in message["content"]]
    answered = [block["tool_use_id"] for message in (wire[2], wire[4]) for block in message["content"]]
    assert len(set(used)) == 4
    assert used == answered


@pytest.mark.parametrize("spelling", ["{}", ' { "b" : 1.0,\n"a":[1e2, "\\u00e9\\/"] } ', '{"n":123456789012345678901234567890}'])
def test_arguments_keep_their_spelling(spelling):
    assert b'"input":' + spelling.encode() + b"}" in sent([HI, called(call("a", spelling)), result("a")]).body


def test_no_arguments_are_an_empty_object():
    assert body([HI, called(call("a", "")), result("a")])["messages"][1]["content"][0]["input"] == {}


@pytest.mark.parametrize("bad", ["[]", "3", "{", '{"a":1,"a":2}', '{"x":{"a":1,"a":2}}', '{"a":NaN}', '{"a":"\\ud800"}', "{}{}", "null"])
def test_arguments_that_are_no_clean_object_are_refused_by_name(bad):
    error = refused([HI, called(call("call_7", bad)), result("call_7")])
    assert error.param == "messages[1].tool_calls"
    assert "call_7" in error.message


# --- marks

LONG = [
    {"role": "system", "content": [{"type": "text", "text": "s0"}, {"type": "text", "text": "s1"}]},
    {"role": "user", "content": [{"type": "text", "text": "u0"}, {"type": "text", "text": ""}]},
    called(call("a"), call("b"), content="t", reasoning_details=[{"type": "reasoning.text", "text": "t", "signature": "s"}]),
    result("a", [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]),
    result("b"),
    {"role": "assistant", "content": "", "reasoning_details": [{"type": "reasoning.text", "text": "t", "signature": "s"}]},
    {"role": "user", "content": "last"},
]


def marks(value, path=""):
    found = {}
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        here = f"{path}.{key}" if path else str(key)
        if key == "cache_control":
            found[path] = inner
        else:
            found |= marks(inner, here)
    return found


@pytest.mark.parametrize(
    ("point", "place"),
    [
        (Breakpoint("a_tools", 0), "tools.0"),
        (Breakpoint("a_tools", 7), None),
        (Breakpoint("b_messages", 0), "system.1"),
        (Breakpoint("b_messages", 0, 0), "system.0"),
        (Breakpoint("b_messages", 1), "messages.0.content.0"),
        (Breakpoint("b_messages", 1, 1), "messages.0.content.0"),
        (Breakpoint("b_messages", 2), "messages.1.content.3"),
        (Breakpoint("b_messages", 2, 0), "messages.1.content.1"),
        (Breakpoint("b_messages", 3, 0), "messages.2.content.0"),
        (Breakpoint("b_messages", 3, 1), "messages.2.content.0"),
        (Breakpoint("b_messages", 4), "messages.2.content.1"),
        (Breakpoint("b_messages", 5), None),
        (Breakpoint("b_messages", 6), "messages.4.content.0"),
        (Breakpoint("b_messages", 99), None),
    ],
)
def test_a_mark_sits_where_the_plan_says_or_on_the_nearest_earlier_block(point, place):
    out = sent(LONG, [TOOL], plan=CachePlan((point,)))
    assert marks(json.loads(out.body)) == ({} if place is None else {place: {"type": "ephemeral"}})
    assert out.edits == (() if place is None else ("marks.plan",))


def test_only_the_gateways_own_marks_are_an_edit_and_an_hour_is_said():
    plan = CachePlan((Breakpoint("a_tools", 0, lifetime_s=3600, origin="client"), Breakpoint("b_messages", 6, lifetime_s=300, origin="client")))
    out = sent(LONG, [TOOL], plan=plan)
    assert marks(json.loads(out.body)) == {"tools.0": {"type": "ephemeral", "ttl": "1h"}, "messages.4.content.0": {"type": "ephemeral"}}
    assert out.edits == ()


# --- growing conversations


def unmarked(value):
    if isinstance(value, dict):
        return {key: unmarked(inner) for key, inner in value.items() if key != "cache_control"}
    return [unmarked(inner) for inner in value] if isinstance(value, list) else value


texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8).filter(str.strip)
arguments = st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3) | st.none(), max_size=3).map(
    lambda value: json.dumps(value, indent=1)
)


@st.composite
def exchanges(draw):
    user = {"role": "user", "content": draw(texts | st.lists(texts.map(lambda text: {"type": "text", "text": text}), min_size=1, max_size=2))}
    ids = draw(st.lists(st.sampled_from(["a", "b", "c.1", "call_0"]), max_size=3))
    said = {"role": "assistant", "content": draw(texts | st.just("") if ids else texts)}
    if not ids:
        return [user, said]
    calls = [call(call_id, draw(arguments)) for call_id in ids]
    return [
        user,
        said | {"tool_calls": calls},
        *[result(call_id, draw(texts | st.just(""))) for call_id in ids],
        {"role": "assistant", "content": "k"},
    ]


@settings(max_examples=150, deadline=None)
@given(st.lists(exchanges(), min_size=1, max_size=4))
def test_a_longer_conversation_keeps_every_byte_that_was_sent_before(rounds):
    messages = [{"role": "system", "content": "S"}, *[message for one in rounds for message in one]]
    previous = None
    for end in range(2, len(messages) + 1):
        out = sent(messages[:end], [TOOL], plan=CachePlan((Breakpoint("b_messages", end - 1),)))
        blocks = [
            msgspec.json.encode([message["role"], block]) for message in unmarked(json.loads(out.body))["messages"] for block in message["content"]
        ]
        if previous is not None:
            assert blocks[: len(previous)] == previous
        previous = blocks
        assert out.body[: out.body.index(b'"messages"')] == sent(messages[:2], [TOOL]).body.partition(b'"messages"')[0]


@given(arguments)
def test_arguments_mean_the_same_and_are_spelled_the_same_on_the_wire(spelling):
    out = sent([HI, called(call("a", spelling)), result("a")])
    assert spelling.encode() in out.body
    assert json.loads(out.body)["messages"][1]["content"][0]["input"] == json.loads(spelling)


def test_rendered_requests_have_the_form_that_the_vendors_sdk_types():
    pytest.importorskip("anthropic")
    pydantic = pytest.importorskip("pydantic")
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    adapter = pydantic.TypeAdapter(MessageCreateParamsNonStreaming)
    plan = CachePlan((Breakpoint("a_tools", 0, lifetime_s=3600), Breakpoint("b_messages", 0), Breakpoint("b_messages", 6)))
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    for to in (model(reasoning="adaptive"), model(reasoning="budget"), model(reasoning="effort")):
        wire = body(LONG, [TOOL], to=to, plan=plan, reasoning_effort="low", response_format=schema, tool_choice="auto", stop=["a"], user="u")
        checked = adapter.validate_python(copy.deepcopy(wire), strict=False)
        assert set(checked) == set(wire)


# --- answers

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "blob"},
        {"type": "text", "text": "né "},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "text", "text": "日本", "citations": []},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 3,
        "cache_read_input_tokens": 800,
        "cache_creation_input_tokens": 100,
        "cache_creation": {"ephemeral_5m_input_tokens": 90, "ephemeral_1h_input_tokens": 10},
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 20},
    },
}
BUCKETS = Usage(fresh_input=3, cache_read=800, cache_write=90, cache_write_1h=10, output=50, reasoning=20)
CHOICE = Choice(
    (
        *(Reasoning("hm", "sig", format=CLAUDE), Reasoning(redacted="blob", format=CLAUDE), Spoken("né 日本")),
        *(ToolCall("toolu_1", "f", '{"x":1}'), ToolCall("toolu_2", "g", "{}")),
    ),
    "tool_calls",
)
ANSWER = Answer("msg_1", "claude", 0, (CHOICE,), BUCKETS)


def sse(*events):
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode() for event in events)


def block(index, start, *deltas):
    return (
        {"type": "content_block_start", "index": index, "content_block": start},
        *[{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas],
        {"type": "content_block_stop", "index": index},
    )


def json_piece(text):
    return {"type": "input_json_delta", "partial_json": text}


START = {"type": "message_start", "message": MESSAGE | {"content": [], "stop_reason": None, "usage": MESSAGE["usage"] | {"output_tokens": 1}}}
DELTA = {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 50}}
STOP = {"type": "message_stop"}
STREAM = sse(
    START,
    {"type": "ping"},
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "h"},
        {"type": "thinking_delta", "thinking": "m"},
        {"type": "signature_delta", "signature": "sig"},
    ),
    *block(1, {"type": "redacted_thinking", "data": "blob"}),
    *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "né "}, {"type": "citations_delta", "citation": {}}),
    *block(3, {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}, json_piece('{"query":"x"}')),
    *block(4, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}),
    {"type": "something_new", "data": [1]},
    *block(5, {"type": "text", "text": ""}, {"type": "text_delta", "text": "日本"}),
    *block(6, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}, json_piece(""), json_piece('{"x"'), json_piece(":1}")),
    *block(7, {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}}, json_piece("")),
    DELTA,
    STOP,
)


def events_of(data, *cuts):
    decoder = ADAPTER.decoder()
    events = []
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        events += decoder.feed(data[start:end])
    return events + decoder.finish()


def test_a_whole_answer_and_its_stream_are_read_alike():
    assert ADAPTER.decode_answer(json.dumps(MESSAGE, separators=(",", ":")).encode()) == ANSWER
    assert fold(events_of(STREAM)) == ANSWER


def test_every_cut_of_a_stream_gives_the_same_events():
    whole = events_of(STREAM)
    for cut in range(len(STREAM) + 1):
        assert events_of(STREAM, cut) == whole
    assert events_of(STREAM, *range(1, len(STREAM))) == whole


def test_every_stream_that_stops_before_message_stop_is_called_truncated():
    for cut in range(STREAM.rindex(b"message_stop")):
        with pytest.raises(UpstreamTruncated):
            events_of(STREAM[:cut])


def test_usage_is_known_from_the_start_and_the_last_figures_count():
    seen = [event.usage for event in events_of(STREAM) if isinstance(event, UsageSeen)]
    assert seen == [msgspec.structs.replace(BUCKETS, output=1, reasoning=1), BUCKETS]
    later = DELTA | {"usage": {"output_tokens": 60, "input_tokens": 4, "cache_read_input_tokens": None, "cache_creation_input_tokens": -7}}
    assert fold(events_of(sse(START, later, STOP))).usage == msgspec.structs.replace(BUCKETS, fresh_input=4, output=60)


def test_an_error_in_the_stream_is_told_and_ends_it():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    text = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"})
    assert events_of(sse(START, *text, error, *text))[-2:] == [TextDelta("a"), Failed("Overloaded", "overloaded_error")]


def test_a_call_that_arrives_whole_is_read():
    data = sse(START, *block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}), DELTA, STOP)
    assert fold(events_of(data)).choices[0].tool_calls == (ToolCall("t", "f", '{"a":1}'),)


@pytest.mark.parametrize(
    ("vendor", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("word_to_come", "stop"),
    ],
)
def test_stop_reasons_are_mapped_alike_in_both_forms(vendor, ours):
    said = {"stop_reason": vendor, "stop_sequence": "END"}
    assert Finished(ours, stop_sequence="END") in events_of(sse(START, DELTA | {"delta": said}, STOP))
    choice = ADAPTER.decode_answer(json.dumps(MESSAGE | said).encode()).choices[0]
    assert (choice.stop, choice.stop_sequence) == (ours, "END")


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ({"input_tokens": 3, "output_tokens": 1}, Usage(fresh_input=3, output=1, cache_reported=False)),
        ({"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 0}, Usage()),
        ({"input_tokens": 3, "output_tokens": 1, "cache_creation_input_tokens": 7}, Usage(fresh_input=3, cache_write=7, output=1)),
        (
            {"input_tokens": 3, "output_tokens": 1, "cache_creation_input_tokens": 7, "cache_creation": {"ephemeral_1h_input_tokens": 5}},
            Usage(fresh_input=3, cache_write=2, cache_write_1h=5, output=1),
        ),
        ({"input_tokens": -1, "output_tokens": 1}, NO_USAGE),
        ({"input_tokens": 1, "output_tokens": 2**63}, NO_USAGE),
        ({"input_tokens": 1, "output_tokens": "1"}, NO_USAGE),
        ({"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": 0.5}, Usage(fresh_input=1, output=1, cache_reported=False)),
        (None, NO_USAGE),
        ([], NO_USAGE),
    ],
)
def test_usage_becomes_disjoint_buckets(wire, expected):
    assert usage_from_wire(wire) == expected
    assert ADAPTER.usage(json.dumps({"usage": wire}).encode()) == expected


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty body"),
        (b"<html>secret</html>", "HTML"),
        (b'{"content":"secret"}', "another form"),
        (b'{"id":"msg"}', "another form"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "Overloaded"),
    ],
)
def test_what_is_no_answer_is_refused_without_quoting_it(data, says):
    with pytest.raises(UpstreamFailed) as caught:
        ADAPTER.decode_answer(data)
    assert says in caught.value.message
    assert "secret" not in caught.value.message


def test_error_bodies_are_read():
    assert ADAPTER.error_message(b'{"type":"error","error":{"type":"x","message":"why"}}') == "why"
    assert ADAPTER.error_message(b'{"type":"message","content":[]}') is None
    assert ADAPTER.error_message(b"<html>") is None


def test_a_frame_that_is_no_event_breaks_the_protocol():
    with pytest.raises(UpstreamFailed):
        events_of(b"data: oops\n\n")


# --- through the simulated vendor


def ask(app, out):
    async def go():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            return await client.post("http://t/anthropic" + out.path, content=out.body, headers={**dict(out.headers), "x-api-key": "sk-test"})

    return asyncio.run(go())


@pytest.fixture
def sandbox():
    return pytest.importorskip("tokenrouter.sandbox").create_app()


def echoed(answer):
    """The assistant message that a Chat client would send back."""
    return json.loads(encode_answer(answer))["choices"][0]["message"]


@pytest.mark.parametrize(
    ("name", "reasoning", "effort"),
    [
        ("claude-opus-5-5", "adaptive", None),
        ("claude-opus-4-6", "adaptive", "high"),
        ("claude-sonnet-4-5", "budget", "low"),
        ("claude-haiku-4-5", "none", None),
    ],
)
def test_a_strict_vendor_takes_a_tool_conversation_and_reads_its_own_thinking_back(sandbox, name, reasoning, effort):
    to = model(name=name, reasoning=reasoning, mid_system=False, sampling=reasoning == "none")
    messages = [{"role": "system", "content": "Be brief. " * 3000}, {"role": "user", "content": "call f"}]
    read = []
    for number in range(4):
        plan = CachePlan((Breakpoint("a_tools", 0), Breakpoint("b_messages", 0), Breakpoint("b_messages", len(messages) - 1)))
        stream = number % 2 == 1
        fields = {"stream": stream, "max_tokens": 8000, "reasoning_effort": effort}
        out = sent(messages, [TOOL], to=to, plan=plan, **fields)
        assert (b'"type":"thinking"' in out.body) == (number > 0 and reasoning != "none")
        assert out.dropped == ()
        reply = ask(sandbox, out)
        assert reply.status_code == 200, reply.text
        answer = fold(events_of(reply.content)) if stream else ADAPTER.decode_answer(reply.content)
        assert answer.complete
        read.append(answer.usage.cache_read)
        messages.append(echoed(answer))
        messages += [result(call.id, "42") for call in answer.choices[0].tool_calls] or [{"role": "user", "content": "call f again"}]
    assert sorted(read) == read
    assert read[0] == 0 < read[1] < read[-1]


def test_the_vendors_refusals_are_read(sandbox):
    reply = ask(sandbox, sent(to=model(name="claude-nobody")))
    assert reply.status_code == 404
    assert "claude-nobody" in ADAPTER.error_message(reply.content)


def test_odd_but_legal_chat_requests_pass_the_strict_vendor(sandbox):
    png = "data:image/png;base64,iVBORw0KGgo="
    round_trip = [called(call("call_0"), call("call.1"), content=" "), result("call_0", ""), result("call.1", " ")]
    user = {
        "role": "user",
        "content": [{"type": "text", "text": ""}, {"type": "image_url", "image_url": {"url": png}}, {"type": "text", "text": "x"}],
    }
    for to in (model(name="claude-opus-4-6", mid_system=False), model(name="claude-opus-5", reasoning="adaptive")):
        for fields in ({}, {"tool_choice": "required"}, {"tool_choice": "none", "parallel_tool_calls": False}, {"stop": [" ", "a"], "user": "u"}):
            messages = [user, *round_trip, {"role": "assistant", "content": ""}, user, *round_trip]
            plan = CachePlan(tuple(Breakpoint("b_messages", index) for index in (0, 1, 2, 8)))
            reply = ask(sandbox, sent(messages, [TOOL], to=to, plan=plan, reasoning_effort="high", **fields))
            assert reply.status_code == 200, reply.text


def test_a_vendors_stream_reaches_a_chat_client_whole(sandbox):
    out = sent(
        [{"role": "user", "content": "call f"}], [TOOL], to=model(name="claude-opus-4-6", reasoning="adaptive"), stream=True, reasoning_effort="low"
    )
    events = events_of(ask(sandbox, out).content)
    encoder = ChatEventEncoder(include_usage=True, created_s=5)
    text = b"".join(map(encoder.encode, events)) + encoder.close()
    answer = fold(events)
    assert answer.choices[0].tool_calls
    assert decode_answer(encode_answer(answer)).choices == answer.choices
    assert text.endswith(b"data: [DONE]\n\n")
