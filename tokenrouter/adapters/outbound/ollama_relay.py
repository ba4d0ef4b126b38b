"""The tap on a stream of Ollama's own wire that goes to a client of the same dialect: whole lines pass as they came."""

import re

import msgspec

from tokenrouter.adapters.ndjson import LineReader
from tokenrouter.adapters.wire.ollama import Line, came_to_a_natural_end, failure_of, read_line, usage_of
from tokenrouter.errors import UpstreamFailed
from tokenrouter.model.usage import NO_USAGE, Usage

_MATTERS = re.compile(rb'"done"\s*:\s*true|"error"\s*:|^\s*[^\s{]')
_MAY_BE_EMPTY = re.compile(rb'"(?:content|response)"\s*:\s*""')
_members = msgspec.json.Decoder(dict[str, object])
_HEAD = frozenset(("model", "created_at", "done"))


class OllamaRelay:
    """The `StreamTap` of this wire."""

    __slots__ = ("_done", "_drop_empty", "_lines", "end", "failure", "finished", "reusable", "usage")

    def __init__(self, *, drop_empty: bool) -> None:
        """`drop_empty`: lines that say nothing but the role are kept from the client."""
        self._drop_empty = drop_empty
        self._lines = LineReader()
        self._done = False
        self.usage: Usage = NO_USAGE
        self.finished = False
        self.reusable = False
        self.failure: str | None = None
        self.end = b""

    def feed(self, data: bytes) -> bytes:
        """The whole lines that `data` completes. Raises UpstreamFailed: the bytes are no such stream."""
        if self._done:
            return b""
        return b"".join([line for line in self._lines.feed(data) if self._passes(line)])

    def close(self) -> bytes:
        """Only the vendor's last line may lack its line end: with any other the stream was cut, and what follows needs a line of its own."""
        rest = self._lines.tail()
        if not self._done and rest.strip():
            try:
                self._passes(rest)
            except UpstreamFailed:
                return b""
        return b""

    def _passes(self, line: bytes) -> bool:
        if self._done:
            return False
        if _MATTERS.search(line):
            seen = read_line(line)
            if seen.error is not None:
                self.failure, self._done = failure_of(seen), True
                return False
            if seen.done:
                self._finish(seen, line)
                return False
        return not (self._drop_empty and _MAY_BE_EMPTY.search(line) and says_nothing(line))

    def _finish(self, seen: Line, line: bytes) -> None:
        self._done = self.finished = True
        self.usage, self.reusable, self.end = usage_of(seen), came_to_a_natural_end(seen), line


def says_nothing(line: bytes) -> bool:
    """Whether a line has nothing but a role and an empty text. A member that is not known here may mean something."""
    try:
        members = _members.decode(line)
    except (ValueError, RecursionError):
        return False
    rest = {name: value for name, value in members.items() if name not in _HEAD}
    return members.get("done") is False and rest in ({"message": {"role": "assistant", "content": ""}}, {"response": ""})
