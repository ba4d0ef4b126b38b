"""When a call or a tool is written anew, and when it is left alone."""

import json
from typing import Any

import pytest

from tokenrouter.adapters.known import known_dialects
from tokenrouter.model.catalog import Model
from tokenrouter.model.edits import CALLS_SPELLING, TOOLS_ORDER, TOOLS_SPELLING
from tokenrouter.pipeline.canonicalizer import Memo
from tokenrouter.pipeline.chunker import chunk
from tokenrouter.prefixes.edit_memory import EditMemory
from tokenrouter.prefixes.remembered import Remembered
from tokenrouter.prefixes.splits import SplitSeen, cut
from tokenrouter.prefixes.tool_order import OrderSeen
from tokenrouter.serving.respelling import Form, Respelling, remembered_form

SPOKEN = known_dialects("")
EDITS = frozenset((TOOLS_SPELLING, CALLS_SPELLING, TOOLS_ORDER))
GEMINI = {":model": "m", ":method": "generateContent"}


class Client:
    """One tenant's requests, one after the other."""

    def __init__(self, dialect: str = "anthropic-messages") -> None:
        self.memory, self.dialect, self.now = EditMemory(), dialect, 0

    def sends(self, **fields: Any) -> dict[str, Any]:
        """A request, and its fields as they go up."""
        return {name: json.loads(bytes(raw)) for name, raw in self.form(**fields).envelope.fields.items()}

    def form(self, **fields: Any) -> Form:
        self.now += 1
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
        body = {name: value for name, value in body.items() if value is not None}
        envelope = SPOKEN[self.dialect].parse(json.dumps(body).encode(), GEMINI if self.dialect.startswith("gemini") else {})
        respelling = Respelling(memory=self.memory, memo=Memo(1), volatile=(), tenant="t", host="v", seed=7, now_ns=self.now)
        return remembered_form(envelope, chunk(envelope, Memo(1))[0], EDITS, Model(name="m", vendor="v"), respelling)


def tool(schema: Any, name: str = "look", **more: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": schema, **more}


def spelled(value: Any) -> str:
    return json.dumps(value)


@pytest.mark.parametrize(
    "other",
    [
        {"enum": ["b", "a"], "type": "string"},
        {"enum": ["a", "b"], "type": "integer"},
        {"enum": ["a", "b"], "type": "string", "more": None},
    ],
)
def test_a_tool_that_differs_in_more_than_the_order_of_keys_is_another_tool(other: Any):
    client = Client()
    client.sends(tools=[tool({"type": "string", "enum": ["a", "b"]})])
    assert spelled(client.sends(tools=[tool(other)])["tools"][0]["input_schema"]) == spelled(other)


def test_numbers_keep_their_spelling():
    client = Client()
    client.form(tools=[tool({"type": "number", "maximum": 1.5})])
    envelope = client.form(tools=[tool({"maximum": 1.5, "type": "number"})]).envelope
    assert b'"maximum":1.5' in bytes(envelope.tools[0]).replace(b" ", b"")
    tools = b'[{"name":"look","input_schema":{"maximum":1.50,"type":"number"}}]'
    raw = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"tools":' + tools + b"}"
    read = SPOKEN["anthropic-messages"].parse(raw)
    respelling = Respelling(memory=client.memory, memo=Memo(1), volatile=(), tenant="t", host="v", seed=7, now_ns=9)
    assert remembered_form(read, chunk(read, Memo(1))[0], EDITS, Model(name="m", vendor="v"), respelling).envelope is read


def test_marks_are_no_part_of_a_spelling_and_stay_where_they_were():
    client, mark = Client(), {"type": "ephemeral"}
    client.sends(tools=[tool({"type": "object", "title": "t"}, cache_control=mark)])
    (bare,) = client.sends(tools=[tool({"title": "t", "type": "object"})])["tools"]
    assert spelled(bare) == spelled(tool({"type": "object", "title": "t"}))
    (marked,) = client.sends(tools=[tool({"title": "t", "type": "object"}, cache_control=mark)])["tools"]
    assert spelled(marked) == spelled(tool({"type": "object", "title": "t"}, cache_control=mark))


def test_a_mark_inside_a_function_leaves_its_tool_alone():
    client, mark = Client("openai-chat"), {"type": "ephemeral"}
    function = {"name": "look", "parameters": {"type": "object", "title": "t"}}
    client.sends(tools=[{"type": "function", "function": function}])
    other = {"type": "function", "function": {"name": "look", "parameters": {"title": "t", "type": "object"}, "cache_control": mark}}
    assert spelled(client.sends(tools=[other])["tools"][0]) == spelled(other)


def use(name: str, given: Any, call_id: str = "toolu_1") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def conversation(*uses: Any, thinking: bool = False) -> list[Any]:
    thought = [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}] if thinking else []
    results = [{"type": "tool_result", "tool_use_id": one["id"], "content": "42"} for one in uses]
    return [{"role": "user", "content": "go"}, {"role": "assistant", "content": [*thought, *uses]}, {"role": "user", "content": results}]


def ids(sent: dict[str, Any]) -> tuple[list[str], list[str]]:
    return [block["id"] for block in sent["messages"][1]["content"] if "id" in block], [b["tool_use_id"] for b in sent["messages"][2]["content"]]


def test_a_call_and_its_result_get_the_first_id_together():
    client = Client()
    client.sends(messages=conversation(use("look", {"a": 1, "b": 2}, "toolu_a")))
    sent = client.sends(messages=conversation(use("look", {"b": 2, "a": 1}, "toolu_z")))
    assert ids(sent) == (["toolu_a"], ["toolu_a"])
    assert spelled(sent["messages"][1]["content"][0]["input"]) == '{"a": 1, "b": 2}'


def test_two_equal_calls_in_one_turn_keep_their_own_ids():
    client = Client()
    client.sends(messages=conversation(use("look", {}, "toolu_a"), use("look", {}, "toolu_b")))
    assert ids(client.sends(messages=conversation(use("look", {}, "toolu_y"), use("look", {}, "toolu_z")))) == (["toolu_y", "toolu_z"],) * 2


def test_an_id_that_names_two_calls_is_left_alone():
    client = Client()
    client.sends(messages=conversation(use("look", {"a": 1}, "toolu_a"), use("count", {}, "toolu_b")))
    assert ids(client.sends(messages=conversation(use("look", {"a": 1}, "same"), use("count", {}, "same")))) == (["same", "same"],) * 2


def test_an_id_that_is_anothers_already_is_not_given_twice():
    client = Client()
    client.sends(messages=conversation(use("look", {"a": 1}, "toolu_a"), use("count", {}, "toolu_b")))
    swapped = client.sends(messages=conversation(use("look", {"a": 1}, "toolu_b"), use("count", {}, "toolu_a")))
    assert ids(swapped) == (["toolu_b", "toolu_a"],) * 2


def test_the_same_call_in_another_conversation_is_another_call():
    client = Client()
    client.sends(messages=conversation(use("look", {"a": 1}, "toolu_a")))
    other = conversation(use("look", {"a": 1}, "toolu_z"))
    other[0]["content"] = "another question"
    assert ids(client.sends(messages=other)) == (["toolu_z"],) * 2


def test_thinking_beside_a_call_is_never_touched_and_dropping_it_changes_no_place():
    client = Client()
    client.sends(messages=conversation(use("look", {"a": 1, "b": 2}, "toolu_a"), thinking=True))
    came = conversation(use("look", {"b": 2, "a": 1}, "toolu_z"), thinking=True)
    sent = client.sends(messages=came)
    assert sent["messages"][1]["content"][0] == came[1]["content"][0]
    assert ids(sent) == (["toolu_a"], ["toolu_a"])
    assert ids(client.sends(messages=conversation(use("look", {"a": 1, "b": 2}, "toolu_y")))) == (["toolu_a"], ["toolu_a"])


def test_a_signed_function_call_of_gemini_is_never_touched():
    def body(args: Any, **more: Any) -> dict[str, Any]:
        part = {"functionCall": {"id": "c1", "name": "look", "args": args}, **more}
        return {
            "model": None,
            "max_tokens": None,
            "messages": None,
            "contents": [{"role": "user", "parts": [{"text": "go"}]}, {"role": "model", "parts": [part]}],
        }

    client = Client("gemini-generate")
    client.sends(**body({"a": 1, "b": 2}))
    signed = client.sends(**body({"b": 2, "a": 1}, thoughtSignature="c2ln"))
    assert spelled(signed["contents"][1]["parts"][0]["functionCall"]["args"]) == '{"b": 2, "a": 1}'
    plain = client.sends(**body({"b": 2, "a": 1}))
    assert spelled(plain["contents"][1]["parts"][0]["functionCall"]["args"]) == '{"a": 1, "b": 2}'


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', "no json", '{"a":1'])
def test_arguments_that_parsers_disagree_on_equal_the_same_text_only(text: str):
    def body(arguments: str) -> dict[str, Any]:
        calls = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}]
        said = {"role": "assistant", "content": None, "tool_calls": calls}
        return {"messages": [{"role": "user", "content": "go"}, said, {"role": "tool", "tool_call_id": "c1", "content": "42"}]}

    client = Client("openai-chat")
    for first in ('{"a":2}', text):
        client.sends(**body(first))
    for later in (text + " ", text):
        assert client.sends(**body(later))["messages"][1]["tool_calls"][0]["function"]["arguments"] == later


def test_later_tools_stand_behind_the_ones_that_an_app_had():
    client = Client()

    def order(*names: str, words: str = "hi") -> list[str]:
        form = client.form(system="An app.", messages=[{"role": "user", "content": words}], tools=[tool({}, name) for name in names])
        return sorted(names, key=lambda name: (form.order.index(name) if name in form.order else len(form.order), name))

    assert order("m", "k") == ["k", "m"]
    assert order("m", "b", "a", "k") == ["k", "m", "a", "b"]
    assert order("m", "b", "k", words="another conversation") == ["k", "m", "b"]


def test_of_two_orders_of_one_app_the_earlier_one_counts_and_the_other_is_put_behind():
    early, late = OrderSeen("t", "v", b"app", ("b", "a"), 1), OrderSeen("t", "v", b"app", ("a", "c", "b"), 2)
    for heard in ((early, late), (late, early)):
        memory = EditMemory()
        for order in heard:
            memory.hear(order)
        kept = memory.orders.find("t", "v", b"app")
        assert kept is not None
        assert (kept.names, kept.seen_ns) == (("b", "a", "c"), 1)
        assert not memory.hear(late)


@pytest.mark.parametrize(
    ("text", "other", "least", "first"),
    [
        ("one\ntwo 2\nend", "one\ntwo 1\nend", 0, "one\n"),
        ("one\ntwo 2\nend", "one\ntwo 1\nend", 4, "one\n"),
        ("one\ntwo 2\nend", "one\ntwo 1\nend", 5, ""),
        ("It is here. It is 2 now.", "It is here. It is 1 now.", 0, "It is here. "),
        ("one\ntwo", "one\ntwo\nthree", 0, "one\n"),
        ("one\n", "one\ntwo", 0, ""),
        ("same\nsame", "same\nsame", 0, ""),
        ("nothing alike", "other words", 0, ""),
    ],
)
def test_where_a_system_text_is_cut(text: str, other: str, least: int, first: str):
    assert text[: cut(text, [SplitSeen("t", b"p", b"d", other, 0, 1)], least)] == first


def test_an_earlier_cut_is_taken_again_where_it_is_nearly_as_good():
    head = "a line of the head\n" * 50
    earlier = [SplitSeen("t", b"p", b"d", head + "today\nnine", len(head), 1)]
    assert cut(head + "today\nten", earlier, 0) == len(head)
    assert cut(head + "x\n" * 500, [SplitSeen("t", b"p", b"d", head + "x\n" * 499 + "y", 19, 1)], 0) == len(head) + 998


def test_a_full_memory_forgets_the_oldest_of_whoever_fills_it():
    kept: Remembered[int, bytes] = Remembered(len, room=10, process_room=25)
    for number in range(5):
        kept.put("loud", number, b"12345")
    assert [kept.get("loud", number) is not None for number in range(5)] == [False, False, False, True, True]
    for tenant in ("a", "b", "c"):
        kept.put(tenant, 1, b"1234567890")
    assert kept.get("loud", 4) is None
    assert [kept.get(tenant, 1) is not None for tenant in ("a", "b", "c")] == [False, True, True]
    kept.put("c", 2, b"too long for its room")
    assert kept.get("c", 2) is None
