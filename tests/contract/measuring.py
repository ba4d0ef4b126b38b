"""Measures one cell of the matrix: a feature, said in a dialect, sent through the whole gateway to a vendor, and looked for there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

from evidence import FOUND, OTHERWISE, Sent
from features import (
    ARGUMENTS,
    LONG,
    OTHER_ARGUMENTS,
    OTHER_RESULT,
    OTHER_TOOL,
    REFUSAL,
    RESULT,
    SAID,
    SYSTEM,
    THINKING,
    TOOL,
    Feature,
)
from listening import listen
from rig import Response, Rig, call
from speaking import PADDING, Client, Json, Say, Seen
from vendors import Vendor

from tokenrouter.sandbox.answers import Scripted, ToolCall

NO_MEMORY = {"x-cache": "off", "x-dedup": "off"}


@dataclass(frozen=True)
class Outcome:
    """carried, approximated, dropped, refused, or "–" where the dialect has no word for it. `note`: what was approximated, or who refused."""

    word: str
    note: str = ""


class Lost(AssertionError):
    """A feature that neither arrived nor was refused or reported; or an answer that is not what the vendor said."""


def short(raw: bytes) -> str:
    """A body to be looked at."""
    return raw.decode(errors="replace").replace(PADDING.strip(), "(padding)")[:1500]


async def measure(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    """One cell. Raises Lost."""
    if feature.kind == "answer":
        return await ANSWERS[feature.id](rig, client, vendor, feature)
    said = client.says.get(feature.id)
    if said is None:
        return Outcome("–")
    stream = bool(crc32(f"{client.name} {vendor.name} {feature.id}".encode()) & 1)
    return await asked(rig, client, vendor, feature, said, stream=stream)


async def post(rig: Rig, client: Client, model: str, fields: Mapping[str, Json], *, stream: bool, headers: Mapping[str, str] = {}) -> Response:
    """Send a request as the dialect does."""
    sent = {"authorization": f"Bearer {rig.key}", **NO_MEMORY, **headers}
    return await call(rig.app, "POST", client.path(model, stream), client.request(model, fields, stream=stream), sent)


async def asked(rig: Rig, client: Client, vendor: Vendor, feature: Feature, said: Say, *, stream: bool) -> Outcome:
    """Send it and look at what the vendor got."""
    before = rig.sandbox.requests.seen
    answer = await post(rig, client, vendor.model(feature.role), said.fields, stream=stream, headers=said.headers)
    arrived = rig.sandbox.requests.seen > before
    if answer.status != 200:
        by_vendor = arrived and Sent(rig.sandbox.requests.items[-1]).wire == client.name
        if arrived and not by_vendor:
            raise Lost(f"the vendor refused what was translated: {answer.body[:400]!r}; sent: {short(rig.sandbox.requests.items[-1].body)}")
        return refused(client, said, answer, by_vendor=by_vendor)
    sent = Sent(rig.sandbox.requests.items[-1])
    whole(client, answer, stream=stream)
    outcome = found(sent, feature.id)
    if outcome is not None:
        return outcome
    dropped = answer.headers.get("x-tokenrouter-dropped", "")
    if any(named(name, dropped) for name in said.names):
        return Outcome("dropped")
    raise Lost(f"lost in silence; dropped={dropped or 'nothing'}; sent on {sent.wire}: {short(sent.raw)}")


def found(sent: Sent, feature: str) -> Outcome | None:
    """Evidence for a feature in what the vendor received."""
    check = FOUND[sent.wire].get(feature)
    if check is not None and check(sent):
        return Outcome("carried")
    for other, note in OTHERWISE[sent.wire].get(feature, ()):
        if other(sent):
            return Outcome("approximated", note)
    return None


def named(name: str, listed: str) -> bool:
    """Whether a field is among those that were dropped: itself, a part of it, or at the end of a path."""
    return any(one == name or one.startswith((f"{name}.", f"{name}[")) or one.endswith(f".{name}") or f".{name}." in one for one in listed.split(","))


def refused(client: Client, said: Say, answer: Response, *, by_vendor: bool) -> Outcome:
    """Check that an error says what it is about, in the dialect's own shape."""
    if not 400 <= answer.status < 500 or answer.status in (401, 403, 404, 408, 429):
        raise Lost(f"status {answer.status}: {answer.body[:500]!r}")
    message, param = client.error(answer.body)
    if by_vendor:
        if answer.headers.get("x-tokenrouter-edits") is None or not answer.headers.get("x-tokenrouter-provider"):
            raise Lost(f"a vendor's refusal without the gateway's headers: {answer.body[:500]!r}")
        return Outcome("refused", f"by the provider: {message}")
    if not any(name in f"{param} {message}" for name in said.names):
        raise Lost(f"refused without a word about {' or '.join(said.names)}: {message!r} (param {param!r})")
    return Outcome("refused")


def whole(client: Client, answer: Response, *, stream: bool) -> Seen:
    """Read an answer that must be one, to its end."""
    if answer.status != 200:
        raise Lost(f"status {answer.status}: {answer.body[:500]!r}")
    kind = answer.headers["content-type"]
    if stream != kind.startswith(client.content_type) and client.content_type != "application/json":
        raise Lost(f"content type {kind}")
    seen = client.stream(answer.body) if stream else client.whole(answer.body)
    if seen.failed is not None or not seen.closed or seen.end is None:
        raise Lost(f"no clean end: {seen}")
    return seen


async def scripted(rig: Rig, client: Client, vendor: Vendor, feature: Feature, script: Scripted, fields: Mapping[str, Json]) -> list[Seen]:
    """A scripted answer, whole and as a stream."""
    seen = []
    for stream in (False, True):
        rig.sandbox.script(script)
        answer = await post(rig, client, vendor.model(feature.role), fields, stream=stream)
        seen.append(whole(client, answer, stream=stream))
        billed(rig, seen[-1])
    return seen


def billed(rig: Rig, seen: Seen) -> None:
    """The tokens that the client was told are those that the vendor bills."""
    line = rig.sandbox.bill.lines[-1].tokens
    if (seen.prompt, seen.output) != (line.prompt, line.output):
        raise Lost(f"usage {seen.prompt} + {seen.output}, billed {line}")
    written = line.cache_write_5m + line.cache_write_30m + line.cache_write_1h
    if seen.cached not in (None, line.cache_read) or seen.written not in (None, written):
        raise Lost(f"cached tokens {seen.cached}, written {seen.written}, billed {line}")


async def reasoning(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    ear = listen(rig)
    seen = await scripted(rig, client, vendor, feature, Scripted(thinking=THINKING, text=SAID), client.asks(True))
    wire = Sent(rig.sandbox.requests.items[-1]).wire
    if THINKING.split()[0].encode() not in ear.body and wire == "openai-chat":
        return Outcome("–", "the provider does not show it on this wire")
    if any(one.text != SAID for one in seen):
        raise Lost(f"text {seen}")
    shown = [THINKING in one.reasoning for one in seen]
    if all(shown):
        return Outcome("carried")
    raise Lost(f"reasoning shown (whole, stream): {shown}; asked: {rig.sandbox.requests.items[-1].body[-400:]!r}")


async def end_length(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    return ends(await scripted(rig, client, vendor, feature, Scripted(text=SAID, cut=True), {}), "length")


async def end_call(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    script = Scripted(text=SAID, calls=(ToolCall(TOOL, ARGUMENTS.decode()),))
    return ends(await scripted(rig, client, vendor, feature, script, client.asks(False)), "tool_calls")


def ends(seen: list[Seen], end: str) -> Outcome:
    if any(one.end != end or one.text != SAID for one in seen):
        raise Lost(f"{[(one.end, one.text) for one in seen]}, not {end!r}")
    return Outcome("carried")


async def two_calls(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    script = Scripted(calls=(ToolCall(TOOL, ARGUMENTS.decode()), ToolCall(OTHER_TOOL, OTHER_ARGUMENTS.decode())))
    for seen in await scripted(rig, client, vendor, feature, script, client.asks(False)):
        if [name for _, name, _ in seen.calls] != [TOOL, OTHER_TOOL] or len({call_id for call_id, _, _ in seen.calls}) != 2:
            raise Lost(f"calls {seen.calls}")
        for (_, _, arguments), made in zip(seen.calls, (ARGUMENTS, OTHER_ARGUMENTS), strict=True):
            if json.loads(arguments) != json.loads(made):
                raise Lost(f"arguments {arguments!r}, not {made!r}")
    return Outcome("carried")


async def refusal(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    seen = await scripted(rig, client, vendor, feature, Scripted(refusal=REFUSAL), {})
    if all(one.refusal == REFUSAL for one in seen):
        return Outcome("carried")
    if all(one.text == REFUSAL for one in seen):
        return Outcome("carried" if not client.tells_refusal else "approximated", "" if not client.tells_refusal else AS_TEXT)
    raise Lost(f"refusal {[(one.refusal, one.text) for one in seen]}")


AS_TEXT = "the provider declines in its text, and so it comes"


async def usage_cached(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    """The same long prompt again: it is read from the vendor's cache, and the client is told so."""
    if not vendor.caches:
        return Outcome("–", "the provider says nothing of its cache")
    model = vendor.model(feature.role)
    long = json.loads(json.dumps(client.says["system"].fields).replace(SYSTEM, f"{LONG} {client.name}"))
    told = None
    for stream in (False, False, True):
        seen = whole(client, await post(rig, client, model, long, stream=stream), stream=stream)
        billed(rig, seen)
        told = seen.cached
    if not client.tells_cache:
        return Outcome("–")
    if told is None or not rig.sandbox.bill.lines[-1].tokens.cache_read:
        raise Lost(f"cached tokens told: {told}; billed: {rig.sandbox.bill.lines[-1].tokens}")
    return Outcome("carried")


async def signed_loop(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    """The vendor's signature of turn one is in the request of turn two, whatever the client's dialect can carry."""
    model, fields = vendor.model(feature.role), client.asks(True)
    rig.sandbox.script(Scripted(thinking=THINKING, calls=(ToolCall(TOOL, ARGUMENTS.decode()), ToolCall(OTHER_TOOL, OTHER_ARGUMENTS.decode()))))
    ear = listen(rig)
    answer = await post(rig, client, model, fields, stream=False)
    seen = whole(client, answer, stream=False)
    signatures = ear.signatures
    if not signatures:
        return Outcome("–")
    results = {call_id: (name, text) for (call_id, name, _), text in zip(seen.calls, (RESULT, OTHER_RESULT), strict=True)}
    answer = await post(rig, client, model, client.grow(fields, answer.body, results), stream=False)
    whole(client, answer, stream=False)
    sent = Sent(rig.sandbox.requests.items[-1])
    missing = [one for one in signatures if one.encode() not in sent.raw]
    if missing:
        raise Lost(f"the vendor's signature did not come back: {short(sent.raw)}")
    if "thoughts.attach" in answer.headers.get("x-tokenrouter-edits", ""):
        return Outcome("carried", "kept by the gateway and put back")
    return Outcome("carried")


ANSWERS = {
    "reasoning": reasoning,
    "signed_loop": signed_loop,
    "usage_cached": usage_cached,
    "end_length": end_length,
    "end_call": end_call,
    "two_calls": two_calls,
    "refusal": refusal,
}
