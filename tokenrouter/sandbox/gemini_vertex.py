"""Vertex AI: Google's models by the wire of the Gemini API, and Claude by Anthropic's, below one project and location.

Callers send an OAuth token as a bearer. Caches belong to the account and the project, wherever the location is.
Sources: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.publishers.models,
https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai.
"""

import re
from collections.abc import Callable

import msgspec

from tokenrouter.sandbox.answers import Scripted
from tokenrouter.sandbox.anthropic import betas_of, reply_to
from tokenrouter.sandbox.anthropic_engine import Engine as ClaudeEngine
from tokenrouter.sandbox.anthropic_engine import Question
from tokenrouter.sandbox.anthropic_models import Model, find
from tokenrouter.sandbox.anthropic_request import NEW_VERSION, bad
from tokenrouter.sandbox.gemini import answer_native, google_error, not_found
from tokenrouter.sandbox.gemini_embeddings import predict
from tokenrouter.sandbox.gemini_engine import Engine
from tokenrouter.sandbox.gemini_fields import known
from tokenrouter.sandbox.wire import Call, Frame, Headers, JsonObject, Prepared, Refusal, bearer, encode, parse_object

Script = Callable[[str], Scripted | None]
CLAUDE_VERSION = "vertex-2023-10-16"
_CLAUDE = "claude"
"""Kind of a refusal in Anthropic's words."""

_PATH = re.compile(
    r"/v1(?:beta1)?/projects/(?P<project>[^/]+)/locations/[^/]+"
    r"/publishers/(?P<publisher>google|anthropic)/models/(?P<model>[^/:]+):(?P<action>\w+)"
)
_COUNTED = frozenset({"model", "instances", "contents", "systemInstruction", "tools", "generationConfig"})
"""There is no whole request inside a count here, other than at the Gemini API."""

_UNAUTHENTICATED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. "
    "See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


class Vertex:
    """The vendor behind /vertex."""

    name = "vertex"

    def __init__(self, seed: int, script: Script) -> None:
        self._script = script
        self._gemini = Engine(seed)
        self._claude = ClaudeEngine(seed)

    def credential(self, headers: dict[str, str], query: str) -> str | None:  # noqa: ARG002
        """A bearer token."""
        return bearer(headers)

    def reset(self) -> None:
        """Forget every cache."""
        self._gemini.clear()
        self._claude.clear()

    def render_refusal(self, refusal: Refusal, request_id: str) -> bytes:
        """Google's error shape; Claude's own errors keep Anthropic's."""
        if refusal.kind == _CLAUDE:
            error: JsonObject = {"type": "invalid_request_error", "message": refusal.message}
            return encode({"type": "error", "error": error, "request_id": request_id.replace("req_", "req_vrtx_")})
        return google_error(refusal.status, _UNAUTHENTICATED if refusal.status == 401 else refusal.message, refusal.kind, [])

    def headers(self, call: Call) -> Headers:
        """Request id only."""
        return ((b"x-request-id", call.request_id.encode()),)

    def prepare(self, call: Call) -> Prepared:
        """Answer a method of a model."""
        found = _PATH.fullmatch(call.path)
        if found is None or call.method != "POST":
            raise not_found(call)
        model, action = found["model"], found["action"]
        if found["publisher"] == "anthropic":
            return self._claude_answer(call, model, action)
        if action == "predict":
            return predict(parse_object(call.body), model)
        if action == "countTokens":
            known(parse_object(call.body), _COUNTED, "")
        mine = msgspec.structs.replace(call, account=f"{call.account}/{found['project']}")
        return answer_native(mine, self._gemini, model, action, lambda: self._script(self.name))

    def _claude_answer(self, call: Call, name: str, action: str) -> Prepared:
        """Anthropic's wire, with the version in the body and the model in the address; when tokens are counted, the model is in the body."""
        if action not in ("rawPredict", "streamRawPredict"):
            raise not_found(call)
        fields = parse_object(call.body)
        counting = name == "count-tokens"
        if counting:
            name = str(fields.pop("model", ""))
            fields.setdefault("max_tokens", 1)
        model_name, model = _claude_model(name)
        betas = betas_of(call)
        try:
            version = _version(fields, streams=action == "streamRawPredict")
            question = Question(
                fields=fields | {"model": name.replace("@", "-")},
                name=model_name,
                model=model,
                version=version,
                betas=betas,
                account=call.account,
                started_ns=call.started_ns,
            )
            read = self._claude.read(question)
            if counting:
                return Prepared(frames=(Frame(encode({"input_tokens": read.total})),))
            return reply_to(call, self._claude, read, lambda: self._script(self.name))
        except Refusal as refusal:
            raise Refusal(refusal.status, refusal.message, kind=_CLAUDE) from None


def _version(fields: JsonObject, *, streams: bool) -> str:
    """Check what is of this front alone; the version that the engine goes by. The published SDK sends Anthropic's own since its 2.0."""
    version = fields.pop("anthropic_version", None)
    if version not in (CLAUDE_VERSION, NEW_VERSION):
        raise bad("anthropic_version: Field required" if version is None else f'anthropic_version: Input should be "{CLAUDE_VERSION}"')
    if "model" in fields:
        raise bad("model: Extra inputs are not permitted")
    if fields.get("stream") is True and not streams:
        raise bad("stream: a streamed answer has to be asked for with streamRawPredict")
    return NEW_VERSION if version == NEW_VERSION else "2023-06-01"


def _claude_model(name: str) -> tuple[str, Model]:
    found = find(name.replace("@", "-"))
    if found is None:
        raise Refusal(404, f"Publisher Model `{name}` was not found or your project does not have access to it.")
    return found
