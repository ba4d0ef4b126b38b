"""The edits that remember: whoever says the same in other words is made to say it in the first ones, and nothing else ever changes."""

import json
import random
from typing import Any
from zlib import crc32

import pytest
from chat_requests import json_values, names, schemas
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenrouter.adapters.known import known_dialects
from tokenrouter.model.catalog import Model
from tokenrouter.model.chunk import Chunks
from tokenrouter.model.edits import CALLS_SPELLING, TOOLS_ORDER, TOOLS_SPELLING
from tokenrouter.model.envelope import Envelope
from tokenrouter.pipeline.arranger import arrange
from tokenrouter.pipeline.canonicalizer import Memo
from tokenrouter.pipeline.chunker import chunk
from tokenrouter.prefixes.edit_memory import EditMemory
from tokenrouter.prefixes.splits import SplitSeen, cut
from tokenrouter.serving.respelling import Form, Respelling, remembered_form

DIALECTS = ["openai-chat", "anthropic-messages", "openai-responses", "gemini-generate"]
SPOKEN = known_dialects("")
EDITS = frozenset((TOOLS_SPELLING, CALLS_SPELLING, TOOLS_ORDER))
MODEL = Model(name="m", vendor="v")
OUTSIDE = {":model": "m", ":method": "generateContent"}

tools = st.lists(st.tuples(names, schemas), min_size=1, max_size=4, unique_by=lambda tool: tool[0])
arguments = st.dictionaries(names, json_values, max_size=4)
turns = st.lists(st.tuples(st.sampled_from(["go on", "and then"]), st.lists(st.tuples(names, arguments), max_size=3)), min_size=1, max_size=4)


def shuffled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, list):
        return [shuffled(item, rng) for item in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    rng.shuffle(keys)
    return {key: shuffled(value[key], rng) for key in keys}


def tool_of(dialect: str, name: str, schema: Any) -> Any:
    function = {"name": name, "description": "Does it.", "parameters": schema}
    match dialect:
        case "openai-chat":
            return {"type": "function", "function": function}
        case "openai-responses":
            return {"type": "function", **function}
        case "anthropic-messages":
            return {"name": name, "input_schema": schema}
        case _:
            return function


def turn_of(dialect: str, words: str, calls: list[tuple[str, str, Any]], rng: random.Random) -> list[Any]:
    """What a user said, the calls that followed, and their results."""
    text = [json.dumps(given, indent=rng.choice([None, 1])) for _, _, given in calls]
    match dialect:
        case "openai-chat":
            asked = [{"id": i, "type": "function", "function": {"name": n, "arguments": t}} for (i, n, _), t in zip(calls, text, strict=True)]
            answers = [{"role": "tool", "tool_call_id": i, "content": f"{n} is done"} for i, n, _ in calls]
            said = {"role": "assistant", "content": "so", **({"tool_calls": asked} if asked else {})}
            return [{"role": "user", "content": words}, said, *answers]
        case "openai-responses":
            asked = [{"type": "function_call", "call_id": i, "name": n, "arguments": t} for (i, n, _), t in zip(calls, text, strict=True)]
            answers = [{"type": "function_call_output", "call_id": i, "output": f"{n} is done"} for i, n, _ in calls]
            return [{"role": "user", "content": words}, *asked, *answers, {"role": "assistant", "content": "so"}]
        case "anthropic-messages":
            asked = [{"type": "tool_use", "id": i, "name": n, "input": given} for i, n, given in calls]
            answers = [{"type": "tool_result", "tool_use_id": i, "content": f"{n} is done"} for i, n, _ in calls]
            said = {"role": "assistant", "content": [{"type": "text", "text": "so"}, *asked]}
            return [{"role": "user", "content": words}, said, *([{"role": "user", "content": answers}] if answers else [])]
        case _:
            asked = [{"functionCall": {"id": i, "name": n, "args": given}} for i, n, given in calls]
            answers = [{"functionResponse": {"id": i, "name": n, "response": {"said": f"{n} is done"}}} for i, n, _ in calls]
            said = {"role": "model", "parts": [{"text": "so"}, *asked]}
            return [{"role": "user", "parts": [{"text": words}]}, said, *([{"role": "user", "parts": answers}] if answers else [])]


def body_of(dialect: str, some_tools: Any, some_turns: Any, seed: int) -> bytes:
    """One conversation, as a client of this seed writes it."""
    rng = random.Random(seed)
    listed = [shuffled(tool_of(dialect, *tool), rng) for tool in some_tools]
    rng.shuffle(listed)
    said: list[Any] = []
    for words, calls in some_turns:
        fresh = [(f"call_{rng.getrandbits(60):x}", name, shuffled(given, rng)) for name, given in calls]
        said += turn_of(dialect, words, fresh, rng)
    messages = {"openai-responses": "input", "gemini-generate": "contents"}.get(dialect, "messages")
    offered = [{"functionDeclarations": listed}] if dialect == "gemini-generate" else listed
    body = {messages: said, "tools": offered, **({"max_tokens": 9} if dialect == "anthropic-messages" else {})}
    return json.dumps({"model": "m", **body} if dialect != "gemini-generate" else body).encode()


def read(dialect: str, body: bytes) -> tuple[Envelope, Chunks]:
    envelope = SPOKEN[dialect].parse(body, OUTSIDE if dialect == "gemini-generate" else {})
    return envelope, chunk(envelope, Memo(1))[0]


def formed(memory: EditMemory, envelope: Envelope, chunks: Chunks, *, edits: frozenset[str] = EDITS, tenant: str = "t", now: int = 1) -> Form:
    respelling = Respelling(memory=memory, memo=Memo(1), volatile=(), tenant=tenant, host="v", seed=7, now_ns=now)
    return remembered_form(envelope, chunks, edits, MODEL, respelling)


def printed(form: Form) -> list[bytes]:
    """What a provider prints, piece by piece."""
    order = arrange(form.chunks, sort_tools=form.sorts, known=form.order).tool_order or range(len(form.chunks.tools))
    return [form.chunks.tools[index].prefix_digest for index in order] + [reading.prefix_digest for reading in form.chunks.messages]


def ambiguous(some_turns: Any) -> bool:
    """Whether two calls of one turn are equal."""
    said = [[(name, json.dumps(given, sort_keys=True)) for name, given in calls] for _, calls in some_turns]
    return any(len(set(calls)) < len(calls) for calls in said)


def without_ids(value: Any) -> Any:
    """JSON by value, arguments in text too, calls by number."""
    numbers: dict[str, int] = {}

    def plain(inner: Any) -> Any:
        if isinstance(inner, list):
            return [plain(item) for item in inner]
        if not isinstance(inner, dict):
            return inner
        made = {}
        for key, item in inner.items():
            if key in ("id", "call_id", "tool_use_id", "tool_call_id") and isinstance(item, str) and item.startswith("call_"):
                item = numbers.setdefault(item, len(numbers))
            elif key == "arguments" and isinstance(item, str) and item.startswith("{"):
                item = json.loads(item)
            made[key] = plain(item)
        return made

    return plain(value)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(tools, turns, st.integers(0, 9), st.integers(10, 99))
@settings(max_examples=40)
def test_two_clients_of_any_spelling_converge(dialect: str, some_tools, some_turns, one: int, other: int):
    if ambiguous(some_turns):
        return
    memory = EditMemory()
    first = formed(memory, *read(dialect, body_of(dialect, some_tools, some_turns, one)))
    second = formed(memory, *read(dialect, body_of(dialect, some_tools, some_turns, other)), now=2)
    assert printed(second) == printed(first)
    assert not first.envelope.edited


@pytest.mark.parametrize("dialect", DIALECTS)
@given(tools, turns, st.integers(10, 99))
@settings(max_examples=40)
def test_nothing_changes_but_key_order_spelling_of_arguments_and_names_of_calls(dialect: str, some_tools, some_turns, seed: int):
    memory = EditMemory()
    formed(memory, *read(dialect, body_of(dialect, some_tools, some_turns, 1)))
    came, chunks = read(dialect, body_of(dialect, some_tools, some_turns, seed))
    form = formed(memory, came, chunks, now=2)
    before = {name: json.loads(bytes(raw)) for name, raw in came.fields.items()}
    after = {name: json.loads(bytes(raw)) for name, raw in form.envelope.fields.items()}
    assert without_ids(after) == without_ids(before)
    assert form.envelope.body is came.body
    again = formed(memory, *read(dialect, json.dumps(after).encode()), now=3)
    assert printed(again) == printed(form)  # whoever is told once is told for ever


@pytest.mark.parametrize("dialect", DIALECTS)
@given(tools, turns)
@settings(max_examples=20)
def test_switched_off_a_request_is_the_very_request(dialect: str, some_tools, some_turns):
    memory = EditMemory()
    formed(memory, *read(dialect, body_of(dialect, some_tools, some_turns, 1)))
    came, chunks = read(dialect, body_of(dialect, some_tools, some_turns, 2))
    form = formed(memory, came, chunks, edits=frozenset())
    assert (form.envelope, form.chunks, form.sorts) == (came, chunks, False)
    assert form.envelope is came


@given(tools, turns)
@settings(max_examples=20)
def test_tenants_are_strangers(some_tools, some_turns):
    memory = EditMemory()
    formed(memory, *read("openai-chat", body_of("openai-chat", some_tools, some_turns, 1)))
    came, chunks = read("openai-chat", body_of("openai-chat", some_tools, some_turns, 2))
    assert formed(memory, came, chunks, tenant="other").envelope is came


@given(tools, turns, st.permutations(range(6)))
@settings(max_examples=30)
def test_processes_that_tell_each_other_agree_whatever_they_hear_first(some_tools, some_turns, order):
    told: list[Any] = []
    one, other = EditMemory(told.append), EditMemory(told.append)
    request = [read("anthropic-messages", body_of("anthropic-messages", some_tools, some_turns, seed)) for seed in range(4)]
    formed(one, *request[0], now=1)
    formed(other, *request[1], now=2)
    told.sort(key=lambda learned: order[crc32(repr(learned).encode()) % 6])
    for learned in list(told):
        one.hear(learned)
    for learned in reversed(list(told)):
        other.hear(learned)
    assert printed(formed(one, *request[2], now=3)) == printed(formed(other, *request[3], now=3)) or ambiguous(some_turns)


@given(st.lists(st.sets(names, min_size=1, max_size=6), min_size=2, max_size=8))
@settings(max_examples=60)
def test_two_tools_of_an_app_never_change_places(sets: list[set[str]]):
    memory, sent = EditMemory(), []
    for number, some in enumerate(sets):
        listed = [{"name": name, "input_schema": {}} for name in some]
        body = {"model": "m", "max_tokens": 9, "system": "The app.", "tools": listed, "messages": [{"role": "user", "content": f"turn {number}"}]}
        form = formed(memory, *read("anthropic-messages", json.dumps(body).encode()), now=number)
        order = arrange(form.chunks, sort_tools=True, known=form.order).tool_order or range(len(listed))
        sent.append([listed[index]["name"] for index in order])
    before: set[tuple[str, str]] = set()
    had: set[str] = set()
    for line in sent:
        assert [name in had for name in line] == sorted([name in had for name in line], reverse=True)  # what is new stands behind
        had |= set(line)
        pairs = {(one, two) for index, one in enumerate(line) for two in line[index + 1 :]}
        assert not {(two, one) for one, two in pairs} & before
        before |= pairs
    assert sent[0] == sorted(sets[0])


lines = st.lists(st.sampled_from(["The time is 1:00.", "The time is 2:00.", "Be kind. Be brief.", "x", "", "é\U0001f600 \t"]), max_size=8)


@given(st.lists(st.tuples(lines, st.integers(0, 40)), max_size=4), lines, st.integers(0, 30))
def test_a_cut_stands_at_the_end_of_a_line_or_sentence_in_what_an_earlier_text_has_too(before, now, least: int):
    text = "\n".join(now)
    earlier = []
    for number, (some, chars) in enumerate(before):
        said = "\n".join(some)
        earlier.append(SplitSeen("t", b"p", bytes([number]), said, chars if chars < len(said) and said[:chars].endswith("\n") else 0, number))
    chars = cut(text, earlier, least)
    if chars:
        assert max(least, 1) <= chars < len(text)
        assert any(one.text.startswith(text[:chars]) and one.text != text for one in earlier)
        assert text[:chars].endswith(("\n", ". "))
