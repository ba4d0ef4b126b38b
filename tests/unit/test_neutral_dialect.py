"""The small API's requests as they are read: its words, its labels, its default model."""

import json

import msgspec
import pytest
from support import DEFAULT_EDITS, OPUS, SEED, catalog, see
from support import render as rendered

from tokenrouter.adapters.inbound.neutral import FIELDS, NeutralChat
from tokenrouter.adapters.inbound.wishes import read_wishes
from tokenrouter.errors import InvalidRequest
from tokenrouter.pipeline.canonicalizer import Memo
from tokenrouter.pipeline.chunker import chunk

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def body(**fields: object) -> bytes:
    return json.dumps({"messages": HI, "model": "gpt-4.1", **fields}).encode()


def params(raw: bytes, default: str = ""):
    return chunk(NeutralChat(default).parse(raw), Memo(seed=SEED), catalog().volatile)[1]


def refused(raw: bytes, default: str = "") -> InvalidRequest:
    with pytest.raises(InvalidRequest) as error:
        params(raw, default)
    return error.value


def test_without_a_model_the_default_one_is_asked():
    assert params(json.dumps({"messages": HI}).encode(), "gpt-4.1").model == "gpt-4.1"
    assert params(json.dumps({"messages": HI, "model": None}).encode(), "gpt-4.1").model == "gpt-4.1"
    assert params(body(model="claude-opus-4-8"), "gpt-4.1").model == "claude-opus-4-8"


def test_without_any_model_the_error_says_what_to_do():
    error = refused(json.dumps({"messages": HI}).encode())
    assert error.param == "model"
    assert "GET /v1/models" in error.message
    assert "DEFAULT_MODEL" in error.message


def test_an_empty_model_is_no_default_model():
    assert refused(body(model=""), "gpt-4.1").param == "model"


@pytest.mark.parametrize("name", ["user_id", "tenant_id"])
def test_labels_change_no_identity_and_reach_no_model(name: str):
    plain = see(body(temperature=0), dialect=NeutralChat())
    labelled = see(body(temperature=0, **{name: "somebody"}), dialect=NeutralChat())
    assert (labelled.answer(), labelled.chain(), labelled.params.side_bytes) == (plain.answer(), plain.chain(), plain.params.side_bytes)
    assert b"somebody" not in rendered(body(**{name: "somebody"}), OPUS, dialect=NeutralChat()).body


@pytest.mark.parametrize("name", ["user_id", "tenant_id"])
@pytest.mark.parametrize("value", [1, True, [], {}, ["a"], "x" * 257])
def test_a_label_is_a_short_string(name: str, value: object):
    assert refused(body(**{name: value})).param == name
    assert params(body(**{name: "x" * 256})).model == params(body(**{name: None})).model == "gpt-4.1"


@pytest.mark.parametrize("name", ["user", "n", "max_completion_tokens", "stream_options", "store", "metadata", "temprature", "functions"])
def test_a_field_that_is_not_taken_is_refused_by_name(name: str):
    error = refused(body(**{name: 1}))
    assert error.param == name
    assert all(field in error.message for field in FIELDS)


def test_every_field_that_is_taken_is_carried():
    fields = {
        "user_id": "u",
        "tenant_id": "t",
        "stream": True,
        "temperature": 0.5,
        "top_p": 0.25,
        "max_tokens": 77,
        "stop": ["end"],
        "seed": 7,
        "reasoning_effort": "low",
        "tools": [TOOL],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
    }
    assert {"messages", "model", *fields} == set(FIELDS)
    dialect = NeutralChat()
    opened = dialect.open(dialect.parse(body(**fields)), None)
    assert (opened.temperature, opened.top_p, opened.max_output, opened.stop, opened.seed) == (0.5, 0.25, 77, ("end",), 7)
    assert (opened.effort, opened.stream, opened.parallel_calls, opened.output.kind) == ("low", True, False, "json_object")
    assert [spec.name for spec in opened.tools] == ["look"]
    assert opened.leftover == ()
    assert opened.user is None


def test_a_stream_always_tells_its_usage():
    assert params(body(stream=True)).include_usage
    assert not params(body()).include_usage


@pytest.mark.parametrize(
    ("raw", "outside", "wanted"),
    [
        (body(), {}, True),
        (body(**{"x-metadata": False}), {}, False),
        (body(**{"x-metadata": True}), {}, True),
        (body(), {"x-metadata": "false"}, False),
        (body(**{"x-cache": "off"}), {}, True),
    ],
)
def test_figures_are_part_of_an_answer_unless_they_are_switched_off(raw: bytes, outside: dict[str, str], wanted: bool):
    envelope = NeutralChat().parse(raw, outside)
    assert read_wishes(outside, envelope.extensions).metadata == wanted


def test_messages_are_those_of_chat_completions():
    parts = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    seen = see(body(messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": parts}]), dialect=NeutralChat())
    assert [(reading.role, reading.images) for reading in seen.canonical.messages] == [("system", 0), ("user", 1)]
    for wrong in ([], None, "hi", [{"role": "wizard", "content": "x"}]):
        with pytest.raises(InvalidRequest) as error:
            see(body(messages=wrong), dialect=NeutralChat())
        assert str(error.value.param).startswith("messages")


def test_the_two_dialects_share_no_answers_as_their_forms_differ():
    raw = body(temperature=0)
    assert see(raw, dialect=NeutralChat(), edits=DEFAULT_EDITS).answer() != see(raw).answer()


def test_errors_have_one_shape():
    error = msgspec.json.decode(NeutralChat().encode_error(InvalidRequest("no", param="model")))
    assert error == {"error": {"message": "no", "type": "invalid_request_error", "param": "model", "code": "invalid_request"}}
