"""Why a prompt prefix was not read from the provider's cache: values that diagnosis makes and records, metrics and admin pages show.

A `Break` is fit for JSON (`msgspec.json.encode`). With `redacted()` it says kinds and lengths in the place of prompt text.
"""

from typing import Final, Literal, get_args

import msgspec

Cause = Literal[
    "tools.reordered",
    "tools.added",
    "tools.removed",
    "tools.changed",
    "system.changed",
    "volatile",
    "message.edited",
    "message.dropped",
    "message.inserted",
    "history.compacted",
    "form.flipped",
    "parameters",
    "model",
    "account",
    "affinity",
    "expired",
    "below_minimum",
    "first_sight",
    "provider",
]
"""The main cause of a miss. The last but one two cost nobody anything: there was nothing that could have been read."""

CAUSES: Final[tuple[Cause, ...]] = get_args(Cause)

INNOCENT: Final[frozenset[Cause]] = frozenset(("below_minimum", "first_sight"))
"""Causes that explain a miss and are no alarm."""

# fmt: off
Kind = Literal[
    "", "time", "date", "uuid", "hex", "id", "counter", "session", "path", "url", "port", "git", "listing", "attribution",
]
# fmt: on
"""What kind of volatile text differs; "" where the difference is none."""

Section = Literal["request", "parameters", "tools", "system", "messages"]


class Excerpt(msgspec.Struct, frozen=True, kw_only=True):
    """The first differing characters, in their context.

    left, right    what stands on both sides of them, equal in both requests (right: as the later request has it)
    before, after  what differs; "" where one has nothing there. Bounded: a long difference ends in "…"
    """

    left: str = ""
    before: str = ""
    after: str = ""
    right: str = ""


NO_EXCERPT: Final = Excerpt()


class Break(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request that did not read what it could have read.

    cause      the main one; `also` has what else differed, in words
    kind       of volatile text
    section    where; "request" is what concerns the whole of it
    boundary   which piece, as `Sight` counts boundaries; -1 where no piece is to blame
    path       the same in the client's words: `tools[3].input_schema.properties.x`, `system[0]`
    line       line within the text that the path names, from 1; 0 where it is no text or not known
    offset     characters of that text in front of the difference
    excerpt    first differing characters
    tokens     tokens that had to be processed again; an estimate where the provider reported nothing
    nano_usd   what that cost more than reading them; 0 where prices are not known
    expected   tokens that an unbroken prefix would have read
    read       tokens that were read; -1: the provider did not say
    sentence   what, where, and what to do, for people; no prompt text in it but names of tools and members
    remedy     the edit that would help (`model/edits.py`); "" where none of ours does
    advice     what the client's owner can do
    said       the provider's own diagnosis, where it gave one
    idle_s     seconds since the prefix had been used before
    session    which conversation, in hexadecimal
    request_id, previous_id  the request, and the one that it was compared with
    """

    cause: Cause
    sentence: str
    time_ns: int = 0
    session: str = ""
    request_id: str = ""
    previous_id: str = ""
    account: str = ""
    model: str = ""
    kind: Kind = ""
    section: Section = "request"
    boundary: int = -1
    path: str = ""
    line: int = 0
    offset: int = 0
    excerpt: Excerpt = NO_EXCERPT
    also: tuple[str, ...] = ()
    tokens: int = 0
    nano_usd: int = 0
    expected: int = 0
    read: int = -1
    remedy: str = ""
    advice: str = ""
    said: str = ""
    idle_s: int = 0

    @property
    def alarming(self) -> bool:
        """Something was lost that need not have been."""
        return self.cause not in INNOCENT


def redacted(found: Break) -> Break:
    """The same without prompt text: kinds and lengths in its place."""
    excerpt = found.excerpt
    if excerpt == NO_EXCERPT:
        return found
    bare = Excerpt(left=_shape(excerpt.left), before=_shape(excerpt.before), after=_shape(excerpt.after), right=_shape(excerpt.right))
    return msgspec.structs.replace(found, excerpt=bare)


def _shape(text: str) -> str:
    """What kinds of characters a text is made of, and how many."""
    if not text:
        return ""
    kinds = []
    if any(map(str.isdigit, text)):
        kinds.append("digits")
    if any(map(str.isalpha, text)):
        kinds.append("letters")
    if any(map(str.isspace, text)):
        kinds.append("spaces")
    if not all(character.isalnum() or character.isspace() for character in text):
        kinds.append("signs")
    return f"<{len(text)}: {', '.join(kinds)}>"
