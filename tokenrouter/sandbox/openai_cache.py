"""OpenAI's prompt caches behind both of its wires: which rules a model follows, what one prompt reads and writes, what that costs.

Source: https://developers.openai.com/api/docs/guides/prompt-caching.
"""

from collections.abc import Callable

import msgspec
import xxhash

from tokenrouter.sandbox.chat_request import Rendered
from tokenrouter.sandbox.openai_models import Model
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import Chain, Piece, chain, fingerprint
from tokenrouter.sandbox.prompt_cache.automatic import AutomaticCache
from tokenrouter.sandbox.prompt_cache.breakpoints import BreakpointCache, Explicit, Marked
from tokenrouter.sandbox.wire import encode

MACHINES = 16
ROUTING_TOKENS = 256
_DAY_NS = 24 * 3600 * 1_000_000_000
_MINUTE_NS = 60 * 1_000_000_000


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters that separate caches from gpt-5.6 on, with their defaults spelled out. `tool_choice` is not among them."""

    wire: str = ""
    parallel: bool = True
    effort: str = "medium"
    verbosity: str = "medium"
    tier: str = "auto"
    key: str = ""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt put to the caches.

    key        the request's `prompt_cache_key`
    ttl        the lifetime that marks inherit
    automatic  an implicit mark is wanted
    short      the retention is `in_memory`
    """

    account: str
    name: str
    model: Model
    rendered: Rendered
    parameters: Parameters
    key: str | None = None
    ttl: str = "30m"
    automatic: bool = True
    short: bool = False
    now_ns: int


class Prompt(msgspec.Struct, frozen=True):
    """What the cache said about one prompt: token classes without the output, and what to store once the answer starts."""

    tokens: Tokens
    store: Callable[[], None]
    seed: int


class PromptCaches:
    """Both sets of rules; every account and model is kept apart."""

    __slots__ = ("_automatic", "_breakpoints", "_seed")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._automatic = AutomaticCache()
        self._breakpoints = BreakpointCache()

    def clear(self) -> None:
        """Forget everything."""
        self._automatic.clear()
        self._breakpoints.clear()

    def read(self, question: Question) -> Prompt:
        """Look a prompt up by the rules of its model."""
        seed = fingerprint(f"{self._seed}\x00{question.name}".encode(), question.rendered.pieces)
        return self._read_marks(question, seed) if question.model.breakpoints else self._read_steps(question, seed)

    def _read_steps(self, question: Question, seed: int) -> Prompt:
        scope = f"{question.account}\x00{question.name}\x00"
        machine = _machine(scope, question.key, question.rendered.pieces)
        prompt = chain(f"{scope}{machine}".encode(), question.rendered.pieces, question.model.step)
        read = self._automatic.read(prompt, minimum=question.model.minimum, now_ns=question.now_ns)
        ttl_ns, longest_ns = (10 * _MINUTE_NS, 60 * _MINUTE_NS) if question.short else (_DAY_NS, _DAY_NS)

        def store() -> None:
            self._automatic.write(prompt, now_ns=question.now_ns, ttl_ns=ttl_ns, longest_ns=longest_ns)

        return Prompt(Tokens(input=prompt.total - read, cache_read=read), store, seed)

    def _read_marks(self, question: Question, seed: int) -> Prompt:
        rendered = question.rendered
        prompt = chain(encode([question.account, question.name, question.parameters]), rendered.pieces)
        opening = [end.piece for end in rendered.message_ends if end.opening]
        marked = Marked(
            chain=prompt,
            explicit=tuple(Explicit(mark.piece, mark.ttl or question.ttl) for mark in rendered.marks),
            implicit_ttl=question.ttl if question.automatic else None,
            ends=tuple(end.piece for end in rendered.message_ends),
            opening=opening[-1] if opening else None,
        )
        outcome = self._breakpoints.look_up(marked, question.now_ns)
        written = outcome.written_30m + outcome.written_12h
        tokens = Tokens(
            input=prompt.total - outcome.read - written,
            cache_read=outcome.read,
            cache_write_30m=outcome.written_30m,
            cache_write_1h=outcome.written_12h,
        )

        def store() -> None:
            self._breakpoints.write(outcome, question.now_ns)

        return Prompt(tokens, store, seed)


def _machine(scope: str, key: str | None, pieces: list[Piece]) -> int:
    """Which machine serves a request: by its key, or by about the first 256 tokens of the prompt. Each machine has its own cache."""
    if key is not None:
        return xxhash.xxh3_64_intdigest(f"{scope}key\x00{key}".encode()) % MACHINES
    opening: Chain = chain(scope.encode(), pieces, ROUTING_TOKENS)
    first = opening.steps[0] if opening.steps else opening.ends[-1]
    return int.from_bytes(first.digest[:8], "big") % MACHINES
