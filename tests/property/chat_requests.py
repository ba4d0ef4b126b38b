"""Chat requests as hypothesis makes them, and other spellings of the same JSON."""

import json

from hypothesis import strategies as st

alphabet = st.characters(codec="utf-8", exclude_characters="\x00")
texts = st.text(alphabet, max_size=20)
words = st.text(st.sampled_from("abcxyz_09é東😀"), min_size=1, max_size=6)
names = st.text(st.sampled_from("abcdefg_"), min_size=1, max_size=4)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
schemas = st.recursive(
    st.builds(
        lambda kind, more: {"type": kind, **more},
        st.sampled_from(["string", "number"]),
        st.fixed_dictionaries(
            {},
            optional={
                "description": texts,
                "enum": st.lists(texts, min_size=2, max_size=3, unique=True),
                "minimum": st.floats(0, 9) | st.integers(0, 9),
            },
        ),
    ),
    lambda inner: st.builds(
        lambda properties, first: (
            {"type": "object", "properties": properties, "required": sorted(properties)}
            if first
            else {"required": sorted(properties), "properties": properties, "type": "object"}
        ),
        st.dictionaries(names, inner, max_size=3),
        st.booleans(),
    ),
    max_leaves=5,
)
tools = st.builds(
    lambda name, parameters, more, outside: {"type": "function", "function": {"name": name, **more, "parameters": parameters}, **outside},
    names,
    schemas,
    st.fixed_dictionaries({}, optional={"description": texts, "strict": st.booleans()}),
    st.fixed_dictionaries({}, optional={"vendor": json_values}),
)

unknown = st.dictionaries(words.map(lambda word: "u_" + word), json_values, max_size=2)
text_parts = st.builds(lambda text, more: {"type": "text", "text": text, **more}, texts, unknown)
images = st.builds(lambda data: {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}, st.sampled_from(["AAAA", "iVBORw0="]))


def said(parts=text_parts):
    return texts | st.lists(parts, min_size=1, max_size=3)


systems = st.builds(lambda role, content, more: {"role": role, "content": content, **more}, st.sampled_from(["system", "developer"]), said(), unknown)
users = st.builds(lambda content, more: {"role": "user", "content": content, **more}, said(text_parts | images), unknown)
calls = st.builds(
    lambda call_id, name, arguments: {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}},
    words,
    names,
    st.dictionaries(names, json_values, max_size=2).map(json.dumps) | texts,
)
answers = st.builds(lambda content, more: {"role": "assistant", "content": content, **more}, texts, unknown)


@st.composite
def call_turns(draw):
    """An assistant's turn of calls, and its results."""
    made = draw(st.lists(calls, min_size=1, max_size=3, unique_by=lambda call: call["id"]))
    results = [{"role": "tool", "tool_call_id": call["id"], "content": draw(said())} for call in made]
    return [{"role": "assistant", "content": draw(st.none() | texts), "tool_calls": made}, *results]


turns = st.lists(st.one_of(users.map(lambda turn: [turn]), answers.map(lambda turn: [turn]), call_turns()), max_size=4).map(
    lambda pieces: [turn for piece in pieces for turn in piece]
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 0.99),
        "max_tokens": st.integers(1, 4000),
        "seed": st.integers(0, 2**40),
        "stop": texts | st.lists(texts, max_size=2),
        "tool_choice": st.sampled_from(["auto", "none"]),
        "parallel_tool_calls": st.booleans(),
        "response_format": st.builds(lambda schema: {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}, schemas),
        "reasoning_effort": st.sampled_from(["low", "high"]),
        "logit_bias": st.dictionaries(st.sampled_from(["1", "2"]), st.integers(-100, 100)),
        "u_top": json_values,
    },
)


@st.composite
def requests(draw, ends_with_user=True):
    """A whole request. Nothing in it is refused by the pipeline."""
    messages = draw(st.lists(systems, max_size=2)) + draw(turns) + ([draw(users)] if ends_with_user else [])
    made = {"model": "gpt-4.1", "messages": messages or [draw(users)], **draw(fields)}
    if offered := draw(st.lists(tools, max_size=4)):
        made["tools"] = offered
    return made


@st.composite
def plain_requests(draw):
    """Requests that every wire takes: no blank text, no unknown members, arguments that are JSON objects."""
    solid = st.text(st.sampled_from("abc é東😀\n"), max_size=8).map(lambda text: text + "x")

    def content():
        return draw(solid | st.lists(solid.map(lambda text: {"type": "text", "text": text}), min_size=1, max_size=3))

    messages = [{"role": "system", "content": content()} for _ in range(draw(st.integers(0, 2)))] + [{"role": "user", "content": content()}]
    for number in range(draw(st.integers(0, 3))):
        made = [
            {"id": f"c{number}_{i}", "type": "function", "function": {"name": draw(names), "arguments": json.dumps({"a": draw(json_values)})}}
            for i in range(draw(st.integers(0, 3)))
        ]
        if made:
            messages += [{"role": "assistant", "content": draw(st.none() | solid), "tool_calls": made}]
            messages += [{"role": "tool", "tool_call_id": call["id"], "content": content()} for call in made]
        else:
            messages.append({"role": "assistant", "content": content()})
        if not made or draw(st.booleans()):
            messages.append({"role": "user", "content": content()})
    request = {"model": "gpt-4.1", "messages": messages}
    if offered := draw(st.lists(tools.map(lambda tool: {"type": "function", "function": tool["function"]}), max_size=3)):
        request["tools"] = offered
    return request


class Respelled:
    """Writes JSON as another client might: white space, escapes, and, where it means nothing, another key order."""

    def __init__(self, random) -> None:
        self.random = random

    def space(self) -> str:
        return self.random.choice(["", "", "", " ", "\n", "\t", "\r\n  "])

    def string(self, text: str) -> str:
        out = []
        for character in text:
            plain = json.dumps(character, ensure_ascii=False)[1:-1]
            ways = [plain, plain, json.dumps(character)[1:-1]]
            if ord(character) < 0x10000:
                ways.append(f"\\u{ord(character):04{self.random.choice('xX')}}")
            if character == "/":
                ways.append("\\/")
            out.append(self.random.choice(ways))
        return '"' + "".join(out) + '"'

    def write(self, value: object, path: tuple = ()) -> str:
        if isinstance(value, dict):
            keys = list(value)
            if is_protocol(path):
                self.random.shuffle(keys)
            pairs = [
                f"{self.space()}{self.string(key)}{self.space()}:{self.space()}{self.write(value[key], (*path, key))}{self.space()}" for key in keys
            ]
            return "{" + ",".join(pairs) + (self.space() if not pairs else "") + "}"
        if isinstance(value, list):
            return "[" + ",".join(self.space() + self.write(item, (*path, 0)) + self.space() for item in value) + "]"
        return self.string(value) if isinstance(value, str) else json.dumps(value)


def is_protocol(path: tuple) -> bool:
    """Objects whose key order means nothing, as docs/canonical-form.md lists them."""
    match tuple(step for step in path if step != 0):
        case () | ("messages",) | ("messages", "content") | ("messages", "tool_calls") | ("messages", "tool_calls", "function"):
            return True
        case ("messages", "content", "image_url") | ("tools",) | ("tools", "function") | ("response_format",) | ("response_format", "json_schema"):
            return True
        case _:
            return False


def deep_copy(value):
    return json.loads(json.dumps(value))


def leaves(value: object, path: tuple = ()):
    """Paths of all values that are neither objects nor arrays with anything in them."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path


def at(value, path):
    for step in path:
        value = value[step]
    return value


def changed(request, path, new):
    """A copy of the request with another value at `path`."""
    copy = deep_copy(request)
    at(copy, path[:-1])[path[-1]] = new
    return copy
