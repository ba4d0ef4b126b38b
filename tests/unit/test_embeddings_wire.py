"""The Embeddings wire as it is read and written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import NO_EDITS, resolve, settings

from tokenrouter.adapters.base import Wanted
from tokenrouter.adapters.inbound.openai_embeddings import OpenAIEmbeddings
from tokenrouter.adapters.outbound.openai_embeddings import OpenAIEmbeddingsWire
from tokenrouter.adapters.wire.embeddings import decode_vectors, encode_vectors, packed, unpacked, verdict
from tokenrouter.catalog.loader import load_catalog
from tokenrouter.errors import InvalidRequest, UpstreamFailed
from tokenrouter.model.embedding import Embeddings, EmbedRequest
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.pipeline.canonicalizer import Memo
from tokenrouter.pipeline.chunker import chunk

DIALECT, WIRE = OpenAIEmbeddings(), OpenAIEmbeddingsWire()
SMALL = "text-embedding-3-small"
vectors = st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=4).map(tuple), min_size=1, max_size=3)
usages = st.integers(0, 10**6).map(lambda tokens: Usage(fresh_input=tokens, cache_reported=False)) | st.just(NO_USAGE)


@given(vectors, usages, st.booleans())
def test_what_is_written_is_read_again(rows, usage, base64_wanted):
    embeddings = Embeddings("m", tuple(rows), usage)
    body = encode_vectors(embeddings, base64_wanted=base64_wanted)
    assert decode_vectors(body) == embeddings
    assert verdict(body) == usage


def test_vectors_stand_in_the_order_of_their_inputs():
    rows = [{"embedding": [2.0], "index": 1}, {"embedding": [1.0], "index": 0}]
    assert decode_vectors(json.dumps({"data": rows}).encode()).vectors == ((1.0,), (2.0,))
    for row in rows:
        del row["index"]
    assert decode_vectors(json.dumps({"data": rows}).encode()).vectors == ((2.0,), (1.0,))


def test_base64_is_little_endian():
    assert packed((1.0, -0.5)) == "AACAPwAAAL8="
    assert unpacked("AACAPwAAAL8=") == (1.0, -0.5)


@pytest.mark.parametrize("vector", [(1e39,), (-1e300,)])
def test_a_number_that_32_bits_can_not_hold_is_the_providers_fault(vector):
    with pytest.raises(UpstreamFailed, match="32 bits"):
        packed(vector)


@pytest.mark.parametrize("spelled", ["!", "AAA", "AAAA"])
def test_base64_of_something_else_is_the_providers_fault(spelled):
    with pytest.raises(UpstreamFailed, match="embedding"):
        unpacked(spelled)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"data":[]}', b'{"data":null}', b'{"error":{"message":"no"}}', b'{"data":"x"}', b"\xff"]
)
def test_a_200_that_is_no_answer_is_the_providers_fault(body):
    for read in (verdict, decode_vectors):
        with pytest.raises(UpstreamFailed):
            read(body)


def test_an_error_inside_a_200_is_told_in_the_providers_words():
    for read in (verdict, decode_vectors):
        with pytest.raises(UpstreamFailed, match="out of luck"):
            read(b'{"error":{"message":"out of luck"}}')


@pytest.mark.parametrize(
    ("given", "pieces"),
    [
        ('"a"', ['"a"']),
        ('["a","b"]', ['"a"', '"b"']),
        ("[1, 2]", ["[1, 2]"]),
        ("[[1],[2,3]]", ["[1]", "[2,3]"]),
        ("[ [1] ]", ["[1]"]),
        ('""', ['""']),
    ],
)
def test_each_input_is_a_piece_in_the_clients_own_bytes(given, pieces):
    envelope = DIALECT.parse(b'{"model":"m","input":%b}' % given.encode())
    assert [bytes(raw).decode() for raw in envelope.messages] == pieces


def test_more_inputs_than_anybody_takes_are_refused():
    with pytest.raises(InvalidRequest, match="1 to 10000 inputs, not 10001"):
        DIALECT.parse(b'{"model":"m","input":[%b]}' % b",".join([b'"a"'] * 10_001))


def test_an_input_seen_before_is_not_read_again():
    memo = Memo(seed=1)
    first, _ = chunk(DIALECT.parse(b'{"model":"m","input":["a","b"]}'), memo)
    second, _ = chunk(DIALECT.parse(b'{"model":"m","input":["b","c"]}'), memo)
    assert second.messages[0] is first.messages[1]
    assert first.messages[0].text_bytes >= 1


def test_everything_a_client_says_is_opened():
    body = b'{"model":"m","input":["a",""],"dimensions":3,"encoding_format":"base64","user":"u","input_type":"query","other":null}'
    assert DIALECT.open_inputs(DIALECT.parse(body)) == EmbedRequest(inputs=("a", ""), dimensions=3, base64=True, user="u", leftover=("input_type",))
    assert DIALECT.open_inputs(DIALECT.parse(b'{"model":"m","input":[1,2]}')) == EmbedRequest(inputs=((1, 2),))


@pytest.mark.parametrize(("field", "value"), [("dimensions", "0"), ("dimensions", "1.5"), ("dimensions", "true"), ("encoding_format", '"hex"')])
def test_a_field_of_the_wrong_kind_is_refused_by_name(field, value):
    with pytest.raises(InvalidRequest) as refused:
        DIALECT.open_inputs(DIALECT.parse(b'{"model":"m","input":"a","%b":%b}' % (field.encode(), value.encode())))
    assert refused.value.param == field


def test_a_translated_request_says_what_it_can_and_reports_the_rest():
    target = resolve(SMALL)
    asked = EmbedRequest(inputs=("a",), dimensions=5, user="u", task="query", truncate=False, leftover=("x",))
    sent = WIRE.translate_inputs(asked, target.model, target.deployments[0])
    assert (sent.path, json.loads(sent.body)) == ("/embeddings", {"model": SMALL, "input": ["a"], "dimensions": 5, "user": "u"})
    assert sent.dropped == ("x", "task", "truncate")
    plain = WIRE.translate_inputs(EmbedRequest(inputs=("a", "b")), target.model, target.deployments[0])
    assert json.loads(plain.body) == {"model": SMALL, "input": ["a", "b"]}
    assert plain.dropped == ()


def test_the_client_decides_how_vectors_are_spelled():
    embeddings = Embeddings("m", ((0.5,),), Usage(fresh_input=2))
    for encoding, expected in (('"base64"', "AAAAPw=="), ('"float"', [0.5]), ("null", [0.5])):
        envelope = DIALECT.parse(b'{"model":"m","input":"a","encoding_format":%b}' % encoding.encode())
        body = json.loads(DIALECT.encode_vectors(embeddings, Wanted(asked=envelope)))
        assert body["data"][0] == {"object": "embedding", "index": 0, "embedding": expected}
        assert body["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


@given(st.lists(st.text(max_size=5), min_size=1, max_size=3), st.booleans(), st.dictionaries(st.sampled_from(["dimensions", "user"]), st.just(None)))
def test_a_request_without_edits_passes_as_the_very_bytes_that_came(texts, spaced, more):
    body = json.dumps({"model": SMALL, "input": texts, **more}, indent=1 if spaced else None).encode()
    target = resolve(SMALL)
    envelope = DIALECT.parse(body)
    chunks, _ = chunk(envelope, Memo(seed=1))
    sent = WIRE.native_request(envelope, chunks, target.model, target.deployments[0], None, NO_EDITS)
    assert sent.body is body
    assert sent.edits == ()


@pytest.mark.parametrize("vendor", ["openai", "mistral", "together", "fireworks", "openrouter", "dashscope"])
def test_hosts_that_have_embeddings_speak_them_below_the_same_address(vendor):
    found = load_catalog(settings(**{f"{vendor.upper()}_API_KEY": "k"})).deployments[vendor][0]
    addresses = {endpoint.wire: endpoint.base_url for endpoint in found.endpoints}
    assert addresses["openai-embeddings"] == addresses["openai-chat"]
