"""What vendors get of a relocated request means what its client said: every value once, everything else as it came. 231 cases on every wire."""

import json
import random
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import msgspec
import pytest
from relocation_cases import FRAMES, SAFE, TRAPS, template
from rig import CHAT, Rig, call

from tokenrouter.model.call import Call
from tokenrouter.model.principal import Principal, PromptCacheOptions
from tokenrouter.model.record import RequestRecord
from tokenrouter.model.volatile import Template
from tokenrouter.prefixes.relocation import HEADING
from tokenrouter.serving.question import SPARE_TOKENS, Question, most_tokens, understand
from tokenrouter.serving.sending import lane_of
from tokenrouter.serving.sighting import Watch, watch_for
from tokenrouter.upstream.lane import Lane

WORDS = "Stay calm, say little, and keep what you are told. "
PLAIN = {"x-edits-off": "marks.plan,content.parts,system.split"}


def chat(model: str, system: str, words: str, *, tools: bool, **more: Any) -> dict[str, Any]:
    said = [{"role": "system", "content": system}, {"role": "user", "content": words}]
    if tools:
        calls = [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"b": 1.50,  "a": "\\u00e9"}'}}]
        said += [{"role": "assistant", "content": None, "tool_calls": calls}, {"role": "tool", "tool_call_id": "call_1", "content": words}]
    return {"model": model, "messages": said, "top_p": 0.50, "unknown": None, **more}


def messages(model: str, system: str, words: str, *, tools: bool, **more: Any) -> dict[str, Any]:
    said: list[Any] = [{"role": "user", "content": words}]
    if tools:
        said.append({"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"b": 1.50, "a": "é"}}]})
        said.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": words}]})
    blocks = [{"type": "text", "text": WORDS, "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": system}]
    return {"model": model, "max_tokens": 10, "system": blocks, "messages": said, **more}


def responses(model: str, system: str, words: str, *, tools: bool, **more: Any) -> dict[str, Any]:
    said: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": words}]}]
    if tools:
        said.append({"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"b": 1.50}'})
        said.append({"type": "function_call_output", "call_id": "call_1", "output": words})
    return {"model": model, "instructions": system, "input": said, "store": False, **more}


def gemini(model: str, system: str, words: str, *, tools: bool, **more: Any) -> dict[str, Any]:
    said: list[Any] = [{"role": "user", "parts": [{"text": words}]}]
    if tools:
        said.append({"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"b": 1.50}}}]})
        said.append({"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"said": words}}}]})
    return {"system_instruction": {"parts": [{"text": WORDS}, {"text": system}]}, "contents": said, **more}


Wire = tuple[str, str, Callable[..., dict[str, Any]]]
WIRES: dict[str, Wire] = {
    "chat, a system message": ("openai-chat", "gpt-4.1", chat),
    "chat, a text of the user's": ("openai-chat", "deepseek-chat", chat),
    "messages, a system message": ("anthropic-messages", "claude-opus-4-8", messages),
    "messages, a block of the user's": ("anthropic-messages", "claude-sonnet-5", messages),
    "responses": ("openai-responses", "gpt-4.1", responses),
    "gemini": ("gemini-generate", "gemini-2.5-pro", gemini),
    "chat to messages": ("openai-chat", "claude-sonnet-5", chat),
    "messages to responses": ("anthropic-messages", "gpt-4.1", messages),
    "responses to gemini": ("openai-responses", "gemini-2.5-pro", responses),
}


def asked(rig: Rig, wire: Wire, body: Any, *approved: Template, **headers: str) -> tuple[Question, Lane, RequestRecord]:
    """A request, rendered; nothing is sent."""
    return watched(rig, wire, body, *approved, **headers)[:3]


def watched(rig: Rig, wire: Wire, body: Any, *approved: Template, **headers: str) -> tuple[Question, Lane, RequestRecord, Watch]:
    """The same, and what those who remember prompts see of it."""
    dialect, model, _ = wire
    principal = Principal(key_id="k", tenant="t", prompt_cache=PromptCacheOptions(movable=approved))
    outside = {":model": model, ":method": "generateContent"} if dialect.startswith("gemini") else {}
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    call = Call(id="r", principal=principal, dialect=dialect, body=raw, headers=headers, outside=outside)
    record = RequestRecord(id="r", time_ns=0, key_id="k", tenant="t", dialect=dialect, model_asked="")
    question = understand(call, rig.services, record)
    watch = watch_for(question, rig.services)
    assert watch is not None
    return question, lane_of(question, rig.services, watch), record, watch


def taken_out(body: Any, said: str) -> Any:
    """The body without the text behind it, which must stand at the very end of the newest message, and be there once."""
    at = next(name for name in ("messages", "input", "contents") if name in body)
    newest = body[at][-1]
    kept = body[at][:-1]
    inside = "parts" if at == "contents" else "content"
    content = newest[inside]
    if isinstance(content, str) and content != said:
        assert content.endswith(f"\n\n{said}"), content[-200:]
        return {**body, at: [*kept, {**newest, inside: content.removesuffix(f"\n\n{said}")}]}
    parts = [content] if isinstance(content, str) else content
    last = parts[-1] if isinstance(parts[-1], str) else parts[-1]["text"]
    assert last == said, last[-200:]
    return {**body, at: [*kept, {**newest, inside: parts[:-1]}] if len(parts) > 1 else kept}


def same(value: Any) -> Any:
    """With a string and one text part in one form."""
    if isinstance(value, list):
        return [same(each) for each in value]
    if isinstance(value, dict):
        content = value.get("content")
        if isinstance(content, list) and len(content) == 1 and content[0].keys() == {"type", "text"}:
            value = {**value, "content": content[0]["text"]}
        return {name: same(each) for name, each in value.items()}
    return value


def back(value: Any, one: Template, moved: str) -> Any:
    """With the value in the place of its note."""
    if isinstance(value, str):
        return value.replace(one.note, moved)
    if isinstance(value, list):
        return [back(each, one, moved) for each in value]
    return {name: back(each, one, moved) for name, each in value.items()} if isinstance(value, dict) else value


def safe_cases() -> Iterator[tuple[Template, str, str, str]]:
    for number, (kind, value, frame) in enumerate(SAFE):
        rng = random.Random(number)
        head, tail = WORDS * rng.randint(1, 3), WORDS * rng.randint(1, 3)
        yield template(kind, frame, number), value, head + frame[0] + value + frame[1] + tail, f"{frame[0]}{value}{frame[1]}"


@pytest.mark.parametrize("wire", WIRES)
async def test_every_value_is_there_once_and_nothing_else_is_changed(rig: Rig, wire: str):
    for number, (one, value, system, words) in enumerate(safe_cases()):
        body = WIRES[wire][2](WIRES[wire][1], system, words, tools=number % 2 == 1)
        came = asked(rig, WIRES[wire], body, **PLAIN)[1].outgoing
        _, lane, record = asked(rig, WIRES[wire], body, one, **PLAIN)
        assert "volatile.relocate" in record.edits, (one, system)
        sent, plain = json.loads(lane.outgoing.body), json.loads(came.body)
        assert str(sent).count(one.note) == 1
        restored = back(taken_out(sent, f"{HEADING}\n{one.name}: {value}"), one, value)
        assert same(restored) == same(plain), (one, value)
        assert any(words in text for text in texts(sent)), "the user's words are not the system's"
        assert lane.outgoing.dropped == came.dropped


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(each)


LONG = [pytest.param(wire, marks=pytest.mark.slow) if "to" in wire.split() else wire for wire in WIRES]


@pytest.mark.parametrize("wire", LONG)
async def test_what_is_not_sure_goes_up_as_it_came_to_the_byte(rig: Rig, wire: str):
    for number, (name, frame) in enumerate((name, frame) for name in TRAPS for frame in FRAMES):
        one = template("date", frame)
        body = WIRES[wire][2](WIRES[wire][1], WORDS + TRAPS[name]("2026-04-23", frame) + WORDS, "hello", tools=number % 2 == 1)
        came = asked(rig, WIRES[wire], body, **PLAIN)[1].outgoing
        question, lane, record = asked(rig, WIRES[wire], body, one, **PLAIN)
        assert (lane.outgoing.body, question.behind) == (came.body, None), (name, frame)
        assert "volatile.relocate" not in record.edits


@pytest.mark.parametrize("role", ["system", "developer"])
async def test_who_instructs_is_called_as_the_client_calls_it(rig: Rig, role: str):
    body = {"model": "gpt-4.1", "messages": [{"role": role, "content": TEXT}, {"role": "user", "content": "hello"}]}
    sent = json.loads(asked(rig, WIRES["chat, a system message"], body, DATE, **PLAIN)[1].outgoing.body)
    assert [message["role"] for message in sent["messages"]] == [role, "user", role]


PATHS = {"openai-chat": CHAT, "anthropic-messages": "/v1/messages", "openai-responses": "/v1/responses"}


async def test_vendors_take_it(rig: Rig):
    for wire, tools in product(WIRES, (False, True)):
        dialect, model, make = WIRES[wire]
        await rig.admin("PATCH", "/admin/tenants/default", {"prompt_cache": {"slots": [msgspec.to_builtins(DATE)]}})
        await rig.gateway.keys.refresh()
        body = make(model, TEXT, "hello", tools=tools)
        body.pop("unknown", None)
        schema = {"type": "object", "properties": {}}
        match dialect:
            case "openai-chat":
                body["tools"] = [{"type": "function", "function": {"name": "look", "parameters": schema}}]
            case "openai-responses":
                body["tools"] = [{"type": "function", "name": "look", "parameters": schema, "strict": False}]
            case "anthropic-messages":
                body["tools"] = [{"name": "look", "input_schema": schema}]
            case _:
                body["tools"] = [{"functionDeclarations": [{"name": "look", "parameters": schema}]}]
        path = PATHS.get(dialect, f"/v1beta/models/{model}:generateContent")
        answer = await call(rig.app, "POST", path, json.dumps(body).encode(), {"x-api-key": rig.key})
        assert answer.status == 200, answer.body
        assert "volatile.relocate" in answer.headers["x-tokenrouter-edits"]
        if wire == "gemini":
            text = {"text": f"{HEADING}\n{DATE.name}: 2026-11-21"}
            newest = json.loads(rig.sandbox.requests.items[-1].body)["contents"][-1]
            assert newest == {"role": "user", "parts": [text] if tools else [{"text": "hello"}, text]}, "not among results"


def test_there_are_two_hundred_cases_on_every_wire():
    assert len(list(safe_cases())) + len(TRAPS) * len(FRAMES) >= 200


DATE = Template(id="d47e00aa", kind="date", left="Today is ", right=". Keep it")
TEXT = f"{WORDS}Today is 2026-11-21. Keep it in mind. {WORDS}"


async def test_outside_of_what_is_edited_the_clients_spelling_stays(rig: Rig):
    for wire, tools in product([wire for wire in WIRES if "to" not in wire.split()], (False, True)):
        _, model, make = WIRES[wire]
        body = make(model, TEXT, "Caf\u00e9", tools=tools)
        raw = json.dumps(body).encode().replace(b'"Caf\\u00e9"', b'"Caf\\u00E9 \\/ 1"').replace(b"1.5,", b"1.50 ,").replace(b"0.5,", b"0.50,")
        _, lane, _ = asked(rig, WIRES[wire], raw, DATE, **PLAIN)
        assert lane.outgoing.body.count(b"Caf\\u00E9 \\/ 1") == raw.count(b"Caf\\u00E9 \\/ 1") > 0
        assert lane.outgoing.body.count(b"1.50") == raw.count(b"1.50")
        members = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        sent = msgspec.json.decode(lane.outgoing.body, type=dict[str, msgspec.Raw])
        edited = {"messages", "input", "contents", "system", "instructions", "system_instruction"}
        assert {name: bytes(value) for name, value in sent.items() if name not in edited} == {
            name: bytes(value) for name, value in members.items() if name not in edited
        }
        assert list(sent) == list(members)


async def test_every_byte_of_it_is_held_for(rig: Rig):
    for wire in WIRES:
        _, model, make = WIRES[wire]
        plain = make(model, "Today is 2026-11-21. Keep it in mind.", "hello", tools=False)
        moved, lane, _ = asked(rig, WIRES[wire], plain, DATE)
        assert moved.behind is not None
        assert most_tokens(moved)[0] - SPARE_TOKENS >= len(moved.behind.text) + len("Today is (see date-d47e00 below). Keep it in mind.hello")
        assert most_tokens(moved)[0] - most_tokens(asked(rig, WIRES[wire], plain)[0])[0] == len(moved.behind.text) + len(DATE.note) - len(
            "2026-11-21"
        )
        assert lane.outgoing.body


@pytest.mark.parametrize("model", ["gpt-5.6-sol", "gpt-4.1"])
async def test_those_who_remember_prompts_see_the_notes_and_nothing_behind_them(rig: Rig, model: str):
    wire = ("openai-chat", model, chat)
    on = {"x-edits-off": "system.split"}
    watches = [watched(rig, wire, chat(model, TEXT.replace("21.", f"{day}."), "hello", tools=False), DATE, **on)[3] for day in (21, 22)]
    plain = [watched(rig, wire, chat(model, TEXT.replace("21.", f"{day}."), "hello", tools=False), **on)[3] for day in (21, 22)]
    assert watches[0].sight.links == watches[1].sight.links
    assert plain[0].sight.links[0] != plain[1].sight.links[0]
    for watch, other in zip(watches, plain, strict=True):
        assert (watch.sight.auto_end, other.sight.auto_end) == (False, model == "gpt-5.6-sol"), "what is behind is not written"
        assert watch.unaided.look.sight.links == other.sight.links, "as its client sent it"
        assert (watch.unaided.implicit, watch.unaided.look.sight.behind) == (model == "gpt-5.6-sol", 0)
        assert abs(watch.sight.behind - len(f"{HEADING}\n{DATE.name}: 2026-11-21") / 4) <= 1
        assert other.sight.behind == 0


async def test_the_gateway_has_a_hand_in_what_is_read_then(rig: Rig):
    wire = ("anthropic-messages", "claude-sonnet-5", messages)
    body = messages("claude-sonnet-5", TEXT, "hello", tools=False)
    assert [watched(rig, wire, body, *approved, **PLAIN)[3].touched for approved in ((), (DATE,))] == [False, True]
