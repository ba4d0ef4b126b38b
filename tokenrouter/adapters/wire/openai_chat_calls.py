"""Tool calls of a Chat Completions answer, put together from pieces whose numbering is not always to be trusted."""

from hashlib import blake2b

import msgspec

from tokenrouter.adapters.wire.reading import members, text
from tokenrouter.model.answer import Event, ReasoningDelta, ToolCallDelta, ToolCallStarted

GEMINI_FORMAT = "google-gemini-v1"
"""Who can check Google's thought signatures, in OpenRouter's words."""


class CallFunction(msgspec.Struct):
    """Some servers send the arguments as an object."""

    name: str | None = None
    arguments: str | dict[str, object] | None = None


class CallCustom(msgspec.Struct):
    """A tool that takes free text."""

    name: str | None = None
    input: str | None = None


class CallPiece(msgspec.Struct):
    """An entry of `tool_calls`: whole in a message, a fragment in a stream. Google signs a call in `extra_content`."""

    index: int | None = None
    id: str | None = None
    function: CallFunction | None = None
    custom: CallCustom | None = None
    extra_content: object = None

    @property
    def name(self) -> str | None:
        """The tool's, where this piece tells."""
        return self.function.name if self.function else self.custom.name if self.custom else None

    @property
    def said(self) -> str:
        """What it adds to the arguments."""
        if self.custom is not None:
            return self.custom.input or ""
        arguments = self.function.arguments if self.function else None
        return msgspec.json.encode(arguments).decode() if isinstance(arguments, dict) else arguments or ""

    @property
    def signature(self) -> str:
        """Google's, over the call."""
        return text(members(members(self.extra_content).get("google")).get("thought_signature"))


class CallReader:
    """The tool calls of one choice, numbered as they appear."""

    __slots__ = ("_by_id", "_by_index", "_choice", "_custom", "_ids", "_last", "_origin", "_waiting")

    def __init__(self, origin: str, choice: int) -> None:
        self._origin = origin
        self._choice = choice
        self._by_index: dict[int, int] = {}
        self._by_id: dict[str, int] = {}
        self._ids: list[str] = []
        self._waiting: dict[int, list[str]] = {}
        self._custom: set[int] = set()
        self._last = -1

    def read(self, piece: CallPiece) -> list[Event]:
        """The events of one piece. A call whose name has not come yet is kept back until it has."""
        number = self._number(piece)
        said, name = piece.said, piece.name
        if piece.custom is not None:
            self._custom.add(number)
        events: list[Event] = []
        waiting = self._waiting.get(number)
        if waiting is not None and name:
            del self._waiting[number]
            events.append(ToolCallStarted(number, self._ids[number], name, self._choice, number in self._custom))
            said = "".join(waiting) + said
            waiting = None
        if said:
            if waiting is None:
                events.append(ToolCallDelta(number, said, self._choice))
            else:
                waiting.append(said)
        return events

    def signed(self, piece: CallPiece, block: int) -> Event:
        """The signature of the piece that was read last, as the reasoning block that it is: it stands in front of its call."""
        return ReasoningDelta(block, signature=piece.signature, choice=self._choice, format=GEMINI_FORMAT, id=self._ids[self._last])

    def flush(self) -> list[Event]:
        """Calls that never got a name: the client must see them all the same."""
        events: list[Event] = []
        for number, waiting in self._waiting.items():
            events.append(ToolCallStarted(number, self._ids[number], "", self._choice, number in self._custom))
            if waiting:
                events.append(ToolCallDelta(number, "".join(waiting), self._choice))
        self._waiting.clear()
        return events

    def _number(self, piece: CallPiece) -> int:
        """Which call a piece belongs to. Some servers leave the index out, some send 0 for every call: then a new id is a new call."""
        name = piece.name
        number: int | None = None
        if piece.index is not None:
            number = self._by_index.get(piece.index)
            if number is not None and piece.id and self._ids[number] != piece.id:
                # Others make up an id for every piece; those pieces carry no name.
                number = self._by_id.get(piece.id, None if name else number)
        elif piece.id:
            number = self._by_id.get(piece.id)
        elif not name and self._last >= 0:
            number = self._last
        if number is None:
            number = len(self._ids)
            self._ids.append(piece.id or self._made_up(number))
            self._waiting[number] = []
        if piece.index is not None:
            self._by_index[piece.index] = number
        if piece.id:
            self._by_id[piece.id] = number
        self._last = number
        return number

    def _made_up(self, number: int) -> str:
        """An id for a call that came without: the same whenever the same answer is read."""
        return "call_" + blake2b(f"{self._origin}:{self._choice}:{number}".encode(), digest_size=12).hexdigest()
