"""What requests of Ollama's own API mean: chats, generations, vectors.

The server is written in Go: an absent member, null, and the empty value of its type say the same. Fields that it does not know are ignored
there; here they count as part of the question, since a newer server may know them.
Source: https://github.com/ollama/ollama `api/types.go` (ChatRequest, GenerateRequest, EmbedRequest); ollama-python 0.6 `_types.py`.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tokenrouter.errors import InvalidRequest
from tokenrouter.model.chunk import Shape
from tokenrouter.model.envelope import ParamFacts, PieceFacts
from tokenrouter.model.volatile import Volatile

_LEAF = Shape()
_MESSAGE = Shape(children={"tool_calls": Shape(children={"function": _LEAF})})
_TOOL = Shape(children={"function": _LEAF})

_EMPTY: tuple[object, ...] = ("", [], None)
_MAY_BE_EMPTY = frozenset(("content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"))
_DECIMALS = frozenset(("temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty"))
# Fields that change neither prompt nor answer: how long the model stays in memory, and how the answer is sent.
_NOT_HASHED = frozenset(("model", "stream", "keep_alive"))
# Fields that stand in front of the messages in some models' templates, or that become text toward other vendors.
_IN_PROMPT = frozenset(("think", "format", "suffix", "template", "raw", "context", "system"))
_NEVER = -1
"""A seed of -1 is a new one each time (Ollama's default)."""


class OllamaGrammar:
    """What all three have in common; see `Grammar`."""

    places = ("system", "messages", "tools")
    argument_text = False
    system_shape: Shape = _LEAF
    message_shape: Shape = _MESSAGE
    tool_shape: Shape = _TOOL
    params_shape: Shape = Shape(children={"options": _LEAF})
    streams = True
    deterministic = False

    def read_message(self, value: object) -> PieceFacts:
        """See `Grammar`. Only what the gateway relies on is checked; the rest is the server's to judge."""
        if not isinstance(value, dict):
            raise InvalidRequest("a message must be an object")
        role, content = value.get("role"), value.get("content")
        if not isinstance(role, str) or not role:
            raise InvalidRequest("a message needs a role: system, user, assistant or tool", param="role")
        if not isinstance(content, str | None):
            raise InvalidRequest("content must be a string", param="content")
        calls, images = value.get("tool_calls") or [], pictures(value.get("images"), "images")
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise InvalidRequest("tool_calls must be an array of objects", param="tool_calls")
        said = {name: inner for name, inner in value.items() if not (name in _MAY_BE_EMPTY and inner in _EMPTY)}
        return PieceFacts(
            role=role.lower(),
            answer_value=value if len(said) == len(value) else said,
            blocks=max(1, bool(content) + len(images) + len(calls)),
            images=len(images),
            opaque_bytes=sum(map(len, images)),
            markable=bool(content or calls),
        )

    def read_system(self, value: object) -> PieceFacts:
        """See `Grammar`."""
        if not isinstance(value, str):
            raise InvalidRequest("system must be a string")
        return PieceFacts(role="system", answer_value=value, markable=bool(value))

    def read_tool(self, value: object) -> PieceFacts:
        """See `Grammar`."""
        function = value.get("function") if isinstance(value, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not name:
            raise InvalidRequest("a tool needs function.name", param="function.name")
        return PieceFacts(role="tool definition", answer_value=value, name=name)

    def without_lines(self, value: object, lines: Sequence[Volatile]) -> object:
        """See `Grammar`. No client of this API is known to send such lines."""
        return value

    def read_params(self, fields: Mapping[str, object]) -> ParamFacts:
        """See `Grammar`. Streams tell their usage always, so it counts as asked for."""
        model, options = fields.get("model"), fields.get("options")
        if not isinstance(model, str) or not 0 < len(model) <= 256:
            raise InvalidRequest("model must be a string of 1 to 256 characters", param="model")
        if not isinstance(options, dict | None):
            raise InvalidRequest("options must be an object", param="options")
        asked = {name: _plain(name, value) for name, value in (options or {}).items() if value is not None}
        stream, limit, seed, context = fields.get("stream"), asked.get("num_predict"), asked.get("seed"), fields.get("context")
        if not isinstance(stream, bool | None):
            raise InvalidRequest("stream must be true or false", param="stream")
        if limit is not None and type(limit) is not int:
            raise InvalidRequest("options.num_predict must be a whole number", param="options.num_predict")
        present = {name: value for name, value in fields.items() if name not in _NOT_HASHED and value not in (None, "")}
        if "options" in present:
            present["options"] = asked
        return ParamFacts(
            model=model,
            stream=self.streams and stream is not False,
            include_usage=self.streams,
            max_output=limit if isinstance(limit, int) and 0 < limit < 1 << 31 else None,
            choices=1,
            deterministic=self.deterministic or asked.get("temperature") == 0 or (seed is not None and seed != _NEVER),
            stateful=bool(context),
            own_affinity=False,
            service_tier="",
            unserved="",
            prompt_value={name: value for name, value in present.items() if name in _IN_PROMPT},
            answer_value={name: value for name, value in present.items() if not (name == "options" and not asked)},
            side_value={"keep_alive": fields["keep_alive"]} if fields.get("keep_alive") is not None else {},
        )


class OllamaGenerateGrammar(OllamaGrammar):
    """A generation: its messages are the pictures and the prompt, which are fields of their own."""

    message_shape: Shape = _LEAF

    def read_message(self, value: object) -> PieceFacts:
        """See `Grammar`."""
        if isinstance(value, str):
            return PieceFacts(role="user", answer_value=value, markable=bool(value))
        images = pictures(value, None)
        return PieceFacts(role="user", answer_value=value, images=len(images), blocks=len(images), opaque_bytes=sum(map(len, images)), markable=False)


class OllamaEmbedGrammar(OllamaGrammar):
    """Vectors: each input is a message. The same text has the same vector, so every request is deterministic."""

    places = ("system", "input", "tools")
    message_shape: Shape = _LEAF
    streams = False
    deterministic = True

    def read_message(self, value: object) -> PieceFacts:
        """See `Grammar`."""
        if not isinstance(value, str):
            raise InvalidRequest("an input must be a text")
        return PieceFacts(role="user", answer_value=value, markable=False)


def pictures(value: object, param: str | None) -> list[str]:
    """Pictures in base64. Raises InvalidRequest."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(image, str) for image in value):
        raise InvalidRequest("images must be an array of base64 strings", param=param)
    return value


def _plain(name: str, value: object) -> object:
    """Sampling numbers by value: 0 and 0.0 ask for the same."""
    if name in _DECIMALS and isinstance(value, msgspec.Raw):
        number = float(bytes(value))
        return int(number) if number.is_integer() else number
    return value
