"""`affinity.replace`: a client's key per conversation gives way to one per root, where somebody asks for that."""

import json

import pytest
from rig import Rig, running

HEAD = "You are careful with what you are given, and you say so. " * 200


def ask(number: int, **more):
    messages = [{"role": "system", "content": HEAD}, {"role": "user", "content": f"question {number}"}]
    return {"model": "gpt-5.6-sol", "messages": messages, "prompt_cache_key": f"conversation {number}", **more}


def newest(rig: Rig):
    return json.loads(rig.sandbox.requests.items[-1].body)


async def cached(rig: Rig, number: int, **headers: str) -> int:
    response = await rig.chat(ask(number), headers=headers)
    assert response.status == 200, response.body
    return response.json["usage"]["prompt_tokens_details"]["cached_tokens"]


async def test_the_clients_own_key_is_left_alone_by_default(rig: Rig):
    assert [await cached(rig, number) for number in range(3)] == [0, 0, 0]
    assert newest(rig)["prompt_cache_key"] == "conversation 2"


@pytest.mark.parametrize("by_header", [False, True])
async def test_conversations_of_one_root_share_a_key_where_it_is_on(tmp_path, by_header: bool):
    async with running(tmp_path, EDITS_ON="" if by_header else "affinity.replace") as rig:
        headers = {"x-edits-on": "affinity.replace"} if by_header else {}
        reads = [await cached(rig, number, **headers) for number in range(3)]
        assert reads[0] == 0
        assert all(read > 1_024 for read in reads[1:])
        assert newest(rig)["prompt_cache_key"].startswith("tr-")
        response = await rig.chat(ask(4), headers=headers)
        assert "affinity.replace" in response.headers["x-tokenrouter-edits"]
        await cached(rig, 5, **{"x-edits-off": "affinity.replace", **headers})
        assert newest(rig)["prompt_cache_key"] == "conversation 5"


async def test_a_request_can_only_switch_on_what_is_off_by_default(rig: Rig):
    response = await rig.chat(ask(1), headers={"x-edits-on": "tools.order"})
    assert (response.status, response.error["param"]) == (400, "x-edits-on")


async def test_a_client_that_changes_its_key_is_told_so(rig: Rig):
    rules = {"role": "system", "content": "Be kind to the house and to its people. " * 400}
    messages = [rules, {"role": "user", "content": "Hello."}]
    found = []
    for key in ("one", "one", "another"):
        answer = await rig.chat({"model": "gpt-4.1", "messages": messages, "prompt_cache_key": key})
        found.append(answer.headers.get("x-tokenrouter-cache-break", "").partition(",")[0])
        messages += [{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Go on."}]
    assert found == ["", "", "affinity"]
