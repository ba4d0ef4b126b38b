"""Requests of Ollama's own API, opened."""

import json

import pytest

from tokenrouter.adapters.inbound.ollama import OllamaChat, OllamaEmbed, OllamaEmbeddings, OllamaGenerate
from tokenrouter.errors import InvalidRequest, RateLimited, UnsupportedField
from tokenrouter.model.answer import Reasoning, ToolCall
from tokenrouter.model.conversation import Call, Image, OutputFormat, Result, Text, Thought
from tokenrouter.pipeline.canonicalizer import Memo
from tokenrouter.pipeline.chunker import chunk

CHAT, GENERATE = OllamaChat(), OllamaGenerate()
HI = [{"role": "user", "content": "hi"}]
PNG = "iVBORw0KGgo="


def opened(dialect=CHAT, order=None, **fields):
    body = json.dumps({"model": "m", **({"messages": HI} if dialect is CHAT and "messages" not in fields else {}), **fields})
    return dialect.open(dialect.parse(body.encode()), order)


def blocks(*messages):
    return [turn.blocks for turn in opened(messages=list(messages)).turns]


def called(*names, **arguments):
    return {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": name, "arguments": arguments}} for name in names]}


def result(content, **more):
    return {"role": "tool", "content": content, **more}


def test_calls_are_named_by_their_place_and_results_find_them_by_tool_and_order():
    history = [*HI, called("a", "b", "a"), result("1", tool_name="a"), result("2", tool_name="b"), result("3", tool_name="a")]
    turns = opened(messages=history).turns
    assert [block.call.id for block in turns[1].blocks] == ["call_1_0", "call_1_1", "call_1_2"]
    assert [turn.blocks[0] for turn in turns[2:]] == [
        Result("call_1_0", (Text("1"),), "a"),
        Result("call_1_1", (Text("2"),), "b"),
        Result("call_1_2", (Text("3"),), "a"),
    ]


def test_a_longer_conversation_keeps_the_ids_of_the_shorter_one():
    history = [*HI, called("a"), result("1", tool_name="a")]
    longer = [*history, {"role": "assistant", "content": "so"}, *HI, called("a"), result("2", tool_name="a")]
    assert opened(messages=longer).turns[:3] == opened(messages=history).turns
    assert opened(messages=longer).turns[6].blocks[0].call_id == "call_5_0"


def test_results_without_a_name_are_in_the_order_of_the_calls_and_ids_of_new_servers_are_kept():
    plain = opened(messages=[called("a", "b"), result("1"), result("2")]).turns
    assert [turn.blocks[0].call_id for turn in plain[1:]] == ["call_0_0", "call_0_1"]
    call = {"id": "call_x", "function": {"index": 0, "name": "a", "arguments": {}}}
    given = opened(messages=[{"role": "assistant", "tool_calls": [call, {**call, "id": "call_y"}]}, result("1", tool_call_id="call_y")]).turns
    assert given[1].blocks[0].call_id == "call_y"


@pytest.mark.parametrize(
    "history",
    [[result("1", tool_name="a")], [called("a"), result("1", tool_name="b")], [called("a"), result("1", tool_name="a"), result("2", tool_name="a")]],
)
def test_a_result_that_nothing_called_for_is_refused_with_its_place(history):
    with pytest.raises(InvalidRequest) as refused:
        opened(messages=history)
    assert refused.value.param == f"messages[{len(history) - 1}].tool_name"


def test_arguments_keep_their_spelling():
    body = b'{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":{ "z":1.0, "a":"\\u00e9" }}}]}]}'
    (turn,) = CHAT.open(CHAT.parse(body), None).turns
    assert turn.blocks == (Call(ToolCall("call_0_0", "a", '{ "z":1.0, "a":"\\u00e9" }')),)


def test_every_part_of_a_message_is_opened():
    message = {"role": "assistant", "content": "so", "thinking": "hm", "images": [PNG], "odd": 1, "nothing": None}
    conversation = opened(messages=[{"role": "System", "content": ""}, message])
    assert conversation.turns[0].role == "system"
    assert conversation.turns[0].blocks == (Text(""),)
    assert conversation.turns[1].blocks == (Thought(Reasoning("hm")), Image(data=PNG, media_type="image/png"), Text("so"))
    assert conversation.leftover == ("messages.odd",)


@pytest.mark.parametrize(
    ("data", "kind"), [("iVBORw0=", "image/png"), ("/9j/4AAQ", "image/jpeg"), ("R0lGODlh", "image/gif"), ("UklGRgAA", "image/webp")]
)
def test_a_picture_says_itself_what_it_is(data, kind):
    assert blocks({"role": "user", "images": [data]}) == [(Image(data=data, media_type=kind),)]


def test_options_are_carried_or_reported():
    options = {
        "num_predict": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 4,
        "seed": 7,
        "stop": ["x", ""],
        "frequency_penalty": 1,
        "presence_penalty": 2,
    }
    conversation = opened(options={**options, "num_ctx": 9, "mirostat": None})
    assert (conversation.max_output, conversation.temperature, conversation.top_p, conversation.top_k, conversation.seed) == (5, 0.5, 0.9, 4, 7)
    assert (conversation.stop, conversation.frequency_penalty, conversation.presence_penalty) == (("x",), 1, 2)
    assert conversation.leftover == ("options.num_ctx",)


def test_values_that_mean_nothing_said_are_nothing_said():
    assert (
        opened(options={"num_predict": -1, "seed": -1, "top_k": 40.0}, format="", truncate=False, logprobs=False, think=None, shift=None).leftover
        == ()
    )
    conversation = opened(options={"num_predict": -2, "seed": -1})
    assert (conversation.max_output, conversation.seed, conversation.output) == (None, None, OutputFormat("text"))
    assert opened(options=None).stream
    assert not opened(stream=False).stream


@pytest.mark.parametrize(("think", "effort", "shown"), [(True, "medium", True), (False, "none", False), ("high", "high", True), (None, None, None)])
def test_thinking_is_asked_for_in_neutral_words(think, effort, shown):
    conversation = opened(think=think)
    assert (conversation.effort, conversation.show_reasoning) == (effort, shown)


def test_formats():
    assert opened(format="json").output == OutputFormat("json_object")
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"format":{ "type":"object"}}'
    output = CHAT.open(CHAT.parse(body), None).output
    assert (output.kind, bytes(output.schema)) == ("json_schema", b'{ "type":"object"}')


def test_tools_come_in_the_order_that_was_wanted_in_their_own_spelling():
    tools = [{"type": "function", "function": {"name": name, "description": "d", "parameters": {"type": "object"}, "strict": True}} for name in "ba"]
    conversation = opened(tools=[*tools, {"function": {"name": "c"}}], order=(1, 0, 2))
    assert [spec.name for spec in conversation.tools] == ["a", "b", "c"]
    assert (conversation.tools[0].description, bytes(conversation.tools[0].parameters), conversation.tools[2].parameters) == (
        "d",
        b'{"type": "object"}',
        None,
    )
    assert conversation.leftover == ("tools.function.strict",)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"top_k": 1.5}}, "options.top_k"),
        ({"options": {"stop": "x"}}, "options.stop"),
        ({"options": {"stop": [1]}}, "options.stop[0]"),
        ({"format": 1}, "format"),
        ({"think": 1}, "think"),
        ({"tools": [{"function": {"name": "a", "parameters": []}}]}, "tools[0].function.parameters"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "{}"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"messages": [{"role": "user", "images": ["AAAA"]}]}, "messages[0].images[0]"),
        ({"messages": [{"role": "user", "images": ["data:image/png;base64,iVBORw0="]}]}, "messages[0].images[0]"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_place(fields, param):
    with pytest.raises(InvalidRequest) as refused:
        opened(**fields)
    assert refused.value.param == param


def test_a_generation_is_a_system_prompt_pictures_and_a_prompt():
    turns = opened(GENERATE, prompt="p", system="s", images=[PNG]).turns
    assert [(turn.role, turn.blocks, turn.source, turn.place) for turn in turns] == [
        ("system", (Text("s"),), 0, "system"),
        ("user", (Image(data=PNG, media_type="image/png"), Text("p")), 2, "prompt"),
    ]
    (alone,) = opened(GENERATE, prompt="p", system="", images=[]).turns
    assert (alone.blocks, alone.source) == ((Text("p"),), 0)


@pytest.mark.parametrize("fields", [{"raw": True}, {"template": "t"}, {"suffix": "s"}, {"context": [1]}, {"steps": 1}])
def test_what_no_other_vendor_has_is_refused_by_name(fields):
    with pytest.raises(UnsupportedField) as refused:
        opened(GENERATE, prompt="p", **fields)
    assert refused.value.param == next(iter(fields))
    assert opened(GENERATE, prompt="p", **dict.fromkeys(fields)).leftover == ()


def test_nothing_to_say_is_refused_where_no_model_can_be_loaded():
    for dialect, fields in ((CHAT, {"messages": []}), (CHAT, {"messages": None}), (GENERATE, {"prompt": ""})):
        with pytest.raises(UnsupportedField, match="only Ollama has a model to load"):
            opened(dialect, **fields)


def read(dialect, **fields):
    return chunk(dialect.parse(json.dumps({"model": "m", **fields}).encode()), Memo(seed=1))


def test_what_the_pipeline_must_know():
    chunks, params = read(
        CHAT, messages=[{"role": "system", "content": "s"}, called("a", "b"), {"role": "user", "content": "x" * 40, "images": [PNG * 9]}]
    )
    assert (chunks.opening, chunks.query) == (1, 2)
    assert [reading.blocks for reading in chunks.messages] == [1, 2, 2]
    assert chunks.messages[2].images == 1
    assert 40 < chunks.messages[2].text_bytes < 100
    assert (params.stream, params.include_usage, params.deterministic, params.max_output) == (True, True, False, None)
    chunks, params = read(GENERATE, prompt="p", system="s", images=[PNG], stream=False, context=[1], options={"num_predict": 3, "temperature": 0.0})
    assert (chunks.opening, len(chunks.messages), chunks.messages[1].images) == (1, 3, 1)
    assert (params.stream, params.stateful, params.deterministic, params.max_output) == (False, True, True, 3)


@pytest.mark.parametrize(
    ("options", "deterministic"),
    [({}, False), ({"seed": -1}, False), ({"seed": 0}, True), ({"temperature": 0}, True), ({"temperature": 0.1}, False), (None, False)],
)
def test_a_seed_or_no_temperature_makes_a_question_repeatable(options, deterministic):
    assert read(CHAT, messages=HI, options=options)[1].deterministic is deterministic


SAME = [
    ({"options": {"temperature": 0}}, {"options": {"temperature": 0.0}}),
    ({}, {"options": {}}),
    ({}, {"options": None}),
    ({}, {"options": {"stop": None}}),
    ({}, {"format": ""}),
    ({}, {"stream": False}),
    ({}, {"keep_alive": 5}),
    ({"messages": HI}, {"messages": [{"role": "user", "content": "hi", "images": [], "thinking": "", "tool_calls": None}]}),
    ({"messages": HI}, {"messages": [{"content": "hi", "role": "user"}]}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_the_same_question_are_one_question(one, other):
    found = [read(CHAT, **{"messages": HI, **fields}) for fields in (one, other)]
    assert found[0][1].answer_bytes == found[1][1].answer_bytes
    assert [reading.answer_digest for reading in found[0][0].messages] == [reading.answer_digest for reading in found[1][0].messages]


def test_how_long_a_model_stays_changes_no_answer_but_no_call_is_shared_across_it():
    (_, one), (_, other) = read(CHAT, messages=HI), read(CHAT, messages=HI, keep_alive=0)
    assert one.answer_bytes == other.answer_bytes
    assert one.side_bytes != other.side_bytes


@pytest.mark.parametrize("fields", [{"think": False}, {"format": "json"}, {"suffix": "x"}, {"raw": True}, {"truncate": False}, {"unheard": 1}])
def test_everything_else_is_part_of_the_question(fields):
    assert read(GENERATE, prompt="p", **fields)[1].answer_bytes != read(GENERATE, prompt="p")[1].answer_bytes


def test_vectors_are_asked_for_by_text():
    request = OllamaEmbed().open_inputs(
        OllamaEmbed().parse(b'{"model":"m","input":["a","b"],"truncate":false,"dimensions":0,"options":{"num_ctx":5},"keep_alive":1}')
    )
    assert (request.inputs, request.truncate, request.dimensions, request.leftover) == (("a", "b"), False, None, ("options.num_ctx",))
    old = OllamaEmbeddings().open_inputs(OllamaEmbeddings().parse(b'{"model":"m","prompt":"a"}'))
    assert old.inputs == ("a",)
    with pytest.raises(InvalidRequest, match="input is empty"):
        OllamaEmbed().open_inputs(OllamaEmbed().parse(b'{"model":"m","input":[]}'))


def test_an_error_is_one_sentence_with_its_place():
    assert json.loads(CHAT.encode_error(InvalidRequest("must be a number", param="options.top_p"))) == {"error": "options.top_p: must be a number"}
    assert json.loads(CHAT.encode_error(InvalidRequest("options.top_p is odd", param="options.top_p"))) == {"error": "options.top_p is odd"}
    assert CHAT.encode_stream_error(RateLimited("slow")) == b'{"error":"slow"}\n'
