"""Requests of any dialect as Ollama's own, and its answers as events."""

import json

import msgspec
import pytest
from support import resolve

from tokenrouter.adapters.outbound.ollama import OllamaChatWire, OllamaEmbedWire
from tokenrouter.adapters.wire.ollama import OllamaEventDecoder, decode_answer, decode_vectors, error_message, vectors_verdict
from tokenrouter.adapters.wire.ollama_writer import OllamaEventEncoder, encode_answer, encode_vector, encode_vectors
from tokenrouter.errors import InvalidRequest, UnsupportedField, UpstreamFailed
from tokenrouter.model.answer import Answer, Choice, Declined, Failed, Reasoning, Spoken, Started, ToolCall, fold
from tokenrouter.model.cache_plan import NO_PLAN
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
from tokenrouter.model.embedding import Embeddings, EmbedRequest
from tokenrouter.model.usage import NO_USAGE, Usage

WIRE = OllamaChatWire()
HI = (Turn("user", (Text("hi"),), 0),)
LOOK = ToolSpec("look", "Looks.", msgspec.Raw(b'{ "type":"object"}'))


def render(turns=HI, model="ollama/llama3.2", **fields):
    target = resolve(model)
    return WIRE.translate(Conversation(turns=tuple(turns), **fields), target.model, target.deployments[0], NO_PLAN)


def body(*args, **fields):
    return json.loads(render(*args, **fields).body)


def messages(*turns):
    return body(turns)["messages"]


def call(call_id, name="look", arguments="{}"):
    return Call(ToolCall(call_id, name, arguments))


def test_a_plain_question_says_nothing_that_was_not_said_but_that_nothing_may_be_cut():
    sent = render()
    assert json.loads(sent.body) == {"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}], "stream": False, "truncate": False}
    assert (sent.path, sent.edits, sent.dropped) == ("/api/chat", (), ())
    assert body(stream=True)["stream"] is True


def test_options_go_where_ollama_has_them():
    fields = {"temperature": 0.5, "top_p": 0.9, "top_k": 4, "seed": 0, "frequency_penalty": 1.0, "presence_penalty": 2.0}
    assert body(max_output=5, stop=("x",), **fields)["options"] == {"num_predict": 5, "stop": ["x"], **fields}
    assert body(temperature=0)["options"] == {"temperature": 0}


def test_a_long_prompt_asks_for_room_in_steps():
    def room(text, **fields):
        return body((Turn("user", (Text(text),), 0),), **fields).get("options", {}).get("num_ctx")

    assert room("x" * 5_000) is None
    assert room("x" * 9_000) == room("x" * 17_000) == 8_192, "a conversation that grows does not load the model anew at each turn"
    assert room("x", max_output=5_000) == 8_192
    assert room("x" * 120_000, tools=(LOOK,)) == 65_536
    assert room("x" * 6_000_000) == 1 << 20
    picture = (Image(data="A" * 4_000_000, media_type="image/png"), Text("see"))
    assert body((Turn("user", picture, 0),), model="ollama/gemma3:4b").get("options") is None, "a picture is not its base64"


def test_every_kind_of_turn():
    said = messages(
        Turn("system", (Text("be"), Text("brief")), 0),
        Turn("user", (Image(data="AA", media_type="image/png"), Text("see"), Document(text="file")), 1),
        Turn("assistant", (Thought(Reasoning("hm")), Text("a"), Refusal("b"), call("1", arguments='{ "at" :"\\u00e9"}')), 2),
        Turn("tool", (Result("1", (Text("42"), Image(data="BB", media_type="image/png"))),), 3),
    )
    assert said == [
        {"role": "system", "content": "be\nbrief"},
        {"role": "user", "content": "see\nfile", "images": ["AA"]},
        {"role": "assistant", "content": "ab", "thinking": "hm", "tool_calls": [{"function": {"name": "look", "arguments": {"at": "é"}}}]},
        {"role": "tool", "content": "42", "images": ["BB"], "tool_name": "look"},
    ]


def test_arguments_and_schemas_keep_their_spelling():
    sent = render([*HI, Turn("assistant", (call("1", arguments='{ "z":1.0,"a":"\\u00e9" }'),), 1)], tools=(LOOK,))
    assert b'"arguments":{ "z":1.0,"a":"\\u00e9" }' in sent.body
    assert b'"parameters":{ "type":"object"}' in sent.body
    assert json.loads(sent.body)["tools"][0]["type"] == "function"


def test_results_stand_in_the_order_of_their_calls_because_nothing_else_tells_them_apart():
    history = (
        Turn("assistant", (call("1"), call("2", "find"), call("3")), 0),
        Turn("user", (Result("3", (Text("three"),)), Result("1", (Text("one"),)), Text("and?"), Result("2", (Text("two"),))), 1),
    )
    assert [(m["role"], m.get("tool_name"), m["content"]) for m in messages(*history)[1:]] == [
        ("tool", "look", "one"),
        ("tool", "find", "two"),
        ("tool", "look", "three"),
        ("user", None, "and?"),
    ]


def test_a_longer_conversation_keeps_the_bytes_of_the_shorter_one():
    history = (*HI, Turn("assistant", (call("1"),), 1), Turn("tool", (Result("1", (Text("x"),)),), 2))
    longer = (*history, Turn("assistant", (Text("so"),), 3), *HI)
    assert messages(*longer)[: len(history)] == messages(*history)


def test_a_tool_that_failed_says_so_in_its_words():
    for text, expected in (("no file", "Error: no file"), ("error: no file", "error: no file"), ("", "Error")):
        (_, said) = messages(Turn("assistant", (call("1"),), 0), Turn("tool", (Result("1", (Text(text),), failed=True),), 1))
        assert said["content"] == expected


def test_signed_reasoning_is_left_out_and_reported():
    signed = Thought(Reasoning("hm", "signature", format="anthropic-claude-v1"))
    sent = render([Turn("assistant", (signed, Text("x")), 0, "name")])
    assert json.loads(sent.body)["messages"] == [{"role": "assistant", "content": "x"}]
    assert sent.dropped == ("messages.name", "messages.reasoning_details")
    assert messages(Turn("assistant", (signed,), 0), *HI) == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("block", "param"),
    [
        (Image(url="https://x/y.png"), "messages[0].content[1].image_url.url"),
        (Document(data="AA", media_type="application/pdf"), "messages[0].content[1]"),
        (Document(url="https://x"), "messages[0].content[1]"),
        (Document(file_id="f"), "messages[0].content[1]"),
        (Audio("AA", "wav"), "messages[0].content[1]"),
        (Video("AA", "video/mp4"), "messages[0].content[1]"),
        (Call(ToolCall("1", "t", "free", custom=True)), "messages[0].tool_calls"),
    ],
)
def test_what_no_local_model_reads_is_refused_with_its_place(block, param):
    with pytest.raises(UnsupportedField) as refused:
        render([Turn("user", (Text("see"), block), 0)])
    assert refused.value.param == param
    assert refused.value.message.startswith(param)


@pytest.mark.parametrize("arguments", ["[]", "{", "nothing", '{"a":1,"a":2}'])
def test_arguments_that_are_no_object_are_refused(arguments):
    with pytest.raises(InvalidRequest, match="arguments of call"):
        render([Turn("assistant", (call("1", arguments=arguments),), 0)])
    assert messages(Turn("assistant", (call("1", arguments=" "),), 0))[0]["tool_calls"][0]["function"]["arguments"] == {}


def test_a_choice_of_tools_is_what_is_sent_of_them():
    other = ToolSpec("other")
    assert [tool["function"]["name"] for tool in body(tools=(LOOK, other))["tools"]] == ["look", "other"]
    assert body(tools=(other,))["tools"] == [{"function": {"name": "other", "parameters": {"type": "object", "properties": {}}}, "type": "function"}]
    assert "tools" not in body(tools=(LOOK,), tool_choice=ToolChoice("none"))
    assert [tool["function"]["name"] for tool in body(tools=(LOOK, other), tool_choice=ToolChoice("subset", names=("other",)))["tools"]] == ["other"]
    assert len(body(tools=(LOOK,), tool_choice=ToolChoice("auto"))["tools"]) == 1


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("named", "look"), ToolChoice("subset", names=("look",), required=True)])
def test_a_call_that_must_be_made_can_not_be_promised(choice):
    with pytest.raises(UnsupportedField) as refused:
        render(tools=(LOOK,), tool_choice=choice)
    assert refused.value.param == "tool_choice"
    with pytest.raises(InvalidRequest, match="there are no tools"):
        render(tool_choice=choice)


def test_forms_of_answers():
    assert body(output=OutputFormat("json_object"))["format"] == "json"
    sent = render(output=OutputFormat("json_schema", "name", msgspec.Raw(b'{ "type":"object"}'), True))
    assert b'"format":{ "type":"object"}' in sent.body
    assert sent.dropped == ("response_format.json_schema.name",)
    with pytest.raises(UnsupportedField, match="needs the schema"):
        render(output=OutputFormat("json_schema", "name"))


@pytest.mark.parametrize(
    ("model", "fields", "think", "dropped"),
    [
        ("qwen3:8b", {}, None, ()),
        ("qwen3:8b", {"effort": "high"}, "high", ()),
        ("qwen3:8b", {"effort": "xhigh"}, "high", ("reasoning_effort",)),
        ("qwen3:8b", {"effort": "minimal"}, "low", ("reasoning_effort",)),
        ("qwen3:8b", {"effort": "none"}, False, ()),
        ("qwen3:8b", {"thinking_budget": 0}, False, ()),
        ("qwen3:8b", {"thinking_budget": 1024}, "low", ("thinking_budget",)),
        ("qwen3:8b", {"thinking_budget": 4096}, "medium", ("thinking_budget",)),
        ("qwen3:8b", {"thinking_budget": 30000}, "high", ("thinking_budget",)),
        ("qwen3:8b", {"thinking_budget": -1}, "medium", ("thinking_budget",)),
        ("llama3.2", {"effort": "low"}, None, ("reasoning_effort",)),
        ("llama3.2", {"thinking_budget": 2000}, None, ("thinking_budget",)),
        ("llama3.2", {"effort": "none"}, False, ()),
        ("qwen3-coder:30b", {"effort": "low"}, None, ("reasoning_effort",)),
    ],
)
def test_thinking_is_asked_of_models_that_can(model, fields, think, dropped):
    sent = render(model=f"ollama/{model}", **fields)
    assert json.loads(sent.body).get("think") == think
    assert sent.dropped == dropped


def test_a_word_of_effort_that_is_none_is_refused():
    with pytest.raises(UnsupportedField, match="'lots' is none of"):
        render(effort="lots")


def test_hints_are_dropped_and_reported_and_wishes_refused():
    sent = render(parallel_calls=False, verbosity="low", user="u", service_tier="flex", leftover=("metadata",), tools=(ToolSpec("a", strict=True),))
    assert sent.dropped == ("metadata", "tools.function.strict", "parallel_tool_calls", "verbosity", "user", "service_tier")
    assert render(parallel_calls=True, verbosity="medium", service_tier="auto").dropped == ()
    for fields, param in (
        ({"choices": 2}, "n"),
        ({"leftover": ("logprobs",)}, "logprobs"),
        ({"tools": (ToolSpec("a", custom=True),)}, "tools[0].type"),
    ):
        with pytest.raises(UnsupportedField) as refused:
            render(**fields)
        assert refused.value.param == param


# answers


def stream(*lines):
    decoder = OllamaEventDecoder()
    return [*decoder.feed(b"".join(json.dumps(one).encode() + b"\n" for one in lines)), *decoder.finish()]


def said(content="", **more):
    return {"model": "m", "created_at": "2026-09-21T14:13:20.123456789Z", "message": {"role": "assistant", "content": content, **more}, "done": False}


DONE = {**said(), "done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4}
LOOKED = {"function": {"name": "look", "arguments": {"at": "<b>"}}}


def test_a_stream_is_read_in_its_order():
    answer = fold(
        stream(
            said(), said(thinking="h"), said(thinking="m"), said(), said("a"), said("b"), said(tool_calls=[LOOKED]), said(tool_calls=[LOOKED]), DONE
        )
    )
    assert (answer.model, answer.created_s) == ("m", 1_790_000_000)
    thought, text, first, second = answer.choices[0].blocks
    assert (thought, text) == (Reasoning("hm"), Spoken("ab"))
    assert (first.name, json.loads(first.arguments), first.id != second.id) == ("look", {"at": "<b>"}, True)
    assert answer.choices[0].stop == "tool_calls"
    assert answer.usage == Usage(fresh_input=3, output=4, cache_reported=False)


def test_ids_that_have_to_be_made_up_are_the_same_whenever_the_same_answer_is_read():
    first, again = (fold(stream(said(tool_calls=[LOOKED]), DONE)) for _ in range(2))
    assert first == again
    other = fold(stream({**said(tool_calls=[LOOKED]), "created_at": "2026-09-21T14:13:20.123456788Z"}, DONE))
    assert other.id != first.id
    assert other.choices[0].tool_calls[0].id != first.choices[0].tool_calls[0].id
    new = fold(stream(said(tool_calls=[{"id": "call_7", "function": {"index": 0, **LOOKED["function"]}}]), DONE))
    assert new.choices[0].tool_calls[0].id == "call_7"


def test_thinking_that_goes_on_after_a_text_is_a_block_of_its_own():
    answer = fold(stream(said(thinking="a"), said("b"), said(thinking="c"), DONE))
    assert answer.choices[0].blocks == (Reasoning("a"), Spoken("b"), Reasoning("c"))


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({}, NO_USAGE),
        ({"eval_count": 4}, Usage(output=4, cache_reported=False)),
        ({"prompt_eval_count": 3}, Usage(fresh_input=3, cache_reported=False)),
        ({"prompt_eval_count": -3, "eval_count": "x"}, NO_USAGE),
    ],
)
def test_counts_that_are_left_out_are_zero_and_none_at_all_is_none(counts, usage):
    done = {**said(), "done": True, **counts}
    assert decode_answer(json.dumps(done).encode()).usage == usage
    assert fold(stream(done)).usage == usage


@pytest.mark.parametrize(
    ("reason", "stop"), [("stop", "stop"), ("length", "length"), ("load", "stop"), (None, "stop"), ("content_filter", "content_filter")]
)
def test_reasons_to_end(reason, stop):
    assert decode_answer(json.dumps({**said("x"), "done": True, "done_reason": reason}).encode()).choices[0].stop == stop


def test_a_whole_generation_is_read():
    answer = decode_answer(b'{"model":"m","created_at":"?","response":"x","thinking":"y","done":true,"context":[1]}')
    assert (answer.choices[0].blocks, answer.created_s) == ((Reasoning("y"), Spoken("x")), 0)


@pytest.mark.parametrize(
    "body_", [b"", b"{}", b"[]", b"<html>", b'{"done":true}', b'{"message":{"content":"x"},"done":false}', b'{"error":"no"}', b"\xff"]
)
def test_a_200_that_is_no_answer_is_the_providers_fault(body_):
    with pytest.raises(UpstreamFailed):
        decode_answer(body_)
    with pytest.raises(UpstreamFailed):
        decode_vectors(body_)
    with pytest.raises(UpstreamFailed):
        vectors_verdict(body_)


def test_errors_are_told_in_the_vendors_words():
    assert error_message(b'{"error":"model is required"}') == "model is required"
    assert error_message(b'{"error":{"message":"m"}}') == "m"
    assert [error_message(other) for other in (b"", b"404 page not found", b"{}", b"[]")] == [None] * 4
    assert isinstance(stream(said("x"), {"error": "out of memory"})[-1], Failed)


def test_vectors_are_asked_for_and_read():
    target, wire = resolve("ollama/nomic-embed-text"), OllamaEmbedWire()
    sent = wire.translate_inputs(EmbedRequest(inputs=("a",), dimensions=2, user="u", task="t", truncate=False), target.model, target.deployments[0])
    assert (sent.path, json.loads(sent.body)) == ("/api/embed", {"model": "nomic-embed-text", "input": ["a"], "dimensions": 2, "truncate": False})
    assert sent.dropped == ("task", "user")
    with pytest.raises(UnsupportedField, match="send the text"):
        wire.translate_inputs(EmbedRequest(inputs=((1, 2),)), target.model, target.deployments[0])
    embeddings = Embeddings("m", ((0.5, -1.0),), Usage(fresh_input=3, cache_reported=False))
    assert decode_vectors(encode_vectors(embeddings)) == embeddings
    assert vectors_verdict(encode_vectors(embeddings)) == embeddings.usage
    assert json.loads(encode_vector(embeddings)) == {"embedding": [0.5, -1.0]}


def test_a_refusal_is_told_as_text_and_a_signature_is_not_told():
    answer = Answer("i", "m", 5, (Choice((Reasoning("t", "sig"), Reasoning("", "sig2"), Declined("no")), "content_filter"),))
    written = json.loads(encode_answer(answer, "chat"))
    assert written["message"] == {"role": "assistant", "content": "no", "thinking": "t"}
    assert (written["done"], written["done_reason"], "eval_count" in written) == (True, "content_filter", False)
    assert json.loads(encode_answer(answer, "generate"))["response"] == "no"


def test_after_a_failure_nothing_is_written():
    encoder = OllamaEventEncoder("chat", 5)
    encoder.encode(Started("i", "m"))
    assert encoder.encode(Failed("broken")) == b'{"error":"broken"}\n'
    assert (encoder.close(), encoder.metadata({"a": 1}), encoder.encode(Failed("x"))) == (b"", b"", b"")
