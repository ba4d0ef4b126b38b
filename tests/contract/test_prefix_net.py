"""Every follow-up request begins with the request before it, whoever speaks and whoever answers; and the vendor's cache says so."""

import json
from itertools import pairwise

import pytest
from asking import post, whole
from clients import conversing
from conversations import ALL as CONVERSATIONS
from conversations import SYSTEM_TEXT, Conversation, with_late_system
from features import RESULT, SYSTEM
from rig import Rig
from sent import Sent
from speaking import Client, Json, laid
from vendors import ALL, Vendor, offered

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAIRS = [pytest.param(client, vendor, id=f"{client.name}-{vendor.name}") for client in conversing() for vendor in ALL]
HISTORIES = ("messages", "contents", "input")
DIRECTIVES = frozenset(("cache_control", "prompt_cache_breakpoint"))
MARKED = frozenset(("anthropic", "vertex-anthropic", "bedrock"))
"""Vendors that cache what they are told to."""
BESIDE = frozenset(("stream", "stream_options", "prompt_cache_key", "prompt_cache_options"))


def bare(value: Json) -> Json:
    """Without cache directives, which are no part of a prompt."""
    if isinstance(value, dict):
        return {name: bare(inner) for name, inner in value.items() if name not in DIRECTIVES}
    if isinstance(value, list):
        return [bare(inner) for inner in value if not (isinstance(inner, dict) and set(inner) == {"cachePoint"})]
    return value


def prompt(sent: Sent) -> tuple[dict[str, str], list[str]]:
    """All that stands before the history, and the history message by message; numbers as they are spelled, keys in their order."""
    fields = bare(json.loads(sent.raw, parse_int=str, parse_float=str))
    history = next(name for name in HISTORIES if name in fields)
    if sent.wire == "anthropic-messages":  # there a string and one text block are the same prompt (prompt-caching guide)
        fields[history] = [
            {**message, "content": [{"type": "text", "text": message["content"]}]} if isinstance(message["content"], str) else message
            for message in fields[history]
        ]
    if room(sent):  # no part of the prompt
        fields["options"] = {name: value for name, value in fields["options"].items() if name != "num_ctx"} or None
    rest = {name: json.dumps(value) for name, value in fields.items() if name != history and name not in BESIDE and value is not None}
    return rest, [json.dumps(message) for message in fields[history]]


def has_marks(sent: Sent) -> bool:
    """Whether the vendor was told to cache something."""
    return any(name in sent.raw for name in (b"cache_control", b"cachePoint", b"prompt_cache_breakpoint"))


def room(sent: Sent) -> int:
    """How much context Ollama is told to make room for; 0 where it is left to the server."""
    return sent.at("options.num_ctx") or 0


def opening(client: Client, vendor: Vendor, conversation: Conversation) -> Json:
    """The first request: a long system text, tools, and what the conversation begins with."""
    system = json.loads(json.dumps(client.says["system"].fields).replace(SYSTEM, SYSTEM_TEXT if vendor.caches else SYSTEM_TEXT[:4000]))
    fields = laid(client.asks(conversation.thinks), system)
    if conversation.opening:
        (history, said) = next(iter(client.says[conversation.opening].fields.items()))
        before = [message for message in fields.get(history, ()) if message.get("role") == "system"]
        fields = {**fields, history: [*before, *said]}
        del fields["tools"]
    return fields


async def played(rig: Rig, client: Client, vendor: Vendor, conversation: Conversation) -> list[tuple[Sent, int, int]]:
    """Play it; what the vendor received each time, the prompt's tokens, and how many of them were read from its cache."""
    model = vendor.model(conversation.role)
    fields, seen = opening(client, vendor, conversation), []
    for turn, script in enumerate(conversation.answers):
        if turn == conversation.late:
            fields = with_late_system(fields, client.says["mid_system"].fields)
        rig.sandbox.script(script)
        answer = await post(rig, client, model, fields, stream=False)
        if answer.status == 400 and (turn == conversation.late or (conversation.opening and not turn)):
            pytest.skip(f"refused: {client.error(answer.body)[0]}")
        said = whole(client, answer, stream=False)
        billed = rig.sandbox.bill.lines[-1].tokens
        seen.append((Sent(rig.sandbox.requests.items[-1]), billed.prompt, billed.cache_read))
        results = {call_id: (name, f"{RESULT} {turn} {number}") for number, (call_id, name, _) in enumerate(said.calls)}
        fields = client.grow(fields, answer.body, results)
    return seen


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda conversation: conversation.name.replace(" ", "-"))
@pytest.mark.parametrize(("client", "vendor"), PAIRS)
async def test_a_conversation_grows_at_its_end_only_and_is_read_from_the_vendors_cache(
    rig: Rig, client: Client, vendor: Vendor, conversation: Conversation
):
    if vendor not in offered(rig.services.catalog):
        pytest.skip(f"{vendor.name} is not simulated")
    if (conversation.late >= 0 and "mid_system" not in client.says) or (conversation.opening and conversation.opening not in client.says):
        pytest.skip("the dialect has no word for it")
    rig.reset()
    turns = await played(rig, client, vendor, conversation)
    for (before, tokens, _), (after, _, read) in pairwise(turns):
        first, second = prompt(before), prompt(after)
        assert room(after) == room(before) or room(after) >= 2 * room(before), "a model is loaded anew, its cache lost, where its room grows"
        assert first[0] == second[0]
        assert second[1][: len(first[1])] == first[1]
        assert len(second[1]) > len(first[1])
        if vendor.caches and (vendor.name not in MARKED or has_marks(before)):  # what has no tools and no history yet may not be worth a mark
            assert read > tokens * 0.8, f"{read} of {tokens}"
