"""Messages requests as hypothesis makes them: known blocks and unknown ones, marks, fields that nobody here has heard of."""

from chat_requests import json_values, names, schemas, texts, unknown
from hypothesis import strategies as st

MARK, HOUR = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}

some_text = st.builds(lambda text, more: {"type": "text", "text": text, **more}, texts, unknown)
images = st.builds(lambda: {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}})  # marks are put on them
documents = st.builds(lambda text: {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}, "title": "t"}, texts)
results = st.builds(
    lambda content, failed: {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, **({"is_error": True} if failed else {})},
    texts | st.lists(some_text | images, max_size=2),
    st.booleans(),
)
uses = st.builds(lambda name, given: {"type": "tool_use", "id": "toolu_1", "name": name, "input": given}, names, st.dictionaries(names, json_values))
thinking = st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "c2ln"}, texts)
redacted = st.builds(lambda: {"type": "redacted_thinking", "data": "eA=="})
strange = st.builds(lambda more: {"type": "not_known_yet", **more}, st.dictionaries(names.map(lambda name: "u_" + name), json_values, max_size=3))

users = st.builds(
    lambda content: {"role": "user", "content": content}, texts | st.lists(some_text | images | documents | results | strange, min_size=1, max_size=4)
)
assistants = st.builds(
    lambda content: {"role": "assistant", "content": content},
    texts | st.lists(some_text | uses | thinking | redacted | strange, min_size=1, max_size=4),
)
late_systems = st.builds(lambda content: {"role": "system", "content": content}, texts | st.lists(some_text, min_size=1, max_size=2))
systems = st.none() | texts | st.lists(some_text, max_size=3)
tools = st.builds(lambda name, schema, more: {"name": name, "input_schema": schema, **more}, names, schemas, unknown) | st.builds(
    lambda name: {"type": "bash_20250124", "name": name}, names
)


@st.composite
def requests(draw, model: str = "claude-opus-4-8"):
    """A request without marks. Filler makes some of them long enough for ours."""
    messages = [draw(users)]
    for _ in range(draw(st.integers(0, 3))):
        messages += [draw(assistants), draw(users), *([draw(late_systems)] if draw(st.integers(0, 4)) == 0 else [])]
    request = {"model": model, "max_tokens": 64, "messages": messages}
    if (system := draw(systems)) is not None:
        request["system"] = system
    if draw(st.booleans()):
        request["tools"] = draw(st.lists(tools, max_size=4))
    if draw(st.booleans()):
        lengthen(request, draw(st.sampled_from(["system", "messages"])))
    more = {"temperature": st.sampled_from([0, 0.5, 1.0]), "stream": st.booleans(), "metadata": st.just({"user_id": "u"}), "u_new": json_values}
    return {**request, **draw(st.fixed_dictionaries({}, optional=more))}


def lengthen(request, where):
    """Put a long text where marks are worth their price."""
    filler = {"type": "text", "text": "word " * 2_000}
    if where == "system":
        system = request.get("system", [])
        request["system"] = filler["text"] + system if isinstance(system, str) else [filler, *system]
    else:
        first = request["messages"][0]
        first["content"] = filler["text"] + first["content"] if isinstance(first["content"], str) else [filler, *first["content"]]


@st.composite
def marked_requests(draw, most: int = 4):
    """A request with some of the client's own marks, long lifetimes first, and perhaps the automatic one."""
    request = draw(requests())
    places = marking_places(request)
    chosen = sorted(draw(st.sets(st.integers(0, len(places) - 1), max_size=most))) if places else []
    longs = draw(st.integers(0, len(chosen)))
    for number, place in enumerate(chosen):
        places[place]["cache_control"] = HOUR if number < longs else MARK
    if draw(st.booleans()):
        request["cache_control"] = HOUR if longs == len(chosen) and draw(st.booleans()) else MARK
    return request


def marking_places(request):
    """Every object that may carry a mark, in the order in which the vendor renders them; what is inside a result before the result."""
    system = request.get("system")
    places = [*request.get("tools", []), *([block for block in system if block["text"]] if isinstance(system, list) else [])]
    for message in request["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else []:
            if block["type"] == "tool_result" and isinstance(block["content"], list):
                places += [inner for inner in block["content"] if inner.get("text") != ""]
            if block["type"] in ("text", "image", "document", "tool_use", "tool_result") and block.get("text") != "":
                places.append(block)
    return places
