"""`tools.spelling`: tools that differ in the order of their JSON keys alone are sent as the first of them was spelled.

Clients with unordered maps write a schema anew each time, and two users of one app write it in two ways. Providers print the keys of a
schema in the order in which they come, so each order is a prompt of its own; `properties` mean something in their order, so they can not be
sorted either. Whose spelling came first is remembered for a tenant and a host. What differs in anything but the order of keys is another
tool: numbers keep their spelling, arrays their order.
"""

from typing import Protocol

import msgspec

from tokenrouter.prefixes.remembered import Remembered

_ROOM = 8 << 20
_PROCESS_ROOM = 64 << 20
_MOST = 256 << 10


class ToolSpelled(msgspec.Struct, frozen=True, tag=True):
    """How a tool was spelled when it was first seen.

    host      the vendor whose accounts it is sent to
    kin       `Reading.kin`: what it says
    digest    `Reading.prefix_digest`: as a provider prints it
    spelling  its JSON without cache marks
    seen_ns   when, Unix nanoseconds: of two workers' first sights the earlier one counts
    """

    tenant: str
    host: str
    kin: bytes
    digest: bytes
    spelling: bytes
    seen_ns: int


class Spellings(Protocol):
    """First spellings."""

    def find(self, tenant: str, host: str, kin: bytes) -> ToolSpelled | None:
        """The first spelling of a tool; None at its first sight."""
        ...

    def remember(self, spelled: ToolSpelled) -> bool:
        """Take it for the first one, unless an earlier one is known. Whether it was taken."""
        ...


class ToolSpellings:
    """`Spellings` of one process, bounded for each tenant."""

    def __init__(self, room: int = _ROOM, process_room: int = _PROCESS_ROOM) -> None:
        """`room`: bytes for a tenant; `process_room`: for all of them."""
        self._kept: Remembered[tuple[str, bytes], ToolSpelled] = Remembered(
            lambda spelled: len(spelled.spelling) + 256, room=room, process_room=process_room
        )

    def find(self, tenant: str, host: str, kin: bytes) -> ToolSpelled | None:
        """See `Spellings`."""
        return self._kept.get(tenant, (host, kin))

    def remember(self, spelled: ToolSpelled) -> bool:
        """See `Spellings`. A very long one is not kept: it would drive out everything else."""
        if len(spelled.spelling) > _MOST:
            return False
        known = self.find(spelled.tenant, spelled.host, spelled.kin)
        if known is not None and (known.seen_ns, known.spelling) <= (spelled.seen_ns, spelled.spelling):
            return False
        self._kept.put(spelled.tenant, (spelled.host, spelled.kin), spelled)
        return True
