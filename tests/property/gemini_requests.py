"""Requests and streams of Gemini's API as hypothesis makes them, and other spellings of the same: names in snake case, other key orders."""

import base64
import json
import re

from chat_requests import Respelled, json_values, names, schemas, texts, unknown
from hypothesis import strategies as st

signatures = st.binary(min_size=1, max_size=9).map(lambda data: base64.b64encode(data).decode())
payloads = st.dictionaries(names, json_values, max_size=3)
maybe_signed = st.fixed_dictionaries({}, optional={"thoughtSignature": signatures})
blobs = st.builds(lambda data, kind: {"mimeType": kind, "data": data}, signatures, st.sampled_from(["image/png", "application/pdf", "audio/wav"]))


def parts(*kinds):
    return st.builds(lambda kind, more, inner: {**kind, **more, **inner}, st.one_of(*kinds), unknown, maybe_signed)


text_parts = st.builds(lambda text: {"text": text}, texts)
thoughts = st.builds(lambda text: {"text": text, "thought": True}, texts)
pictures = st.builds(lambda blob: {"inlineData": blob}, blobs)
calls = st.builds(
    lambda name, args, more: {"functionCall": {"name": name, "args": args, **more}},
    names,
    payloads,
    st.fixed_dictionaries({}, optional={"id": names}),
)
results = st.builds(
    lambda name, response, more: {"functionResponse": {"name": name, "response": response, **more}},
    names,
    payloads,
    st.fixed_dictionaries({}, optional={"id": names, "parts": st.lists(pictures, max_size=2)}),
)
of_model = st.lists(parts(text_parts, thoughts, calls), min_size=1, max_size=3)
of_user = st.lists(parts(text_parts, pictures, results), min_size=1, max_size=3)


def content(role, said):
    listed = st.builds(lambda given, more: {"role": role, "parts": given, **more}, said, unknown)
    single = st.builds(lambda given: {"role": role, "parts": given[0]}, said)
    return listed | single


contents = content("user", of_user) | content("model", of_model) | st.builds(lambda given: {"parts": given}, of_user)
functions = st.builds(
    lambda name, more: {"name": name, **more},
    names,
    st.fixed_dictionaries({}, optional={"description": texts, "parameters": schemas, "parametersJsonSchema": schemas, "response": schemas}),
)
entries = st.lists(functions, min_size=1, max_size=3).map(lambda given: {"functionDeclarations": given}) | st.just({"codeExecution": {}})
config = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0, 0.0, 1, 1.5]),
        "topP": st.floats(0, 1),
        "topK": st.integers(1, 40),
        "maxOutputTokens": st.integers(1, 4000),
        "candidateCount": st.just(1),
        "stopSequences": st.lists(texts, max_size=2),
        "seed": st.integers(0, 2**30),
        "responseMimeType": st.just("application/json"),
        "responseJsonSchema": schemas,
        "thinkingConfig": st.fixed_dictionaries({}, optional={"thinkingBudget": st.integers(0, 999), "includeThoughts": st.booleans()}),
        "u_config": json_values,
    },
)
system = st.builds(lambda given, more: {"parts": given, **more}, st.lists(parts(text_parts), min_size=1, max_size=2), unknown) | parts(
    text_parts
).map(lambda one: {"parts": one, "role": "user"})
calling = st.fixed_dictionaries({"mode": st.sampled_from(["AUTO", "ANY", "NONE"])}, optional={"allowedFunctionNames": st.lists(names, max_size=2)})
fields = st.fixed_dictionaries(
    {},
    optional={
        "generationConfig": config,
        "systemInstruction": system,
        "tools": st.lists(entries, max_size=2),
        "toolConfig": calling.map(lambda said: {"functionCallingConfig": said}),
        "safetySettings": st.lists(st.just({"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}), max_size=1),
        "labels": st.dictionaries(names, names, max_size=2),
        "u_top": json_values,
    },
)


@st.composite
def requests(draw):
    """A whole request in the spelling of the reference, with members that nobody knows. Nothing in it is refused by the pipeline."""
    return {"contents": draw(st.lists(contents, min_size=1, max_size=4)), **draw(fields)}


_PROTOCOL = {
    *((), ("contents",), ("contents", "parts"), ("systemInstruction",), ("systemInstruction", "parts"), ("tools",)),
    *(("contents", "parts", kind) for kind in ("inlineData", "functionCall", "functionResponse")),
    *((("contents", "parts", "functionResponse", "parts")), ("contents", "parts", "functionResponse", "parts", "inlineData")),
    *(("generationConfig",), ("generationConfig", "thinkingConfig"), ("toolConfig",), ("toolConfig", "functionCallingConfig")),
    *(("content",), ("content", "parts"), ("requests",), ("requests", "content"), ("requests", "content", "parts"), ("generateContentRequest",)),
}
"""Objects whose key order means nothing, and whose names have two spellings."""


class Spelled(Respelled):
    """Writes a request as another client of this API might."""

    def write(self, value: object, path: tuple = ()) -> str:
        if isinstance(value, dict):
            protocol = tuple(step for step in path if step != 0) in _PROTOCOL
            keys = list(value)
            if protocol:
                self.random.shuffle(keys)
            pairs = []
            for key in keys:
                said = self.random.choice([key, snake(key)]) if protocol else key
                pairs.append(f"{self.space()}{self.string(said)}{self.space()}:{self.space()}{self.write(value[key], (*path, key))}{self.space()}")
            return "{" + ",".join(pairs) + (self.space() if not pairs else "") + "}"
        return super().write(value, path)


def snake(name: str) -> str:
    """`inlineData` as clients of the other spelling have it."""
    return re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), name)


# streams

usages = st.builds(
    lambda prompt, cached, said, thought: {
        "promptTokenCount": prompt + cached,
        **({"cachedContentTokenCount": cached} if cached else {}),
        "candidatesTokenCount": said,
        **({"thoughtsTokenCount": thought} if thought else {}),
        "totalTokenCount": prompt + cached + said + thought,
    },
    st.integers(1, 999),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
)
answer_parts = parts(text_parts, thoughts, calls)


@st.composite
def chunk_streams(draw, choices: int = 1):
    """The chunks of one answer: candidates come to their ends in any order, the last chunk has the last of them and the usage."""
    order = draw(st.permutations(range(choices)))
    made = []
    for number in order:
        for _ in range(draw(st.integers(0, 2))):
            made.append(chunk({"content": {"parts": draw(st.lists(answer_parts, max_size=2)), "role": "model"}, "index": number}))
        end = {"content": {"parts": [{"text": draw(texts)}], "role": "model"}, "finishReason": draw(ends), "index": number}
        made.append(chunk(end, **({"usageMetadata": draw(usages)} if draw(st.booleans()) else {})))
    made[-1]["usageMetadata"] = draw(usages)
    return [json.dumps({**one, **draw(unknown)}, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, None, 1]))) for one in made]


ends = st.sampled_from(["STOP", "STOP", "MAX_TOKENS", "SAFETY"])


def chunk(candidate: dict, **more) -> dict:
    return {"candidates": [candidate], **more, "modelVersion": "m", "responseId": "r"}


@st.composite
def framed(draw, chunks: list[str], framing: str):
    """The bytes of a stream, and where each of its chunks is complete."""
    gap = draw(st.sampled_from(["\n\n", "\r\n\r\n"])) if not framing else draw(st.sampled_from([",", "\n,\r\n", " , "]))
    data, complete = b"[" if framing else b"", []
    for place, one in enumerate(chunks):
        if framing:
            data += (gap.encode() if place else b"") + one.encode()
            complete.append(len(data))
        else:
            line = one.replace("\n", "")  # a line end would end the event's line; inside JSON text it is escaped anyway
            data += draw(st.sampled_from([b"", b": still here" + gap.encode()])) + b"data: " + line.encode()
            complete.append(len(data))
            data += gap.encode()
    return data + (b"\n]" if framing else b""), complete
