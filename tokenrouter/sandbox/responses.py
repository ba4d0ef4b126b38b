"""OpenAI Responses: answers and what is kept of them, over the same prompt caches as Chat.

Sources: https://developers.openai.com/api/reference/resources/responses, https://developers.openai.com/api/docs/guides/conversation-state
and the published `openai` SDK 3.52.0.
"""

from collections.abc import Callable
from urllib.parse import parse_qs

import msgspec

from tokenrouter.sandbox.answers import Answer, Ask, Scripted, respond
from tokenrouter.sandbox.chat_request import invalid
from tokenrouter.sandbox.openai_cache import Parameters, Prompt, PromptCaches, Question
from tokenrouter.sandbox.openai_models import Model, find
from tokenrouter.sandbox.openai_shapes import whole
from tokenrouter.sandbox.responses_pairs import check_pairs, check_thoughts, check_unique
from tokenrouter.sandbox.responses_prompt import Conversation, item_text, render
from tokenrouter.sandbox.responses_reasoning import Sealed, Sealer, Where
from tokenrouter.sandbox.responses_reply import Draft, Envelope, document, output_items, reasoning_context, usage_of
from tokenrouter.sandbox.responses_request import ResponsesRequest, check_model, read_responses
from tokenrouter.sandbox.responses_store import Kept, Store
from tokenrouter.sandbox.responses_stream import failure, stream
from tokenrouter.sandbox.tiers import served
from tokenrouter.sandbox.wire import JSON_HEADERS, SSE_HEADERS, Call, Frame, JsonObject, Prepared, Refusal, encode, parse_object

PATH = "/v1/responses"
_ID_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}


class _Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A request with all that it rests on."""

    call: Call
    request: ResponsesRequest
    name: str
    model: Model
    items: tuple[JsonObject, ...]
    conversation: Conversation
    prompt: Prompt


class Responses:
    """Everything under /v1/responses."""

    def __init__(self, seed: int, caches: PromptCaches, script: Callable[[], Scripted | None]) -> None:
        self._caches = caches
        self._script = script
        self._sealer = Sealer(seed)
        self._store = Store()

    def clear(self) -> None:
        """Forget every stored answer."""
        self._store.clear()

    def prepare(self, call: Call) -> Prepared:
        """Answer one request to the resource."""
        name, _, action = call.path.removeprefix(PATH).strip("/").partition("/")
        match call.method, bool(name), action:
            case "POST", False, "":
                return self._create(call)
            case "GET", True, "":
                return _plain(_shown(self._store.get(call.account, name).document, call.query))
            case "DELETE", True, "":
                self._store.drop(call.account, name)
                return _plain({"id": name, "object": "response", "deleted": True})
            case "GET", True, "input_items":
                return _plain(_page(self._store.get(call.account, name), call.query))
            case "POST", True, "cancel":
                self._store.get(call.account, name)
                raise invalid("Cannot cancel a synchronous response.")
        raise Refusal(404, f"Invalid URL ({call.method} {call.path})")

    def _create(self, call: Call) -> Prepared:
        request = read_responses(parse_object(call.body))
        found = find(request.model)
        if found is None:
            raise invalid(f"The requested model '{request.model}' does not exist.", "model", "model_not_found")
        name, model = found
        check_model(request, model)
        items = self._items(call.account, request)
        conversation = self._fit(call, request, name, model, items)
        prompt = self._caches.read(_question(call, request, name, model, conversation))
        turn = _Turn(call=call, request=request, name=name, model=model, items=items, conversation=conversation, prompt=prompt)
        return self._answer(turn)

    def _items(self, account: str, request: ResponsesRequest) -> tuple[JsonObject, ...]:
        """The whole conversation: what is stored of it, then what was sent."""
        history: tuple[JsonObject, ...] = ()
        if request.previous is not None:
            kept = self._store.find(account, request.previous)
            if kept is None:
                raise invalid(f"Previous response with id '{request.previous}' not found.", "previous_response_id", "previous_response_not_found")
            history = (*kept.input, *kept.output)
        items = (*history, *(self._resolved(account, item) for item in request.items))
        if not items:
            raise invalid("Invalid 'input': empty array. Expected an array with minimum length 1.", "input", "empty_array")
        check_unique(items)
        check_pairs(items)
        check_thoughts(items, self._store.thought_of(account))
        if request.format["type"] == "json_object" and not any("json" in item_text(item).lower() for item in items):
            raise invalid(
                "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.",
                "input",
            )
        return items

    def _resolved(self, account: str, item: JsonObject) -> JsonObject:
        """The item itself: references, and thoughts without their content, stand for what is stored."""
        if item["type"] == "item_reference" or (item["type"] == "reasoning" and item.get("encrypted_content") is None):
            return self._store.item(account, str(item["id"]))
        return item

    def _fit(self, call: Call, request: ResponsesRequest, name: str, model: Model, items: tuple[JsonObject, ...]) -> Conversation:
        """Render what the context has room for; with `truncation: auto` the oldest items go first."""
        while True:
            where = Where(account=call.account, model=name, bound=model.breakpoints, turn_start=_turn_start(request, model, items))
            conversation = render(request, items, self._sealer, where)
            if sum(piece.tokens for piece in conversation.rendered.pieces) <= model.context:
                return conversation
            if request.fields.get("truncation") != "auto" or len(items) < 2:
                raise invalid(
                    "Your input exceeds the context window of this model. Please adjust your input and try again.",
                    "input",
                    "context_length_exceeded",
                )
            items = items[max(1, len(items) // 16) :]

    def _answer(self, turn: _Turn) -> Prepared:
        request, call = turn.request, turn.call
        prewarms = request.caching.get("prewarm") is True
        answer = Answer() if prewarms else respond(_ask(turn), self._script())
        output = () if prewarms else output_items(self._draft(turn, answer))
        charge = msgspec.structs.replace(turn.prompt.tokens, output=0 if prewarms else answer.output_tokens)
        envelope = Envelope(
            response_id=f"resp_{call.number:032x}",
            created=call.started_ns // 1_000_000_000,
            request=request,
            model=turn.model,
            removed=turn.conversation.removed,
            tier=served(turn.name, request.fields.get("service_tier")),
            diagnostics=self._diagnostics(turn),
        )
        status = "incomplete" if answer.finish == "length" else "completed"
        last = document(envelope, status, output, None if call.omit_usage else usage_of(charge, answer, turn.model))
        first = document(envelope, "in_progress")

        def on_start() -> None:
            turn.prompt.store()
            if request.store:
                self._store.put(call.account, Kept(document=last, input=turn.items, output=output))

        options = request.fields.get("stream_options")
        pads = not (isinstance(options, dict) and options.get("include_obfuscation") is False)
        frames = stream(first, last, answer.reasoning_tokens, pads=pads) if request.stream else (Frame(encode(last), charge.output),)
        return Prepared(
            frames=frames,
            streams=request.stream,
            model=turn.name,
            charge=charge,
            tier=envelope.tier,
            headers=SSE_HEADERS if request.stream else JSON_HEADERS,
            on_start=on_start,
            broken=failure(document(envelope, "failed"), len(frames)),
        )

    def _draft(self, turn: _Turn, answer: Answer) -> Draft:
        def seal(item: str, text: str, follower: str, called: str) -> str:
            prefix = turn.conversation.prefix
            account, model = turn.call.account, turn.name
            return self._sealer.seal(Sealed(item=item, account=account, model=model, prefix=prefix, follower=follower, called=called, text=text))

        tools = turn.request.choice.tools
        return Draft(
            answer=answer,
            seed=turn.prompt.seed,
            custom=frozenset(tool.name for tool in tools if tool.schema is None),
            summary=turn.request.summary,
            phases=turn.model.breakpoints,
            seal=seal,
        )

    def _diagnostics(self, turn: _Turn) -> JsonObject | None:
        """What can be said about a hit without knowing why it was missed."""
        compared = turn.request.caching.get("comparison_response_id")
        if not isinstance(compared, str):
            return None
        if self._store.find(turn.call.account, compared) is None:
            return {"type": "comparison_response_not_found"}
        return {"type": "cache_hit" if turn.prompt.tokens.cache_read else "unavailable"}


def _turn_start(request: ResponsesRequest, model: Model, items: tuple[JsonObject, ...]) -> int:
    if reasoning_context(request, model) == "all_turns":
        return 0
    return max((index for index, item in enumerate(items) if item.get("role") == "user"), default=0)


def _question(call: Call, request: ResponsesRequest, name: str, model: Model, conversation: Conversation) -> Question:
    key = request.fields.get("prompt_cache_key")
    return Question(
        account=call.account,
        name=name,
        model=model,
        rendered=conversation.rendered,
        parameters=Parameters(
            wire="responses",
            parallel=request.fields.get("parallel_tool_calls") is not False,
            effort=str(request.reasoning.get("effort") or "medium"),
            verbosity=str(request.text.get("verbosity") or "medium"),
            tier=request.word("service_tier", "auto"),
            key=request.word("prompt_cache_key", ""),
        ),
        key=key if isinstance(key, str) else None,
        ttl=str(request.caching.get("ttl") or "30m"),
        automatic=request.caching.get("mode") != "explicit",
        short=request.fields.get("prompt_cache_retention") == "in_memory",
        now_ns=call.started_ns,
    )


def _ask(turn: _Turn) -> Ask:
    request = turn.request
    asked = [item for item in turn.items if item.get("role") == "user"]
    form = request.format
    return Ask(
        seed=turn.prompt.seed,
        last_user=item_text(asked[-1]) if asked else "",
        after_tools=str(turn.items[-1]["type"]).endswith("_output"),
        tools=request.choice.tools,
        choice=request.choice.word,
        parallel=request.fields.get("parallel_tool_calls") is not False,
        schema=form.get("schema"),
        json_mode=form["type"] == "json_object",
        limit=request.limit,
        thinks=turn.model.reasons and request.reasoning.get("effort") != "none",
        refuses=True,
    )


def _plain(value: JsonObject) -> Prepared:
    return Prepared(frames=(Frame(encode(value)),))


def _shown(kept: JsonObject, query: str) -> JsonObject:
    """A stored response as it is read again: encrypted content only on request."""
    asked = parse_qs(query)
    if asked.get("stream") == ["true"]:
        raise invalid("Streaming is only supported for responses that were created in the background.", "stream")
    if "reasoning.encrypted_content" in asked.get("include[]", asked.get("include", [])):
        return kept
    output = kept["output"]
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    return {**kept, "output": [{name: value for name, value in item.items() if name != "encrypted_content"} for item in items]}


def _page(kept: Kept, query: str) -> JsonObject:
    """The items that led to an answer, newest first unless asked otherwise."""
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    limit = int(asked["limit"]) if asked.get("limit", "").isdecimal() else 20
    whole(1, 100)(limit, "limit")
    items = [_named(item, f"{kept.document['id']}_{index}") for index, item in enumerate(kept.input)]
    if asked.get("order", "desc") == "desc":
        items.reverse()
    names = [item["id"] for item in items]
    start = names.index(asked["after"]) + 1 if asked.get("after") in names else 0
    page = items[start : start + limit]
    return {
        "object": "list",
        "data": list(page),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(items),
    }


def _named(item: JsonObject, tail: str) -> JsonObject:
    """An input item as it is listed: with an id, and text as a part."""
    listed = item if "id" in item else {"id": f"{_ID_PREFIXES.get(str(item['type']), 'item')}_{tail.removeprefix('resp_')}", **item}
    if item["type"] == "message" and isinstance(item.get("content"), str):
        kind = "output_text" if item["role"] == "assistant" else "input_text"
        return {**listed, "content": [{"type": kind, "text": item["content"]}]}
    return listed
