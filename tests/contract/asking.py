"""Says a feature in a dialect, sends it through the whole gateway to a vendor, and looks for it there."""

from collections.abc import Mapping
from dataclasses import dataclass

from evidence import FOUND, OTHERWISE
from features import Feature
from rig import Response, Rig, call
from sent import Sent
from speaking import PADDING, Client, Json, Say, Seen
from vendors import Vendor

PASSED_OVER = "as it came; the provider's own reference does not know the field, and nothing comes of it"
ONE_ANSWER = "as it came; the simulated provider gives one answer all the same"
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
    seen = whole(client, answer, stream=stream)
    outcome = found(sent, feature.id)
    if outcome is not None and outcome.word == "carried" and sent.wire == client.name == "openai-chat" and feature.id in vendor.passed_over:
        return Outcome("carried", PASSED_OVER)
    if feature.id == "n" and outcome is not None and seen.choices != 2:
        if sent.wire != client.name:
            raise Lost(f"{seen.choices} answers")
        return Outcome("carried", ONE_ANSWER)
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
