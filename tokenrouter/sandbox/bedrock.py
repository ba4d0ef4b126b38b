"""Amazon Bedrock's runtime: Converse, ConverseStream and CountTokens, and InvokeModel for Claude.

Callers sign with the sandbox's secret (`bedrock_sigv4`) or send a Bedrock API key as a bearer token. Claude is answered by the same
engine as at Anthropic's own API, so reasoning signed there is good here; caches and prices are Bedrock's.

Sources: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, .../API_runtime_CountTokens.html,
.../userguide/prompt-caching.html, .../userguide/model-parameters-anthropic-claude-messages.html.
"""

import base64
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote

import msgspec

from tokenrouter.sandbox.answers import Scripted
from tokenrouter.sandbox.anthropic import reply_to
from tokenrouter.sandbox.anthropic_engine import Engine, Question, Read
from tokenrouter.sandbox.anthropic_request import NEW_VERSION
from tokenrouter.sandbox.bedrock_eventstream import CONTENT_TYPE, event, framed
from tokenrouter.sandbox.bedrock_models import Hosted, find
from tokenrouter.sandbox.bedrock_reply import BROKEN, LATENCY_MS, Reply, stream, whole
from tokenrouter.sandbox.bedrock_request import Converse, check_choice, read_converse
from tokenrouter.sandbox.bedrock_shapes import check, invalid
from tokenrouter.sandbox.bedrock_sigv4 import read_authorization, verify
from tokenrouter.sandbox.bedrock_turns import inner, returned
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.wire import JSON_HEADERS, Call, Frame, Headers, JsonObject, Prepared, Refusal, bearer, encode, parse_object

T = TypeVar("T")
Script = Callable[[str], Scripted | None]
ACTIONS = ("converse", "converse-stream", "count-tokens", "invoke", "invoke-with-response-stream")
INVOKE_VERSION = "bedrock-2023-05-31"
_VERSION = "2023-06-01"
_NOBODY = "nobody"
_LAST = b'{"type":"message_stop"}'
_ERRORS = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    413: "RequestEntityTooLargeException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_STREAM_HEADERS: Headers = ((b"content-type", CONTENT_TYPE),)


class Bedrock:
    """The vendor behind /bedrock."""

    name = "bedrock"

    def __init__(self, seed: int, script: Script) -> None:
        self._script = script
        self._engine = Engine(seed)

    def credential(self, headers: dict[str, str], query: str) -> str | None:  # noqa: ARG002
        """The access key id, or the bearer token. Never None: a request without either has an error of its own here."""
        signed = read_authorization(headers.get("authorization", ""))
        return signed.access_key if signed is not None else bearer(headers) or _NOBODY

    def reset(self) -> None:
        """Forget every cache."""
        self._engine.clear()

    def error_head(self, refusal: Refusal) -> tuple[int, Headers]:
        """Bad credentials are a 403 here; the error's name is in a header, with a suffix that clients cut off."""
        kind = "UnrecognizedClientException" if refusal.status == 401 else refusal.kind or _ERRORS.get(refusal.status, "InternalServerException")
        status = 403 if refusal.status == 401 else refusal.status
        return status, ((b"x-amzn-errortype", f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/".encode()),)

    def render_refusal(self, refusal: Refusal, request_id: str) -> bytes:  # noqa: ARG002
        """Amazon's error shape."""
        return encode({"message": "The security token included in the request is invalid." if refusal.status == 401 else refusal.message})

    def headers(self, call: Call) -> Headers:
        """Request id only."""
        return ((b"x-amzn-requestid", f"00000000-0000-4000-8000-{call.number:012x}".encode()),)

    def prepare(self, call: Call) -> Prepared:
        """Answer one of the operations."""
        _authorize(call)
        model_id, action = _target(call)
        found = find(model_id)
        if found is None:
            raise invalid("The provided model identifier is invalid.")
        name, hosted = found
        fields = parse_object(call.body)
        match action:
            case "count-tokens":
                return self._count(call, fields, name, hosted)
            case "converse" | "converse-stream":
                request = read_converse(fields, name, hosted)
                read = _passed_on(lambda: self._engine.read(_question(call, request.fields, request.betas, name, hosted)))
                return self._converse(call, request, read, hosted, streams=action == "converse-stream")
            case _:
                read = self._invoked(call, fields, name, hosted, streams=action == "invoke-with-response-stream")
                answer = reply_to(call, self._engine, read, lambda: self._script(self.name))
                return answer if action == "invoke" else _chunked(answer)

    def _converse(self, call: Call, request: Converse, read: Read, hosted: Hosted, *, streams: bool) -> Prepared:
        said = _passed_on(lambda: self._engine.answer(read, lambda: self._script(self.name)))
        reply = Reply(
            request=request,
            said=said,
            call_ids=said.call_ids("tooluse_", 22),
            shows=read.request.thinking.shown,
            caches=bool(hosted.ttls),
            usage=not call.omit_usage,
        )
        return Prepared(
            frames=stream(reply) if streams else (Frame(whole(reply), said.tokens.output),),
            streams=streams,
            model=read.question.name,
            charge=said.tokens,
            headers=_STREAM_HEADERS if streams else JSON_HEADERS,
            on_start=said.store,
            broken=BROKEN,
            framed=_garbage,
        )

    def _count(self, call: Call, fields: JsonObject, name: str, hosted: Hosted) -> Prepared:
        if not hosted.claude:
            raise invalid("The provided model doesn't support counting tokens.")
        request = check(fields, "CountRequest")
        wanted = inner(request, "input") if isinstance(request, dict) else {}
        if "invokeModel" in wanted:
            body = parse_object(base64.b64decode(str(inner(wanted, "invokeModel")["body"])))
            read = self._invoked(call, {"max_tokens": 1, **body}, name, hosted, streams=False)
        else:
            asked = inner(wanted, "converse")
            converse = read_converse({"messages": [], **asked}, name, hosted)
            read = _passed_on(lambda: self._engine.read(_question(call, converse.fields, converse.betas, name, hosted)))
        return Prepared(frames=(Frame(encode({"inputTokens": read.total})),))

    def _invoked(self, call: Call, fields: JsonObject, name: str, hosted: Hosted, *, streams: bool) -> Read:
        """A Messages request in the body, with the version in it and the model in the path."""
        if not hosted.claude:
            raise invalid("Only Claude is simulated behind InvokeModel. Use Converse.")
        version, betas = fields.pop("anthropic_version", None), fields.pop("anthropic_beta", None)
        if version not in (INVOKE_VERSION, NEW_VERSION):
            raise invalid("anthropic_version: Field required" if version is None else f'anthropic_version: Input should be "{INVOKE_VERSION}"')
        for key in ("model", "stream", "cache_control"):
            if key in fields:
                raise invalid(f"{key}: Extra inputs are not permitted")
        check_choice(fields)
        named = frozenset(str(item) for item in betas) if isinstance(betas, list) else frozenset()
        fields |= {"model": name.rpartition(".")[2].rpartition("/")[2]} | ({"stream": True} if streams else {})
        question = _question(call, fields, named, name, hosted)
        if version == NEW_VERSION:
            question = msgspec.structs.replace(question, version=NEW_VERSION)
        try:
            return self._engine.read(question)
        except Refusal as refusal:
            raise invalid(refusal.message) from None


def _authorize(call: Call) -> None:
    value = call.headers.get("authorization", "")
    if not value:
        raise Refusal(403, "Missing Authentication Token", kind="MissingAuthenticationTokenException")
    if bearer(call.headers) is None:
        verify(call)


def _target(call: Call) -> tuple[str, str]:
    """Model id and operation of a path. The id is percent-encoded, and an ARN has slashes of its own."""
    path = unquote(call.path)
    model_id, _, action = path.removeprefix("/model/").rpartition("/")
    if call.method != "POST" or not path.startswith("/model/") or not model_id or action not in ACTIONS:
        raise Refusal(404, f"Unable to determine the operation of {call.method} {call.path}", kind="UnknownOperationException")
    return model_id, action


def _question(call: Call, fields: JsonObject, betas: frozenset[str], name: str, hosted: Hosted) -> Question:
    return Question(fields=fields, name=name, model=hosted.model, version=_VERSION, betas=betas, account=call.account, started_ns=call.started_ns)


def _passed_on(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except Refusal as refusal:
        raise invalid(returned(refusal.message)) from None


def _garbage(data: bytes) -> bytes:
    return framed("contentBlockDelta", data)


def _chunked(answer: Prepared) -> Prepared:
    """Events of the model as chunks of the binary stream; the last one says what it cost."""
    frames: list[Frame] = []
    for frame in answer.frames:
        data = frame.data.partition(b"data: ")[2].strip()
        if data == _LAST:
            data = encode({"type": "message_stop", "amazon-bedrock-invocationMetrics": _metrics(answer.charge)})
        frames.append(Frame(event("chunk", {"bytes": base64.b64encode(data).decode()}), frame.output))
    return msgspec.structs.replace(answer, frames=tuple(frames), headers=_STREAM_HEADERS, broken=BROKEN, framed=_garbage)


def _metrics(tokens: Tokens) -> JsonObject:
    return {
        "inputTokenCount": tokens.input,
        "outputTokenCount": tokens.output,
        "cacheReadInputTokenCount": tokens.cache_read,
        "cacheWriteInputTokenCount": tokens.cache_write_5m + tokens.cache_write_1h,
        "invocationLatency": LATENCY_MS,
        "firstByteLatency": LATENCY_MS // 2,
    }
