"""A Responses request opened for other vendors: turns in the client's order, every field carried, noted or refused by name."""

import json

import pytest
from support import HAIKU, OPUS, render

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.openai_responses import OpenAIResponses
from tokenrouter.adapters.wire.foreign_reasoning import seal
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Answer, Choice, Reasoning, Spoken, ToolCall
from tokenrouter.model.conversation import Audio, Call, Document, Image, OutputFormat, Refusal, Result, Text, Thought, ToolChoice

DIALECT = OpenAIResponses()
OURS, CLAUDE = "openai-responses-v1", "anthropic-claude-v1"
SIGNED = Reasoning("Let me see", "c2ln", "", CLAUDE)
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a": 1.0}', "status": "completed"}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
TOOL = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {}}}, "strict": None}


def opened(*items, **fields):
    request = {"model": "m", "input": list(items) or "hi", **fields}
    return DIALECT.open(DIALECT.parse(json.dumps(request).encode()), None)


def blocks(*items):
    return [turn.blocks for turn in opened(*items).turns]


def refused(*items, **fields):
    with pytest.raises(InvalidRequest) as caught:
        opened(*items, **fields)
    return caught.value


def thought(**more):
    return {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Let me see"}], **more}


def test_a_run_of_the_models_items_is_one_turn_in_their_order():
    items = [
        {"role": "developer", "content": "brief"},
        {"role": "user", "content": [{"type": "input_text", "text": "go"}]},
        thought(encrypted_content="gAAA"),
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_1",
            "status": "completed",
            "content": [{"type": "output_text", "text": "so", "annotations": []}],
        },
        CALL,
        thought(encrypted_content=seal(SIGNED)),
        {"type": "custom_tool_call", "call_id": "call_2", "name": "sh", "input": "ls"},
        RESULT,
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "a"}]},
        {"role": "user", "content": "and?"},
    ]
    turns = opened(*items, instructions="You are").turns
    assert [(turn.role, turn.source, turn.place) for turn in turns] == [
        ("system", 0, "instructions"),
        ("system", 1, "input[0]"),
        ("user", 2, "input[1]"),
        ("assistant", 3, "input[2]"),
        ("tool", 8, "input[7]"),
        ("tool", 9, "input[8]"),
        ("user", 10, "input[9]"),
    ]
    assert turns[3].blocks == (
        Thought(Reasoning("Let me see", "", "gAAA", OURS, "rs_1")),
        Text("so"),
        Call(ToolCall("call_1", "f", '{"a": 1.0}')),
        Thought(SIGNED),
        Call(ToolCall("call_2", "sh", "ls", custom=True)),
    )
    assert turns[4].blocks == (Result("call_1", (Text("42"),)),)
    assert turns[5].blocks == (Result("call_2", (Text("a"),)),)


def test_an_item_with_a_mark_is_a_turn_of_its_own():
    marked = {**CALL, "cache_control": {"type": "ephemeral"}}
    said = {"role": "assistant", "content": "x"}
    turns = opened(said, marked, said).turns
    assert [(turn.source, len(turn.blocks)) for turn in turns] == [(0, 1), (1, 1), (2, 1)]
    inside = {"role": "assistant", "content": [{"type": "output_text", "text": "x", "cache_control": {"type": "ephemeral"}}]}
    assert [turn.source for turn in opened(said, inside, said).turns] == [0, 1, 2]


def test_parts_of_every_kind():
    parts = [
        {"type": "input_text", "text": "t"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
        {"type": "input_image", "image_url": "https://x/y.png"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"},
        {"type": "input_file", "file_data": "JVBERi0="},
        {"type": "input_file", "file_url": "https://x/y.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]
    assert blocks({"role": "user", "content": parts}) == [
        (
            Text("t"),
            Image(data="AA==", media_type="image/png", detail="low"),
            Image(url="https://x/y.png"),
            Document("AA==", "application/pdf", "a.pdf"),
            Document("JVBERi0=", "application/pdf"),
            Document(url="https://x/y.pdf"),
            Audio("AA==", "wav"),
        )
    ]
    assert blocks({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}) == [(Refusal("no"),)]
    result = {**RESULT, "output": [parts[0], parts[1], parts[3]]}
    assert isinstance(blocks(result)[0][0].content[2], Document)


def test_reasoning_without_content_of_its_own_is_noted():
    conversation = opened(thought(), {"role": "assistant", "content": "x"})
    assert conversation.turns[0].blocks == (Text("x"),)
    assert conversation.leftover == ("messages.reasoning",)


def test_fields_find_their_places():
    conversation = opened(
        tools=[TOOL, {"type": "custom", "name": "sh", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}}],
        tool_choice={"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}, "verbosity": "low"},
        reasoning={"effort": "high", "summary": "detailed"},
        stream=True,
        max_output_tokens=99,
        temperature=0.5,
        top_p=0.9,
        safety_identifier="u1",
        user="u2",
        service_tier="default",
        prompt_cache_key="k",
        include=["reasoning.encrypted_content"],
        store=False,
        metadata={"a": "b"},
        truncation="disabled",
        top_logprobs=0,
        client_metadata={"x": 1},
    )
    function, custom = conversation.tools
    assert (function.name, function.description, function.strict, bytes(function.parameters)) == (
        "f",
        "d",
        None,
        json.dumps(TOOL["parameters"]).encode(),
    )
    assert (custom.name, custom.custom, json.loads(bytes(custom.grammar))["syntax"]) == ("sh", True, "lark")
    assert conversation.tool_choice == ToolChoice("subset", names=("f",), required=True)
    assert (conversation.output.kind, conversation.output.name, conversation.output.strict) == ("json_schema", "n", True)
    assert (conversation.effort, conversation.show_reasoning, conversation.verbosity) == ("high", True, "low")
    assert (conversation.parallel_calls, conversation.stream, conversation.max_output) == (False, True, 99)
    assert (conversation.temperature, conversation.top_p, conversation.user, conversation.affinity) == (0.5, 0.9, "u1", "k")
    assert conversation.leftover == ()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ToolChoice("auto")),
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "f"}, ToolChoice("named", name="f")),
        ({"type": "custom", "name": "f"}, ToolChoice("named", name="f")),
        (None, None),
    ],
)
def test_tool_choices(choice, expected):
    assert opened(tools=[TOOL], tool_choice=choice).tool_choice == expected


@pytest.mark.parametrize(
    ("text", "output"),
    [(None, OutputFormat("text")), ({}, OutputFormat("text")), ({"format": {"type": "text"}}, OutputFormat("text")),
     ({"format": {"type": "json_object"}}, OutputFormat("json_object"))],
)  # fmt: skip
def test_forms_of_the_answer(text, output):
    assert opened(text=text).output == output


def test_what_has_no_place_is_noted_by_name():
    conversation = opened(
        {"role": "user", "content": [{"type": "input_text", "text": "x", "new": 1}], "phase": "commentary"},
        {**CALL, "caller": {"type": "program", "caller_id": "x"}},
        tools=[{**TOOL, "defer_loading": True}, {"type": "web_search"}],
        reasoning={"context": "all_turns", "mode": "standard"},
        truncation="auto",
        max_tool_calls=3,
        include=["web_search_call.results"],
        zebra=1,
        store=True,
    )
    assert set(conversation.leftover) == {
        *("truncation", "max_tool_calls", "zebra", "store", "include[0]", "tools.defer_loading", "tools.web_search"),
        *("reasoning.context", "messages.phase", "messages.content.new", "messages.caller"),
    }
    assert [spec.name for spec in conversation.tools] == ["f"]


def test_log_probabilities_keep_the_name_that_renderers_refuse():
    assert opened(top_logprobs=3).leftover == opened(include=["message.output_text.logprobs"]).leftover == ("logprobs",)


def test_tools_in_a_namespace_are_told_apart_by_their_names_and_back():
    space = {"type": "namespace", "name": "agents", "description": "d", "tools": [TOOL, {"type": "custom", "name": "sh"}]}
    request = {"model": "m", "input": [{**CALL, "namespace": "agents"}, {**CALL, "call_id": "c2"}], "tools": [space]}
    envelope = DIALECT.parse(json.dumps(request).encode())
    conversation = DIALECT.open(envelope, None)
    assert [spec.name for spec in conversation.tools] == ["agents__f", "agents__sh"]
    assert [block.call.name for block in conversation.turns[0].blocks] == ["agents__f", "f"]
    answer = Answer("r", "m", 1, (Choice((ToolCall("c", "agents__f", "{}"),), "tool_calls"),))
    item = json.loads(DIALECT.encode_answer(answer, Wanted(asked=envelope)))["output"][0]
    assert (item["namespace"], item["name"]) == ("agents", "f")


@pytest.mark.parametrize(
    ("items", "fields", "param"),
    [
        ([], {"previous_response_id": "resp_1"}, "previous_response_id"),
        ([{"type": "item_reference", "id": "x"}], {}, "input[0].type"),
        ([{"type": "web_search_call", "id": "x"}], {}, "input[0].type"),
        (["a", {"type": "brand_new"}], {}, "input[1].type"),
        ([{"role": "user", "content": [{"type": "input_video"}]}], {}, "input[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}], {}, "input[0].content[0].file_id"),
        ([{"role": "assistant", "content": [{"type": "input_image", "image_url": "https://x"}]}], {}, "input[0].content[0].type"),
        ([], {"tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ([], {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "web_search"}]}]}, "tools[0].tools[0].type"),
    ],
)
def test_what_only_another_provider_holds_is_refused_by_name(items, fields, param):
    error = refused(*items, **fields)
    assert isinstance(error, UnsupportedField)
    assert error.param == param


@pytest.mark.parametrize(
    ("items", "fields", "param"),
    [
        ([{**CALL, "call_id": None}], {}, "input[0].call_id"),
        ([{**CALL, "arguments": {}}], {}, "input[0].arguments"),
        ([{"role": "user", "content": [{"type": "input_text"}]}], {}, "input[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "input_file", "file_data": "AA"}]}], {}, "input[0].content[0].file_data"),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}], {}, "input[0].content[0].image_url"),
        ([], {"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ([], {"text": 1}, "text"),
        ([], {"reasoning": {"effort": 1}}, "reasoning.effort"),
        ([], {"tool_choice": "maybe"}, "tool_choice"),
        ([], {"tools": [{**TOOL, "strict": 1}]}, "tools[0].strict"),
        ([], {"tools": [{**TOOL, "parameters": []}]}, "tools[0].parameters"),
        ([], {"max_output_tokens": True}, "max_output_tokens"),
    ],
)
def test_values_of_the_wrong_kind_say_where(items, fields, param):
    assert refused(*items, **fields).param == param


# through the lane, toward Claude


def toward_claude(request, model=OPUS):
    out = render({"model": model, **request}, model, dialect=DIALECT)
    return json.loads(out.body), out


def test_a_tool_loop_with_thinking_reaches_claude_whole():
    items = ["go", thought(encrypted_content=seal(SIGNED)), CALL, RESULT]
    body, out = toward_claude({"instructions": "be", "input": items, "tools": [TOOL]})
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Let me see", "signature": "c2ln"},
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1.0}},
    ]
    assert body["messages"][2]["content"][0]["tool_use_id"] == "call_1"
    assert out.dropped == ()


def test_marks_reach_claude_where_the_client_set_them():
    items = [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}, {"type": "input_text", "text": "b"}],
        },
        {"role": "assistant", "content": "x"},
        {**CALL, "cache_control": {"type": "ephemeral"}},
        RESULT,
        {"role": "user", "content": "long " * 3_000},
    ]
    body, _ = toward_claude({"instructions": "be", "input": items, "tools": [TOOL]})
    marked = [
        (place, number)
        for place, message in enumerate(body["messages"])
        for number, block in enumerate(message["content"])
        if "cache_control" in block
    ]
    assert (0, 0) in marked
    assert any(block.get("type") == "tool_use" and "cache_control" in block for message in body["messages"] for block in message["content"])


def test_renderers_errors_and_reports_use_this_apis_words():
    with pytest.raises(UnsupportedField) as caught:
        toward_claude({"input": "hi", "text": {"format": {"type": "json_object"}}})
    assert caught.value.param == "text.format.type"
    assert "text.format.type" in caught.value.message
    _, out = toward_claude(
        {"input": ["x", thought(encrypted_content="gAAA"), {"role": "assistant", "content": "y", "phase": "commentary"}], "store": True}, HAIKU
    )
    assert set(out.dropped) == {"input.phase", "input.reasoning", "store"}


def test_the_answer_repeats_the_request():
    request = {
        "model": "m",
        "instructions": "be",
        "input": "hi",
        "tools": [TOOL],
        "tool_choice": "auto",
        "temperature": 0.50,
        "metadata": {"a": "b"},
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "reasoning": {"effort": "low"},
        "max_output_tokens": 7,
        "service_tier": "auto",
        "store": True,
        "user": None,
    }
    envelope = DIALECT.parse(json.dumps(request, indent=1).encode())
    answer = Answer("r", "claude", 1, (Choice((Spoken("x"),), "stop"),))
    body = json.loads(DIALECT.encode_answer(answer, Wanted(asked=envelope)))
    same = ("instructions", "tools", "tool_choice", "temperature", "metadata", "text", "reasoning", "max_output_tokens", "user")
    assert {name: body[name] for name in same} == {name: request[name] for name in same}
    assert (body["store"], body["previous_response_id"], body["service_tier"], body["parallel_tool_calls"]) == (False, None, "default", True)
    encoder = DIALECT.encoder(Wanted(asked=envelope, created_s=1))
    assert encoder.close().count(b"\ndata: ") > 3, "line ends inside the client's own bytes"
