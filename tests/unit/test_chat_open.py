import json

import msgspec
import pytest

from tokenrouter.adapters.inbound.openai_chat_open import open_chat
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Reasoning, ToolCall
from tokenrouter.model.conversation import (
    Audio,
    Call,
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
)

HI = {"role": "user", "content": "hi"}


def raw(value):
    return msgspec.Raw(json.dumps(value).encode())


def opened(messages=(HI,), tools=(), **fields):
    everything = {"model": "m", "messages": list(messages), **fields}
    return open_chat({name: raw(value) for name, value in everything.items()}, [raw(one) for one in messages], [raw(one) for one in tools])


def turn(message):
    return opened([message]).turns[0]


def test_messages_keep_their_order_place_and_text():
    turns = opened(
        [
            {"role": "developer", "content": "d"},
            {"role": "system", "content": [{"type": "text", "text": " a "}, {"type": "text", "text": ""}]},
            {"role": "user", "content": "né\n", "name": "ann"},
            {"role": "assistant", "content": None},
        ]
    ).turns
    assert turns == (
        Turn("system", (Text("d"),), 0),
        Turn("system", (Text(" a "), Text("")), 1),
        Turn("user", (Text("né\n"),), 2, "ann"),
        Turn("assistant", (), 3),
    )


def test_every_kind_of_user_part_is_opened():
    parts = [
        {"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/PNG;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,CCCC", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "JVBERi0x"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    conversation = opened([{"role": "user", "content": parts}])
    assert conversation.turns[0].blocks == (
        Text("t"),
        Image(url="https://x/y.png", detail="low"),
        Image(data="AAAA", media_type="image/png"),
        Audio("BBBB", "wav"),
        Document("CCCC", "application/pdf", "a.pdf"),
        Document("JVBERi0x", "application/pdf"),
        Document(file_id="file-1"),
    )
    assert conversation.leftover == ()


def test_an_assistant_turn_holds_text_refusal_audio_and_calls_with_arguments_as_written():
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}],
        "refusal": "never",
        "audio": {"id": "audio_1"},
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{ "x":1.0}'}}],
    }
    call = Call(ToolCall("c", "f", '{ "x":1.0}'))
    assert turn(message).blocks == (Text("a"), Refusal("no"), Refusal("never"), Audio(audio_id="audio_1"), call)


def test_tool_messages_answer_their_call():
    assert turn({"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "1"}]}) == Turn("tool", (Result("c", (Text("1"),)),), 0)


def test_the_old_function_form_in_a_history_is_paired_without_ids():
    turns = opened(
        [
            HI,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
        ]
    ).turns
    assert turns[1].blocks[0].call.id == turns[2].blocks[0].call_id
    with pytest.raises(InvalidRequest) as caught:
        opened([HI, {"role": "function", "name": "f", "content": "1"}])
    assert caught.value.param == "messages[1].name"


def test_signed_reasoning_comes_back_in_front_of_its_turn():
    details = [
        {"type": "reasoning.text", "text": "t", "signature": "s", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "d", "format": "anthropic-claude-v1", "index": 1},
    ]
    conversation = opened([{"role": "assistant", "content": "a", "reasoning_content": "t", "reasoning_details": details}])
    assert conversation.turns[0].blocks == (
        Thought(Reasoning("t", "s", format="anthropic-claude-v1")),
        Thought(Reasoning(redacted="d", format="anthropic-claude-v1")),
        Text("a"),
    )
    assert conversation.leftover == ()


def test_deltas_that_a_client_only_collected_are_joined_again():
    details = [
        {"type": "reasoning.text", "text": "a", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "text": "b", "index": 0},
        {"type": "reasoning.text", "text": "", "signature": "s", "index": 0},
        {"type": "reasoning.text", "text": "c", "signature": "z", "index": 1},
    ]
    blocks = turn({"role": "assistant", "content": "x", "reasoning_details": details}).blocks
    assert blocks[:2] == (Thought(Reasoning("ab", "s", format="anthropic-claude-v1")), Thought(Reasoning("c", "z")))


def test_reasoning_without_a_signature_is_left_over():
    assert opened([{"role": "assistant", "content": "a", "reasoning_content": "t"}]).leftover == ("messages.reasoning_content",)
    assert opened([{"role": "assistant", "content": "a", "reasoning": "t"}]).leftover == ("messages.reasoning",)
    conversation = opened([{"role": "assistant", "content": "a", "reasoning_details": [{"type": "reasoning.text", "text": "t"}]}])
    assert conversation.leftover == ("messages.reasoning_details",)
    assert conversation.turns[0].blocks == (Text("a"),)


def test_members_that_sdks_echo_empty_are_nothing():
    echo = {"role": "assistant", "content": "a", "refusal": None, "audio": None, "annotations": [], "function_call": None, "tool_calls": None}
    assert opened([echo]).leftover == ()


def test_unknown_members_are_named_once_without_positions():
    part = {"type": "text", "text": "a", "zoom": 1}
    messages = [{"role": "user", "content": [part, part], "mood": "good"}] * 2
    tool = {"type": "function", "defer": True, "function": {"name": "f", "kind": 1}}
    assert opened(messages, [tool], top_z=3).leftover == (
        "top_z",
        "tools.defer",
        "tools.function.kind",
        "messages.mood",
        "messages.content.zoom",
    )


def test_parameters_are_carried():
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}
    conversation = opened(
        stream=True,
        max_tokens=5,
        max_completion_tokens=7,
        temperature=0.5,
        top_p=1,
        stop="END",
        seed=3,
        n=2,
        parallel_tool_calls=False,
        response_format=schema,
        reasoning_effort="high",
        user="u",
        safety_identifier="s",
        service_tier="flex",
    )
    assert (conversation.stream, conversation.max_output, conversation.temperature, conversation.top_p) == (True, 7, 0.5, 1)
    assert (conversation.stop, conversation.seed, conversation.choices, conversation.parallel_calls) == (("END",), 3, 2, False)
    assert conversation.output == OutputFormat("json_schema", "n", msgspec.Raw(b'{"type": "object"}'), True)
    assert (conversation.effort, conversation.user, conversation.service_tier) == ("high", "s", "flex")
    assert conversation.leftover == ()


def test_sampling_beyond_openais_own_is_carried():
    conversation = opened(top_k=40, frequency_penalty=0.5, presence_penalty=-0.5, verbosity="low")
    assert (conversation.top_k, conversation.frequency_penalty, conversation.presence_penalty) == (40, 0.5, -0.5)
    assert conversation.verbosity == "low"
    assert conversation.leftover == ()


def test_nulls_and_documented_defaults_are_nothing():
    names = ("temperature", "top_p", "stop", "seed", "n", "tool_choice", "response_format", "user", "logprobs", "max_tokens", "functions")
    conversation = opened(
        **dict.fromkeys(names),
        frequency_penalty=0,
        presence_penalty=0.0,
        logit_bias={},
        top_logprobs=0,
        modalities=["text"],
        store=False,
        verbosity="medium",
        function_call="auto",
        stream_options={"include_usage": True},
        metadata={"a": "b"},
        prompt_cache_key="k",
        prompt_cache_options={"mode": "explicit"},
        prompt_cache_retention="24h",
    )
    assert conversation == opened()


def test_fields_that_ask_for_something_are_left_over_by_name():
    fields = {"logprobs": True, "logit_bias": {"1": 2}, "modalities": ["text", "audio"], "web_search_options": {}, "store": True}
    assert opened(**fields).leftover == tuple(fields)


def test_tools_keep_their_schema_as_spelled():
    tool = msgspec.Raw(b'{"type":"function","function":{"name":"f","description":"d","parameters":{ "b":1.0, "a":2 },"strict":true}}')
    conversation = open_chat({}, [raw(HI)], [tool])
    assert conversation.tools == (ToolSpec("f", "d", msgspec.Raw(b'{ "b":1.0, "a":2 }'), True),)
    assert opened(tools=[{"type": "function", "function": {"name": "f", "parameters": None}}]).tools == (ToolSpec("f"),)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice("named", "f")),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}},
            ToolChoice("subset", names=("f",), required=True),
        ),
    ],
)
def test_every_form_of_tool_choice_is_understood(said, meant):
    assert opened(tool_choice=said).tool_choice == meant


@pytest.mark.parametrize(
    ("messages", "tools", "fields", "param"),
    [
        ([HI], [{"type": "mcp", "mcp": {"name": "f"}}], {}, "tools[0].type"),
        ([HI], [], {"functions": [{"name": "f"}]}, "functions"),
        ([HI], [], {"function_call": {"name": "f"}}, "function_call"),
        ([{"role": "assistant", "tool_calls": [{"id": "c", "type": "mcp", "mcp": {}}]}], [], {}, "messages[0].tool_calls[0].type"),
        ([{"role": "user", "content": [{"type": "video_url", "video_url": {}}]}], [], {}, "messages[0].content[0].type"),
        ([{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], [], {}, "messages[0].content[0].type"),
    ],
)
def test_what_no_translation_can_carry_is_refused_by_name(messages, tools, fields, param):
    with pytest.raises(UnsupportedField) as caught:
        opened(messages, tools, **fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (3, "messages[0]"),
        ({}, "messages[0].role"),
        ({"role": "boss", "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": 3}, "messages[0].content"),
        ({"role": "user", "content": ["x"]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"text": "x"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "text", "text": 3}]}, "messages[0].content[0].text"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": 3}}]}, "messages[0].content[0].image_url.url"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}, "messages[0].content[0].image_url.url"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}, "messages[0].content[0].input_audio.format"),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "messages[0].content[0].file.file_data"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_data": "zzzz"}}]}, "messages[0].content[0].file.file_data"),
        ({"role": "user", "content": "x", "name": 3}, "messages[0].name"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "assistant", "tool_calls": {}}, "messages[0].tool_calls"),
        ({"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}, "messages[0].tool_calls[0].function.arguments"),
        ({"role": "assistant", "reasoning_details": [{"text": 3}]}, "messages[0].reasoning_details[0].text"),
    ],
)
def test_wrong_types_in_messages_are_named_by_their_path(message, param):
    with pytest.raises(InvalidRequest) as caught:
        opened([message])
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"seed": "x"}, "seed"),
        ({"n": 0}, "n"),
        ({"stop": [1]}, "stop[0]"),
        ({"stream": "yes"}, "stream"),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"user": 3}, "user"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "x"}}}, "tool_choice.allowed_tools.mode"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": 3}}}, "response_format.json_schema.schema"),
    ],
)
def test_wrong_types_in_parameters_are_named(fields, param):
    with pytest.raises(InvalidRequest) as caught:
        opened(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        (3, "tools[0]"),
        ({}, "tools[0].type"),
        ({"type": "function"}, "tools[0].function"),
        ({"type": "function", "function": {}}, "tools[0].function.name"),
        ({"type": "function", "function": {"name": "f", "parameters": []}}, "tools[0].function.parameters"),
        ({"type": "function", "function": {"name": "f", "strict": 1}}, "tools[0].function.strict"),
    ],
)
def test_wrong_types_in_tools_are_named(tool, param):
    with pytest.raises(InvalidRequest) as caught:
        opened(tools=[tool])
    assert caught.value.param == param


def test_a_message_that_is_no_readable_json_is_refused():
    with pytest.raises(InvalidRequest) as caught:
        open_chat({}, [msgspec.Raw(b'{"role":"user","content":"\\ud800"}')], [])
    assert caught.value.param == "messages[0]"


def test_free_text_tools_calls_and_choices_are_read():
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a+/"}}
    tools = [{"type": "custom", "custom": {"name": "patch", "description": "d", "format": grammar}}]
    call = {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    answered = {"role": "tool", "tool_call_id": "c1", "content": "done"}
    found = opened([HI, said, answered], tools, tool_choice={"type": "custom", "custom": {"name": "patch"}})
    assert (found.tools[0].custom, found.tools[0].name, json.loads(bytes(found.tools[0].grammar))) == (True, "patch", grammar)
    assert found.turns[1].blocks == (Call(ToolCall("c1", "patch", "*** Begin", custom=True)),)
    assert found.tool_choice == ToolChoice("named", name="patch")


def test_a_signature_that_belongs_to_a_call_stands_in_front_of_it():
    def call(name, **more):
        return {"id": f"id_{name}", "type": "function", "function": {"name": name, "arguments": "{}"}, **more}

    signed = call("b", extra_content={"google": {"thought_signature": "c2ln"}})
    details = [{"type": "reasoning.encrypted", "data": "YQ==", "format": "google-gemini-v1", "id": "id_a", "index": 0}]
    found = opened([HI, {"role": "assistant", "content": "so", "reasoning_details": details, "tool_calls": [call("a"), signed]}])
    kinds = [block.reasoning.id if isinstance(block, Thought) else type(block).__name__ for block in found.turns[1].blocks]
    assert kinds == ["Text", "id_a", "Call", "id_b", "Call"]
