"""Embeddings through the whole gateway, asked for by the official client: shared, kept, billed, and passed as they are."""

import base64
import json
import struct

import httpx
import pytest
from openai import AsyncOpenAI
from rig import Rig, call

from tokenrouter.sandbox.faults import Fault

PATH = "/v1/embeddings"
SMALL = "text-embedding-3-small"


@pytest.fixture
async def sdk(rig: Rig):
    http = httpx.AsyncClient(transport=httpx.ASGITransport(rig.app), base_url="http://gateway")
    async with AsyncOpenAI(api_key=rig.key, base_url="http://gateway/v1", http_client=http, max_retries=0) as client:
        yield client


async def ask(rig: Rig, body, *, key=None, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await call(rig.app, "POST", PATH, raw, {"authorization": f"Bearer {key or rig.key}", **headers})


@pytest.mark.parametrize("given", ["one text", ["one text", "another"], [1, 2, 3], [[1, 2], [3]]])
async def test_the_official_client_gets_a_vector_per_input(sdk, given):
    found = await sdk.embeddings.create(model=SMALL, input=given)
    assert [row.index for row in found.data] == list(range(len(given) if isinstance(given[0], str | list) and isinstance(given, list) else 1))
    assert all(len(row.embedding) == 1536 for row in found.data)
    assert found.usage.prompt_tokens == found.usage.total_tokens > 0


async def test_both_encodings_say_the_same_and_are_kept_apart(rig):
    numbers = (await ask(rig, {"model": SMALL, "input": "x", "dimensions": 8})).json
    packed = (await ask(rig, {"model": SMALL, "input": "x", "dimensions": 8, "encoding_format": "base64"})).json
    assert struct.unpack("<8f", base64.b64decode(packed["data"][0]["embedding"])) == pytest.approx(numbers["data"][0]["embedding"])
    assert len(rig.sandbox.requests) == 2


async def test_a_repeated_question_is_answered_from_memory_and_costs_nothing(rig):
    first = await ask(rig, {"model": SMALL, "input": ["a", "b"]})
    spent = rig.spent()
    again = await ask(rig, {"model": SMALL, "input": ["a", "b"], "encoding_format": "float", "user": "somebody"})
    assert (first.cache, again.cache) == ("miss", "hit")
    assert again.body == first.body
    assert rig.spent() == spent
    assert len(rig.sandbox.requests) == 1


@pytest.mark.parametrize(
    "other", [{"input": ["b", "a"]}, {"input": "ab"}, {"dimensions": 8}, {"model": "text-embedding-3-large"}, {"input": [[97], [98]]}]
)
async def test_another_question_is_asked_anew(rig, other):
    first = await ask(rig, {"model": SMALL, "input": ["a", "b"]})
    second = await ask(rig, {"model": SMALL, "input": ["a", "b"], **other})
    assert (first.status, second.status, second.cache) == (200, 200, "miss")


async def test_one_text_and_a_list_of_one_are_the_same_question(rig):
    await ask(rig, {"model": SMALL, "input": "alone"})
    assert (await ask(rig, {"model": SMALL, "input": ["alone"]})).cache == "hit"


async def test_what_was_billed_is_booked_and_told(rig):
    answer = await ask(rig, {"model": SMALL, "input": "price of this"}, **{"x-metadata": "true"})
    tokens = answer.json["usage"]["prompt_tokens"]
    (row,) = rig.billed_rows()
    assert (row["settled"], row["fresh_input"], row["output"]) == ("exact", tokens, 0)
    assert row["cost"] == rig.spent() == tokens * 20  # 0.02 USD a million, in nano-USD
    assert answer.json["x_tokenrouter"]["settled"] == "exact"
    assert rig.held() == 0


async def test_a_hold_is_what_the_bytes_can_cost_and_no_output(rig):
    # 20 nano-USD a token: 1,024 spare tokens and some bytes are more than 20,000, and far less than a chat's output would be.
    poor, rich = rig.new_key(quota=20_000), rig.new_key(quota=60_000)
    body = {"model": SMALL, "input": "word " * 200}
    assert (await ask(rig, body, key=poor)).status == 429
    assert (await ask(rig, body, key=rich)).status == 200


async def test_an_answer_without_usage_is_estimated_from_its_input(rig):
    rig.sandbox.fault(Fault(vendor="openai", kind="no_usage"))
    answer = await ask(rig, {"model": SMALL, "input": "a" * 300})
    assert answer.status == 200
    (row,) = rig.billed_rows()
    assert (row["settled"], row["output"]) == ("estimated", 0)
    assert row["fresh_input"] >= 100


async def test_a_body_passes_as_it_came_but_for_the_model_and_our_own_fields(rig):
    body = b'{ "model" : "text-embedding-3-small", "input":["\\u0061", "b"],"dimensions":16 }'
    assert (await ask(rig, body)).status == 200
    assert rig.sandbox.requests.items[-1].body == body
    named = b'{"model":"openai/text-embedding-3-small","input":["\\u0061"],"x-cache":"off"}'
    answer = await ask(rig, named)
    assert rig.sandbox.requests.items[-1].body == b'{"model":"text-embedding-3-small","input":["\\u0061"]}'
    assert answer.headers["x-tokenrouter-edits"] == "model.name,extensions.strip"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b'{"model":"text-embedding-3-small"}', "input"),
        (b'{"model":"text-embedding-3-small","input":[]}', "input"),
        (b'{"model":"text-embedding-3-small","input":null}', "input[0]"),
        (b'{"model":"text-embedding-3-small","input":["a",1]}', "input[1]"),
        (b'{"model":"text-embedding-3-small","input":[1,"a"]}', "input[0]"),
        (b'{"model":"text-embedding-3-small","input":[1.5]}', "input[0]"),
        (b'{"model":"text-embedding-3-small","input":[true]}', "input[0]"),
        (b'{"model":"text-embedding-3-small","input":"\\ud800"}', None),
        (b'{"model":1,"input":"a"}', "model"),
        (b'{"input":"a"}', "model"),
        (b'{"model":"text-embedding-3-small","input":"a","user":1}', "user"),
    ],
)
async def test_bad_input_is_refused_in_the_shape_of_the_api_before_anything_is_sent(rig, body, param):
    answer = await ask(rig, body)
    assert answer.status == 400
    assert answer.error["param"] == param
    assert len(rig.sandbox.requests) == 0


async def test_a_refusal_of_the_vendor_passes_as_it_is(rig):
    answer = await ask(rig, {"model": "text-embedding-ada-002", "input": "a", "dimensions": 3})
    assert (answer.status, answer.error["param"]) == (400, "dimensions")
    assert rig.spent() == 0


async def test_a_model_without_a_price_and_one_that_only_embeds_are_refused_by_name(rig):
    unknown = await ask(rig, {"model": "openai/embedder-9", "input": "a"})
    assert (unknown.status, unknown.error["code"]) == (404, "model_not_priced")
    assert "embedder-9" in unknown.error["message"]
    chat = await rig.chat({"model": SMALL, "messages": [{"role": "user", "content": "hi"}]})
    assert (chat.status, chat.error["code"]) == (404, "model_not_priced")
    assert [one.path for one in rig.sandbox.requests.items if one.vendor == "openai"] == []


async def test_a_vendor_without_embeddings_says_so(rig):
    answer = await ask(rig, {"model": "claude-haiku-4-5", "input": "a"})
    assert (answer.status, answer.error["param"]) == (400, "model")
    assert "anthropic gives no embeddings" in answer.error["message"]


ELSEWHERE = ["gemini-embedding-001", "ollama/nomic-embed-text"]


@pytest.mark.parametrize("model", [SMALL, *ELSEWHERE])
async def test_vectors_of_every_host_come_as_numbers_or_packed_and_as_long_as_asked(rig, model):
    body = {"model": model, "input": ["one", "another"], "dimensions": 16}
    numbers = (await ask(rig, body)).json
    packed = (await ask(rig, {**body, "encoding_format": "base64"})).json
    assert [row["index"] for row in numbers["data"]] == [row["index"] for row in packed["data"]] == [0, 1]
    for row, other in zip(numbers["data"], packed["data"], strict=True):
        assert struct.unpack("<16f", base64.b64decode(other["embedding"])) == pytest.approx(row["embedding"])
    assert numbers["data"][0] != numbers["data"][1]
    assert numbers["object"] == "list"
    assert numbers["usage"]["prompt_tokens"] == numbers["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("model", ELSEWHERE)
async def test_the_official_client_asks_other_vendors_shares_their_answers_and_is_billed_once(rig, sdk, model):
    first = await sdk.embeddings.with_raw_response.create(model=model, input=["a", "b"])
    again = await sdk.embeddings.with_raw_response.create(model=model, input=["a", "b"])
    assert [first.headers["x-tokenrouter-cache"], again.headers["x-tokenrouter-cache"]] == ["miss", "hit"]
    assert [row.embedding for row in first.parse().data] == [row.embedding for row in again.parse().data]
    (row,) = rig.billed_rows()
    assert (row["settled"], row["cost"], rig.held()) == ("exact", rig.sandbox.bill.nano_usd, 0)


async def test_limits_hold_for_embeddings_as_for_everything(rig):
    slow, other = rig.new_key(rpm=1), rig.new_key(models=("gpt-4.1",))
    assert (await ask(rig, {"model": SMALL, "input": "a"}, key=slow)).status == 200
    limited = await ask(rig, {"model": SMALL, "input": "a"}, key=slow)
    assert (limited.status, limited.error["code"]) == (429, "rate_limit_exceeded")
    assert "retry-after" in limited.headers
    forbidden = await ask(rig, {"model": SMALL, "input": "a"}, key=other)
    assert (forbidden.status, forbidden.error["param"]) == (403, "model")
    nobody = await call(rig.app, "POST", PATH, b"{}", {})
    assert (nobody.status, nobody.error["code"]) == (401, "invalid_api_key")


async def test_tenants_share_no_vectors(rig):
    stranger = rig.new_key("somebody-else")
    for key in (rig.key, stranger):
        assert (await ask(rig, {"model": SMALL, "input": "a"}, key=key)).cache == "miss"
    assert len(rig.sandbox.requests) == 2


async def test_what_another_vendor_can_not_take_is_refused_or_reported_by_name(rig):
    tokens = await ask(rig, {"model": "gemini-embedding-001", "input": [[1, 2]]})
    assert (tokens.status, tokens.error["param"], tokens.error["code"]) == (400, "input", "unsupported_parameter")
    said = await ask(rig, {"model": "gemini-embedding-001", "input": "a", "user": "u", "brand_new": 1})
    assert (said.status, set(said.headers["x-tokenrouter-dropped"].split(","))) == (200, {"user", "brand_new"})
    for fields, param in (({"dimensions": 0}, "dimensions"), ({"dimensions": "8"}, "dimensions"), ({"encoding_format": "int8"}, "encoding_format")):
        refused = await ask(rig, {"model": "gemini-embedding-001", "input": "a", **fields})
        assert (refused.status, refused.error["param"]) == (400, param)
    assert len(rig.sandbox.requests) == 1
    empty = await ask(rig, {"model": "gemini-embedding-001", "input": ""})
    assert (empty.status, empty.error["type"]) == (400, "invalid_request_error")
    assert rig.billed_rows()[-1]["settled"] == "void"


async def test_an_answer_with_a_vector_too_few_is_nobodys(rig):
    inner = rig.services.sandbox_transport

    class Losing:
        """The last vector gets lost."""

        app = inner.app

        async def send(self, *arguments):
            response = await inner.send(*arguments)
            whole = json.loads(await response.read())
            del whole["embeddings"][-1]

            async def read():
                return json.dumps(whole).encode()

            response.read = read
            return response

        aclose = inner.aclose

    rig.set(sandbox_transport=Losing())
    answer = await ask(rig, {"model": "gemini-embedding-001", "input": ["a", "b"]})
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert "1 embeddings to 2 inputs" in answer.error["message"]


@pytest.mark.parametrize("model", ELSEWHERE)
async def test_an_answer_from_elsewhere_names_its_model(rig, model):
    assert (await ask(rig, {"model": model, "input": "a"})).json["model"] == model.rpartition("/")[2]
