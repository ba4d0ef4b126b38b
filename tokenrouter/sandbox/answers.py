"""What a simulated model says: made up, but always the same for the same prompt.

- text: plain prose; "in 300 words" in the last user message makes it 300 words long
- tools: called when the choice forces it, or when the last user message says "call <name>" or "use <name>" (several names: several
  calls); arguments satisfy the tool's schema; after tool results the answer is text
- schema: a JSON document that satisfies it, keys in schema order
- a test may queue an answer instead: `Scripted`
"""

import random
import re

import msgspec

from tokenrouter.sandbox.prompt import BYTES_PER_TOKEN, text_tokens
from tokenrouter.sandbox.schema_values import synthesise
from tokenrouter.sandbox.wire import JsonValue

NATURAL_WORDS = (18, 60)
MOST_WORDS = 100_000
_SUBJECTS = (
    "The first step",
    "A careful reading",
    "This approach",
    "The main point",
    "One detail",
    "The result",
    "A small change",
    "The short answer",
)
_VERBS = ("depends on", "follows from", "points to", "rests on", "leads back to", "is shaped by", "explains", "confirms")
_OBJECTS = (
    "the order of the parts",
    "what was said before",
    "the cost of each step",
    "a stable beginning",
    "the data at hand",
    "the question itself",
    "a few plain facts",
)
_TAILS = ("", " in most cases", " as expected", ", and little else", " over time", " for now", ", which is worth checking")
_LENGTH = re.compile(r"\b(\d{1,6}) words\b")


class Tool(msgspec.Struct, frozen=True):
    """A tool as the model knows it; `schema` of None: free text."""

    name: str
    schema: JsonValue


class ToolCall(msgspec.Struct, frozen=True):
    """One call. `arguments` is JSON text, or free text for a tool without a schema."""

    name: str
    arguments: str


class Scripted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer that a test wants to see, for the next request to `vendor` ("*": any).

    refusal  the model declines in these words; where a wire has no place for a refusal they are its text
    cut      the answer ends as if the output limit had been reached there
    """

    vendor: str = "*"
    text: str = ""
    thinking: str = ""
    calls: tuple[ToolCall, ...] = ()
    refusal: str = ""
    cut: bool = False


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A question without its wire: what decides the answer."""

    seed: int
    last_user: str = ""
    after_tools: bool = False
    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    """auto, none, required, or the name of a tool."""
    parallel: bool = True
    schema: JsonValue = None
    json_mode: bool = False
    limit: int | None = None
    stops: tuple[str, ...] = ()
    thinks: bool = False
    refuses: bool = False
    """The wire tells a refusal from a text."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model said. `finish`: stop, stop_sequence, length or tool_calls."""

    thinking: str = ""
    text: str = ""
    refusal: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish: str = "stop"
    stop_sequence: str | None = None

    @property
    def reasoning_tokens(self) -> int:
        """Tokens of the thinking alone."""
        return text_tokens(self.thinking)

    @property
    def output_tokens(self) -> int:
        """Everything generated; never 0."""
        said = text_tokens(self.text) + text_tokens(self.refusal)
        return max(1, self.reasoning_tokens + said + sum(call_tokens(call) for call in self.calls))


def call_tokens(call: ToolCall) -> int:
    """Tokens of a call: its name and its arguments."""
    return text_tokens(call.name) + text_tokens(call.arguments)


def respond(ask: Ask, scripted: Scripted | None = None) -> Answer:
    """Answer, then apply stop sequences and the output limit."""
    rng = random.Random(ask.seed)
    refusal = scripted.refusal if scripted is not None else ""
    if scripted is not None:
        thinking, text, calls = scripted.thinking, scripted.text, scripted.calls
        if refusal and not ask.refuses:
            text, refusal = text + refusal, ""
    else:
        thinking = prose(rng, 24) if ask.thinks else ""
        calls = _calls(ask, rng)
        text = "" if calls else _text(ask, rng)
    finish, stop_sequence = ("tool_calls" if calls else "stop"), None
    cuts = [(text.find(stop), stop) for stop in ask.stops if stop in text]
    if cuts:
        place, stop_sequence = min(cuts, key=lambda cut: (cut[0], -len(cut[1])))
        text, finish, calls = text[:place], "stop_sequence", ()
    if scripted is not None and scripted.cut:
        finish = "length"
    answer = Answer(thinking=thinking, text=text, refusal=refusal, calls=calls, finish=finish, stop_sequence=stop_sequence)
    if ask.limit is None or answer.output_tokens <= ask.limit:
        return answer
    return _shorten(answer, ask.limit)


def prose(rng: random.Random, words: int) -> str:
    """About `words` words of harmless text, exactly so many if there are more than a few."""
    sentences: list[str] = []
    count = 0
    while count < words:
        sentence = f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} {rng.choice(_OBJECTS)}{rng.choice(_TAILS)}."
        sentences.append(sentence)
        count += sentence.count(" ") + 1
    return " ".join(" ".join(sentences).split(" ")[:words]).rstrip(".,") + "."


def pieces(text: str) -> list[str]:
    """A text as a stream delivers it: a few words at a time."""
    return re.findall(r"\s*\S+(?:\s+\S+)?|\s+$", text) or ([text] if text else [])


def fragments(text: str, size: int = 24) -> list[str]:
    """Argument text as a stream delivers it: cut without regard to its meaning."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def _text(ask: Ask, rng: random.Random) -> str:
    if ask.schema is not None:
        return _json(synthesise(ask.schema, rng, optional=True))
    wanted = _LENGTH.search(ask.last_user)
    words = min(int(wanted[1]), MOST_WORDS) if wanted else rng.randint(*NATURAL_WORDS)
    if ask.json_mode:
        return _json({"answer": prose(rng, min(words, 12))})
    return prose(rng, max(words, 1))


def _json(value: JsonValue) -> str:
    return msgspec.json.encode(value).decode()


def _calls(ask: Ask, rng: random.Random) -> tuple[ToolCall, ...]:
    if not ask.tools or ask.choice == "none":
        return ()
    named = _named(ask)
    if ask.choice == "required":
        chosen = named or [ask.tools[0]]
    elif ask.choice == "auto":
        chosen = [] if ask.after_tools else named
    else:
        chosen = [tool for tool in ask.tools if tool.name == ask.choice]
    if not ask.parallel:
        chosen = chosen[:1]
    return tuple(
        ToolCall(tool.name, "some free text" if tool.schema is None else _json(synthesise(tool.schema, rng, optional=False))) for tool in chosen
    )


def _named(ask: Ask) -> list[Tool]:
    """Tools that the user asks for by name, in the order of the request."""
    text = ask.last_user.lower()
    found: list[tuple[int, Tool]] = []
    for tool in ask.tools:
        name = re.escape(tool.name.lower())
        hit = re.search(rf"\b(?:call|use|and|,)\s+`?{name}(?![\w-])", text) if re.search(r"\b(?:call|use)\b", text) else None
        if hit:
            found.append((hit.start(), tool))
    return [tool for _, tool in sorted(found, key=lambda pair: pair[0])]


def _shorten(answer: Answer, limit: int) -> Answer:
    thinking = _cut(answer.thinking, limit)
    left = limit - text_tokens(thinking)
    text = _cut(answer.text, left)
    left -= text_tokens(text)
    refusal = _cut(answer.refusal, left)
    left -= text_tokens(refusal)
    calls: list[ToolCall] = []
    for call in answer.calls:
        if left <= text_tokens(call.name):
            break
        shorter = ToolCall(call.name, _cut(call.arguments, left - text_tokens(call.name)))
        left -= call_tokens(shorter)
        calls.append(shorter)
    return Answer(thinking=thinking, text=text, refusal=refusal, calls=tuple(calls), finish="length")


def _cut(text: str, tokens: int) -> str:
    return text.encode()[: max(tokens, 0) * BYTES_PER_TOKEN].decode(errors="ignore")
