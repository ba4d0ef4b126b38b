"""Lists of models in Ollama's words: what is read of a server's, and what is written for models of others."""

import json

import pytest
from ollama import ListResponse, ShowResponse

from tokenrouter.adapters.wire.ollama_models import aliases, read_rows, read_show, read_tags, renamed, write_models, write_show, write_tag
from tokenrouter.errors import UpstreamFailed
from tokenrouter.model.catalog import Found


def tags(*rows: object) -> bytes:
    return json.dumps({"models": rows}).encode()


def test_names_with_and_without_a_tag_mean_the_same_model():
    assert aliases("llama3.2:latest") == ("llama3.2",)
    assert aliases("qwen3:8b") == aliases("phi") == aliases(":latest") == ()


def test_rows_are_kept_as_the_server_wrote_them():
    row = {"name": "a:latest", "model": "a:latest", "digest": "d", "size": 5, "odd": [1]}
    (found,) = read_tags(tags(row))
    assert (found.name, found.aliases, found.digest, found.row) == ("a:latest", ("a",), "d", row)
    assert json.loads(write_models([renamed(found.row, "b")])) == {"models": [{**row, "name": "b", "model": "b"}]}


def test_rows_that_name_nothing_are_passed_over_and_an_old_servers_are_read():
    assert [found.name for found in read_tags(tags({"name": "old:1"}, {}, {"name": 1}, {"model": None}))] == ["old:1"]
    assert read_rows(b'{"models":null}') == []


def test_a_list_has_a_bound():
    assert len(read_tags(tags(*({"model": str(number)} for number in range(5000))))) == 2000


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"{}", b'{"models":1}', b'{"models":["a"]}', b'{"models":[null]}', b"\xff"])
def test_something_else_is_no_list(body: bytes):
    with pytest.raises(UpstreamFailed):
        read_tags(body)


@pytest.mark.parametrize(
    ("told", "capabilities", "context"),
    [
        ({}, (), 0),
        ({"capabilities": None, "model_info": None}, (), 0),
        ({"capabilities": "completion", "model_info": []}, (), 0),
        ({"capabilities": ["completion", 1, "thinking"], "model_info": {"qwen3.context_length": 40960.0}}, ("completion", "thinking"), 40960),
        ({"model_info": {"x.context_length": -1, "y.context_length": "many"}}, (), 0),
    ],
)
def test_a_description_is_read_as_far_as_it_makes_sense(told: object, capabilities: tuple[str, ...], context: int):
    found = read_show(Found(name="a"), json.dumps(told).encode())
    assert (found.capabilities, found.context) == (capabilities, context)


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"null", b"[" * 5000])
def test_something_else_is_no_description(body: bytes):
    with pytest.raises(UpstreamFailed):
        read_show(Found(name="a"), body)


def test_what_is_written_for_others_models_is_what_clients_read():
    (row,) = ListResponse(**json.loads(write_models([write_tag("openai", "gpt-4.1")]))).models
    assert (row.model, row.size) == ("gpt-4.1", 0)
    assert len(row.digest or "") == 64  # the command line cuts it off at the twelfth character
    assert write_tag("openai", "a")["digest"] != write_tag("other", "a")["digest"]
    shown = json.loads(write_show("openai", "gpt-4.1", ["completion"]))
    assert ShowResponse(**shown).capabilities == ["completion"]
    assert isinstance(shown["model_info"]["general.architecture"], str)  # nor does it look whether this is there
