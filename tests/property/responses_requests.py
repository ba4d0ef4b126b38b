"""Responses requests as hypothesis makes them: known items and unknown ones, fields that nobody here has heard of."""

import json

from chat_requests import json_values, names, schemas, texts, words
from chat_requests import unknown as unknown_fields
from hypothesis import strategies as st

unknown = st.just({}) | unknown_fields
input_texts = st.builds(lambda text, more: {"type": "input_text", "text": text, **more}, texts, unknown)
images = st.builds(lambda: {"type": "input_image", "image_url": "data:image/png;base64,AAAA"})
strange_parts = st.builds(lambda more: {"type": "not_known_yet", **more}, unknown)
said = texts | st.lists(input_texts | images | strange_parts, min_size=1, max_size=3)

instructing = st.builds(
    lambda role, content, more: {"role": role, "content": content, **more}, st.sampled_from(["system", "developer"]), said, unknown
)
users = st.builds(
    lambda content, more, typed: {**({"type": "message"} if typed else {}), "role": "user", "content": content, **more}, said, unknown, st.booleans()
)
answers = st.builds(
    lambda content, more: {"type": "message", "role": "assistant", "content": content, **more},
    texts | st.lists(st.builds(lambda text: {"type": "output_text", "text": text, "annotations": []}, texts), max_size=2),
    unknown,
)
thoughts = st.builds(
    lambda sealed, text, more: {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": text}],
        "encrypted_content": sealed,
        **more,
    },
    words,
    texts,
    unknown,
)
arguments = st.dictionaries(names, json_values, max_size=2).map(json.dumps) | texts
calls = st.builds(
    lambda name, given, more: {"type": "function_call", "call_id": "c", "name": name, "arguments": given, **more}, names, arguments, unknown
)
customs = st.builds(lambda name, given: {"type": "custom_tool_call", "call_id": "c", "name": name, "input": given}, names, texts)
outputs = st.builds(
    lambda kind, output, more: {"type": kind, "call_id": "c", "output": output, **more},
    st.sampled_from(["function_call_output", "custom_tool_call_output"]),
    said,
    unknown,
)
strange = st.builds(lambda more: {"type": "not_known_yet", **more}, st.dictionaries(words.map("u_".__add__), json_values, min_size=1, max_size=3))
items = texts | users | answers | thoughts | calls | customs | outputs | strange

tools = (
    st.builds(lambda name, schema, more: {"type": "function", "name": name, "parameters": schema, **more}, names, schemas, unknown)
    | st.builds(lambda name, more: {"type": "custom", "name": name, **more}, names, unknown)
    | st.builds(lambda more: {"type": "web_search", **more}, unknown)
)


@st.composite
def requests(draw, model: str = "gpt-5.6-sol"):
    """A request without marks. Filler makes some of them long enough for ours."""
    request = {"model": model}
    given = [*draw(st.lists(instructing, max_size=2)), *draw(st.lists(items, min_size=1, max_size=4))]
    request["input"] = draw(texts) if draw(st.integers(0, 5)) == 0 else given
    if draw(st.booleans()):
        request["instructions"] = draw(texts)
    if draw(st.booleans()):
        request["tools"] = draw(st.lists(tools, max_size=3))
    if draw(st.booleans()) and isinstance(request["input"], list):
        request["input"].insert(0, {"role": "developer", "content": "word " * 2_000})
    more = {
        "temperature": st.sampled_from([0, 0.5, 1.0]),
        "stream": st.booleans(),
        "store": st.booleans(),
        "metadata": st.just({"a": "b"}),
        "u_new": json_values,
    }
    return {**request, **draw(st.fixed_dictionaries({}, optional=more))}
