"""OpenAI Embeddings through the official SDK."""

import json
import math
from typing import Any

import pytest

from tokenrouter.sandbox import PRICES, Tokens

openai = pytest.importorskip("openai")
transport = pytest.importorskip("httpx2")
PATH = "/openai/v1/embeddings"
SMALL = "text-embedding-3-small"


@pytest.fixture
def sdk(app):
    http = transport.AsyncClient(transport=transport.ASGITransport(app))
    return openai.AsyncOpenAI(api_key="k", base_url="http://sandbox/openai/v1", http_client=http, max_retries=0)


def near(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


async def test_unit_vectors_from_the_text_alone(sdk, call):
    texts = ["what is the capital of france", "tell me the capital of france", "how to bake some bread"]
    answer = await sdk.embeddings.create(model=SMALL, input=texts)
    vectors = [item.embedding for item in answer.data]
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert {len(vector) for vector in vectors} == {1536}
    assert all(math.isclose(near(vector, vector), 1, abs_tol=1e-5) for vector in vectors)
    assert near(vectors[0], vectors[1]) > 0.5 > 0.2 > near(vectors[0], vectors[2])
    alone = await call.post(PATH, {"model": SMALL, "input": texts[0]}, key="other")
    assert alone.json["data"][0]["embedding"] == vectors[0]
    assert (await sdk.embeddings.create(model="text-embedding-3-large", input="x")).data[0].embedding[:8] != vectors[0][:8]


async def test_both_encodings_say_the_same(sdk):
    floats = await sdk.embeddings.create(model=SMALL, input="hi", encoding_format="float")
    packed = await sdk.embeddings.create(model=SMALL, input="hi", encoding_format="base64")
    assert isinstance(packed.data[0].embedding, str)
    default = await sdk.embeddings.create(model=SMALL, input="hi")
    assert list(default.data[0].embedding) == pytest.approx(floats.data[0].embedding, abs=1e-7)


async def test_shorter_vectors_are_the_start_made_a_unit_again(sdk):
    full = (await sdk.embeddings.create(model=SMALL, input="some words here")).data[0].embedding
    short = (await sdk.embeddings.create(model=SMALL, input="some words here", dimensions=256)).data[0].embedding
    norm = math.sqrt(near(full[:256], full[:256]))
    assert list(short) == pytest.approx([value / norm for value in full[:256]], abs=1e-6)


@pytest.mark.parametrize(("given", "tokens", "count"), [("abcdefgh", 2, 1), (["abcd", "efgh", "i"], 3, 3), ([1, 2, 3], 3, 1), ([[1, 2], [3]], 3, 2)])
async def test_usage_is_billed(sdk, app, given, tokens, count):
    answer = await sdk.embeddings.create(model="text-embedding-ada-002", input=given)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens, len(answer.data)) == (tokens, tokens, count)
    line = app.bill.lines[-1]
    assert (line.model, line.tokens) == ("text-embedding-ada-002", Tokens(input=tokens))
    assert line.nano_usd == PRICES["text-embedding-ada-002"].cost(Tokens(input=tokens)) == tokens * 100


def body(**more: Any) -> dict[str, Any]:
    return {"model": SMALL, "input": "x", **more}


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"input": "x"}, 400, "you must provide a model parameter"),
        ({"model": SMALL}, 400, "Missing required parameter: 'input'"),
        (body(model="text-embedding-4"), 404, "does not exist"),
        (body(model="gpt-5"), 403, "not allowed to generate embeddings from this model"),
        (body(input=""), 400, "'$.input' is invalid"),
        (body(input=[]), 400, "'$.input' is invalid"),
        (body(input=["a", ""]), 400, "'$.input' is invalid"),
        (body(input=["a", [1]]), 400, "'$.input' is invalid"),
        (body(input=[[]]), 400, "'$.input' is invalid"),
        (body(input=[1.5]), 400, "'$.input' is invalid"),
        (body(input={"text": "x"}), 400, "expected one of a string or array"),
        (body(input=["a"] * 2049), 400, "maximum length 2048, but got an array with length 2049"),
        (body(input="x" * 4 * 8193), 400, "maximum context length is 8192 tokens, however you requested 8193 tokens"),
        (body(input=["x" * 4 * 8000] * 38), 400, "Requested 304000 tokens, max 300000 tokens per request"),
        (body(dimensions=1537), 400, "Expected a value <= 1536"),
        (body(dimensions=0), 400, "Expected a value >= 1"),
        (body(dimensions=256, model="text-embedding-ada-002"), 400, "does not support specifying dimensions"),
        (body(encoding_format="int8"), 400, "Supported values are: 'float' and 'base64'."),
        (body(stream=True), 400, "Unrecognized request argument supplied: stream"),
        (body(user=1), 400, "expected a string"),
    ],
)
async def test_refusals(call, app, fields, status, words):
    response = await call.post(PATH, fields)
    assert response.status == status
    assert words in response.message
    assert app.bill.nano_usd == 0


async def test_limits_themselves_are_fine(call):
    assert (await call.post(PATH, body(input=["a"] * 2048, dimensions=1))).status == 200
    assert (await call.post(PATH, body(input="x" * 4 * 8192))).status == 200
    assert (await call.request("GET", PATH, headers={"authorization": "Bearer k"})).status == 404


async def test_models_are_listed(call):
    listed = await call.request("GET", "/openai/v1/models", headers={"authorization": "Bearer k"})
    assert SMALL in json.dumps(listed.json)
