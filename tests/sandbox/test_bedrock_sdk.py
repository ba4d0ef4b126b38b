"""Bedrock through botocore itself: its serializer, its signer, its event stream parser, its errors."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tokenrouter.sandbox import ConnectionCut, Fault, SandboxApp, Scripted, ToolCall
from tokenrouter.sandbox.bedrock_sigv4 import SECRET

session = pytest.importorskip("botocore.session")
config = pytest.importorskip("botocore.config")
awsrequest = pytest.importorskip("botocore.awsrequest")
errors = pytest.importorskip("botocore.exceptions")

CLAUDE = "us.anthropic.claude-opus-4-8-v1:0"
NOVA = "amazon.nova-pro-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
MARK = {"cachePoint": {"type": "default"}}
LONG = {"cachePoint": {"type": "default", "ttl": "1h"}}
TOOLS = {
    "tools": [
        {
            "toolSpec": {
                "name": "look",
                "inputSchema": {"json": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
            }
        }
    ]
}


class Raw:
    """A body as botocore reads it."""

    def __init__(self, frames: list[bytes], end: BaseException | None) -> None:
        self.frames, self.end = frames, end

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield from self.frames
        if self.end is not None:
            raise self.end

    def read(self, *_: Any) -> bytes:
        return b"".join(self.stream())

    def close(self) -> None:
        pass


async def serve(app: SandboxApp, request: Any) -> Any:
    """One prepared request of botocore, answered by the application in this process."""
    url = urlsplit(request.url)
    body = request.body if isinstance(request.body, bytes) else b""
    headers = [(name.lower().encode(), value if isinstance(value, bytes) else str(value).encode()) for name, value in request.headers.items()]
    scope = {
        "type": "http",
        "method": request.method,
        "path": unquote(url.path),
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "headers": [*headers, (b"host", url.netloc.encode())],
    }
    start: dict[str, Any] = {}
    frames: list[bytes] = []
    end: BaseException | None = None
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        elif message["body"]:
            frames.append(message["body"])

    try:
        await app(scope, receive, send)
    except ConnectionCut as error:
        end = error
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return awsrequest.AWSResponse(request.url, start["status"], found, Raw(frames, end))


def make_client(url: str, key: str, secret: str) -> Any:
    made = session.Session()
    made.set_credentials(key, secret)
    return made.create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        config=config.Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )


class Clients:
    """Calling it makes a real client whose requests end in the application. `raws`: the bodies that came back."""

    def __init__(self, app: SandboxApp) -> None:
        self.app = app
        self.raws: list[Raw] = []

    def __call__(self, key: str = "AKIASANDBOX", secret: str = SECRET, tamper: Callable[[Any], None] | None = None) -> Any:
        bedrock = make_client("https://sandbox.test/bedrock", key, secret)

        def answer(request: Any, **_: Any) -> Any:
            if tamper is not None:
                tamper(request)
            response = asyncio.run(serve(self.app, request))
            self.raws.append(response.raw)
            return response

        bedrock.meta.events.register("before-send.bedrock-runtime", answer)
        return bedrock


@pytest.fixture
def client(app: SandboxApp) -> Clients:
    return Clients(app)


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": block} if isinstance(block, str) else block for block in blocks]}


def ask(*messages: Any, model: str = CLAUDE, **more: Any) -> dict[str, Any]:
    return {"modelId": model, "messages": list(messages) or [user("hi")], **more}


def collect(response: Any) -> tuple[list[str], dict[str, Any]]:
    """Names of the events, and what they add up to, as `converse` would have said it."""
    kinds: list[str] = []
    blocks: dict[int, dict[str, Any]] = {}
    whole: dict[str, Any] = {}
    for event in response["stream"]:
        ((kind, value),) = event.items()
        kinds.append(kind)
        if kind == "contentBlockStart":
            blocks[value["contentBlockIndex"]] = {"toolUse": {**value["start"]["toolUse"], "input": ""}}
        elif kind == "contentBlockDelta":
            add(blocks.setdefault(value["contentBlockIndex"], {}), value["delta"])
        elif kind in ("messageStop", "metadata"):
            whole.update(value)
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return kinds, {"content": [blocks[index] for index in sorted(blocks)], **whole}


def add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    elif "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    elif "redactedContent" in delta["reasoningContent"]:
        block["reasoningContent"] = dict(delta["reasoningContent"])
    else:
        text = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})["reasoningText"]
        text["text"] += delta["reasoningContent"].get("text", "")
        text.update({key: value for key, value in delta["reasoningContent"].items() if key == "signature"})


@pytest.mark.parametrize("model", [CLAUDE, NOVA, LLAMA, "arn:aws:bedrock:us-east-1:123456789012:inference-profile/" + CLAUDE])
def test_stream_and_whole_say_the_same(client, model):
    whole = client().converse(**ask(model=model))
    kinds, streamed = collect(client().converse_stream(**ask(model=model)))
    assert streamed["content"] == whole["output"]["message"]["content"]
    assert streamed["stopReason"] == whole["stopReason"] == "end_turn"
    assert streamed["usage"] == whole["usage"]
    assert kinds[0] == "messageStart"
    assert kinds[-3:] == ["contentBlockStop", "messageStop", "metadata"]
    assert "contentBlockStart" not in kinds
    assert whole["usage"]["totalTokens"] == whole["usage"]["inputTokens"] + whole["usage"]["outputTokens"]
    assert ("cacheReadInputTokens" in whole["usage"]) == (model != LLAMA)


def test_calls_results_and_reasoning_make_a_round(client):
    thinking = {"thinking": {"type": "adaptive"}}
    first = user("use look")
    whole = client().converse(**ask(first, toolConfig=TOOLS, additionalModelRequestFields=thinking))
    kinds, streamed = collect(client().converse_stream(**ask(first, toolConfig=TOOLS, additionalModelRequestFields=thinking)))
    content = whole["output"]["message"]["content"]
    assert streamed["content"] == content
    assert kinds.count("contentBlockStart") == 1
    assert whole["stopReason"] == "tool_use"
    assert [next(iter(block)) for block in content] == ["reasoningContent", "toolUse"]
    call = content[1]["toolUse"]
    assert call["toolUseId"].startswith("tooluse_")
    result = user({"toolResult": {"toolUseId": call["toolUseId"], "content": [{"json": {"ok": True}}], "status": "success"}}, MARK)
    history = [first, whole["output"]["message"], result]
    again = ask(*history, toolConfig={**TOOLS, "toolChoice": {"auto": {}}}, additionalModelRequestFields=thinking)
    assert client().converse(**again)["stopReason"] == "end_turn"
    content[0]["reasoningContent"]["reasoningText"]["text"] += "!"
    with pytest.raises(errors.ClientError, match="Invalid `signature`"):
        client().converse(**again)


def test_redacted_reasoning_comes_as_bytes_and_is_good_again(client):
    from tokenrouter.sandbox.anthropic_engine import REDACTED

    body = ask(user(REDACTED), additionalModelRequestFields={"thinking": {"type": "adaptive"}})
    content = client().converse(**body)["output"]["message"]["content"]
    assert isinstance(content[0]["reasoningContent"]["redactedContent"], bytes)
    assert collect(client().converse_stream(**body))[1]["content"] == content
    body["messages"] += [{"role": "assistant", "content": content}, user("more")]
    assert client().converse(**body)["stopReason"] == "end_turn"
    content[0]["reasoningContent"]["redactedContent"] += b"x"
    with pytest.raises(errors.ClientError, match="signature"):
        client().converse(**body)


def test_forced_call_and_structured_output(client):
    forced = client().converse(**ask(toolConfig={**TOOLS, "toolChoice": {"tool": {"name": "look"}}}))
    assert forced["stopReason"] == "tool_use"
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["b"], "additionalProperties": False}
    wanted = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(schema), "name": "s"}}}}
    text = client().converse(**ask(outputConfig=wanted))["output"]["message"]["content"][0]["text"]
    assert list(json.loads(text)) == ["b", "a"]
    limited = client().converse(
        **ask(inferenceConfig={"maxTokens": 3, "temperature": 0.5, "stopSequences": ["zzz"]}, additionalModelRequestFields={"top_k": 5})
    )
    assert (limited["stopReason"], limited["usage"]["outputTokens"]) == ("max_tokens", 3)


def test_what_the_client_asks_to_see_is_shown(client):
    full = client().converse(**ask())["output"]["message"]["content"][0]["text"]
    body = ask(
        inferenceConfig={"stopSequences": [full.split()[3]]},
        additionalModelResponseFieldPaths=["/stop_sequence", "/nothing"],
        serviceTier={"type": "flex"},
        performanceConfig={"latency": "standard"},
        requestMetadata={"team": "a b"},
    )
    stopped = client().converse(**body)
    assert stopped["stopReason"] == "stop_sequence"
    assert stopped["additionalModelResponseFields"] == {"stop_sequence": full.split()[3]}
    assert stopped["serviceTier"] == {"type": "flex"}


def test_cache_points_write_and_read_and_are_billed(client, app, text):
    body = ask(
        user(text(1500, "q"), MARK, "tail"),
        system=[{"text": text(2000)}, LONG],
        toolConfig={"tools": [*TOOLS["tools"], LONG]},
    )
    first = client().converse(**body)["usage"]
    assert first["cacheReadInputTokens"] == 0
    assert [detail["ttl"] for detail in first["cacheDetails"]] == ["1h", "5m"]
    assert sum(detail["inputTokens"] for detail in first["cacheDetails"]) == first["cacheWriteInputTokens"] > 3500
    second = collect(client().converse_stream(**body))[1]["usage"]
    assert (second["cacheReadInputTokens"], second["cacheWriteInputTokens"], second["cacheDetails"]) == (first["cacheWriteInputTokens"], 0, [])
    assert first["inputTokens"] == second["inputTokens"] > 0
    line = app.bill.lines[0]
    long, short = (detail["inputTokens"] for detail in first["cacheDetails"])
    assert line.model == "bedrock/claude-opus-4-8"
    assert line.nano_usd == first["inputTokens"] * 5500 + long * 11_000 + short * 6875 + first["outputTokens"] * 27_500
    assert app.bill.lines[1].tokens.cache_read == second["cacheReadInputTokens"]


def test_global_profiles_cost_less_and_share_no_cache_with_regional_ones(client, app, text):
    for model in ("us.anthropic.claude-opus-5", "global.anthropic.claude-opus-5"):
        assert client().converse(**ask(system=[{"text": text(2000)}, MARK], model=model))["usage"]["cacheReadInputTokens"] == 0
    regional, wide = app.bill.lines
    assert regional.tokens.prompt == wide.tokens.prompt
    assert wide.model == "bedrock/global.claude-opus-5"
    assert client("AKIAOTHER").converse(**ask(system=[{"text": text(2000)}, MARK], model=model))["usage"]["cacheReadInputTokens"] == 0


@pytest.mark.parametrize(("name", "minimum"), [("claude-opus-4-7", 4096), ("claude-opus-4-8", 1024), ("claude-opus-5", 512)])
def test_minimums_are_bedrocks(client, text, name, minimum):
    for size, written in ((minimum - 5, 0), (minimum - 4, minimum)):
        usage = client().converse(**ask(system=[{"text": text(size)}, MARK], model=f"anthropic.{name}-v1:0"))["usage"]
        assert usage["cacheWriteInputTokens"] == written


def refusal(call: Callable[[], Any]) -> tuple[int, str, str]:
    with pytest.raises(errors.ClientError) as caught:
        call()
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def test_models_that_cache_nothing_or_not_everywhere(client, text):
    status, code, message = refusal(lambda: client().converse(**ask(system=[{"text": "x"}, MARK], model=LLAMA)))
    assert (status, code) == (403, "AccessDeniedException")
    assert "did not allow prompt caching" in message
    nova = ask(system=[{"text": text(2000)}, MARK], model=NOVA)
    assert client().converse(**nova)["usage"]["cacheWriteInputTokens"] > 1900
    assert client().converse(**nova)["usage"]["cacheReadInputTokens"] > 1900
    for body in (
        ask(model=NOVA, toolConfig={"tools": [*TOOLS["tools"], MARK]}),
        ask(model=NOVA, system=[{"text": "x"}, LONG]),
        ask(model="anthropic.claude-opus-4-1-20250805-v1:0", system=[{"text": "x"}, LONG]),
    ):
        assert refusal(lambda body=body: client().converse(**body))[:2] == (400, "ValidationException")


def test_credentials(client, app, monkeypatch):
    assert client().converse(**ask())["stopReason"] == "end_turn"
    assert refusal(lambda: client(secret="wrong").converse(**ask()))[:2] == (403, "InvalidSignatureException")
    assert refusal(lambda: client(key="AKIAinvalid").converse(**ask()))[:2] == (403, "UnrecognizedClientException")

    def other_body(request: Any) -> None:
        request.body = request.body.replace(b"hi", b"ho")

    def other_path(request: Any) -> None:
        request.url = request.url.replace("opus-4-8", "opus-4-7")

    def more(request: Any) -> None:
        request.headers["X-Amz-Something"] = "unsigned"

    def without(request: Any) -> None:
        del request.headers["Authorization"]

    def broken(request: Any) -> None:
        request.headers["Authorization"] = request.headers["Authorization"].decode().replace("SignedHeaders", "Signed")

    for tamper in (other_body, other_path, more):
        assert refusal(lambda tamper=tamper: client(tamper=tamper).converse(**ask()))[:2] == (403, "InvalidSignatureException")
    assert refusal(lambda: client(tamper=without).converse(**ask()))[:2] == (403, "MissingAuthenticationTokenException")
    assert refusal(lambda: client(tamper=broken).converse(**ask()))[:2] == (403, "IncompleteSignatureException")
    assert app.bill.total(app.account("AKIASANDBOX")).requests == 5
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-api-key")
    assert client().converse(**ask())["stopReason"] == "end_turn"
    assert app.requests.items[-1].headers["authorization"] == "Bearer bedrock-api-key"
    assert app.bill.lines[-1].account == app.account("bedrock-api-key")


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "ThrottlingException"), (500, "InternalServerException"), (503, "ServiceUnavailableException"), (424, "ModelErrorException")],
)
def test_status_faults_are_the_modelled_exceptions(client, app, status, code):
    app.fault(Fault(kind="status", vendor="bedrock", status=status))
    bedrock = client()
    with pytest.raises(getattr(bedrock.exceptions, code)) as caught:
        bedrock.converse_stream(**ask())
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert app.bill.nano_usd == 0


def test_an_exception_may_come_in_the_middle_of_a_stream(client, app):
    app.fault(Fault(kind="error_event", after=3))
    stream = iter(client().converse_stream(**ask())["stream"])
    assert [next(iter(next(stream))) for _ in range(3)] == ["messageStart", "contentBlockDelta", "contentBlockDelta"]
    with pytest.raises(errors.EventStreamError, match="modelStreamErrorException"):
        next(stream)
    assert app.bill.lines[-1].status == "failed"


def test_a_stream_cut_at_any_byte_is_never_taken_for_whole(client, app):
    body = ask(inferenceConfig={"maxTokens": 12})
    collect(client().converse_stream(**body))
    whole = b"".join(client.raws[-1].frames)
    for cut in range(0, len(whole), 97):
        app.fault(Fault(kind="truncate_bytes", after=cut))
        with pytest.raises(ConnectionCut):
            collect(client().converse_stream(**body))
        assert b"".join(client.raws[-1].frames) == whole[:cut]


@pytest.mark.parametrize("kind", ["bad_json", "bad_utf8", "long_line"])
def test_garbage_is_well_framed(client, app, kind):
    from botocore.eventstream import EventStreamBuffer

    app.fault(Fault(kind=kind, after=2))
    with pytest.raises((ValueError, KeyError, errors.BotoCoreError)):
        collect(client().converse_stream(**ask()))
    buffer = EventStreamBuffer()
    for frame in client.raws[-1].frames:
        # botocore's parser takes no payload above 24 MB, and has no quarrel with these ten
        buffer.add_data(frame)
    kinds = [event.headers[":event-type"] for event in buffer]
    assert (kinds[0], kinds[2], kinds[-1]) == ("messageStart", "contentBlockDelta", "metadata")


def test_missing_usage_is_still_charged(client, app):
    app.fault(Fault(kind="no_usage", times=2))
    assert "usage" not in client().converse(**ask())
    assert "usage" not in collect(client().converse_stream(**ask()))[1]
    assert all(line.nano_usd > 0 for line in app.bill.lines)


def test_citations_and_hidden_reasoning(client):
    source = {"text": "The sky is blue. The grass is green."}
    document = {"document": {"format": "txt", "name": "notes", "source": source, "citations": {"enabled": True}}}
    body = ask(user("what?", document), additionalModelRequestFields={"thinking": {"type": "adaptive", "display": "omitted"}})
    reasoning, cited = client().converse(**body)["output"]["message"]["content"]
    assert reasoning["reasoningContent"]["reasoningText"]["text"] == ""
    assert reasoning["reasoningContent"]["reasoningText"]["signature"]
    place = cited["citationsContent"]["citations"][0]["location"]["documentChar"]
    assert source["text"][place["start"] : place["end"]] == cited["citationsContent"]["citations"][0]["sourceContent"][0]["text"]
    deltas = [event["contentBlockDelta"]["delta"] for event in client().converse_stream(**body)["stream"] if "contentBlockDelta" in event]
    assert deltas[-1]["citation"]["title"] == "notes"
    assert "".join(delta.get("text", "") for delta in deltas) == cited["citationsContent"]["content"][0]["text"]
    answered = {"role": "assistant", "content": [reasoning, cited]}
    body["messages"] += [answered, user("more")]
    assert client().converse(**body)["stopReason"] == "end_turn"


def test_scripts_work_here_too(client, app):
    app.script(Scripted(vendor="bedrock", text="exactly this", calls=(ToolCall("look", '{"n": 1}'),)))
    content = client().converse(**ask(toolConfig=TOOLS))["output"]["message"]["content"]
    assert [next(iter(block)) for block in content] == ["text", "toolUse"]
    assert content[1]["toolUse"]["input"] == {"n": 1}


def test_tokens_are_counted_as_they_are_billed(client, text):
    body = ask(user(text(300)), system=[{"text": "s"}], toolConfig=TOOLS)
    usage = client().converse(**body)["usage"]
    asked = {key: body[key] for key in ("messages", "system", "toolConfig")}
    assert client().count_tokens(modelId=CLAUDE, input={"converse": asked})["inputTokens"] == usage["inputTokens"]
    messages = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    counted = client().count_tokens(modelId=CLAUDE, input={"invokeModel": {"body": json.dumps(messages)}})["inputTokens"]
    assert counted == client().converse(**ask())["usage"]["inputTokens"]
    assert refusal(lambda: client().count_tokens(modelId=LLAMA, input={"converse": asked}))[:2] == (400, "ValidationException")


def test_claude_behind_invoke_model(client, text):
    mark = {"type": "ephemeral", "ttl": "1h"}
    messages = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 50,
        "system": [{"type": "text", "text": text(2000), "cache_control": mark}],
        "messages": [{"role": "user", "content": "hi"}],
    }
    whole = json.loads(client().invoke_model(modelId=CLAUDE, body=json.dumps(messages))["body"].read())
    assert whole["usage"]["cache_creation"]["ephemeral_1h_input_tokens"] == 2004
    stream = client().invoke_model_with_response_stream(modelId=CLAUDE, body=json.dumps(messages))["body"]
    chunks = [json.loads(event["chunk"]["bytes"]) for event in stream]
    assert "".join(chunk["delta"]["text"] for chunk in chunks if chunk["type"] == "content_block_delta") == whole["content"][0]["text"]
    assert chunks[-1]["amazon-bedrock-invocationMetrics"]["cacheReadInputTokenCount"] == 2004
    converse = client().converse(**ask(system=[{"text": text(2000)}, MARK]))["usage"]
    assert converse["cacheReadInputTokens"] == 2004
    assert refusal(lambda: client().invoke_model(modelId=CLAUDE, body=json.dumps({**messages, "cache_control": mark})))[0] == 400


async def test_anthropics_own_client_for_bedrock(app):
    anthropic, transport = pytest.importorskip("anthropic"), pytest.importorskip("httpx2")
    http = transport.AsyncClient(transport=transport.ASGITransport(app))
    claude = anthropic.AsyncAnthropicBedrock(
        api_key="bedrock-api-key", aws_region="us-east-1", base_url="http://sandbox/bedrock", http_client=http, max_retries=0
    )
    asked = {"model": CLAUDE, "max_tokens": 60, "messages": [{"role": "user", "content": "hi"}]}
    whole = await claude.messages.create(**asked)
    async with claude.messages.stream(**asked) as stream:
        final = await stream.get_final_message()
    assert final.content[0].text == whole.content[0].text
    assert (final.usage.input_tokens, final.stop_reason) == (whole.usage.input_tokens, "end_turn")
    assert app.bill.lines[-1].account == app.account("bedrock-api-key")
    with pytest.raises(anthropic.BadRequestError):
        await claude.messages.create(**{**asked, "messages": []})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The sandbox as a process of its own, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "tokenrouter", "sandbox", "--port", str(port)]
    process = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("sandbox"), env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"{url}/__sandbox/health", timeout=1).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
    yield url
    process.send_signal(signal.SIGTERM)
    process.wait(30)


@pytest.mark.parametrize("model", [CLAUDE, "arn:aws:bedrock:us-east-1:123456789012:inference-profile/" + CLAUDE])
def test_over_a_real_connection(served, model):
    bedrock = make_client(f"{served}/bedrock", "AKIASANDBOX", SECRET)
    whole = bedrock.converse(**ask(model=model))
    assert collect(bedrock.converse_stream(**ask(model=model)))[1]["content"] == whole["output"]["message"]["content"]
    wrong = make_client(f"{served}/bedrock", "AKIASANDBOX", "wrong")
    assert refusal(lambda: wrong.converse(**ask(model=model)))[:2] == (403, "InvalidSignatureException")
