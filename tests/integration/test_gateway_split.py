"""A system text that changes at its tail, before the whole gateway: it goes up in two parts, and the first one is read by everybody."""

import json
from typing import Any

import pytest
from rig import Response, Rig, call

HEAD = "You are careful with what you are given, and you say so. \n" * 120


NAMES = ("Ada", "Grace", "Barbara", "Radia")


def system(name: str) -> str:
    """Nothing in it looks as if it changed."""
    return f"{HEAD}You work for {name}.\nBe brief."


def clocked(clock: str) -> str:
    return f"{HEAD}The time is {clock}.\nBe brief."


async def messages(rig: Rig, said: Any, words: str = "hello", **headers: str) -> Response:
    body = {"model": "claude-sonnet-5", "max_tokens": 100, "system": said, "messages": [{"role": "user", "content": words}]}
    response = await call(rig.app, "POST", "/v1/messages", json.dumps(body).encode(), {"x-api-key": rig.key, **headers})
    assert response.status == 200, response.body
    return response


async def chat(rig: Rig, said: Any, model: str, role: str = "system") -> Response:
    response = await rig.chat({"model": model, "messages": [{"role": role, "content": said}, {"role": "user", "content": "hello"}]})
    assert response.status == 200, response.body
    return response


def newest(rig: Rig) -> dict[str, Any]:
    return json.loads(rig.sandbox.requests.items[-1].body)


@pytest.mark.parametrize("as_blocks", [False, True])
async def test_what_stays_the_same_is_written_once_and_read_from_then_on(rig: Rig, as_blocks: bool):
    answers = []
    for turn, name in enumerate(NAMES):
        text = system(name)
        answers.append(await messages(rig, [{"type": "text", "text": text}] if as_blocks else text, f"turn {turn}"))
        if turn == 1:
            assert "cache_control" in newest(rig)["system"][0], "written once"
    reads = [answer.json["usage"]["cache_read_input_tokens"] for answer in answers]
    assert reads[:2] == [0, 0]
    assert all(read > 0.95 * len(HEAD) / 4 for read in reads[2:])
    blocks = newest(rig)["system"]
    assert [block["text"] for block in blocks] == [HEAD, "You work for Radia.\nBe brief."]
    assert "system.split" in answers[-1].headers["x-tokenrouter-edits"]
    assert "system.split" not in answers[0].headers["x-tokenrouter-edits"]


@pytest.mark.parametrize("as_blocks", [False, True])
async def test_what_looks_as_if_it_changed_is_cut_off_at_first_sight(rig: Rig, as_blocks: bool):
    reads = []
    for hour in range(3):
        text = clocked(f"{hour}:00")
        answer = await messages(rig, [{"type": "text", "text": text}] if as_blocks else text, f"turn {hour}")
        assert "system.split" in answer.headers["x-tokenrouter-edits"]
        assert [block["text"] for block in newest(rig)["system"]] == [HEAD, f"The time is {hour}:00.\nBe brief."]
        reads.append(answer.json["usage"]["cache_read_input_tokens"])
    assert reads[0] == 0
    assert all(read > 0.95 * len(HEAD) / 4 for read in reads[1:])


async def test_the_form_of_a_text_stays_as_it_was_first_decided(rig: Rig):
    await messages(rig, system("Ada"))
    await messages(rig, system("Grace"))
    await messages(rig, system("Ada"), "again")
    said = newest(rig)["system"]
    assert (said if isinstance(said, str) else said[0]["text"]) == system("Ada")
    await messages(rig, system("Grace"), "again")
    assert [block["text"] for block in newest(rig)["system"]] == [HEAD, "You work for Grace.\nBe brief."]


async def test_a_mark_of_the_clients_stays_at_the_end_of_its_text(rig: Rig):
    await messages(rig, system("Ada"))
    mark = {"type": "ephemeral", "ttl": "1h"}
    await messages(rig, [{"type": "text", "text": system("Grace"), "cache_control": mark}])
    blocks = newest(rig)["system"]
    assert blocks[1]["cache_control"] == mark
    assert blocks[0]["cache_control"] == mark  # a short one in front of a long one is a 400


async def test_switched_off_the_text_goes_up_as_it_came(rig: Rig):
    for clock in ("1:00", "2:00"):
        response = await messages(rig, clocked(clock), **{"x-edits-off": "all"})
        assert newest(rig)["system"] == clocked(clock)
        assert response.headers["x-tokenrouter-edits"] == "none"


@pytest.mark.parametrize(("model", "role"), [("gpt-5.6-sol", "developer"), ("gpt-5.6-sol", "system"), ("claude-sonnet-5", "system")])
async def test_clients_of_chat_completions_have_their_system_text_in_two_parts(rig: Rig, model: str, role: str):
    answers = [await chat(rig, system(name), model, role) for name in NAMES]
    cached = [answer.json["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers]
    assert cached[1] == 0
    assert cached[3] > 0.9 * len(HEAD) / 4
    body = newest(rig)
    parts = body["system"] if "system" in body else body["messages"][0]["content"]
    assert [part["text"] for part in parts] == [HEAD, "You work for Radia.\nBe brief."]


async def test_clients_of_the_responses_api_have_their_developer_item_in_two_parts(rig: Rig):
    for hour in range(4):
        items = [{"role": "developer", "content": clocked(f"{hour}:00")}, {"role": "user", "content": "hello"}]
        body = {"model": "gpt-5.6-sol", "input": items, "store": False}
        response = await call(rig.app, "POST", "/v1/responses", json.dumps(body).encode(), {"authorization": f"Bearer {rig.key}"})
        assert response.status == 200, response.body
    assert response.json["usage"]["input_tokens_details"]["cached_tokens"] > 0.9 * len(HEAD) / 4
    assert [part["text"] for part in newest(rig)["input"][0]["content"]] == [HEAD, "The time is 3:00.\nBe brief."]


async def test_a_text_that_is_too_short_to_be_cached_is_left_alone(rig: Rig):
    for clock in ("1:00", "2:00", "3:00"):
        await messages(rig, f"Be brief.\nIt is {clock}.")
    assert newest(rig)["system"] == "Be brief.\nIt is 3:00."
