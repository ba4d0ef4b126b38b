"""The journal: what the ledger must know before a provider does. An append-only file of JSON lines, written without waiting for the disk.

A line survives the process, not the machine's power. Two appends per upstream call are what the event loop pays for never losing a
call to a crash (docs/decisions/0003 compares SQLite). A segment is deleted once everything in it is in the ledger for good.
"""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tokenrouter.errors import Unavailable

_SEGMENT_BYTES = 8 << 20


class Line(msgspec.Struct, array_like=True):
    """One line. `kind`: "i" for an intent with what it `held` in nano-USD and `tokens`, "s" for a settlement. `record`: as JSON."""

    kind: str
    held: int
    record: msgspec.Raw
    tokens: int = 0


_line = msgspec.json.Decoder(Line)


class Journal:
    """The journal of one process. Not for several threads, but for `committed`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._size = 0
        self._pending: dict[int, int] = {}
        self._committed: deque[int] = deque()
        self._file = self._open()

    def _open(self) -> int:
        return os.open(self._path(self._number), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _path(self, number: int) -> Path:
        return self._folder / f"journal-{number:08}.jsonl"

    def intend(self, record: bytes, held: int, tokens: int = 0) -> int:
        """Write an intent. Returns its segment, which `committed` wants back. Raises Unavailable: nothing may be sent then."""
        if self._committed:
            self._forget()
        if self._size > _SEGMENT_BYTES:
            self._rotate()
        self._append(b'\n["i",%d,%b,%d]' % (held, record, tokens))
        self._pending[self._number] = self._pending.get(self._number, 0) + 1
        return self._number

    def settle(self, record: bytes) -> None:
        """Write a settlement. Raises Unavailable."""
        self._append(b'\n["s",0,%b]' % record)

    def _rotate(self) -> None:
        """Begin a new segment. Where it can not be opened, the old one stays in use."""
        self._number += 1
        try:
            file = self._open()
        except OSError as error:
            self._number -= 1
            raise Unavailable(f"the journal can not be written ({error.strerror}); nothing was sent") from error
        os.close(self._file)
        self._size, self._file = 0, file
        before = self._number - 1
        if not self._pending.get(before):  # nobody will call `committed` for it any more
            self._pending.pop(before, None)
            self._path(before).unlink(missing_ok=True)

    def _append(self, line: bytes) -> None:
        """A line starts with its line end, so that a torn one before it (a full disk) spoils nothing."""
        try:
            written = os.write(self._file, line)
        except OSError as error:
            raise Unavailable(f"the journal can not be written ({error.strerror}); nothing was sent") from error
        self._size += written
        if written != len(line):
            raise Unavailable("the journal can not be written (the disk is full); nothing was sent")

    def committed(self, segment: int) -> None:
        """An intent of `segment` is settled in the ledger for good. May be called from the writer's thread."""
        self._committed.append(segment)

    def _forget(self) -> None:
        while self._committed:
            segment = self._committed.popleft()
            self._pending[segment] -= 1
            if not self._pending[segment] and segment != self._number:
                del self._pending[segment]
                self._path(segment).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go; the file goes too where nothing in it is open."""
        self._forget()
        os.close(self._file)
        if not any(self._pending.values()):
            self._path(self._number).unlink(missing_ok=True)


def leftovers(folder: Path) -> Iterator[tuple[Path, list[Line]]]:
    """The segments that an earlier process left, with the lines that are whole."""
    for path in sorted(folder.glob("journal-*.jsonl")):
        lines = []
        for text in path.read_bytes().split(b"\n"):
            try:
                lines.append(_line.decode(text))
            except msgspec.DecodeError:
                continue  # torn: it was never reported as written
        yield path, lines
