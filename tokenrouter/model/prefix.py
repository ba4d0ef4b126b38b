"""Prompt prefixes over time: what a request looks like to those who remember prefixes. No text, only digests, sizes and places."""

import msgspec

from tokenrouter.model.cache_plan import Breakpoint


class CacheScope(msgspec.Struct, frozen=True):
    """Whose prompt cache it is: prefixes are shared by nobody else.

    account  the deployment's name, since prompt caches belong to accounts
    model    `vendor/name`
    """

    tenant: str
    account: str
    model: str


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """One request. A boundary is the end of a piece, in rendering order: each tool, then each message, system pieces first, and inside of messages
    in several parts the ends of those that others may share.

    links     prefix identity at each boundary: depends on everything before it
    tokens    estimated tokens of each piece
    blocks    content blocks that each piece becomes on a wire that counts them
    markable  whether a breakpoint may sit at each boundary
    tools     how many boundaries are tools
    opening   how many boundaries behind them are the opening system text
    stable    boundary behind which the opening text is known to change from one request to the next; -1: it is not known to
    query     boundary at which the newest turn begins: all before it is history
    marks     the client's own breakpoints: (boundary, lifetime in seconds; 0 is the vendor's default)
    auto_end  the vendor writes the newest message by itself unless it is told not to
    inner     boundaries that are ends of content parts inside a message: (boundary, message, part), in rendering order
    session   which conversation, as far as can be told
    agent     what kind of client, as far as can be told; "" where it can not
    behind    estimated tokens that are said behind the last boundary, in this request only
    """

    scope: CacheScope
    links: tuple[bytes, ...]
    tokens: tuple[int, ...]
    blocks: tuple[int, ...]
    markable: tuple[bool, ...]
    tools: int
    opening: int
    query: int
    stable: int = -1
    marks: tuple[tuple[int, int], ...] = ()
    auto_end: bool = False
    inner: tuple[tuple[int, int, int], ...] = ()
    session: bytes = b""
    agent: str = ""
    behind: int = 0

    def breakpoint(self, boundary: int, lifetime_s: int = 0) -> Breakpoint:
        """The gateway's own breakpoint at a boundary."""
        if boundary < self.tools:
            return Breakpoint("a_tools", boundary, -1, lifetime_s)
        before = 0
        for inner, message, part in self.inner:
            if inner == boundary:
                return Breakpoint("b_messages", message, part, lifetime_s)
            before += inner < boundary
        return Breakpoint("b_messages", boundary - self.tools - before, -1, lifetime_s)

    @property
    def root(self) -> int:
        """Boundaries that are tools or opening system text: what conversations of one app have in common."""
        return self.tools + self.opening
