"""Tool calls of a Chat Completions answer, put together from pieces whose numbering is not always to be trusted."""

from hashlib import blake2b

import msgspec

from tokenrouter.model.answer import Event, ToolCallDelta, ToolCallStarted


class CallFunction(msgspec.Struct):
    """Some servers send the arguments as an object."""

    name: str | None = None
    arguments: str | dict[str, object] | None = None


class CallPiece(msgspec.Struct):
    """An entry of `tool_calls`: whole in a message, a fragment in a stream."""

    index: int | None = None
    id: str | None = None
    function: CallFunction | None = None


class CallReader:
    """The tool calls of one choice, numbered as they appear."""

    __slots__ = ("_by_id", "_by_index", "_choice", "_ids", "_last", "_origin", "_waiting")

    def __init__(self, origin: str, choice: int) -> None:
        self._origin = origin
        self._choice = choice
        self._by_index: dict[int, int] = {}
        self._by_id: dict[str, int] = {}
        self._ids: list[str] = []
        self._waiting: dict[int, list[str]] = {}
        self._last = -1

    def read(self, piece: CallPiece) -> list[Event]:
        """The events of one piece. A call whose name has not come yet is kept back until it has."""
        number = self._number(piece)
        function = piece.function or CallFunction()
        arguments = function.arguments
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        events: list[Event] = []
        waiting = self._waiting.get(number)
        if waiting is not None and function.name:
            del self._waiting[number]
            events.append(ToolCallStarted(number, self._ids[number], function.name, self._choice))
            arguments = "".join(waiting) + (arguments or "")
            waiting = None
        if arguments:
            if waiting is None:
                events.append(ToolCallDelta(number, arguments, self._choice))
            else:
                waiting.append(arguments)
        return events

    def flush(self) -> list[Event]:
        """Calls that never got a name: the client must see them all the same."""
        events: list[Event] = []
        for number, waiting in self._waiting.items():
            events.append(ToolCallStarted(number, self._ids[number], "", self._choice))
            if waiting:
                events.append(ToolCallDelta(number, "".join(waiting), self._choice))
        self._waiting.clear()
        return events

    def _number(self, piece: CallPiece) -> int:
        """Which call a piece belongs to. Some servers leave the index out, some send 0 for every call: then a new id is a new call."""
        name = piece.function.name if piece.function else None
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
