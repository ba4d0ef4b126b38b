"""Holds as they are stored in Redis: written by the scripts (lua/part_hold.lua), read here."""

import msgspec


class HoldRecord(msgspec.Struct, frozen=True, array_like=True):
    """One hold.

    state   h held, p presumed spent, q presumed by the ledger before a rebuild, so that only its id is known
    id      of the request
    intent  a RequestRecord as JSON; "" where there is none, or the ledger was told of its end
    caps    counter, amount, end of its period (ms; 0: never)
    takes   counter of a limit of tokens, amount, entry, how much of it stands there
    """

    state: str
    id: str
    admitted_ms: int
    usd: int
    tokens: int
    intent: str
    caps: tuple[tuple[str, int, int], ...] = ()
    takes: tuple[tuple[str, int, int, int], ...] = ()


_decoder = msgspec.msgpack.Decoder(HoldRecord)


def read_hold(stored: bytes) -> HoldRecord:
    """A record. Raises msgspec.MsgspecError."""
    return _decoder.decode(stored)
