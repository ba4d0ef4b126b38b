"""`serve --record`: model requests as lines of a file that `tokenrouter replay` reads, and never in anybody's way.

A request's line has `at` (seconds), `id`, `path`, `headers` and `body`; what its provider counted follows in a line that names it
(`usage_of`). Requests hand their bytes to a queue, whose bytes are bounded; a thread makes lines of them and appends each with one write, so that
several processes may share a file. What finds no room is left out and counted. A disk that does not take a line, or a file at its limit, ends the
recording, not the requests.
"""

import logging
import os
import queue
import re
import stat
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from tokenrouter.errors import ConfigError
from tokenrouter.model.record import RequestRecord

log = logging.getLogger("tokenrouter")

ROOM: Final = 64 << 20
"""Bytes of requests that may wait to be written."""

_OVERHEAD: Final = 512
_WARN_EVERY_NS: Final = 60 * 1_000_000_000
_CLOSE_WITHIN_S: Final = 10.0
_OWN_KEY: Final = re.compile(rb"sk-tr-[0-9A-Za-z_-]{4,}")
_LEAST_SECRET: Final = 12
_TEXT = msgspec.json.Encoder()


class Hider(Protocol):
    """Takes words out of requests. Used by the writing thread alone."""

    def body(self, body: bytes) -> bytes:
        """A request's body without them."""
        ...

    def headers(self, headers: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
        """Those in `names` without what they name."""
        ...

    def query(self, query: str) -> str:
        """What is behind the path without it."""
        ...


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came. `headers`: those that replay reads; `naming`: which of them name a conversation or somebody."""

    id: str
    at_ns: int
    path: str
    query: str
    headers: Mapping[str, str]
    naming: Sequence[str]
    body: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes up while it waits."""
        return len(self.body) + len(self.path) + len(self.query) + _OVERHEAD


class Counted(msgspec.Struct, frozen=True):
    """What the provider counted for an earlier request: buckets of `Usage`, in the words of the Messages API."""

    usage_of: str
    usage: Mapping[str, int]

    @property
    def size(self) -> int:
        """See `Asked`."""
        return _OVERHEAD


class Capture:
    """One process' part in a file. `request` and `counted` never wait and never fail; for one thread."""

    def __init__(self, path: Path, *, most: int, hider: Hider | None = None, secrets: Sequence[str] = (), room: int = ROOM) -> None:
        """`most`: bytes of the file at which it is full; `secrets`: credentials that no line may hold.

        Raises ConfigError: the file can not be written.
        """
        self._path, self._most, self._hider, self._room = path, most, hider, room
        self._secrets = tuple(secret.encode() for secret in secrets if len(secret) >= _LEAST_SECRET)
        self._file = open_capture(path)
        self._last_ns = 0
        self._waiting: queue.SimpleQueue[Asked | Counted | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0
        self._ended = ""
        self._warned_ns: int | None = None
        self._outcomes: dict[tuple[str, ...], float] = dict.fromkeys((("written",), ("dropped",), ("failed",), ("ended",)), 0.0)
        self._thread = threading.Thread(target=self._write_all, name="capture", daemon=True)
        self._thread.start()

    def outcomes(self) -> Mapping[tuple[str, ...], float]:
        """For metrics: lines by what became of them."""
        return self._outcomes

    def request(self, asked: Asked, stopwatch_ns: int) -> bool:
        """Put a request down; whether there was room. `stopwatch_ns`: as `Clock` has it. Times in the file never run backwards."""
        self._last_ns = max(self._last_ns, asked.at_ns)
        if asked.at_ns < self._last_ns:
            asked = msgspec.structs.replace(asked, at_ns=self._last_ns)
        return self._put(asked, stopwatch_ns)

    def counted(self, record: RequestRecord, stopwatch_ns: int) -> None:
        """Put down what the provider counted, where it did."""
        usage = record.usage
        if record.settled == "exact" and usage.reported:
            told = {
                "input_tokens": usage.fresh_input,
                "cache_creation_input_tokens": usage.cache_write + usage.cache_write_1h,
                "cache_read_input_tokens": usage.cache_read,
                "output_tokens": usage.output,
            }
            self._put(Counted(record.id, told), stopwatch_ns)

    def close(self) -> None:
        """Write what waits, for a while at most, and end."""
        self._waiting.put(None)
        self._thread.join(_CLOSE_WITHIN_S)
        if self._thread.is_alive():
            log.warning("recording ended before everything was written to %s", self._path)

    def _put(self, item: Asked | Counted, stopwatch_ns: int) -> bool:
        if self._ended:
            self._left_out()
            return False
        with self._lock:
            fits = self._bytes + item.size <= self._room
            if fits:
                self._bytes += item.size
        if fits:
            self._waiting.put(item)
            return True
        self._outcomes["dropped",] += 1
        if self._warned_ns is None or stopwatch_ns - self._warned_ns >= _WARN_EVERY_NS:
            self._warned_ns = stopwatch_ns
            log.warning("requests come faster than they can be written to %s: %d lines were left out so far", self._path, self._outcomes["dropped",])
        return False

    def _write_all(self) -> None:
        while (item := self._waiting.get()) is not None:
            if not self._ended:
                self._write(item)
            else:
                self._left_out()
            with self._lock:
                self._bytes -= item.size
        os.close(self._file)

    def _write(self, item: Asked | Counted) -> None:
        try:
            line = self._line(item) if isinstance(item, Asked) else _TEXT.encode(item) + b"\n"
            if os.fstat(self._file).st_size + len(line) > self._most:
                self._end(f"it has {self._most >> 20} MB (RECORD_MAX_MB)")
            elif os.write(self._file, line) < len(line):
                self._end("the disk is full")
            else:
                self._outcomes["written",] += 1
        except OSError as error:
            self._end(error.strerror or str(error))
        except Exception:  # the thread goes on for those who come after
            self._outcomes["failed",] += 1
            log.exception("a request could not be made a line of %s, and was left out", self._path)

    def _line(self, asked: Asked) -> bytes:
        """One line. Line ends in a body stand between its members only, where they mean as much as a space."""
        body, headers, query = asked.body.removeprefix(b"\xef\xbb\xbf").strip(), asked.headers, asked.query
        if self._hider is not None:
            body, headers, query = self._hider.body(body), self._hider.headers(headers, asked.naming), self._hider.query(query)
        whole, rest = divmod(asked.at_ns, 1_000_000_000)
        path = asked.path + (f"?{query}" if query else "")
        head = _TEXT.encode({"id": asked.id, "path": path, "headers": headers})
        line = b'{"at":%d.%06d,%b,"body":%b}\n' % (whole, rest // 1000, head[1:-1], body.replace(b"\r", b" ").replace(b"\n", b" "))
        if b"sk-tr-" in line:
            line = _OWN_KEY.sub(lambda found: b"sk-tr-" + b"x" * (len(found[0]) - 6), line)
        for secret in self._secrets:
            if secret in line:
                line = line.replace(secret, b"x" * len(secret))
        return line

    def _left_out(self) -> None:
        """One line less, as the recording has ended. Both threads count these."""
        with self._lock:
            self._outcomes["ended",] += 1

    def _end(self, why: str) -> None:
        self._ended = why
        self._left_out()
        log.warning("nothing more is recorded in %s: %s", self._path, why)


def open_capture(path: Path) -> int:
    """A file to append to, for its owner only; one that ends within a line gets a line end. Raises ConfigError."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"RECORD_FILE={path}: not a file")
        opened = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR)
        try:
            os.fchmod(opened, stat.S_IRUSR | stat.S_IWUSR)
            size = os.fstat(opened).st_size
            if size and os.pread(opened, 1, size - 1) != b"\n":
                os.write(opened, b"\n")
        except OSError:
            os.close(opened)
            raise
    except OSError as error:
        raise ConfigError(f"RECORD_FILE={path}: {error.strerror}") from error
    return opened
