"""What is asked for beside answers: vectors and counts. The same as the matrix, in smaller tables."""

import base64
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asking import NO_MEMORY, Lost, Outcome, short
from clients import ALL as CLIENTS
from listening import listen
from rig import Response, Rig, call
from speaking import Client, Json, encode, objects
from vendors import Vendor

ONE, OTHER = "EMBED-SENTINEL of wolves", "OTHER-EMBED-SENTINEL of rivers and of trees"
LENGTH = 8
PROMPT = "COUNT-SENTINEL how long is this, in tokens? " * 30
EXACT, ESTIMATED = "exact", "estimated"
BY_GATEWAY = "nobody is asked: the gateway estimates, and says so in `x-tokenrouter-edits`"
Vectors = list[list[float]]


@dataclass(frozen=True)
class Embedder:
    """A dialect's way to ask for vectors. `told`: tokens, None where the dialect does not say. `many`: several texts at once."""

    name: str
    path: Callable[[str], str]
    body: Callable[[str, list[str], int], Json]
    vectors: Callable[[Json], Vectors]
    told: Callable[[Json], int | None]
    many: bool = True


def _requests(model: str, texts: list[str], length: int) -> Json:
    return {"requests": [{"model": f"models/{model}", "content": {"parts": [{"text": text}]}, "outputDimensionality": length} for text in texts]}


EMBEDDERS = (
    Embedder(
        "openai-embeddings",
        lambda model: "/v1/embeddings",
        lambda model, texts, length: {"model": model, "input": texts, "dimensions": length, "encoding_format": "float"},
        lambda said: [row["embedding"] for row in said["data"]],
        lambda said: said["usage"]["prompt_tokens"],
    ),
    Embedder(
        "gemini-embed",
        lambda model: f"/v1beta/models/{model}:batchEmbedContents",
        _requests,
        lambda said: [one["values"] for one in said["embeddings"]],
        lambda said: (said.get("usageMetadata") or {}).get("promptTokenCount"),
    ),
    Embedder(
        "ollama-embed",
        lambda model: "/api/embed",
        lambda model, texts, length: {"model": model, "input": texts, "dimensions": length},
        lambda said: said["embeddings"],
        lambda said: said.get("prompt_eval_count"),
    ),
    Embedder(
        "ollama-embeddings",
        lambda model: "/api/embeddings",
        lambda model, texts, length: {"model": model, "prompt": texts[0], "options": {}},
        lambda said: [said["embedding"]],
        lambda said: None,
        many=False,
    ),
)


@dataclass(frozen=True)
class Counter:
    """A dialect's way to ask for a count, beside its way to ask for an answer to the same prompt."""

    name: str
    path: Callable[[str], str]
    said: str
    client: str

    @property
    def asks(self) -> Client:
        return next(client for client in CLIENTS if client.name == self.client)


COUNTERS = (
    Counter("anthropic-count", lambda model: "/v1/messages/count_tokens", "input_tokens", "anthropic-messages"),
    Counter("gemini-count", lambda model: f"/v1beta/models/{model}:countTokens", "totalTokens", "gemini-generate"),
)
OPERATIONS: Mapping[str, Embedder | Counter] = {operation.name: operation for operation in (*EMBEDDERS, *COUNTERS)}


async def measured(rig: Rig, operation: Embedder | Counter, vendor: Vendor) -> Outcome:
    """One cell. Raises Lost."""
    return await (embedded if isinstance(operation, Embedder) else counted)(rig, operation, vendor)  # type: ignore[operator]


async def _post(rig: Rig, path: str, fields: Json) -> Response:
    return await call(rig.app, "POST", path, encode(fields), {"authorization": f"Bearer {rig.key}", **NO_MEMORY})


async def embedded(rig: Rig, embedder: Embedder, vendor: Vendor) -> Outcome:
    """The texts reach the vendor, and its very vectors the client, in order; tokens are those of the bill."""
    model = vendor.model("embeds")
    texts = [ONE, OTHER] if embedder.many else [ONE]
    ear, before = listen(rig), rig.sandbox.requests.seen
    answer = await _post(rig, embedder.path(model), embedder.body(model, texts, LENGTH))
    if answer.status != 200:
        message = answer.json["error"]
        words = message if isinstance(message, str) else message["message"]
        if rig.sandbox.requests.seen != before or "embeddings" not in words:
            raise Lost(f"status {answer.status}: {words}; sent: {rig.sandbox.requests.seen - before}")
        return Outcome("refused")
    sent = rig.sandbox.requests.items[-1].body
    places = [sent.find(text.encode()) for text in texts]
    if -1 in places or places != sorted(places):
        raise Lost(f"texts at {places} of {short(sent)}")
    made, got = made_by(json.loads(ear.body)), embedder.vectors(answer.json)
    if len(got) != len(texts) or not same(got, made):
        raise Lost(f"{got} of {made}")
    told, billed = embedder.told(answer.json), rig.sandbox.bill.lines[-1].tokens.input
    if told not in (None, billed):
        raise Lost(f"tokens {told}, billed {billed}")
    if embedder.many and len(got[0]) != LENGTH:
        raise Lost(f"vectors of {len(got[0])}, not {LENGTH}")
    return Outcome("carried")


def made_by(said: Json) -> Vectors:
    """Every vector in a vendor's answer, in order."""
    found: Vectors = []
    for one in objects(said):
        for value in one.values():
            if isinstance(value, list) and value and all(isinstance(number, float | int) for number in value):
                found.append(value)
            elif isinstance(value, list) and value and all(isinstance(row, list) for row in value):
                found += value
        if isinstance(one.get("embedding"), str):
            raw = base64.b64decode(one["embedding"])
            found.append(list(struct.unpack(f"<{len(raw) // 4}f", raw)))
    return found


def same(got: Vectors, made: Vectors) -> bool:
    """To the precision of 32-bit floats."""
    pairs = [pair for ours, theirs in zip(got, made, strict=True) for pair in zip(ours, theirs, strict=True)]
    return all(abs(ours - theirs) < 1e-6 for ours, theirs in pairs)


async def counted(rig: Rig, counter: Counter, vendor: Vendor) -> Outcome:
    """Exact is what the vendor bills for the very prompt when it is asked to answer it."""
    model, client = vendor.model("plain"), counter.asks
    fields = {
        name: value
        for name, value in json.loads(json.dumps(client.body(model, False)).replace("hello", PROMPT)).items()
        if name != "max_tokens"  # no field of a count
    }
    before = rig.sandbox.requests.seen
    answer = await _post(rig, counter.path(model), fields)
    if answer.status != 200:
        raise Lost(f"status {answer.status}: {answer.body[:300]!r}")
    count = answer.json[counter.said]
    asked = rig.sandbox.requests.seen > before
    whole = await _post(rig, client.path(model, False), {**fields, **({"max_tokens": 100} if "max_tokens" in client.body(model, False) else {})})
    if whole.status != 200:
        raise Lost(f"status {whole.status}: {whole.body[:300]!r}")
    billed = rig.sandbox.bill.lines[-1].tokens.prompt
    estimated = "count.estimate" in answer.headers["x-tokenrouter-edits"]
    if asked == estimated:
        raise Lost(f"asked: {asked}, edits: {answer.headers['x-tokenrouter-edits']}")
    if estimated:
        if not billed / 3 < count < billed * 3:
            raise Lost(f"estimated {count}, billed {billed}")
        return Outcome(ESTIMATED, BY_GATEWAY)
    if count != billed:
        raise Lost(f"counted {count}, billed {billed}")
    return Outcome(EXACT)
