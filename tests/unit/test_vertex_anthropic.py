"""Claude on Vertex AI: what moves between header, body and address; all else keeps its bytes. The official client's own request is the model."""

import json

import anthropic
import httpx2
import msgspec
import pytest
from support import NO_EDITS, as_body, catalog, see

from tokenrouter.adapters.inbound.anthropic import AnthropicMessagesDialect
from tokenrouter.adapters.outbound.anthropic_messages import AnthropicMessages
from tokenrouter.adapters.outbound.vertex_anthropic import VertexAnthropic, VertexAnthropicCount
from tokenrouter.errors import UnsupportedField, UpstreamFailed
from tokenrouter.model.cache_plan import NO_PLAN, Breakpoint, CachePlan
from tokenrouter.model.conversation import Conversation, Text, Turn
from tokenrouter.model.edits import DEFAULT_EDITS

DIALECT = AnthropicMessagesDialect()
WIRE, COUNT = VertexAnthropic(), VertexAnthropicCount()
OPUS, DATED = "claude-opus-4-8", "claude-sonnet-4-5@20250929"
ASK = {"model": OPUS, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
OLD, NEW = "2023-06-01", "2026-10-21"


def target(model=OPUS):
    return catalog().resolve(f"vertex-anthropic/{model}")


def native(request, outside=None, *, edits=NO_EDITS, plan=NO_PLAN, wire=WIRE):
    body = request if isinstance(request, bytes) else as_body(request)
    envelope, seen = DIALECT.parse(body, outside or {}), see(body, dialect=DIALECT)
    found = target(json.loads(body)["model"].removeprefix("vertex-anthropic/"))
    return wire.native.native_request(envelope, seen.canonical, found.model, found.deployments[0], plan, edits)


def translated(**fields):
    found = target()
    return WIRE.translated.translate(Conversation(turns=(Turn("user", (Text("hi"),), 0),), **fields), found.model, found.deployments[0], NO_PLAN)


async def as_the_sdk_does(request, *, counts=False, headers=None, **more):
    """Path, headers and body that the official client sends for a request."""
    taken = []

    def take(asked):
        taken.append(asked)
        return httpx2.Response(400, json={})

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(take))
    client = anthropic.AsyncAnthropicVertex(region="l", project_id="p", access_token="t", base_url="http://v/v1", http_client=http, max_retries=0)
    method = client.messages.count_tokens if counts else client.messages.create
    with pytest.raises(anthropic.BadRequestError):
        await method(**request, **more, extra_headers=headers or {})
    (asked,) = taken
    return asked.url.raw_path.decode().removeprefix("/v1/projects/p/locations/l/publishers/anthropic"), asked.headers, json.loads(asked.content)


@pytest.mark.parametrize("model", [OPUS, DATED, "a;b", "a/b?c"])
@pytest.mark.parametrize("stream", [False, True])
async def test_address_and_body_are_those_of_the_official_client(model, stream):
    asked = {**ASK, "model": model}
    path, headers, body = await as_the_sdk_does(asked, stream=stream, headers={"anthropic-beta": "a,b"})
    out = native({**asked, "stream": stream}, {"anthropic-version": NEW, "anthropic-beta": "a,b"})
    assert out.path.replace("%40", "@") == path.replace("%40", "@")
    assert json.loads(out.body) == {"stream": False, **body}
    assert dict(out.headers)["anthropic-beta"] == headers["anthropic-beta"]


@pytest.mark.parametrize(
    ("said", "goes"), [({}, "vertex-2023-10-16"), ({"anthropic-version": OLD}, "vertex-2023-10-16"), ({"anthropic-version": NEW}, NEW)]
)
def test_the_version_goes_into_the_body_by_its_name_here(said, goes):
    out = native(ASK, said)
    assert json.loads(out.body) == {"anthropic_version": goes, **{name: value for name, value in ASK.items() if name != "model"}}
    assert dict(out.headers) == {"content-type": "application/json"}


def test_a_version_that_the_client_put_into_its_body_stays():
    assert json.loads(native({**ASK, "anthropic_version": "vertex-x"}).body)["anthropic_version"] == "vertex-x"


@pytest.mark.parametrize(
    ("stream", "action"), [("true", "streamRawPredict"), ("false", "rawPredict"), ("null", "rawPredict"), (" true ", "streamRawPredict")]
)
def test_the_action_follows_the_stream_and_the_member_stays(stream, action):
    out = native(as_body(ASK)[:-1] + f',"stream":{stream}}}'.encode())
    assert out.path == f"/models/{OPUS}:{action}"
    assert b'"stream":' + stream.strip().encode() in out.body


def test_every_other_member_keeps_its_bytes():
    body = (
        b'{ "max_tokens" : 50 ,"model":"claude-opus-4-8","messages":[ {"role":"user","content":"caf\\u00e9 \\/ "} ],"temperature":1.00,'
        b'"metadata":{ "user_id":null },"u_new":[1e3, {"a" :1}]}'
    )
    out = native(body)
    came, went = (msgspec.json.decode(raw, type=dict[str, msgspec.Raw]) for raw in (body, out.body))
    assert list(went) == ["anthropic_version", *(name for name in came if name != "model")]
    assert {name: bytes(raw) for name, raw in went.items() if name != "anthropic_version"} == {
        name: bytes(raw) for name, raw in came.items() if name != "model"
    }
    assert (out.edits, out.dropped) == ((), ())


def test_flags_stay_a_header_and_a_query_goes_nowhere():
    out = native(ASK, {"anthropic-beta": "a, b", ":query": "beta=true"})
    assert (out.path, dict(out.headers)["anthropic-beta"]) == (f"/models/{OPUS}:rawPredict", "a, b")
    assert b"beta" not in out.body


def test_edits_and_marks_are_those_of_anthropics_own_api():
    long = {**ASK, "system": "word " * 2_000, "x-cache": "off"}
    plan = CachePlan((Breakpoint("b_messages", 0),), None)
    out = native(long, edits=DEFAULT_EDITS, plan=plan)
    assert json.loads(out.body)["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert set(out.edits) == {"marks.plan", "content.parts", "extensions.strip"}
    assert b"x-cache" not in out.body


def test_the_credential_is_the_hosts_usual_one_whatever_the_version():
    assert native(ASK, {"anthropic-version": NEW}).auth is None


@pytest.mark.parametrize(("stream", "action"), [(False, "rawPredict"), (True, "streamRawPredict")])
def test_translated_requests_are_moved_in_the_same_way(stream, action):
    out = translated(stream=stream, max_output=9)
    found = target()
    plain = AnthropicMessages().translate(
        Conversation(turns=(Turn("user", (Text("hi"),), 0),), stream=stream, max_output=9), found.model, found.deployments[0], NO_PLAN
    )
    body, same = json.loads(out.body), json.loads(plain.body)
    assert (out.path, body.pop("anthropic_version"), same.pop("model")) == (f"/models/{OPUS}:{action}", "vertex-2023-10-16", OPUS)
    assert body == same
    assert "anthropic-version" not in dict(out.headers)


def test_what_claude_can_not_do_is_refused_here_too():
    with pytest.raises(UnsupportedField, match="n:"):
        translated(choices=2)


def test_answers_are_read_as_anthropics():
    whole = {"type": "message", "id": "m", "model": OPUS, "role": "assistant", "content": [{"type": "text", "text": "a"}]}
    whole |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 2}}
    assert WIRE.verdict(as_body(whole))[0].output == 2
    assert WIRE.decode_answer(as_body(whole)).choices[0].text == "a"
    with pytest.raises(UpstreamFailed):
        WIRE.verdict(b'{"error":{}}')
    stop = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    tap = WIRE.relay(see(ASK, dialect=DIALECT).params, hide_usage=False)
    assert (tap.feed(stop) + tap.close(), tap.finished, tap.end) == (b"", True, stop)
    assert WIRE.decoder().feed(b": ping\n\n") == []


async def test_a_count_is_asked_as_the_official_client_asks_for_it():
    asked = {name: value for name, value in ASK.items() if name != "max_tokens"}
    path, headers, body = await as_the_sdk_does(asked, counts=True, headers={"anthropic-beta": "a"})
    out = native({**asked, "model": f"vertex-anthropic/{OPUS}"}, {"anthropic-version": NEW, "anthropic-beta": "a", ":query": "x"}, wire=COUNT)
    assert (out.path, json.loads(out.body)) == (path, body)
    assert dict(out.headers)["anthropic-beta"] == headers["anthropic-beta"]
    found = target()
    conversation = Conversation(turns=(Turn("user", (Text("hi"),), 0),), max_output=9)
    counted = COUNT.translated.translate(conversation, found.model, found.deployments[0], NO_PLAN)
    assert counted.path == path
    assert json.loads(counted.body) == {
        "anthropic_version": "vertex-2023-10-16",
        "model": OPUS,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }
    assert COUNT.decode_count(b'{"input_tokens":7}') == 7
    assert COUNT.verdict(b'{"input_tokens":7}')[1]


@pytest.mark.parametrize("wire", [WIRE, COUNT])
@pytest.mark.parametrize(
    ("body", "own"),
    [
        (b'{"type":"error","error":{"type":"invalid_request_error","message":"words"}}', True),
        (b'{"error":{"code":404,"message":"words","status":"NOT_FOUND"}}', False),
    ],
)
def test_errors_of_the_host_are_told_from_anthropics(wire, body, own):
    assert (wire.error_message(body), wire.own_error(body)) == ("words", own)
    assert not wire.own_error(b"<html>")
    assert not wire.own_error(b"[" * 5_000)
