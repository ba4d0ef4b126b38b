"""Gemini behind any wire: the implicit cache, thought signatures, and what a request asks of the model.

The Gemini API, its OpenAI-compatible endpoint and Vertex AI are fronts of this engine.
Sources: https://ai.google.dev/gemini-api/docs/caching, .../docs/thought-signatures, .../docs/thinking, .../docs/pricing.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable

import msgspec

from tokenrouter.sandbox.gemini_request import GenerateRequest, bad, check_signatures, render
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import Chain, Piece, chain, fingerprint
from tokenrouter.sandbox.prompt_cache.automatic import AutomaticCache
from tokenrouter.sandbox.wire import Refusal, encode

STEP = 128
"""Tokens by which an implicit hit grows; not published."""
TTL_NS = 24 * 3600 * 1_000_000_000
CONTEXT = 1_048_576
MOST_OUTPUT = 65_536
MINIMUM = {"gemini-2.5": 2048}
NEWER_MINIMUM = 4096
MODELS = (
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3-pro-preview",
    "gemini-3.1-pro-preview",
    "gemini-3.5-flash",
    "gemini-3.6-flash",
    "gemini-4-argon",
)
LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A request with what the cache said about it. `signs`: calls of this model carry signatures, and want them back."""

    model: str
    tokens: Tokens
    seed: int
    store: Callable[[], None]
    signs: bool
    thinks: bool


class Engine:
    """A front's cache, and the key of its signatures."""

    __slots__ = ("_cache", "_key", "_seed")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._cache = AutomaticCache()
        self._key = hashlib.sha256(f"sandbox signatures {seed}".encode()).digest()

    def clear(self) -> None:
        """Forget the cache."""
        self._cache.clear()

    def count(self, request: GenerateRequest, model: str) -> int:
        """Tokens of a prompt."""
        return chain(encode([model]), self._pieces(request, model)).total

    def read(self, request: GenerateRequest, model: str, *, account: str, started_ns: int) -> Read:
        """Check a request and look it up. Raises `Refusal`."""
        pieces = self._pieces(request, model)
        prompt: Chain = chain(encode([account, model]), pieces, STEP)
        if prompt.total > CONTEXT:
            raise bad(f"The input token count ({prompt.total}) exceeds the maximum number of tokens allowed ({CONTEXT}).")
        hit = self._cache.read(prompt, minimum=MINIMUM.get(model[:10], NEWER_MINIMUM), now_ns=started_ns)

        def store() -> None:
            self._cache.write(prompt, now_ns=started_ns, ttl_ns=TTL_NS, longest_ns=TTL_NS)

        return Read(
            model=model,
            tokens=Tokens(input=prompt.total - hit, cache_read=hit),
            seed=fingerprint(f"{self._seed}\x00{model}".encode(), pieces),
            store=store,
            signs=_signs(model),
            thinks=_thinks(request, model),
        )

    def _pieces(self, request: GenerateRequest, model: str) -> list[Piece]:
        if model not in MODELS:
            raise Refusal(404, f"models/{model} is not found for API version v1beta, or is not supported for generateContent.")
        if _signs(model):
            check_signatures(request, self.is_ours)
        return render(request)

    def sign(self, seed: int) -> str:
        """The signature of an answer."""
        payload = seed.to_bytes(8, "big")
        return base64.b64encode(payload + hmac.new(self._key, payload, "sha256").digest()[:16]).decode()

    def is_ours(self, signature: str) -> bool:
        """Whether a signature came from here. Bytes may come in either alphabet of base64, as in all of Google's JSON."""
        try:
            raw = base64.b64decode(signature.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(raw[8:], hmac.new(self._key, raw[:8], "sha256").digest()[:16])


def _signs(model: str) -> bool:
    return not model.startswith("gemini-2")


def _thinks(request: GenerateRequest, model: str) -> bool:
    """Thinking config, checked: a budget on the older models, a level on the newer ones, never both."""
    budget, level = request.thinking.get("thinkingBudget"), request.thinking.get("thinkingLevel")
    if budget is not None and level is not None:
        raise bad("You can only set only one of thinking budget and thinking level.")
    if level is not None:
        if str(level).upper() not in LEVELS:
            raise bad(f"Invalid value at 'generation_config.thinking_config.thinking_level': \"{level}\"")
        if not _signs(model):
            raise bad("Thinking level is not supported for this model.")
    if budget == 0 and model.endswith("-pro"):
        raise bad("Budget 0 is invalid. This model only works in thinking mode.")
    return budget != 0 and not model.endswith("lite")
