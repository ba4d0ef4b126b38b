"""Time as a zone reads it: stretches in which its clocks are not set, each with one offset from UTC. Pure."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

_SECOND_NS = 1_000_000_000
_STEP_S = 86_400


class Stretch(msgspec.Struct, frozen=True):
    """From one moment to another (nanoseconds since the epoch, the end excluded), local time is `offset_s` seconds ahead of UTC."""

    since_ns: int
    until_ns: int
    offset_s: int

    @property
    def offset(self) -> str:
        """The offset as it is written behind a time: "+01:00"."""
        hours, rest = divmod(abs(self.offset_s), 3600)
        return f"{'-' if self.offset_s < 0 else '+'}{hours:02d}:{rest // 60:02d}"


def stretches(zone: str, since_ns: int, until_ns: int) -> list[Stretch]:
    """The stretches of time from `since_ns` to `until_ns`, in order, without gaps. Empty where there is no time between them.

    >>> night = stretches("Europe/Berlin", 1698530400 * 10**9, 1698616800 * 10**9)
    >>> [(each.offset, (each.until_ns - each.since_ns) // (3600 * 10**9)) for each in night]
    [('+02:00', 3), ('+01:00', 21)]
    """
    if since_ns >= until_ns:
        return []
    known, first, last = ZoneInfo(zone), since_ns // _SECOND_NS, -(-until_ns // _SECOND_NS)
    cuts: list[tuple[int, int]] = [(since_ns, _offset(known, first))]
    at = first
    while at < last:
        after = min(at + _STEP_S, last)
        if _offset(known, after) != cuts[-1][1]:
            moment = _change(known, at, after)
            cuts.append((moment * _SECOND_NS, _offset(known, moment)))
        at = after
    ends = [moment for moment, _ in cuts[1:]] + [until_ns]
    return [Stretch(moment, end, offset) for (moment, offset), end in zip(cuts, ends, strict=True) if moment < end]


def _change(zone: ZoneInfo, low: int, high: int) -> int:
    """The first second of the new offset: after `low`, not after `high`."""
    before = _offset(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
    return high


def _offset(zone: ZoneInfo, at_s: int) -> int:
    shift = datetime.fromtimestamp(at_s, UTC).astimezone(zone).utcoffset()
    return 0 if shift is None else int(shift.total_seconds())
