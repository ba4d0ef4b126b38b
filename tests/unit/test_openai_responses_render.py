"""Requests of other dialects as Responses: what is carried, approximated, dropped and refused."""

import base64
import json

import msgspec
import pytest

from tokenrouter.adapters.outbound.openai_responses import OpenAIResponsesWire
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Reasoning, ToolCall
from tokenrouter.model.cache_plan import NO_PLAN, Breakpoint, CachePlan, PromptCacheLimits
from tokenrouter.model.catalog import Deployment, Endpoint, Model, Secret
from tokenrouter.model.conversation import (
    Audio,
    Call,
    Conversation,
    Document,
    Image,
    OutputFormat,
    Refusal,
    Result,
    Text,
    Thought,
    ToolChoice,
    ToolSpec,
    Turn,
    Video,
)

WIRE = OpenAIResponsesWire()
GPT = Model(name="gpt-4.1", vendor="openai")
THINKS = Model(name="gpt-5.2", vendor="openai", reasoning="effort", efforts=("none", "low", "medium", "high", "xhigh"))
SOL = Model(
    name="gpt-6-sol",
    vendor="openai",
    reasoning="effort",
    efforts=("none", "low", "medium", "high", "xhigh", "max"),
    cache=PromptCacheLimits(style="breakpoints", max_marks=4, lifetimes_s=(1800, 43_200), parts_alike=True),
)
HOST = Deployment(
    name="d",
    vendor="openai",
    endpoints=(Endpoint("openai-responses", "https://h/v1"),),
    api_key=Secret("k"),
    affinity_field="prompt_cache_key",
    mark_field="prompt_cache_breakpoint",
)
PLAIN = msgspec.structs.replace(HOST, affinity_field="", mark_field="")
HI = Turn("user", (Text("hi"),), 0)
OURS = "openai-responses-v1"
TOOL = ToolSpec("f", "d", msgspec.Raw(b'{"type": "object", "properties": {"a": {}}}'))


def sent(*turns, to=GPT, host=HOST, plan=NO_PLAN, **fields):
    return WIRE.translate(Conversation(turns=turns or (HI,), **fields), to, host, plan)


def body(*turns, **fields):
    return json.loads(sent(*turns, **fields).body)


def items(*turns, **fields):
    return body(*turns, **fields)["input"]


def dropped(*turns, **fields):
    return sent(*turns, **fields).dropped


def refused(*turns, kind=UnsupportedField, **fields):
    with pytest.raises(kind) as caught:
        sent(*turns, **fields)
    return caught.value.param


def test_nothing_is_stored_and_a_plain_request_says_no_more_than_it_must():
    assert body() == {
        "model": "gpt-4.1",
        "store": False,
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
    }
    assert sent().path == "/responses"


def test_a_turn_keeps_the_order_of_its_blocks():
    turn = Turn(
        "assistant",
        (
            Thought(Reasoning("a", "", "gAAA", OURS, "rs_1")),
            Text("so"),
            Refusal("no"),
            Call(ToolCall("c1", "f", '{"a": 1.0}')),
            Thought(Reasoning("", "", "gBBB", OURS)),
            Call(ToolCall("c2", "sh", "ls", custom=True)),
        ),
        1,
    )
    results = Turn("tool", (Result("c1", (Text("1"),)), Result("c2", (Text("2"),))), 2)
    found = items(HI, turn, results)
    assert found[1:] == [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "a"}], "encrypted_content": "gAAA"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}, {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1.0}'},
        {"type": "reasoning", "summary": [], "encrypted_content": "gBBB"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "sh", "input": "ls"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "2"},
    ]


@pytest.mark.parametrize(
    "reasoning", [Reasoning("a", "c2ln", "", "anthropic-claude-v1"), Reasoning("a"), Reasoning("a", format=OURS), Reasoning("", "", "x")]
)
def test_reasoning_that_this_vendor_can_not_check_is_left_out_and_reported(reasoning):
    out = sent(HI, Turn("assistant", (Thought(reasoning), Text("x")), 1))
    assert [item["type"] for item in json.loads(out.body)["input"]] == ["message", "message"]
    assert out.dropped == ("messages.reasoning",)


def test_a_message_holds_every_kind_of_part():
    turn = Turn(
        "user",
        (
            Text("t"),
            Image(data="AA==", media_type="image/png", detail="low"),
            Image(url="https://x/y.png"),
            Document("AA==", "application/pdf", "a.pdf"),
            Document("AA==", "application/pdf"),
            Document(url="https://x/y.pdf"),
            Document(text="plain", filename="a.txt"),
            Document(base64.b64encode("grün".encode()).decode(), "text/plain"),
        ),
        0,
    )
    assert items(turn)[0]["content"] == [
        {"type": "input_text", "text": "t"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
        {"type": "input_image", "image_url": "https://x/y.png", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
        {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,AA=="},
        {"type": "input_file", "file_url": "https://x/y.pdf"},
        {"type": "input_text", "text": "a.txt\n\nplain"},
        {"type": "input_text", "text": "grün"},
    ]


@pytest.mark.parametrize(
    ("block", "param"),
    [
        (Audio("AA==", "wav"), "messages[0].content[0]"),
        (Video(url="https://x"), "messages[0].content[0]"),
        (Document(file_id="file_1"), "messages[0].content[0].file.file_id"),
        (Image(url="ftp://x"), "messages[0].content[0].image_url.url"),
    ],
)
def test_media_without_a_place_are_refused(block, param):
    assert refused(Turn("user", (block,), 0)) == param


def test_results_hold_pictures_and_say_when_they_failed():
    def output(*content, failed=False):
        call = Turn("assistant", (Call(ToolCall("c", "f", "{}")),), 1)
        return items(HI, call, Turn("tool", (Result("c", content, failed=failed),), 2))[-1]["output"]

    assert output() == ""
    assert output(Text("x")) == "x"
    assert output(Text("x"), Image(url="https://x/y.png"))[1]["type"] == "input_image"
    assert output(Text("boom"), failed=True) == "Error: boom"
    assert output(Text("TypeError: x"), failed=True) == "Error: TypeError: x"
    assert output(Text("[error] x"), failed=True) == "[error] x"
    assert output(failed=True) == "Error"


def test_results_beside_other_blocks_keep_their_place():
    turn = Turn("user", (Result("c", (Text("1"),)), Text("and")), 2)
    found = items(HI, Turn("assistant", (Call(ToolCall("c", "f", "{}")),), 1), turn)
    assert [item["type"] for item in found] == ["message", "function_call", "function_call_output", "message"]


def test_ids_that_repeat_or_are_too_long_are_told_apart_the_same_way_every_time():
    long = "x" * 80
    turns = (
        Turn("assistant", (Call(ToolCall("0", "f", "{}")),), 0),
        Turn("tool", (Result("0", (Text("a"),)),), 1),
        Turn("assistant", (Call(ToolCall("0", "f", "{}")), Call(ToolCall(long, "f", "{}"))), 2),
        Turn("tool", (Result("0", (Text("b"),)), Result(long, (Text("c"),))), 3),
    )
    names = [item["call_id"] for item in items(*turns)]
    assert names[0] == names[1] == "0"
    assert names[2] == names[4] != "0"
    assert names[3] == names[5]
    assert len(names[3]) <= 64
    assert names == [item["call_id"] for item in items(*turns)]


def test_an_empty_turn_of_the_users_is_refused_and_an_empty_one_of_the_models_vanishes():
    assert refused(Turn("user", (), 0), kind=InvalidRequest) == "messages[0].content"
    assert len(items(HI, Turn("assistant", (Text(""),), 1), HI)) == 2
    assert dropped(Turn("user", (Text("x"),), 0, name="bob")) == ("messages.name",)


def test_tools_say_whether_they_are_strict():
    strict = msgspec.structs.replace(TOOL, strict=True)
    grammar = msgspec.Raw(b'{"type":"grammar","grammar":{"syntax":"lark","definition":"\\u0061"}}')
    flat = msgspec.Raw(b'{"type":"grammar","definition":"a","syntax":"regex"}')
    tools = (
        TOOL,
        strict,
        ToolSpec("g"),
        ToolSpec("sh", custom=True, grammar=grammar),
        ToolSpec("t", custom=True, grammar=flat),
        ToolSpec("u", custom=True),
    )
    out = sent(tools=tools)
    found = json.loads(out.body)["tools"]
    assert found[0] == {
        "type": "function",
        "name": "f",
        "description": "d",
        "parameters": {"type": "object", "properties": {"a": {}}},
        "strict": False,
    }
    assert b'{"type": "object", "properties": {"a": {}}}' in out.body
    assert found[1]["strict"] is True
    assert found[2]["parameters"] == {"type": "object", "properties": {}}
    assert found[3] == {"type": "custom", "name": "sh", "format": {"type": "grammar", "syntax": "lark", "definition": "a"}}
    assert b'"\\u0061"' in out.body
    assert found[4]["format"] == {"type": "grammar", "syntax": "regex", "definition": "a"}
    assert found[5] == {"type": "custom", "name": "u"}
    broken = ToolSpec("x", custom=True, grammar=msgspec.Raw(b'{"syntax":"lark"}'))
    assert refused(tools=(broken,), kind=InvalidRequest) == "tools[0].custom.format"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("required"), "required"),
        (ToolChoice("named", name="f"), {"type": "function", "name": "f"}),
        (ToolChoice("named", name="sh"), {"type": "custom", "name": "sh"}),
        (
            ToolChoice("subset", names=("f", "sh"), required=True),
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "sh"}]},
        ),
    ],
)
def test_choices_of_tools(choice, expected):
    assert body(tools=(TOOL, ToolSpec("sh", custom=True)), tool_choice=choice)["tool_choice"] == expected


def test_without_tools_a_choice_says_nothing_or_is_refused():
    assert "tool_choice" not in body(tool_choice=ToolChoice("auto"), parallel_calls=False)
    assert refused(tool_choice=ToolChoice("required"), kind=InvalidRequest) == "tool_choice"
    assert body(tools=(TOOL,), parallel_calls=False)["parallel_tool_calls"] is False


def test_forms_of_the_answer():
    schema = msgspec.Raw(b'{"type":"object"}')
    asking = Turn("system", (Text("Answer in Json."),), 0)
    assert body(asking, output=OutputFormat("json_object"))["text"] == {"format": {"type": "json_object"}}
    assert refused(output=OutputFormat("json_object")) == "response_format"
    named = OutputFormat("json_schema", "n", schema, True)
    assert body(output=named)["text"] == {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}}
    assert body(output=OutputFormat("json_schema", None, schema))["text"]["format"]["name"] == "response"
    assert refused(output=OutputFormat("json_schema")) == "response_format.json_schema.schema"
    assert body(to=THINKS, verbosity="low")["text"] == {"verbosity": "low"}
    assert dropped(verbosity="low") == ("verbosity",)


@pytest.mark.parametrize(
    ("fields", "reasoning", "reported"),
    [
        ({}, None, ()),
        ({"effort": "high"}, {"effort": "high"}, ()),
        ({"effort": "none"}, {"effort": "none"}, ()),
        ({"effort": "minimal"}, {"effort": "low"}, ("reasoning_effort",)),
        ({"effort": "max"}, {"effort": "xhigh"}, ("reasoning_effort",)),
        ({"thinking_budget": 9_000}, {"effort": "medium"}, ()),
        ({"thinking_budget": 0}, {"effort": "none"}, ()),
        ({"thinking_budget": -1}, None, ()),
        ({"show_reasoning": True}, {"summary": "auto"}, ()),
        ({"show_reasoning": True, "effort": "low"}, {"effort": "low", "summary": "auto"}, ()),
        ({"show_reasoning": False}, None, ()),
    ],
)
def test_reasoning_is_asked_for_in_words_that_the_model_has(fields, reasoning, reported):
    out = sent(to=THINKS, **fields)
    found = json.loads(out.body)
    assert found.get("reasoning") == reasoning
    assert found["include"] == ["reasoning.encrypted_content"]
    assert out.dropped == reported


def test_models_that_do_not_reason_are_not_asked_to():
    out = sent(effort="high", show_reasoning=True)
    assert not {"reasoning", "include"} & set(json.loads(out.body))
    assert out.dropped == ("reasoning_effort",)
    assert dropped(thinking_budget=5) == ("thinking_budget",)
    assert dropped(effort="none") == ()
    assert refused(effort="extreme", to=THINKS) == "reasoning_effort"


def test_sampling_where_the_model_takes_it():
    assert {k: v for k, v in body(temperature=0.5, top_p=0.9).items() if k in ("temperature", "top_p")} == {"temperature": 0.5, "top_p": 0.9}
    assert "temperature" not in body(temperature=0.5, to=THINKS)
    assert dropped(temperature=0.5, top_p=1, to=THINKS) == ("temperature",)
    assert body(temperature=0.5, to=THINKS, effort="none")["temperature"] == 0.5
    assert dropped(top_k=3, seed=1, frequency_penalty=0.1, presence_penalty=0) == ("frequency_penalty", "top_k", "seed")


def test_what_the_answer_depends_on_is_refused():
    assert refused(choices=2) == "n"
    assert refused(stop=("x",)) == "stop"
    assert [refused(leftover=(name,)) for name in ("logprobs", "logit_bias", "audio", "web_search_options")] == [
        "logprobs",
        "logit_bias",
        "audio",
        "web_search_options",
    ]
    assert dropped(leftover=("zebra",)) == ("zebra",)


def test_hints():
    found = body(max_output=99, user="u" * 64, service_tier="auto", affinity="mine", stream=True)
    wanted = {"max_output_tokens": 99, "safety_identifier": "u" * 64, "service_tier": "auto", "prompt_cache_key": "mine", "stream": True}
    assert {name: found[name] for name in wanted} == wanted
    assert len(body(user="u" * 65)["safety_identifier"]) == 48
    assert body(max_output=1)["max_output_tokens"] == 16
    assert dropped(max_output=1, service_tier="standard_only") == ("max_completion_tokens", "service_tier")


def test_the_key_of_the_plan_is_used_where_the_client_has_none():
    plan = CachePlan((), "tr-1")
    out = sent(plan=plan)
    assert (json.loads(out.body)["prompt_cache_key"], out.edits) == ("tr-1", ("marks.plan",))
    own = sent(plan=plan, affinity="mine")
    assert (json.loads(own.body)["prompt_cache_key"], own.edits) == ("mine", ())
    assert "prompt_cache_key" not in body(plan=plan, affinity="mine", host=PLAIN)


# marks


TURNS = (
    Turn("system", (Text("a"), Text("b")), 0),
    Turn("user", (Text("c"), Image(url="https://x/y.png")), 1),
    Turn("assistant", (Text("d"), Call(ToolCall("c", "f", "{}"))), 2),
    Turn("tool", (Result("c", (Text("e"),)),), 3),
    Turn("user", (Text("f"),), 3),
)


def marks(*points, to=SOL, host=HOST):
    """(index of the item, index of the part, lifetime) of every mark."""
    out = sent(*TURNS, to=to, host=host, plan=CachePlan(tuple(points)))
    return [
        (place, number, part["prompt_cache_breakpoint"].get("ttl", "30m"))
        for place, item in enumerate(json.loads(out.body)["input"])
        for number, part in enumerate(item.get("content") or item.get("output") or [])
        if isinstance(part, dict) and "prompt_cache_breakpoint" in part
    ], out.edits


def test_marks_sit_on_the_parts_that_the_plan_names():
    assert marks(Breakpoint("b_messages", 0, -1, 0, "client")) == ([(0, 1, "30m")], ())
    assert marks(Breakpoint("b_messages", 0, 0, 43_200)) == ([(0, 0, "12h")], ("marks.plan",))
    assert marks(Breakpoint("b_messages", 1, 1)) == ([(1, 1, "30m")], ("marks.plan",))
    assert marks(Breakpoint("b_messages", 3, 0)) == ([(4, 0, "30m")], ("marks.plan",))
    assert marks(Breakpoint("b_messages", 3, 1)) == ([(5, 0, "30m")], ("marks.plan",))
    assert marks(Breakpoint("b_messages", 3)) == ([(5, 0, "30m")], ("marks.plan",))


def test_tools_and_the_models_words_take_no_marks_nor_do_hosts_that_refuse_them():
    assert marks(Breakpoint("a_tools", 0), Breakpoint("b_messages", 2)) == ([], ())
    assert marks(Breakpoint("b_messages", 0), to=GPT) == ([], ())
    assert marks(Breakpoint("b_messages", 0), host=PLAIN) == ([], ())


def test_two_marks_on_one_place_keep_the_longer_lifetime():
    assert marks(Breakpoint("b_messages", 0, -1, 43_200, "client"), Breakpoint("b_messages", 0, 1)) == ([(0, 1, "12h")], ())


def test_results_are_parts_where_marks_may_ever_sit_and_texts_elsewhere():
    assert items(*TURNS, to=SOL)[4]["output"] == [{"type": "input_text", "text": "e"}]
    assert items(*TURNS)[4]["output"] == "e"
