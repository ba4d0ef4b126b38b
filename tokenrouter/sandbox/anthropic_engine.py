"""Claude behind any wire: reads a Messages request, keeps the cache, signs thinking, and says what the answer is.

Anthropic's own API, Vertex AI and Bedrock are fronts of this engine. Each front has caches of its own, while a signature that one of
them gave is good at all of them (https://platform.claude.com/docs/en/build-with-claude/extended-thinking).
"""

from collections.abc import Callable

import msgspec
import xxhash

from tokenrouter.sandbox.answers import Answer, Ask, Scripted, Tool, respond
from tokenrouter.sandbox.anthropic_citations import citation_of, citing
from tokenrouter.sandbox.anthropic_models import Model
from tokenrouter.sandbox.anthropic_prompt import Rendered, cache_blocks, conversation_before, render
from tokenrouter.sandbox.anthropic_request import MessagesRequest, bad, read_fields
from tokenrouter.sandbox.anthropic_thinking import NO_LINK, Dropped, Signer, check_thinking
from tokenrouter.sandbox.anthropic_tools import server_tools
from tokenrouter.sandbox.anthropic_turns import THINKING, Block, check_marks, read_turns
from tokenrouter.sandbox.prices import Tokens
from tokenrouter.sandbox.prompt import fingerprint
from tokenrouter.sandbox.prompt_cache.marks import Block as CacheBlock
from tokenrouter.sandbox.prompt_cache.marks import MarkCache
from tokenrouter.sandbox.schema_values import required_first
from tokenrouter.sandbox.wire import JsonObject, JsonValue, encode

REDACTED = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_46C9A13E193C177646C7398A98432ECCCE4C1253D5E2D82641AC0E52CC2876CB"
"""In the last user message: thinking comes encrypted. Anthropic's own test string (.../build-with-claude/extended-thinking)."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A Messages request with what its front knows about it. `name`: the model as the price list calls it."""

    fields: JsonObject
    name: str
    model: Model
    version: str
    betas: frozenset[str]
    account: str
    started_ns: int


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A request with everything known about it before the model speaks. `total`: tokens of the whole prompt."""

    question: Question
    request: MessagesRequest
    blocks: list[Block]
    rendered: Rendered
    prefix: bytes
    dropped: list[Dropped]
    cached: tuple[CacheBlock, ...]
    total: int


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, and what it costs.

    inputs     arguments of the calls as objects
    redacted   the thinking is not to be seen, not even by the client
    server     names of tools that run at Anthropic's side
    citation   what the text refers to
    """

    answer: Answer
    inputs: tuple[JsonValue, ...]
    seed: int
    signature: str
    redacted: bool
    server: frozenset[str]
    citation: JsonObject | None
    tokens: Tokens
    store: Callable[[], None]
    """To run when the answer begins: the cache learns then."""

    def call_ids(self, prefix: str, size: int) -> tuple[str, ...]:
        """Ids of the calls, in a front's own form."""
        digests = (xxhash.xxh3_128_hexdigest(f"{self.seed}/{number}".encode()) for number in range(len(self.answer.calls)))
        return tuple(f"{prefix}{digest[:size]}" for digest in digests)


class Engine:
    """A front's caches, and the key of all signatures."""

    __slots__ = ("_cache", "_seed", "_signer")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._cache = MarkCache()
        self._signer = Signer(seed)

    def clear(self) -> None:
        """Forget every cache."""
        self._cache.clear()

    def read(self, question: Question) -> Read:
        """Check a request. Raises `Refusal` with Anthropic's words."""
        model, version = question.model, question.version
        request = read_fields(question.fields, question.name, model, version=version, betas=question.betas)
        blocks = read_turns(request, model, version)
        prefixes = conversation_before(request, blocks)
        dropped = check_thinking(self._signer, blocks, prefixes, model=model, account=question.account, drops=request.thinking.drops)
        if request.schema is not None and any(citing(block.value) for block in blocks):
            raise bad("output_config.format: citations can not be enabled together with an output format")
        rendered = render(request, blocks, model, dropped)
        last = rendered.places[-1].ttl if rendered.places else None
        check_marks(rendered.marks, request.automatic_ttl, last)
        scope = encode([question.account, question.name, sorted(question.betas)])
        cached, total = cache_blocks(rendered, scope, request.automatic_ttl)
        return Read(
            question=question,
            request=request,
            blocks=blocks,
            rendered=rendered,
            prefix=prefixes[-1],
            dropped=dropped,
            cached=cached,
            total=total,
        )

    def answer(self, read: Read, script: Callable[[], Scripted | None]) -> Said:
        """Look the prompt up and speak. `script` is asked only when something will be said."""
        question, request = read.question, read.request
        if read.total > question.model.context:
            raise bad(f"prompt is too long: {read.total} tokens > {question.model.context} maximum")
        outcome = self._cache.look_up(read.cached, minimum=question.model.minimum, now_ns=question.started_ns)
        seed = fingerprint(f"{self._seed}\x00{question.name}".encode(), read.rendered.pieces)
        prewarm = request.max_tokens == 0
        ask = _ask(request, read.blocks, seed)
        answer = Answer(finish="length") if prewarm else respond(ask, script())
        tokens = Tokens(
            input=read.total - outcome.read - outcome.written_5m - outcome.written_1h,
            cache_read=outcome.read,
            cache_write_5m=outcome.written_5m,
            cache_write_1h=outcome.written_1h,
            output=0 if prewarm else answer.output_tokens,
        )

        def store() -> None:
            self._cache.write(outcome, question.started_ns)

        return Said(
            answer=answer,
            inputs=_inputs(answer),
            seed=seed,
            signature=self._sign(answer, read),
            redacted=REDACTED in ask.last_user,
            server=server_tools(request.tools),
            citation=citation_of(read.blocks) if answer.text else None,
            tokens=tokens,
            store=store,
        )

    def _sign(self, answer: Answer, read: Read) -> str:
        if not answer.thinking:
            return ""
        gone = {drop.path for drop in read.dropped}
        before = [block for block in read.blocks if block.kind in THINKING and block.path not in gone]
        link = self._signer.link(str(before[-1].value.get("signature", before[-1].value.get("data")))) if before else NO_LINK
        return self._signer.sign(answer.thinking, prefix=read.prefix, link=link, account=read.question.account)


def _ask(request: MessagesRequest, blocks: list[Block], seed: int) -> Ask:
    turn = max((block.turn for block in blocks if block.role == "user"), default=-1)
    last = [block for block in blocks if block.turn == turn]
    text = "\n".join(str(block.value["text"]) for block in last if block.kind == "text")
    choice = "required" if request.choice == "any" else request.choice
    return Ask(
        seed=seed,
        last_user=text,
        after_tools=any(block.kind == "tool_result" for block in last),
        tools=tuple(Tool(str(tool["name"]), tool["input_schema"]) for tool in request.tools if isinstance(tool.get("input_schema"), dict)),
        choice=choice,
        parallel=request.parallel,
        schema=None if request.schema is None else required_first(request.schema),
        limit=request.max_tokens,
        stops=request.stops,
        thinks=request.thinking.kind != "disabled",
    )


def _inputs(answer: Answer) -> tuple[JsonValue, ...]:
    """Inputs of tool calls are objects on this wire; arguments cut off by the limit become what could be read of them: nothing."""
    inputs: list[JsonValue] = []
    for call in answer.calls:
        try:
            inputs.append(msgspec.json.decode(call.arguments))
        except msgspec.DecodeError:
            inputs.append({})
    return tuple(inputs)
