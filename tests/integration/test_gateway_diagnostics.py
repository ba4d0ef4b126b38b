"""Vendors are asked why a prompt could not be reused, where somebody wants it; clients see nothing of that."""

import json

import pytest
from msgspec.structs import force_setattr
from rig import call
from test_gateway_prompt_memory import MODEL, SYSTEM, TOOLS, Talk, sent

ON = {"x-edits-on": "diagnostics.ask"}


def long(words):
    return {"role": "user", "content": f"{words} " + "What do you remember of the rooms of this house? " * 30}


async def messages(rig, body, **headers):
    response = await call(rig.app, "POST", "/v1/messages", json.dumps(body).encode(), {"x-api-key": rig.key, **headers})
    assert response.status == 200, response.body
    return response


def asking(messages, **more):
    return {"model": MODEL, "max_tokens": 50, "system": SYSTEM, "tools": TOOLS, "messages": messages, **more}


async def breaks(rig):
    await rig.landed()
    answer = await rig.admin("GET", "/admin/prompt-cache/breaks?from=2020-01-01&to=2040-01-01")
    assert answer.status == 200, answer.body
    return answer.json["data"]


async def test_nobody_is_asked_unless_somebody_wants_it(rig):
    await Talk(rig).turn()
    assert "diagnostics" not in sent(rig)


async def test_the_first_request_opts_in_and_later_ones_name_the_answer_before(rig):
    talk = Talk(rig, **ON)
    first = await talk.turn()
    assert sent(rig)["diagnostics"] == {"previous_message_id": None}
    assert "diagnostics.ask" in first.headers["x-tokenrouter-edits"]
    await talk.turn()
    assert sent(rig)["diagnostics"] == {"previous_message_id": first.json["id"]}


async def test_a_tenant_can_be_asked_for_as_a_whole(rig):
    await rig.admin("PATCH", "/admin/tenants/default", {"prompt_cache": {"diagnostics": True}})
    rig.key = rig.new_key()
    await Talk(rig).turn()
    assert sent(rig)["diagnostics"] == {"previous_message_id": None}
    await Talk(rig, "two", **{"x-edits-off": "diagnostics.ask"}).turn()
    assert "diagnostics" not in sent(rig)


@pytest.mark.parametrize("streams", [False, True])
async def test_what_the_vendor_says_is_kept_with_the_break_and_not_shown_to_the_client(rig, streams):
    turns = [long("One.")]
    first = await messages(rig, asking(turns, stream=streams), **ON)
    said = first.json["content"] if not streams else [{"type": "text", "text": "Well."}]
    turns += [{"role": "assistant", "content": said}, long("Two.")]
    second = await messages(rig, asking(turns, stream=streams, system=SYSTEM.replace("room 7 ", "room 8 ")), **ON)
    assert sent(rig)["diagnostics"]["previous_message_id"].startswith("msg_")
    assert b"cache_miss_reason" not in second.body
    if streams:
        assert second.events[0]["type"] == "message_start"
        assert second.events[0]["message"]["diagnostics"] is None
        assert second.events[-1]["type"] == "message_stop"
    else:
        assert second.json["diagnostics"] is None
    found = (await breaks(rig))[0]
    assert (found["cause"], found["vendor_reason"]) == ("system.changed", "system_changed")
    session = await rig.admin("GET", f"/admin/prompt-cache/sessions/{found['session']}")
    assert [turn["vendor_reason"] for turn in session.json["data"]] == [None, "system_changed"]


@pytest.mark.parametrize("streams", [False, True])
async def test_a_client_that_asks_itself_is_answered(rig, streams):
    before = await messages(rig, asking([long("One.")], diagnostics={"previous_message_id": None}), **ON)
    own = {"previous_message_id": before.json["id"]}
    response = await messages(rig, asking([long("Two.")], diagnostics=own, stream=streams), **ON)
    assert sent(rig)["diagnostics"] == own
    assert "diagnostics.ask" not in response.headers.get("x-tokenrouter-edits", "")
    message = response.events[0]["message"] if streams else response.json
    assert message["diagnostics"]["cache_miss_reason"]["type"] == "messages_changed"


@pytest.mark.parametrize("streams", [False, True])
async def test_other_dialects_ask_as_well_and_see_nothing(rig, streams):
    body = {"model": MODEL, "messages": [{"role": "system", "content": SYSTEM}, long("One.")], "max_tokens": 20, "stream": streams}
    assert (await rig.chat(body, headers=ON)).status == 200
    body["messages"] = [{"role": "system", "content": SYSTEM + " Be brief."}, body["messages"][1]]
    response = await rig.chat(body, headers={**ON, "x-tokenrouter-session": "s"})
    assert response.status == 200
    assert b"diagnos" not in response.body
    assert response.text
    assert sent(rig)["diagnostics"] == {"previous_message_id": None}, "another conversation"


async def test_only_a_host_that_can_say_is_asked(rig):
    response = await rig.chat({"model": "gpt-4.1", "messages": [long("One.")]}, headers=ON)
    assert response.status == 200
    assert "diagnostics" not in sent(rig)
    (deployment,) = rig.services.catalog.resolve(MODEL).deployments
    force_setattr(deployment, "diagnoses", False)
    try:
        await Talk(rig, **ON).turn()
    finally:
        force_setattr(deployment, "diagnoses", True)
    assert "diagnostics" not in sent(rig)
