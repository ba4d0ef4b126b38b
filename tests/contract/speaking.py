"""What the clients of this suite have in common: saying a feature, and reading an answer by an eye of their own."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

Json = Any
PADDING = "words to make it long enough for a cache " * 200
encode = msgspec.json.encode


@dataclass(frozen=True)
class Say:
    """A feature in a dialect's words: `fields` are laid over the dialect's plain request (objects are merged, all else replaced).

    names    how the dialect calls it: one of these must be named where it is refused or dropped
    headers  sent along
    """

    fields: Mapping[str, Json]
    names: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)


def say(*names: str, **fields: Json) -> Say:
    """A feature by its fields."""
    return Say(fields, names or tuple(fields))


def laid(base: Mapping[str, Json], over: Mapping[str, Json]) -> dict[str, Json]:
    """`base` with `over` laid over it."""
    out = dict(base)
    for name, value in over.items():
        out[name] = laid(out[name], value) if isinstance(value, Mapping) and isinstance(out.get(name), Mapping) else value
    return out


@dataclass
class Seen:
    """An answer as a client of the dialect sees it.

    end      stop, length, tool_calls or content_filter; None where the answer did not come to an end
    closed   the stream has the dialect's own clean end
    failed   the words of an error frame
    prompt, cached, written, output, reasoned: tokens; None where the dialect does not say
    met      the stop string that was met; None where the dialect does not say
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    end: str | None = None
    closed: bool = False
    failed: str | None = None
    prompt: int | None = None
    cached: int | None = None
    written: int | None = None
    output: int | None = None
    reasoned: int | None = None
    met: str | None = None
    choices: int = 1


@dataclass(frozen=True)
class Client:
    """A dialect, spoken by hand.

    path        of a request, given model and whether it streams
    body        a plain request as fields, given model and whether it streams
    says        features in its words; what is not there has no word in the dialect
    asks        the plain request with one tool, for scripted answers; with reasoning asked for where the second argument is true
    grow        the request of the next turn: fields so far, the whole answer's body, results by call id (with the call's name), or a question
    whole, stream   readers
    put_together    the body of a whole answer out of a stream's, as far as a client sends it back
    tells           what the dialect has a place for in its answers: "refusal", "cached", "written", "reasoned", "met"
    calls           it knows tools, and turns
    error       the message of an error body in the dialect's own shape; raises where it is in another
    """

    name: str
    path: Callable[[str, bool], str]
    body: Callable[[str, bool], dict[str, Json]]
    says: Mapping[str, Say]
    asks: Callable[[bool], Mapping[str, Json]]
    grow: Callable[[Mapping[str, Json], bytes, Mapping[str, tuple[str, str]]], Mapping[str, Json]]
    whole: Callable[[bytes], Seen]
    stream: Callable[[bytes], Seen]
    put_together: Callable[[bytes], bytes]
    error: Callable[[bytes], tuple[str, str]]
    tells: frozenset[str]
    content_type: str = "text/event-stream"
    calls: bool = True

    def request(self, model: str, fields: Mapping[str, Json], *, stream: bool) -> bytes:
        """The body."""
        return encode(laid(self.body(model, stream), fields))


def events(raw: bytes) -> Iterator[Json]:
    """Data of server-sent events: JSON, or the text where it is none."""
    for block in raw.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].lstrip(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
        if lines:
            data = b"\n".join(lines)
            yield json.loads(data) if data[:1] in b"{[" and data != b"[DONE]" else data.decode()


def walk(value: Json, key: str) -> Iterator[Json]:
    """Every value that stands under `key`, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from walk(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner, key)


def objects(value: Json) -> Iterator[dict[str, Json]]:
    """Every object, at any depth."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


def at(value: Json, path: str) -> Json:
    """The value at a dotted path; None where there is none."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def words(value: Json) -> str:
    """All text of a content: a string, or parts with text in them."""
    if isinstance(value, str):
        return value
    return "".join(text for text in walk(value, "text") if isinstance(text, str))
