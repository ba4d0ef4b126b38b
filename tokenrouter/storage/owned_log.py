"""What `owned.db` has not committed yet: an append-only file of JSON lines, written without waiting for the disk.

A client may die with the gateway a millisecond after it has read the id of a stored answer. A line survives the process, not the
machine's power. A segment is deleted once everything in it is in the database.
"""

import logging
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

log = logging.getLogger("tokenrouter")

_SEGMENT_BYTES = 4 << 20


class OwnedLine(msgspec.Struct, array_like=True, frozen=True):
    """Objects of one tenant's that were recorded together. `deployment` empty: the provider has deleted them."""

    tenant: str
    object_ids: tuple[str, ...]
    deployment: str = ""
    tokens: int = 0
    expires_ns: int = 0


_line = msgspec.json.Decoder(OwnedLine)
_encode = msgspec.json.Encoder().encode


class OwnedLog:
    """The log of one process; for one thread, but for `committed`."""

    def __init__(self, folder: Path, segment_bytes: int = _SEGMENT_BYTES) -> None:
        """Raises OSError."""
        self._folder, self._most = folder, segment_bytes
        self._number = self._size = self._put = 0
        self._committed = 0
        self._full: deque[tuple[Path, int]] = deque()
        self._file = self._open()

    def _path(self) -> Path:
        return self._folder / f"owned-{self._number:08}.jsonl"

    def _open(self) -> int:
        return os.open(self._path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def append(self, line: OwnedLine) -> None:
        """Write one line. Every line wants one `committed` later. A disk that takes nothing is logged: the database's writer still has it."""
        self._put += 1
        while self._full and self._full[0][1] <= self._committed:
            self._full.popleft()[0].unlink(missing_ok=True)
        try:
            if self._size > self._most:
                self._rotate()
            self._size += os.write(self._file, b"\n" + _encode(line))  # line end first: a torn line before it spoils nothing
        except OSError as error:
            log.warning("owned.db's log can not be written (%s); a crash in the next moments would forget stored answers", error.strerror)

    def _rotate(self) -> None:
        before = self._path()
        self._number += 1
        try:
            file = self._open()
        except OSError:
            self._number -= 1
            raise
        os.close(self._file)
        self._full.append((before, self._put))
        self._file, self._size = file, 0

    def committed(self) -> None:
        """One more line, in the order in which they were written, is in the database. May be called from the writer's thread."""
        self._committed += 1

    def close(self) -> None:
        """Let go; the files go too where everything in them is committed."""
        os.close(self._file)
        if self._committed >= self._put:
            for path in (*(path for path, _ in self._full), self._path()):
                path.unlink(missing_ok=True)


def left_in(folder: Path) -> Iterator[tuple[Path, list[OwnedLine]]]:
    """The segments that an earlier process left, oldest first, with the lines that are whole."""
    for path in sorted(folder.glob("owned-*.jsonl")):
        lines = []
        for text in path.read_bytes().split(b"\n"):
            try:
                lines.append(_line.decode(text))
            except msgspec.DecodeError:
                continue  # torn: the process died while it wrote
        yield path, lines
