"""What kind of per-request text a short span is: a time, an id, a path. Every scanner is linear in what it is given.

All patterns are bounded repetitions that start at a token's edge, so no input makes them slow; spans that are looked at are bounded as well.
A span counts as volatile only if both requests say the same once every recognised slot is taken out of it: "10:05" against "10:06" is a
clock, "10:05, be brief" against "10:06, be verbose" is a changed instruction.
"""

import re
from itertools import islice
from typing import Final, NamedTuple

from tokenrouter.model.breaks import Kind

LONGEST_SPAN: Final = 4_096
"""A longer difference is not classified."""

_LABEL_REACH = 64
_BLOCK_REACH = 600

_WORDS: Final = (
    r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|Mon|Tue|Wed|Thu|Fri|Sat|Sun"
    r"|January|February|March|April|May|June|July|August|September|October|November|December"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec"
)
_CLOCK: Final = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?: ?[AaPp]\.?[Mm]\b\.?)?"
_ZONE: Final = r"(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})?"
_NO_DATE: Final = r"(?![A-Za-z0-9:]|[-/.]\d)"
"""Behind a number that a date in words ends with: it is not the begin of a date or a time in figures."""

_SLOT: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?P<uuid>[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}(?![A-Za-z0-9]))"
    rf"|(?P<time>\d{{4}}-\d{{2}}-\d{{2}}[T ]{_CLOCK} ?{_ZONE}|{_CLOCK} ?{_ZONE}(?![A-Za-z0-9:])"
    r"|\d{10}(?:\d{3}){0,3}(?:\.\d{1,9})?(?![A-Za-z0-9]))"
    r"|(?P<date>\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?![A-Za-z0-9])|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})(?![A-Za-z0-9])"
    rf"|(?:{_WORDS})(?![a-z])\.?(?:,? (?:{_WORDS})(?![a-z]))?(?:,? \d{{1,2}}(?:st|nd|rd|th)?{_NO_DATE})?(?:,? \d{{4}}{_NO_DATE})?"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?\.? (?:{_WORDS})(?![a-z])(?:,? \d{{4}}(?![A-Za-z0-9]))?)"
    r"|(?P<url>[a-z]{2,12}://[^\s\"'`<>()]{1,512})"
    r"|(?P<path>(?:[A-Za-z]:\\|~?/|\.{1,2}/)[^\s\"'`<>|,;]{1,512}|(?<![\w.-])[\w.-]{1,64}(?:/[\w.-]{1,64}){1,24}/?)"
    r"|(?P<id>[A-Za-z0-9]{1,24}[_-][A-Za-z0-9_-]{6,96}|[A-Za-z0-9]{6,128})"
    r"|(?P<number>\d{1,24}(?:\.\d{1,24})?)"
    r")"
)

_COUNTED: Final = re.compile(
    r"(?:count(?:er)?|turn|step|request|iteration|attempt|message|number|no\.?|used|remaining|left|tokens?|budget|revision|build|seq(?:uence)?"
    r"|visits?|users?|online|uptime|pid|#|№)[^A-Za-z0-9]{0,6}(?:is |are |of |no\.? |number )?[^A-Za-z0-9]{0,4}$",
    re.IGNORECASE,
)
_NAMED_ID: Final = re.compile(
    r"(?:session|conversation|request|trace|thread|run|chat|correlation|transaction|message|user|build|commit|nonce|seed|token|version|rev|sha|hash|id)"
    r"[ _-]{0,2}(?:id|no|nr|key|hash)?\W{0,4}$",
    re.IGNORECASE,
)
_SESSION: Final = re.compile(r"(?:session|conversation|thread|chat)[ _-]{0,2}(?:id|key|no)?\W{0,4}$", re.IGNORECASE)
_PORT: Final = re.compile(r"(?:port\W{0,4}|\blocalhost:|\d\.\d{1,3}:)$", re.IGNORECASE)
_HEADER_LINE: Final = re.compile(r"x-[a-z0-9-]{2,60}:", re.IGNORECASE)
_GIT: Final = re.compile(r"\bgit ?status|\bgit (?:branch|log|head|diff)|current branch|recent commits|\bHEAD\b", re.IGNORECASE)
_FILE_LINE: Final = re.compile(r"[\s│├└─|+`*-]{0,64}[\w.@+() -]{0,96}(?:/|\.[A-Za-z0-9]{1,12}|[\w-])[\s]{0,8}(?:\([^)]{0,64}\))?")
_LISTING: Final = re.compile(r"(?:files?|folders?|director(?:y|ies)|listing|tree|structure|workspace)\b[^\n]{0,80}:\s{0,4}$", re.IGNORECASE)
_CHANGE_LINE: Final = re.compile(
    r"\s{0,4}(?:[ MADRCU?!]{1,2} \S|\?\? |[0-9a-f]{6,40} |\(clean\)|\(none\)|Status:|(?:current |main )?branch)", re.IGNORECASE
)

_OWN_FOLDER: Final = re.compile(r"/(?:home|Users|root|tmp|private|var/folders|workspaces?|mnt)/|~/|[A-Za-z]:\\Users\\", re.IGNORECASE)
_FOLDER_LABEL: Final = re.compile(r"(?:director(?:y|ies)|folder|cwd|workspace|home|root)\W{0,6}$", re.IGNORECASE)
_WHOSE: Final = re.compile(r"(?:user|customer|account|visitor|member|client|tenant)", re.IGNORECASE)
_MOST_GUESSED: Final = 256 << 10
_MOST_TOKENS: Final = 2_000
"""Looked at: a text with more of them in front of the first likely one holds data, and not instructions."""


def outline(text: str) -> str:
    """A text with times, ids, paths and numbers taken out, for names that must not depend on them."""
    return _slots(text)[0]


def first_likely(text: str, start: int) -> int:
    """Where the first thing stands, from `start` on, that usually differs between requests: a time, a date, an id of a session, somebody's folder.

    -1 for none. Examples in instructions look the same: this is a guess, for what costs nothing where it is wrong.
    """
    for match in islice(_SLOT.finditer(text, start, start + _MOST_GUESSED), _MOST_TOKENS):
        kind, label = match.lastgroup or "", text[max(0, match.start() - _LABEL_REACH) : match.start()].rpartition("\n")[2]
        said = match[0]
        match kind:
            case "uuid" | "time":
                return match.start()
            case "date" if any(map(str.isdigit, said)):
                return match.start()
            case "path" if _OWN_FOLDER.match(said) or (_FOLDER_LABEL.search(label) and said[0] in "/~C"):
                return match.start()
            case "id" if _SESSION.search(label) and any(map(str.isdigit, said)):
                return match.start()
            case "number" if _COUNTED.search(label) and _WHOSE.search(label):
                return match.start()
    return -1


class _Slot(NamedTuple):
    """A recognised token, and what stands in front of it."""

    kind: str
    text: str
    label: str


def kind_of(before: str, after: str, left: str, right: str = "") -> Kind:
    """What kind of volatile text differs between `before` and `after`, which stand behind `left` and in front of `right`; "" for none."""
    if max(len(before), len(after)) > LONGEST_SPAN:
        return ""
    above = left[-_BLOCK_REACH:]
    line = above.rpartition("\n")[2]
    if _HEADER_LINE.match(line.lstrip()) or (not line.strip() and _HEADER_LINE.match(before) and _HEADER_LINE.match(after)):
        return "attribution"
    block = _block_kind(before, after, above, right.partition("\n")[0])
    if block:
        return block
    if "\n" in before.strip() or "\n" in after.strip():
        return ""
    label, rest = line[-_LABEL_REACH:], right.partition("\n")[0][:_LABEL_REACH]
    old, new = _slots(label + before + rest), _slots(label + after + rest)
    if old[0] != new[0]:
        return ""
    changed = [one for one, other in zip(old[1], new[1], strict=True) if one.text != other.text]
    for slot in changed:
        if slot.kind != "number":
            return _named(slot)
    return _number_kind(changed[0]) if changed else ""


def tokens(text: str) -> list[tuple[int, int, str]]:
    """Start, end and kind of all recognised tokens of a text: "time", "date", "uuid", "hex", "id", "number", "path", "url"."""
    found = []
    for match in _SLOT.finditer(text):
        kind = _kind_in(text, match)
        if kind:
            found.append((match.start(), match.end(), kind))
    return found


def _slots(text: str) -> tuple[str, list[_Slot]]:
    """A text with recognised tokens taken out, and these."""
    found: list[_Slot] = []

    def slot(match: re.Match[str]) -> str:
        kind = _kind_in(text, match)
        if not kind:
            return match[0]
        found.append(_Slot(kind, match[0], text[max(0, match.start() - _LABEL_REACH) : match.start()]))
        return f"<{kind}>"

    return _SLOT.sub(slot, text), found


def _kind_in(text: str, match: re.Match[str]) -> str:
    """What a match of `_SLOT` is; "" where it may be a word."""
    said, kind = match[0], match.lastgroup or ""
    if kind == "id":
        return _token_kind(said, text[max(0, match.start() - _LABEL_REACH) : match.start()])
    return "" if kind == "path" and not _is_path(said) else kind


def _token_kind(text: str, label: str) -> str:
    """Of a run of letters and digits that is no word of a language: "hex", "id" or "number"; "" where it may be a word."""
    if text.isdigit():
        return "number"
    digits = sum(character.isdigit() for character in text)
    letters = len(text) - digits
    if len(text) >= 6 and digits and all(character in "0123456789abcdefABCDEF-" for character in text):
        return "hex"
    if _NAMED_ID.search(label) and digits:
        return "id"
    if digits >= 2 and letters and len(text) >= 8 and not text.replace("-", "").replace("_", "").isalpha():
        return "id"
    mixed = text != text.lower() and text != text.upper() and text[1:] != text[1:].lower()
    return "id" if len(text) >= 16 and mixed and " " not in text else ""


def _is_path(text: str) -> bool:
    """Two words with a slash between them ("and/or") are no path."""
    return text[0] in "/~." or text[1:3] == ":\\" or text.count("/") >= 2 or "." in text or any(map(str.isdigit, text))


def _named(slot: _Slot) -> Kind:
    if slot.kind in ("id", "hex", "uuid") and _SESSION.search(slot.label):
        return "session"
    match slot.kind:
        case "uuid" | "time" | "date" | "url" | "path" | "hex" | "id":
            return slot.kind
        case _:
            return ""


def _number_kind(slot: _Slot) -> Kind:
    """A number is volatile only where the text in front of it says that it counts, or is a port."""
    if _PORT.search(slot.label):
        return "port"
    if _SESSION.search(slot.label) and len(slot.text) > 3:
        return "session"
    if _COUNTED.search(slot.label):
        return "counter"
    return "id" if _NAMED_ID.search(slot.label) and len(slot.text) > 3 else ""


def _block_kind(before: str, after: str, left: str, rest: str) -> Kind:
    """Of a difference of whole lines: what version control says, or a list of files."""
    above, _, begun = left.rpartition("\n")
    lines = [line for line in (*(begun + before + rest).splitlines(), *(begun + after + rest).splitlines()) if line.strip()]
    if not lines or "\n" not in left + before + after:
        return ""
    if _GIT.search(above) and all(map(_CHANGE_LINE.match, lines)):
        return "git"
    if all(map(_is_file, lines)):
        heading = next((line for line in reversed(above.splitlines()) if line.strip() and not _is_file(line)), "")
        if _LISTING.search(heading):
            return "listing"
    return ""


def _is_file(line: str) -> bool:
    bare = line.strip(" │├└─|+`*-\t")
    return len(line) <= _LABEL_REACH * 4 and " " not in bare and _FILE_LINE.fullmatch(line) is not None
