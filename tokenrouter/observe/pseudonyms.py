"""Pseudo-words: texts that nobody can read, and that a prompt cache could not tell from the ones they were.

Every word becomes another one of the same length and kind: letters stay letters (and capitals capitals), digits digits, and characters outside
ASCII keep their script and their number of bytes. The same word always becomes the same one, different ones never, and words that begin alike do
so still, so that two texts differ from the same byte on as before. Spaces and punctuation stay. So do dates and times, and a short list of
words of the trade: what a text says of clocks, counters and ids must go on saying it, or its breaks could not be named.

The key is made with each `Words` and lives no longer, unless several processes write one file. Frequencies and lengths of words remain: this
hides texts from readers, not from a determined codebreaker.
"""

import os
import re
import unicodedata
from functools import lru_cache
from hashlib import blake2b
from typing import Final

_MOST_WORDS: Final = 200_000
_LONGEST_WORD: Final = 4_096
_FILLER_FROM: Final = 200

_MONTHS: Final = (
    r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|Mon|Tue|Wed|Thu|Fri|Sat|Sun"
    r"|January|February|March|April|May|June|July|August|September|October|November|December"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec"
)
_CLOCK: Final = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?: ?[AaPp]\.?[Mm]\b)?(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})\b)?"
_PARTS: Final = re.compile(
    r"(?P<uuid>\b[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\b)"
    rf"|(?P<moment>\b\d{{4}}-\d{{2}}-\d{{2}}(?:[T ]{_CLOCK}|\b)|\b{_CLOCK}|\b1[4-9]\d{{8}}(?:\d{{3}}){{0,3}}(?:\.\d{{1,9}})?\b"
    r"|\b\d{4}[/.]\d{1,2}[/.]\d{1,2}\b|\b\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})\b"
    rf"|\b(?:\d{{1,2}}(?:st|nd|rd|th)?\.? )?(?:{_MONTHS})\b(?:,? (?:{_MONTHS})\b)?(?:,? \d{{1,2}}(?:st|nd|rd|th)?\b)?(?:,? \d{{4}}\b)?)"
    r"|(?P<word>[^\W_]+)"
)
_HEX: Final = re.compile(r"(?=[A-Fa-f]*[0-9])[0-9A-Fa-f]{4,}")
_DATA_URL: Final = re.compile(r"data:[^,\s]{1,100},")
_ENCODED: Final = re.compile(rf"([A-Za-z0-9+/_-]{{{_FILLER_FROM},}})(={{0,2}})")
_ID_HEAD: Final = re.compile(r"(?:toolu|srvtoolu|call|fc|ctc|rs|msg|resp|item|chatcmpl|file|functions)_")
_LETTERS: Final = {"a": "abcdefghijklmnopqrstuvwxyz", "A": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0": "0123456789"}
_HEXES: Final = {"a": "abcdef", "A": "ABCDEF", "0": "0123456789"}

KEPT: Final = frozenset(
    (
        *("http", "https", "localhost", "UTC", "GMT", "AM", "PM", "am", "pm", "today", "date", "time", "now", "clock", "timestamp"),
        *("session", "conversation", "request", "trace", "thread", "run", "chat", "correlation", "transaction", "message", "user", "account"),
        *("build", "commit", "nonce", "seed", "token", "tokens", "version", "rev", "sha", "hash", "id", "key", "uuid", "no", "nr"),
        *("count", "counter", "turn", "step", "iteration", "attempt", "number", "used", "remaining", "left", "budget", "revision", "seq"),
        *("sequence", "visits", "users", "online", "uptime", "pid", "port", "is", "are", "of"),
        *("git", "status", "branch", "branches", "log", "head", "HEAD", "diff", "current", "recent", "commits", "clean", "none"),
        *("file", "files", "folder", "folders", "directory", "directories", "listing", "tree", "structure", "workspace", "working", "cwd"),
    )
)
"""Words of the trade that stay, in lower case or with a capital: without them nobody can tell a session's name from a counter."""


class Words:
    """Gives each word its pseudo-word. For one thread."""

    def __init__(self, key: bytes = b"") -> None:
        """`key`: at most 64 bytes; empty: a random one."""
        self._key = key or os.urandom(32)
        self._known: dict[str, str] = {}

    def text(self, text: str) -> str:
        """A text with other words. What is encoded (pictures, signatures) becomes other characters of the same number."""
        kind = _DATA_URL.match(text)
        head = kind[0] if kind is not None else ""
        encoded = _ENCODED.fullmatch(text, len(head))
        if encoded is not None:
            return head + self._filler(encoded[1]) + encoded[2]
        return head + _PARTS.sub(self._part, text[len(head) :])

    def identifier(self, text: str) -> str:
        """An id, whose head says what it is of."""
        head = _ID_HEAD.match(text)
        return head[0] + self.text(text[head.end() :]) if head is not None else self.text(text)

    def _part(self, match: re.Match[str]) -> str:
        said = match[0]
        match match.lastgroup:
            case "moment":
                return said
            case "uuid":
                return self._mapped(said, _HEXES)
            case _:
                return self._word(said)

    def _word(self, word: str) -> str:
        if word in KEPT or (word[0].isupper() and word.lower() in KEPT):
            return word
        found = self._known.get(word)
        if found is None:
            found = self._mapped(word, _HEXES if _HEX.fullmatch(word) else _LETTERS)
            if len(self._known) >= _MOST_WORDS:
                self._known.clear()
            if len(word) <= _LONGEST_WORD:
                self._known[word] = found
        return found

    def _mapped(self, word: str, alphabets: dict[str, str]) -> str:
        """Each character moves within its alphabet by a distance that hangs on the key and on all characters in front of it."""
        before = blake2b(key=self._key, digest_size=8)
        made = []
        for character in word:
            alphabet = _alphabet(character, alphabets)
            by = int.from_bytes(before.digest())
            made.append(alphabet[(alphabet.index(character) + by) % len(alphabet)] if alphabet else character)
            before.update(character.encode("utf-8", "surrogatepass"))
        return "".join(made)

    def _filler(self, text: str) -> str:
        digest = blake2b(text.encode(), key=self._key).hexdigest()
        return (digest * (len(text) // len(digest) + 1))[: len(text)]


def _alphabet(character: str, alphabets: dict[str, str]) -> str:
    if character.isascii():
        kind = "0" if character.isdigit() else "A" if character.isupper() else "a" if character.isalpha() else ""
        return alphabets.get(kind, "") if character in alphabets.get(kind, "") else ""
    return _script(ord(character) // 64, unicodedata.category(character))


@lru_cache(maxsize=4096)
def _script(block: int, category: str) -> str:
    """Characters of one kind that stand next to each other in Unicode, and have as many bytes."""
    return "".join(other for other in map(chr, range(block * 64, block * 64 + 64)) if unicodedata.category(other) == category)
