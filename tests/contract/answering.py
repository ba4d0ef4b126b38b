"""Rows of the matrix that are looked for in the answer: whole and as a stream, against what the vendor said and what it billed."""

import json
import re
from collections.abc import Mapping

from asking import Lost, Outcome, asked, post, short, whole
from features import (
    ARGUMENTS,
    DOCUMENT,
    LONG,
    OTHER_ARGUMENTS,
    OTHER_RESULT,
    OTHER_TOOL,
    REFUSAL,
    RESULT,
    SAID,
    STOP,
    SYSTEM,
    THINKING,
    TOOL,
    Feature,
)
from listening import listen
from rig import Response, Rig
from sent import Sent
from speaking import Client, Json, Seen
from vendors import Vendor

from tokenrouter.sandbox.answers import Scripted, ToolCall

AS_TEXT = "the provider declines in its text, and so it comes"
NO_CACHE = "the provider says nothing of its cache"
NO_WRITES = "the provider bills no writes"
NO_SPLIT = "the provider does not tell reasoning apart"
NOT_TOLD = "that a stop string was met; the provider does not tell which"
UNSIGNED = "the provider signs nothing"
NOTHING_SHOWN = "the dialect has no word for it, and the provider shows it only to those who ask"
KEPT = "kept by the gateway and put back"
_REASONED = re.compile(rb'"(?:reasoning_tokens|thinking_tokens|thoughtsTokenCount)":\s*(\d+)')
COMPACT = json.dumps(json.loads(ARGUMENTS), ensure_ascii=False, separators=(",", ":")).encode()
CALLS = (ToolCall(TOOL, ARGUMENTS.decode()), ToolCall(OTHER_TOOL, OTHER_ARGUMENTS.decode()))


async def scripted(
    rig: Rig, client: Client, vendor: Vendor, feature: Feature, script: Scripted, fields: Mapping[str, Json]
) -> list[tuple[Seen, Response]]:
    """A scripted answer, whole and as a stream."""
    seen = []
    for stream in (False, True):
        rig.sandbox.script(script)
        answer = await post(rig, client, vendor.model(feature.role), fields, stream=stream)
        seen.append((whole(client, answer, stream=stream), answer))
        billed(rig, seen[-1][0])
    return seen


def billed(rig: Rig, seen: Seen) -> None:
    """The tokens that the client was told are those that the vendor bills."""
    line = rig.sandbox.bill.lines[-1].tokens
    if (seen.prompt, seen.output) != (line.prompt, line.output):
        raise Lost(f"usage {seen.prompt} + {seen.output}, billed {line}")
    if seen.cached not in (None, line.cache_read) or seen.written not in (None, written(rig)):
        raise Lost(f"cached tokens {seen.cached}, written {seen.written}, billed {line}")


def written(rig: Rig) -> int:
    line = rig.sandbox.bill.lines[-1].tokens
    return line.cache_write_5m + line.cache_write_30m + line.cache_write_1h


async def reasoning(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    ear = listen(rig)
    seen = await scripted(rig, client, vendor, feature, Scripted(thinking=THINKING, text=SAID), client.asks(True))
    if THINKING.split()[0].encode() not in ear.body and client.name in ("openai-chat", "neutral-chat"):
        return Outcome("–", NOTHING_SHOWN)
    if any(one.text != SAID for one, _ in seen):
        raise Lost(f"text {seen}")
    if any(one.reasoning.rstrip(".") != THINKING for one, _ in seen):
        raise Lost(f"reasoning {[one.reasoning for one, _ in seen]}; asked: {rig.sandbox.requests.items[-1].body[-400:]!r}")
    return Outcome("carried")


async def end_length(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    return ends(await scripted(rig, client, vendor, feature, Scripted(text=SAID, cut=True), {}), "length")


async def end_call(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    if not client.calls:
        return Outcome("–")
    return ends(await scripted(rig, client, vendor, feature, Scripted(text=SAID, calls=CALLS[:1]), client.asks(False)), "tool_calls")


async def end_stop(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    if "stop" not in client.says:
        return Outcome("–")
    seen = await scripted(rig, client, vendor, feature, Scripted(text=f"{SAID}{STOP} and more"), client.says["stop"].fields)
    outcome = ends(seen, "stop")
    if "met" in client.tells and [one.met for one, _ in seen] != [STOP, STOP]:
        if any(one.met for one, _ in seen):
            raise Lost(f"met {[one.met for one, _ in seen]}")
        return Outcome("approximated", NOT_TOLD)
    return outcome


def ends(seen: list[tuple[Seen, Response]], end: str) -> Outcome:
    if any(one.end != end or one.text != SAID for one, _ in seen):
        raise Lost(f"{[(one.end, one.text) for one, _ in seen]}, not {end!r}")
    return Outcome("carried")


async def two_calls(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    if not client.calls:
        return Outcome("–")
    for seen, _ in await scripted(rig, client, vendor, feature, Scripted(calls=CALLS), client.asks(False)):
        if [name for _, name, _ in seen.calls] != [TOOL, OTHER_TOOL] or len({call_id for call_id, _, _ in seen.calls}) != 2:
            raise Lost(f"calls {seen.calls}")
        for (_, _, arguments), made in zip(seen.calls, CALLS, strict=True):
            if json.loads(arguments) != json.loads(made.arguments):
                raise Lost(f"arguments {arguments!r}, not {made.arguments!r}")
    return Outcome("carried")


async def arguments(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    """Their spelling: keys in their order, numbers, escapes, spaces."""
    if not client.calls:
        return Outcome("–")
    for stream in (False, True):
        ear = listen(rig)
        rig.sandbox.script(Scripted(calls=CALLS[:1]))
        answer = await post(rig, client, vendor.model(feature.role), client.asks(False), stream=stream)
        ((_, _, said),) = whole(client, answer, stream=stream).calls
        respelled = any(spelling in ear.body for spelling in (COMPACT, json.dumps(COMPACT.decode(), ensure_ascii=False).encode()[1:-1]))
        spelled = COMPACT if respelled else ARGUMENTS  # some simulated vendors write the model's words anew
        if said.encode() != spelled and spelled not in answer.body:
            raise Lost(f"{said!r} in {short(answer.body)}; the vendor said {short(ear.body)}")
    return Outcome("carried")


async def refusal(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    seen = await scripted(rig, client, vendor, feature, Scripted(refusal=REFUSAL), {})
    if all(one.refusal == REFUSAL for one, _ in seen):
        return Outcome("carried")
    if all(one.text == REFUSAL for one, _ in seen):
        return Outcome("approximated", AS_TEXT) if "refusal" in client.tells else Outcome("carried")
    raise Lost(f"refusal {[(one.refusal, one.text) for one, _ in seen]}")


def long_prompt(client: Client, name: str) -> Json:
    """A prompt that is long enough for every cache, and `name`'s alone."""
    return json.loads(json.dumps(client.says["system"].fields).replace(SYSTEM, f"{name} {LONG}"))


async def usage_cached(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    """The same long prompt again and again: it is worth writing, then read from the vendor's cache, and the client is told so."""
    if not vendor.caches:
        return Outcome("–", NO_CACHE)
    fields = long_prompt(client, f"read {client.name} {vendor.name}")
    for again, stream in ((False, False), (False, False), (False, False), (False, False), (True, False), (True, True)):
        rig.clock.advance(20)
        seen = whole(client, await post(rig, client, vendor.model(feature.role), fields, stream=stream), stream=stream)
        billed(rig, seen)
        read = rig.sandbox.bill.lines[-1].tokens.cache_read
        if again and (not read or ("cached" in client.tells and seen.cached != read)):
            raise Lost(f"cached tokens told: {seen.cached}; billed: {rig.sandbox.bill.lines[-1].tokens}")
    return Outcome("carried" if "cached" in client.tells else "–")


async def usage_written(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    """A long prompt for the first time: it is written to the vendor's cache, and the client is told so."""
    if not vendor.caches:
        return Outcome("–", NO_CACHE)
    for stream in (False, True):
        fields = long_prompt(client, f"written {client.name} {vendor.name} {stream}")
        seen = whole(client, await post(rig, client, vendor.model(feature.role), fields, stream=stream), stream=stream)
        billed(rig, seen)
        if not written(rig):
            return Outcome("–", NO_WRITES)
        if "written" in client.tells and seen.written != written(rig):
            raise Lost(f"written tokens told: {seen.written}; billed: {rig.sandbox.bill.lines[-1].tokens}")
    return Outcome("carried" if "written" in client.tells else "–")


async def usage_reasoning(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    if "reasoned" not in client.tells:
        return Outcome("–")
    for stream in (False, True):
        ear = listen(rig)
        rig.sandbox.script(Scripted(thinking=THINKING, text=SAID))
        seen = whole(client, await post(rig, client, vendor.model(feature.role), client.asks(True), stream=stream), stream=stream)
        told = [int(found) for found in _REASONED.findall(ear.body)]
        if not told or not told[-1]:
            return Outcome("–", NO_SPLIT)
        if seen.reasoned != told[-1]:
            raise Lost(f"reasoning tokens {seen.reasoned}, not {told[-1]}")
    return Outcome("carried")


async def signed_loop(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    """The vendor's signature of turn one is in the request of turn two, whatever the client's dialect can carry."""
    if not client.calls:
        return Outcome("–")
    outcomes = [await _signed(rig, client, vendor, feature, stream=stream) for stream in (False, True)]
    return max(outcomes, key=lambda outcome: outcome.note)


async def _signed(rig: Rig, client: Client, vendor: Vendor, feature: Feature, *, stream: bool) -> Outcome:
    model, fields = vendor.model(feature.role), client.asks(True)
    # A prompt of its own: what was kept of another row, or of the other form, is not what is put back here.
    fields = {**fields, **client.says["system"].fields} if stream else fields
    rig.sandbox.script(Scripted(thinking=THINKING, calls=CALLS))
    ear = listen(rig)
    answer = await post(rig, client, model, fields, stream=stream)
    seen = whole(client, answer, stream=stream)
    if not (signatures := ear.signatures):
        return Outcome("–", UNSIGNED)
    said = client.put_together(answer.body) if stream else answer.body
    results = {call_id: (name, text) for (call_id, name, _), text in zip(seen.calls, (RESULT, OTHER_RESULT), strict=True)}
    answer = await post(rig, client, model, client.grow(fields, said, results), stream=stream)
    whole(client, answer, stream=stream)
    sent = Sent(rig.sandbox.requests.items[-1])
    if any(one.encode() not in sent.raw for one in signatures):
        raise Lost(f"the vendor's signature did not come back (stream: {stream}): {short(sent.raw)}")
    kept = "thoughts.attach" in answer.headers.get("x-tokenrouter-edits", "")
    return Outcome("carried", KEPT if kept else "")


async def citations(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    """Asked for with the document; an answer names what it cites."""
    said = client.says.get(feature.id)
    if said is None:
        return Outcome("–")
    outcome = await asked(rig, client, vendor, feature, said, stream=False)
    for stream in (False, True) if outcome.word == "carried" else ():
        answer = await post(rig, client, vendor.model(feature.role), said.fields, stream=stream)
        whole(client, answer, stream=stream)
        if DOCUMENT.encode() not in answer.body:
            raise Lost(f"nothing is cited: {short(answer.body)}")
    return outcome


ANSWERS = {
    "citations": citations,
    "reasoning": reasoning,
    "signed_loop": signed_loop,
    "usage_cached": usage_cached,
    "usage_written": usage_written,
    "usage_reasoning": usage_reasoning,
    "end_length": end_length,
    "end_call": end_call,
    "end_stop": end_stop,
    "two_calls": two_calls,
    "arguments": arguments,
    "refusal": refusal,
}
