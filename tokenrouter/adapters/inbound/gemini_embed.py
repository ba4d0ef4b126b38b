"""`:embedContent` and `:batchEmbedContents`, spoken by a client. Each content is a piece of its own.

Source: https://ai.google.dev/api/embeddings; google-genai 3.4 `models.py` (embed_content).
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.gemini_errors import encode_error
from tokenrouter.adapters.inbound.gemini_parts import media_of, parts_of, plain_content
from tokenrouter.adapters.json_body import read_extension, read_fields
from tokenrouter.adapters.wire.gemini_layout import NULL, camel_members, no_pseudo_names, raw_items, spelled
from tokenrouter.errors import GatewayError, InvalidRequest, UnsupportedField
from tokenrouter.model.chunk import Shape
from tokenrouter.model.embedding import Embeddings, EmbedRequest
from tokenrouter.model.envelope import NOTHING, Envelope, Operation, ParamFacts, PieceFacts
from tokenrouter.model.volatile import Volatile

MAX_REQUESTS = 10_000
"""More would keep the event loop for longer than other callers should wait. Google itself takes 100."""

_NO_EXTENSIONS: Mapping[str, object] = {}
_BATCH = "batchEmbedContents"
_INSIDE = ("taskType", "title", "outputDimensionality", "autoTruncate")


class GeminiEmbedGrammar:
    """What a request for vectors means; see `Grammar`. Its messages are contents, or the requests of a batch."""

    places = ("requests", "requests", "tools")
    argument_text = False
    system_shape = message_shape = tool_shape = params_shape = Shape()

    def read_message(self, value: object) -> PieceFacts:
        """See `Grammar`. Pictures and sounds have prices of their own, which no table here knows."""
        if not isinstance(value, dict):
            raise InvalidRequest("a content must be an object")
        fields = camel_members(value)
        content = fields.get("content") if "parts" not in fields else fields
        if not isinstance(content, dict):
            raise InvalidRequest("content is missing", param="content")
        path = "" if content is fields else "content."
        plain = plain_content(content)
        for place, part in enumerate(parts_of(plain)):
            if media_of(part) or not isinstance(part.get("text"), str):
                where = f"{path}parts[{place}]"
                raise UnsupportedField(f"{where}: only text is embedded here; what other media cost is not known to the gateway", param=where)
        answer = plain if content is fields else {**fields, "content": plain}
        return PieceFacts(role="user", answer_value=answer, markable=False)

    def read_system(self, value: object) -> PieceFacts:
        """See `Grammar`. There is no system prompt."""
        return self.read_message(value)

    def read_tool(self, value: object) -> PieceFacts:
        """See `Grammar`. There are no tools."""
        raise InvalidRequest("embeddings take no tools")

    def without_lines(self, value: object, lines: Sequence[Volatile]) -> object:
        """See `Grammar`. Nothing here is a client's own line."""
        return value

    def read_params(self, fields: Mapping[str, object]) -> ParamFacts:
        """See `Grammar`. The same text has the same vector, so every request is deterministic."""
        model = str(fields.get(":model", ""))
        if not 0 < len(model) <= 256:
            raise InvalidRequest("the path must name a model of 1 to 256 characters", param="model")
        said = {name: value for name, value in fields.items() if name not in (":model", "model") and value is not None}
        return ParamFacts(
            model=model,
            stream=False,
            include_usage=False,
            max_output=None,
            choices=1,
            deterministic=True,
            stateful=False,
            own_affinity=False,
            service_tier="",
            unserved="",
            prompt_value={},
            answer_value=said,
            side_value={},
        )


class GeminiEmbed:
    """The dialect of `POST /v1beta/models/{model}:embedContent` and `:batchEmbedContents`; see `EmbedDialect`."""

    dialect = "gemini-embed"
    operation: Operation = "embed"
    headers: frozenset[str] = frozenset((":query",))
    field_names: Mapping[str, str] = {"input": "content", "dimensions": "outputDimensionality", "task": "taskType", "truncate": "autoTruncate"}
    grammar = GeminiEmbedGrammar()

    def parse(self, body: bytes, outside: Mapping[str, str] = NOTHING) -> Envelope:
        """See `Dialect`."""
        fields = read_fields(body)
        extensions = {name: fields.pop(name) for name in [name for name in fields if name.startswith("x-")]}
        no_pseudo_names(fields)
        names = spelled(fields)
        wanted = "requests" if outside.get(":method") == _BATCH else "content"
        if fields.get(names.get(wanted, ""), NULL) == NULL:
            raise InvalidRequest(f"{wanted} is missing", param=wanted)
        pieces = raw_items(fields[names[wanted]], wanted) if wanted == "requests" else (fields[names[wanted]],)
        if not 0 < len(pieces) <= MAX_REQUESTS:
            raise InvalidRequest(f"requests must hold 1 to {MAX_REQUESTS} requests, not {len(pieces)}", param="requests")
        return Envelope(
            dialect=self.dialect,
            grammar=self.grammar,
            body=body,
            fields=fields,
            messages=pieces,
            tools=(),
            rest=tuple([name for name in fields if name != names[wanted]]),
            extensions={name: read_extension(name, raw) for name, raw in extensions.items()} if extensions else _NO_EXTENSIONS,
            outside=outside,
        )

    def open_inputs(self, envelope: Envelope) -> EmbedRequest:
        """See `EmbedDialect`."""
        if envelope.outside.get(":method") == _BATCH:
            requests = [_request(msgspec.json.decode(raw), f"requests[{place}].") for place, raw in enumerate(envelope.messages)]
        else:
            requests = [_request({name: msgspec.json.decode(raw) for name, raw in envelope.fields.items()}, "")]
        first, _ = requests[0]
        if any(hints != first for hints, _ in requests):
            raise UnsupportedField("requests: this model makes one kind of vector at a time; send requests of one task and length", param="requests")
        size, task = first.get("outputDimensionality"), first.get("taskType")
        if size is not None and (type(size) is not int or size < 1):
            raise InvalidRequest("outputDimensionality must be a whole number above 0", param="outputDimensionality")
        if not isinstance(task, str | None):
            raise InvalidRequest("taskType must be a word", param="taskType")
        return EmbedRequest(
            inputs=tuple([text for _, text in requests]),
            dimensions=size,
            task=None if task == "TASK_TYPE_UNSPECIFIED" else task,
            truncate=first.get("autoTruncate") if isinstance(first.get("autoTruncate"), bool) else None,  # type: ignore[arg-type]  # just seen
            leftover=("title",) if first.get("title") else (),
        )

    def encode_vectors(self, embeddings: Embeddings, wanted: Wanted) -> bytes:
        """See `EmbedDialect`."""
        vectors = [{"values": vector} for vector in embeddings.vectors]
        asked = wanted.asked.outside.get(":method") if wanted.asked is not None else _BATCH
        body: dict[str, object] = {"embeddings": vectors} if asked == _BATCH else {"embedding": vectors[0]}
        if embeddings.usage.reported:
            body["usageMetadata"] = {"promptTokenCount": embeddings.usage.input_total}
        return msgspec.json.encode(body)

    def stream_type(self, framing: str = "") -> bytes:
        """See `Dialect`. Nothing streams here."""
        return b"application/json; charset=UTF-8"

    def keep_alive(self, framing: str = "") -> bytes:
        """See `Dialect`."""
        return b""

    def encode_error(self, error: GatewayError, request_id: str = "") -> bytes:
        """See `Dialect`."""
        return encode_error(error)

    def encode_stream_error(self, error: GatewayError, framing: str = "") -> bytes:
        """See `Dialect`. Nothing streams here."""
        return encode_error(error)


def _request(value: object, path: str) -> tuple[dict[str, object], str]:
    """What one request says beside its text, and its text."""
    fields = camel_members(value) if isinstance(value, dict) else {}
    content = fields.get("content")
    parts = parts_of(plain_content(content)) if isinstance(content, dict) else []
    texts = [text for part in parts if isinstance(text := part.get("text"), str)]
    if len(texts) != 1 or len(parts) != 1:
        where = f"{path}content.parts"
        raise UnsupportedField(f"{where}: one text can be carried to this model, not {len(parts)} parts", param=where)
    config = fields.get("embedContentConfig")
    said = {**fields, **(camel_members(config) if isinstance(config, dict) else {})}
    return {name: said[name] for name in _INSIDE if said.get(name) is not None}, texts[0]
