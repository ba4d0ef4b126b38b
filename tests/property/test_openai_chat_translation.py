"""The Chat wire as a translation target: what was sent stays sent, spellings stay, and a Chat request comes back as itself."""

import json

import msgspec
from chat_requests import names, plain_requests, schemas
from hypothesis import given, settings
from hypothesis import strategies as st
from support import DIALECT, as_body

from tokenrouter.adapters.outbound.openai_chat import OpenAIChatWire
from tokenrouter.errors import InvalidRequest
from tokenrouter.model.answer import Reasoning, ToolCall
from tokenrouter.model.cache_plan import NO_PLAN, Breakpoint, CachePlan, PromptCacheLimits
from tokenrouter.model.catalog import Deployment, Endpoint, Model, Secret
from tokenrouter.model.conversation import Audio, Call, Conversation, Document, Image, Refusal, Result, Text, Thought, ToolSpec, Turn, Video

WIRE = OpenAIChatWire()
MARKED = PromptCacheLimits(style="marks", max_marks=4, lifetimes_s=(300, 3600), parts_alike=True)
PLAIN = Model(name="m", vendor="v")
CLAUDE = Model(name="anthropic/claude-x", vendor="openrouter", cache=MARKED)


def host(*quirks, **fields):
    return Deployment(
        name="d", vendor="v", endpoints=(Endpoint("openai-chat", "https://h/v1"),), api_key=Secret("k"), quirks=frozenset(quirks), **fields
    )


OPENAI = (PLAIN, host("openai", "files"))
HOSTS = [
    OPENAI,
    (PLAIN, host()),
    (PLAIN, host("text_only", "strings", "reasoning_content", "max_tokens")),
    (PLAIN, host("short_ids", "no_names", "random_seed", "max_tokens")),
    (PLAIN, host("thought_signatures")),
    (CLAUDE, host("files", "reasoning_details", "top_k", affinity_field="session_id", mark_field="cache_control")),
]
hosts = st.sampled_from(HOSTS)
REASONING_FORMATS = ["", "anthropic-claude-v1", "google-gemini-v1", "openai-responses-v1"]

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
ids = st.sampled_from(["a", "call_0", "toolu_01", "Abc123xyz", ""])
arguments = st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3) | st.none(), max_size=3).map(
    lambda value: json.dumps(value, indent=1)
)
text_blocks = texts.map(Text)
image_blocks = st.builds(Image, data=st.sampled_from(["AAAA", "iVBORw0="]), media_type=st.just("image/png"))
pdf_blocks = st.builds(Document, data=st.just("JVBERi0="), media_type=st.just("application/pdf"), filename=st.none() | st.just("a.pdf"))
note_blocks = st.builds(Document, text=texts, filename=st.none() | st.just("n.txt"))
content_blocks = text_blocks | image_blocks | pdf_blocks | note_blocks
thoughts = st.builds(Reasoning, texts, texts, texts, st.sampled_from(REASONING_FORMATS), ids).map(Thought)


@st.composite
def rounds(draw):
    """A user's turn and all that follows until the model is done: (role, blocks)."""
    spoken = [("user", draw(st.lists(content_blocks, max_size=3)))]
    calls = [Call(ToolCall(call_id, draw(names), draw(arguments))) for call_id in draw(st.lists(ids, max_size=3, unique=True))]
    said = [*draw(st.lists(thoughts, max_size=2)), *draw(st.lists(text_blocks, max_size=2))]
    spoken.append(("assistant", [*said, *calls, *draw(st.lists(text_blocks | st.builds(Refusal, texts), max_size=1))]))
    if calls:
        results = [Result(one.call.id, tuple(draw(st.lists(content_blocks, max_size=2))), failed=draw(st.booleans())) for one in calls]
        if draw(st.booleans()):  # as one turn of Anthropic's, or as turns of their own
            spoken.append(("user", [*results, *draw(st.lists(content_blocks, max_size=2))]))
        else:
            spoken += [("tool", [one]) for one in results]
        spoken.append(("assistant", [draw(text_blocks)]))
    return spoken


def conversation(rows, **fields):
    turns = [Turn(role, tuple(blocks), number) for number, (role, blocks) in enumerate(rows)]
    return Conversation(turns=tuple(turns), **fields)


def ends(rows):
    """Where a request can end: the model is to speak next."""
    return [end for end in range(1, len(rows) + 1) if rows[end - 1][0] != "assistant" and (end == len(rows) or rows[end][0] == "assistant")]


def tried(rows, at, plan=NO_PLAN):
    """What is sent, or how it is refused."""
    try:
        return WIRE.translate(conversation(rows), *at, plan), None
    except InvalidRequest as refusal:
        return None, refusal


def pieces(outgoing):
    """The messages as they are spelled, marks taken out."""
    raw = msgspec.json.decode(outgoing.body, type=dict[str, msgspec.Raw])["messages"]
    plain = bytes(raw).replace(b',"cache_control":{"type":"ephemeral"}', b"")
    return [bytes(message) for message in msgspec.json.decode(plain, type=list[msgspec.Raw])]


@settings(max_examples=300, deadline=None)
@given(st.lists(rounds(), min_size=1, max_size=3), hosts)
def test_a_longer_conversation_keeps_every_byte_that_was_sent_before(spoken, at):
    rows = [("system", [Text("S")]), *[turn for one in spoken for turn in one]]
    sent = []
    for end in ends(rows):
        out, refusal = tried(rows[:end], at, CachePlan((Breakpoint("b_messages", 0), Breakpoint("b_messages", end - 1))))
        if out is None:  # pictures or files that this host takes none of; what was sent before them was sent
            assert refusal.param
            assert refusal.message.startswith(refusal.param)
            return
        now = pieces(out)
        assert now[: len(sent)] == sent
        sent = now


@settings(max_examples=200, deadline=None)
@given(st.lists(rounds(), min_size=1, max_size=3), hosts)
def test_every_tool_message_follows_its_call_and_no_content_is_an_empty_list(spoken, at):
    rows = [turn for one in spoken for turn in one]
    out, _ = tried(rows, at)
    if out is None:
        return
    waiting = []
    for message in json.loads(out.body)["messages"]:
        assert message["content"] != []
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert waiting == []
        waiting = [call["id"] for call in message.get("tool_calls", ())]


@given(arguments, schemas, hosts, st.integers(0, 3))
def test_arguments_and_schemas_are_spelled_on_the_wire_as_the_client_spelled_them(spelling, schema, at, indent):
    raw = msgspec.Raw(json.dumps(schema, indent=indent).encode())
    rows = [("user", [Text("q")]), ("assistant", [Call(ToolCall("a", "f", spelling))]), ("user", [Result("a", (Text("1"),))])]
    out = WIRE.translate(conversation(rows, tools=(ToolSpec("f", parameters=raw),)), *at, NO_PLAN)
    assert b'"parameters":' + bytes(raw) in out.body
    assert json.loads(out.body)["messages"][1]["tool_calls"][0]["function"]["arguments"] == spelling


def told(message):
    """A message as it is understood: one text part is its text, an empty list is nothing, `null` content is none."""
    content = message.get("content")
    if isinstance(content, list) and len(content) == 1 and content[0].get("type") == "text":
        content = content[0]["text"]
    if message["role"] == "assistant" and isinstance(content, list):  # the model speaks in one text
        content = "".join(part["text"] for part in content)
    return {**message, "content": content or None}


@settings(max_examples=200, deadline=None)
@given(plain_requests(), st.booleans())
def test_a_chat_request_that_is_opened_and_rendered_is_the_same_request(request, stream):
    more = {"max_completion_tokens": 9, "temperature": 0.5, "stop": ["x"], "seed": 3, "user": "u", "n": 2}
    request = {**request, **more, **({"stream": True} if stream else {})}
    if request.get("tools"):
        request |= {"tool_choice": "auto", "parallel_tool_calls": False}
    out = WIRE.translate(DIALECT.open(DIALECT.parse(as_body(request)), None), *OPENAI, NO_PLAN)
    wire = json.loads(out.body)
    assert out.dropped == ()
    assert wire.pop("safety_identifier") == request.pop("user")
    assert wire.pop("stream_options", None) == ({"include_usage": True} if stream else None)
    assert [told(message) for message in wire.pop("messages")] == [told(message) for message in request.pop("messages")]
    request.pop("model")
    wire.pop("model")
    assert wire == request


@given(
    st.sampled_from(
        [Video(url="https://x"), Audio(audio_id="a"), Document(file_id="f"), Image(url="gs://x"), PDF := Document(data="A", media_type="x/y")]
    ),
    hosts,
)
def test_every_refusal_names_its_place(block, at):
    rows = [("user", [Text("q")]), ("assistant", [Text("a")]), ("user", [Text("b"), block])]
    out, refusal = tried(rows, at)
    if out is None:
        assert refusal.param.startswith(("messages[2].content[1]", "messages[2].audio"))
        assert refusal.message.startswith(refusal.param)
    else:
        assert block == PDF
        assert "files" in at[1].quirks
