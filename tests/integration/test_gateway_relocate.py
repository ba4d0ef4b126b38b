"""A clock at the head of a system text, approved to be moved, before the whole gateway and its simulated vendors."""

import json
from typing import Any

import pytest
from rig import CHAT, Response, Rig, call, running

from tokenrouter.prefixes.relocation import HEADING
from tokenrouter.sandbox.answers import Scripted, ToolCall

RULES = "\n".join(f"Rule {number}: you are the memory of room {number * 7} of a house, and you answer in few words." for number in range(120))
CLOCK = {"id": "c10c4ab8", "kind": "time", "left": "It is ", "right": " now, in the house.\nRule 0"}
PLACE = {"id": "9a7d00f1", "kind": "path", "left": "You work in ", "right": ", where all is kept."}
NOTE = "(see time-c10c4a below)"


def system(turn: int) -> str:
    return f"It is 2026-11-21T0{turn}:15:00Z now, in the house.\n{RULES}\nYou work in /home/ann/{turn}, where all is kept."


async def approve(rig: Rig, *slots: Any) -> None:
    answer = await rig.admin("PATCH", "/admin/tenants/default", {"prompt_cache": {"slots": list(slots)}})
    assert answer.status == 200, answer.body
    await rig.gateway.keys.refresh()


class Talk:
    """A conversation whose system text says another time in each turn. `path`: whose dialect it speaks."""

    def __init__(self, rig: Rig, path: str, model: str, *, key: str | None = None, **headers: str) -> None:
        self.rig, self.path, self.model, self.headers, self.key = rig, path, model, headers, key or rig.key
        self.said: list[Any] = []
        self.more: dict[str, Any] = {}

    def body(self, words: str) -> dict[str, Any]:
        turn = len(self.said) // 2
        match self.path:
            case "/v1/messages":
                self.said.append({"role": "user", "content": words})
                return {"model": self.model, "max_tokens": 50, "system": system(turn), "messages": self.said}
            case "/v1/responses":
                self.said.append({"role": "user", "content": words})
                return {"model": self.model, "instructions": system(turn), "input": self.said, "store": False}
            case "/v1/chat/completions" | "/v1/chat" | "/api/chat":
                self.said.append({"role": "user", "content": words})
                stream = {"stream": False} if self.path == "/api/chat" else {}
                return {"model": self.model, **stream, "messages": [{"role": "system", "content": system(turn)}, *self.said]}
            case _:
                self.said.append({"role": "user", "parts": [{"text": words}]})
                return {"systemInstruction": {"parts": [{"text": system(turn)}]}, "contents": self.said}

    async def turn(self) -> Response:
        self.rig.clock.advance(5)  # type: ignore[attr-defined]
        words = f"Turn {len(self.said)}. " + "What do you remember of what I have told you, and of the rooms? " * 30
        raw = json.dumps({**self.body(words), **self.more}).encode()
        response = await call(self.rig.app, "POST", self.path, raw, {"x-api-key": self.key, **self.headers})
        assert response.status == 200, response.body
        self.said.append(self.answer(response.json))
        return response

    def answer(self, said: Any) -> Any:
        match self.path:
            case "/v1/messages":
                return {"role": "assistant", "content": said["content"]}
            case "/v1/responses":
                return {"role": "assistant", "content": said["output"][-1]["content"][0]["text"]}
            case "/v1/chat/completions":
                return {"role": "assistant", "content": said["choices"][0]["message"]["content"]}
            case "/v1/chat" | "/api/chat":
                return {"role": "assistant", "content": said["message"]["content"]}
            case _:
                return said["candidates"][0]["content"]


def sent(rig: Rig) -> Any:
    return json.loads(rig.sandbox.requests.items[-1].body)


async def talked(rig: Rig, path: str, model: str, *, turns: int = 6, **headers: str) -> tuple[list[Response], list[dict[str, Any]], int]:
    """The answers, what the ledger says, and what the vendor billed for input."""
    talk = Talk(rig, path, model, **headers)
    answers = [await talk.turn() for _ in range(turns)]
    rows = rig.billed_rows()[-turns:]
    return answers, rows, sum(row["cost"] for row in rows)


WAYS = {
    "Anthropic, its own words, a system message": ("/v1/messages", "claude-opus-4-8"),
    "Anthropic, its own words, a block of the user's": ("/v1/messages", "claude-sonnet-5"),
    "OpenAI chat, automatic": (CHAT, "gpt-4.1"),
    "OpenAI chat, breakpoints": (CHAT, "gpt-5.6-sol"),
    "OpenAI responses, automatic": ("/v1/responses", "gpt-4.1"),
    "OpenAI responses, breakpoints": ("/v1/responses", "gpt-5.6-sol"),
    "Gemini": ("/v1beta/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro"),
    "DeepSeek": (CHAT, "deepseek-chat"),
    "chat to Anthropic, a system message": (CHAT, "claude-opus-4-8"),
    "chat to Anthropic, a block of the user's": (CHAT, "claude-sonnet-5"),
    "Anthropic to OpenAI": ("/v1/messages", "gpt-4.1"),
    "Anthropic to Gemini": ("/v1/messages", "gemini-2.5-pro"),
    "responses to Anthropic": ("/v1/responses", "claude-sonnet-5"),
    "Anthropic to Bedrock, a system message": ("/v1/messages", "bedrock/global.anthropic.claude-opus-4-8-v1:0"),
    "chat to Bedrock, a block of the user's": (CHAT, "bedrock/global.anthropic.claude-sonnet-4-6-v1:0"),
    "Ollama's chat to Anthropic": ("/api/chat", "claude-sonnet-5"),
    "our own words to OpenAI": ("/v1/chat", "gpt-4.1"),
}


RARE = ("OpenAI responses, automatic", "Anthropic to Gemini", "Anthropic to Bedrock, a system message", "our own words to OpenAI")


@pytest.mark.parametrize("way", [pytest.param(way, marks=pytest.mark.slow) if way in RARE else way for way in WAYS])
async def test_a_conversation_is_read_although_its_system_text_tells_the_time(rig: Rig, way: str):
    path, model = WAYS[way]
    off = {"x-edits-off": "system.split"}
    _, before, dear = await talked(rig, path, model, **off)
    assert [row["cache_read"] for row in before] == [0] * 6, "a clock at the head lets nothing be read"
    rig.reset()
    await approve(rig, CLOCK, PLACE)
    answers, after, cheap = await talked(rig, path, model, **off)
    assert all("volatile.relocate" in answer.headers["x-tokenrouter-edits"] for answer in answers)
    said = json.dumps(sent(rig))
    assert (said.count(NOTE), said.count("2026-11-21T05:15:00Z"), said.count("/home/ann/5"), said.count(HEADING)) == (1, 1, 1, 1)
    assert "2026-11-21T04" not in said
    assert after[-1]["cache_read"] > len(RULES) / 4 + 400, "the system text, and the conversation"
    assert cheap < 0.7 * dear


ANTHROPIC = "/v1/messages"
MARK = {"type": "ephemeral"}


class Marking(Talk):
    """A client of the Messages API that marks its newest message itself, or has the vendor mark the end of its prompt."""

    whole = False

    def body(self, words: str) -> dict[str, Any]:
        made = super().body(words)
        if self.whole:
            return {**made, "cache_control": MARK}
        newest = {"role": "user", "content": [{"type": "text", "text": words, "cache_control": MARK}]}
        return {**made, "messages": [*self.said[:-1], newest]}


@pytest.mark.parametrize("model", ["claude-opus-4-8", "claude-sonnet-5"])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("off", ["system.split", "system.split,marks.plan,content.parts"])
async def test_what_one_turn_wrote_the_next_one_reads_to_the_last_token(rig: Rig, model: str, whole: bool, off: str):
    await approve(rig, CLOCK, PLACE)
    talk = Marking(rig, ANTHROPIC, model, **{"x-edits-off": off})
    talk.whole = whole
    for _ in range(4):
        await talk.turn()
    rows = rig.billed_rows()
    assert rows[0]["cache_write"] > 0
    for row, earlier in zip(rows[1:], rows, strict=False):
        assert row["cache_read"] == earlier["cache_read"] + earlier["cache_write"]
    assert all(0 < row["fresh_input"] < 60 for row in rows), "what is said behind, and nothing else, is in no prefix"
    assert "cache_control" not in sent(rig), "the mark at the end of the prompt stands where it would have stood"
    assert [row["saved_by_client"] for row in rows] == [min(0, row["saved_by_client"]) for row in rows], "alone, it would have read nothing"


async def test_what_the_tree_learns_is_what_the_vendor_counts(rig: Rig):
    await approve(rig, CLOCK, PLACE)
    talk = Marking(rig, ANTHROPIC, "claude-sonnet-5")
    for _ in range(5):
        await talk.turn()
    rows = rig.billed_rows()
    assert [row["cache_break"] for row in rows] == [""] * 5
    assert sum(row["saved_by_gateway"] for row in rows) > 0
    assert sum(row["saved_by_client"] for row in rows) <= 0, "with its clock at the head, the client's marks would have brought nothing"
    found = (await rig.admin("GET", "/admin/prompt-cache/breaks")).json["data"]
    assert found == []


async def test_two_conversations_at_different_times_share_the_system_text(rig: Rig):
    await approve(rig, CLOCK, PLACE)
    first, second = Talk(rig, ANTHROPIC, "claude-sonnet-5"), Talk(rig, ANTHROPIC, "claude-sonnet-5")
    await first.turn()
    await first.turn()
    second.said = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}] * 2
    await second.turn()
    assert rig.billed_rows()[-1]["cache_read"] > 0.9 * len(RULES) / 4


@pytest.mark.parametrize("way", ["Anthropic, its own words, a system message", "OpenAI chat, automatic", "chat to Anthropic, a block of the user's"])
async def test_switched_off_nothing_is_moved(rig: Rig, way: str):
    path, model = WAYS[way]
    await approve(rig, CLOCK, PLACE)
    one, other = Talk(rig, path, model, **{"x-edits-off": "all"}), Talk(rig, path, model, **{"x-edits-off": "all"})
    await one.turn()
    with_slots = rig.sandbox.requests.items[-1].body
    await approve(rig)
    await other.turn()
    assert rig.sandbox.requests.items[-1].body == with_slots
    if not way.startswith("chat to"):
        other.said.clear()
        assert json.loads(with_slots) == other.body(one.said[0]["content"])
    await approve(rig, CLOCK)
    quiet = Talk(rig, path, model, key=rig.new_key(edits_off=("volatile.relocate",)))
    assert "volatile.relocate" not in (await quiet.turn()).headers.get("x-tokenrouter-edits", "")
    assert "2026-11-21T00:15:00Z now" in json.dumps(sent(rig))


async def test_switched_off_for_everybody_nothing_is_moved(tmp_path):
    async with running(tmp_path / "off", EDITS_OFF="volatile.relocate") as rig:
        await approve(rig, CLOCK)
        await Talk(rig, CHAT, "gpt-4.1").turn()
        assert system(0) == sent(rig)["messages"][0]["content"]


async def test_a_slot_whose_surroundings_changed_is_left_alone_and_the_others_move(rig: Rig):
    await approve(rig, {**CLOCK, "right": " now, in the garden."}, PLACE)
    answer = await Talk(rig, CHAT, "gpt-4.1").turn()
    assert "volatile.relocate" in answer.headers["x-tokenrouter-edits"]
    said = sent(rig)["messages"]
    assert said[0]["content"] == system(0).replace("/home/ann/0", "(see path-9a7d00 below)")
    assert said[-1] == {"role": "system", "content": f"{HEADING}\npath-9a7d00: /home/ann/0"}


async def test_a_slot_that_stands_in_two_texts_is_left_alone_in_both(rig: Rig):
    await approve(rig, CLOCK, PLACE)
    texts = [system(0), system(1).replace("You work in", "You live in")]
    said = [{"role": "system", "content": [{"type": "text", "text": text} for text in texts]}, {"role": "user", "content": "hello"}]
    await rig.chat({"model": "gpt-4.1", "messages": said})
    assert [part["text"] for part in sent(rig)["messages"][0]["content"]] == [texts[0].replace("/home/ann/0", "(see path-9a7d00 below)"), texts[1]]
    said = [{"role": "system", "content": text} for text in (system(0), system(1))] + said[1:]
    await rig.chat({"model": "gpt-4.1", "messages": said})
    assert sent(rig)["messages"] == said


async def test_of_another_tenant_nothing_is_moved(rig: Rig):
    await approve(rig, CLOCK)
    await Talk(rig, CHAT, "gpt-4.1", key=rig.new_key("other")).turn()
    assert sent(rig)["messages"][0]["content"] == system(0)


SIGNED = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "c2lnbmVk"}, {"type": "text", "text": "well"}]}


async def test_where_reasoning_is_bound_to_the_prompt_it_stays_as_it_came(rig: Rig):
    await approve(rig, CLOCK)
    for _ in range(2):
        answer = await Talk(rig, ANTHROPIC, "claude-opus-5-5", **{"x-edits-off": "marks.plan"}).turn()
        assert "volatile.relocate" not in answer.headers.get("x-tokenrouter-edits", "")
        assert sent(rig)["system"] == system(0)


@pytest.mark.parametrize(
    ("path", "model", "more"),
    [
        (ANTHROPIC, "claude-sonnet-5", {"messages": [{"role": "user", "content": "a"}, SIGNED, {"role": "user", "content": "b"}]}),
        (ANTHROPIC, "claude-sonnet-4-5", {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "I say"}]}),
        (CHAT, "gpt-4.1", {"messages": [{"role": "user", "content": system(0)}]}),
        (CHAT, "gpt-4.1", {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": system(0)}]}),
        (
            ANTHROPIC,
            "claude-sonnet-5",
            {"cache_control": MARK, "messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": MARK}]}]},
        ),
        (CHAT, "echo", {}),
        (
            CHAT,
            "gpt-4.1",
            {"messages": [{"role": "system", "content": system(0)}, {"role": "user", "content": "a"}, {"role": "system", "content": "b"}]},
        ),
        (CHAT, "gpt-5.6-sol", {"prompt_cache_options": {"mode": "implicit"}}),
        ("/v1/responses", "gpt-4.1", {"store": True}),
    ],
    ids=[
        *("signed", "the model's turn to go on", "a user's words alone", "a user's words", "two marks in one place", "no prompt cache"),
        *("a system message is the newest", "the client has the newest message written", "stored"),
    ],
)
async def test_what_must_not_be_touched_is_not(rig: Rig, path: str, model: str, more: dict[str, Any]):
    await approve(rig, CLOCK)
    talk = Talk(rig, path, model)
    raw = json.dumps({**talk.body("hello"), **more}).encode()
    answer = await call(rig.app, "POST", path, raw, {"x-api-key": rig.key, "x-edits-off": "system.split"})
    assert "volatile.relocate" not in answer.headers.get("x-tokenrouter-edits", "")
    assert NOTE not in rig.sandbox.requests.items[-1].body.decode()
    assert HEADING not in rig.sandbox.requests.items[-1].body.decode()


@pytest.mark.parametrize(("mode", "moves"), [("on", True), ("observe", False), ("off", False)])
async def test_where_the_vendor_writes_the_end_by_itself_nothing_moves_unless_it_can_be_told_not_to(rig: Rig, mode: str, moves: bool):
    await rig.admin("PATCH", "/admin/tenants/default", {"prompt_cache": {"mode": mode}})
    await approve(rig, CLOCK)
    await Talk(rig, CHAT, "gpt-5.6-sol").turn()
    assert (NOTE in json.dumps(sent(rig))) is moves
    assert sent(rig).get("prompt_cache_options") == ({"mode": "explicit"} if moves else None)
    await Talk(rig, CHAT, "gpt-5.6-sol", **{"x-edits-off": "marks.plan"}).turn()
    assert NOTE not in json.dumps(sent(rig))
    await Talk(rig, CHAT, "gpt-4.1").turn()
    assert NOTE in json.dumps(sent(rig)), "where it writes nothing by itself, marks are not what this edit waits for"


async def test_a_question_is_another_one_when_its_time_is_another(rig: Rig):
    await approve(rig, CLOCK, PLACE)

    async def ask(turn: int, **headers: str) -> str:
        body = {"model": "gpt-4.1", "temperature": 0, "messages": [{"role": "system", "content": system(turn)}, {"role": "user", "content": "hello"}]}
        return (await rig.chat(body, headers=headers)).cache

    assert [await ask(0), await ask(0), await ask(1), await ask(1)] == ["miss", "hit", "miss", "hit"]
    assert await ask(0, **{"x-edits-off": "volatile.relocate"}) == "miss", "the model reads something else"
    key = {"idempotency-key": "once"}
    assert await ask(2, **key) == "miss"
    await approve(rig, CLOCK)
    assert await ask(2, **key) == "hit", "a key means the client's request, whatever is approved meanwhile"
    assert (await rig.chat({"model": "gpt-4.1", "messages": [{"role": "user", "content": "other"}]}, headers=key)).status == 422


@pytest.mark.parametrize("calls", [True, False])
async def test_a_conversation_into_which_signed_reasoning_is_put_back_is_left_alone_from_then_on(rig: Rig, calls: bool):
    """Its turns are found again all the same, whatever time it is."""
    await approve(rig, CLOCK, PLACE)
    look = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    said: list[Any] = [{"role": "user", "content": "please look"}]
    for turn in range(3):
        rig.sandbox.script(Scripted(vendor="anthropic", thinking="hm", text=f"Well {turn}.", calls=(ToolCall("look", "{}"),) if calls else ()))
        messages = [{"role": "system", "content": system(turn)}, *said]
        body = {"model": "claude-opus-4-8", "reasoning_effort": "high", "max_tokens": 20_000, "tools": [look], "messages": messages}
        answer = await rig.chat(body)
        assert answer.status == 200, answer.body
        edits = answer.headers["x-tokenrouter-edits"].split(",")
        assert ("volatile.relocate" in edits, "thoughts.attach" in edits) == (turn == 0, turn > 0)
        thinking = [block for message in sent(rig)["messages"] if message["role"] == "assistant" for block in message["content"]]
        assert sum(block["type"] == "thinking" for block in thinking) == turn, "all of it"
        message = answer.json["choices"][0]["message"]
        said.append({"role": "assistant", "content": message["content"], "tool_calls": message.get("tool_calls")})
        if calls:
            said.append({"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "42"})
        else:
            said[-1].pop("tool_calls")
            said.append({"role": "user", "content": "go on"})


async def test_where_none_is_put_back_a_translated_conversation_goes_on_as_it_began(rig: Rig):
    await approve(rig, CLOCK, PLACE)
    said: list[Any] = [{"role": "user", "content": "hello"}]
    for turn in range(2):
        rig.sandbox.script(Scripted(vendor="anthropic", thinking="hm", text=f"Well {turn}."))
        body = {"model": "claude-opus-4-8", "reasoning_effort": "high", "messages": [{"role": "system", "content": system(turn)}, *said]}
        answer = await rig.chat(body, headers={"x-edits-off": "thoughts.attach"} if turn else {})
        assert "volatile.relocate" in answer.headers["x-tokenrouter-edits"]
        said += [{"role": "assistant", "content": answer.text}, {"role": "user", "content": "go on"}]


async def test_behind_tool_results_it_is_said_behind_them_and_the_results_stay(rig: Rig):
    await approve(rig, CLOCK)
    calls = [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    result = {"role": "tool", "tool_call_id": "call_1", "content": "It is 2026-11-21T00:15:00Z now, in the house.\nRule 0"}
    history = [{"role": "user", "content": "look"}, {"role": "assistant", "content": None, "tool_calls": calls}, result]
    for model, role in (("gpt-4.1", "system"), ("deepseek-chat", "user")):
        answer = await rig.chat({"model": model, "messages": [{"role": "system", "content": system(0)}, *history]})
        assert answer.status == 200, answer.body
        assert sent(rig)["messages"][1:] == [*history, {"role": role, "content": f"{HEADING}\ntime-c10c4a: 2026-11-21T00:15:00Z"}]


async def test_what_was_found_is_approved_by_its_id_and_survives_a_restart(tmp_path):
    async with running(tmp_path / "twice") as rig:
        key, talk = rig.key, Talk(rig, ANTHROPIC, "claude-sonnet-5", **{"x-edits-off": "system.split"})
        for _ in range(5):
            await talk.turn()
        found = (await rig.admin("GET", "/admin/prompt-cache/volatile?tenant=default")).json["data"]
        ids = [each["id"] for each in found if each["edit"] == "volatile.relocate"]
        assert {each["kind"] for each in found} >= {"time", "path"}
        await approve(rig, *ids)
        told = (await rig.admin("GET", "/admin/prompt-cache/volatile?tenant=default")).json["data"]
        assert {each["id"]: each["approved"] for each in told} == {each["id"]: each["id"] in ids for each in found}
        assert not any(each["approved"] for each in found)
        shown = (await rig.admin("GET", "/admin/tenants/default")).json["prompt_cache"]["slots"]
        assert [slot["id"] for slot in shown] == ids
        assert all(slot.keys() == {"id", "kind", "left", "right"} for slot in shown)
        audited = (await rig.admin("GET", "/admin/audit")).json["data"][0]
        assert ids[0] in json.dumps(audited)
    async with running(tmp_path / "twice", make_key=False) as rig:
        rig.key = key
        assert (await rig.admin("GET", "/admin/prompt-cache/volatile?tenant=default")).json["data"] == []
        answers, _, _ = await talked(rig, ANTHROPIC, "claude-sonnet-5")
        assert all("volatile.relocate" in answer.headers["x-tokenrouter-edits"] for answer in answers)
        assert answers[-1].json["usage"]["cache_read_input_tokens"] > 0.9 * len(RULES) / 4
        await approve(rig, ids[0])
        assert len((await rig.admin("GET", "/admin/tenants/default")).json["prompt_cache"]["slots"]) == 1, "what is kept can be named by its id"


async def test_what_is_found_while_another_one_is_moved_can_be_approved_beside_it(rig: Rig):
    await approve(rig, {**CLOCK, "right": " now, in the house.\nRule 0 holds in "})
    talk = Talk(rig, ANTHROPIC, "claude-sonnet-5", **{"x-edits-off": "system.split"})

    async def ask(turn: int) -> None:
        text = system(turn).replace("house.\nRule 0", f"house.\nRule 0 holds in /home/ann/{turn} first", 1)
        raw = json.dumps({**talk.body("hello"), "system": text}).encode()
        talk.said.append(talk.answer((await call(rig.app, "POST", ANTHROPIC, raw, {"x-api-key": rig.key, **talk.headers})).json))
        rig.clock.advance(5)  # type: ignore[attr-defined]

    for turn in range(5):
        await ask(turn)
    found = (await rig.admin("GET", "/admin/prompt-cache/volatile?tenant=default")).json["data"]
    (near,) = [each["id"] for each in found if each["kind"] == "path" and "Rule 0 holds in " in each["template"]]
    await approve(rig, CLOCK["id"], near)
    await ask(7)
    assert f"{NOTE} now, in the house.\nRule 0 holds in (see path-" in sent(rig)["system"][0]["text"]


REFUSED: list[tuple[Any, str]] = [
    ("0123456789ab", "has found no slot '0123456789ab'"),
    ({**CLOCK, "left": "", "right": "."}, "too little stands around it"),
    ({**CLOCK, "kind": "git"}, "can not be moved"),
    (CLOCK, "said twice"),
    ({**PLACE, "id": f"{CLOCK['id'][:6]}other", "kind": "time"}, "the note in its place would be that of"),
    ({**CLOCK, "id": "other0"}, "nobody could tell them apart"),
]


async def test_what_can_not_be_approved_is_refused_with_words(rig: Rig):
    for slot, words in REFUSED:
        answer = await rig.admin("PATCH", "/admin/tenants/default", {"prompt_cache": {"slots": [CLOCK, slot]}})
        assert (answer.status, answer.json["code"], answer.json["param"]) == (422, "slot_refused", "prompt_cache.slots")
        assert words in answer.json["detail"]
        assert (await rig.admin("GET", "/admin/tenants/default")).json["prompt_cache"]["slots"] == []


async def test_what_builds_on_a_stored_answer_is_left_alone(rig: Rig):
    await approve(rig, CLOCK)

    async def ask(**more: Any) -> Response:
        said = [{"role": "developer", "content": system(0)}, {"role": "user", "content": "hello"}]
        raw = json.dumps({"model": "gpt-4.1", "input": said, **more}).encode()
        response = await call(rig.app, "POST", "/v1/responses", raw, {"x-api-key": rig.key})
        assert response.status == 200, response.body
        return response

    first = await ask()
    assert sent(rig)["input"][-1] == {"role": "developer", "content": f"{HEADING}\ntime-c10c4a: 2026-11-21T00:15:00Z"}
    await ask(previous_response_id=first.json["id"])
    assert sent(rig)["input"][0]["content"] == system(0)


async def test_a_place_in_the_messages_can_not_be_approved(rig: Rig):
    for hour in range(5):
        words = f"It is 2026-11-21T0{hour}:15:00Z now, in the house.\n{RULES}"
        await rig.chat({"model": "gpt-4.1", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": words}]})
    found = (await rig.admin("GET", "/admin/prompt-cache/volatile?tenant=default")).json["data"]
    (clock,) = [each for each in found if each["place"].startswith("messages[1]")]
    answer = await rig.admin("PATCH", "/admin/tenants/default", {"prompt_cache": {"slots": [clock["id"]]}})
    assert answer.status == 422
    assert "only opening system text is moved" in answer.json["detail"]


async def test_it_is_counted(rig: Rig):
    await approve(rig, CLOCK)
    await Talk(rig, CHAT, "gpt-4.1").turn()
    assert 'tokenrouter_edits_total{edit="volatile.relocate"} 1.0' in (await rig.get("/metrics")).body.decode()
