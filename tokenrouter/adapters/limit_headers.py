"""Headers that tell a caller where it stands with its limits, as clients of each dialect know them.

OpenAI's family goes to every client: it is what tools look for. Anthropic's own goes to clients of its dialects beside it.
Source: https://platform.openai.com/docs/guides/rate-limits (durations as in "6m0s"), https://platform.claude.com/docs/en/api/rate-limits
(moments in RFC 3339); read 2026-11-21.

What vendors say of the same is about the account that all callers share, so it is no business of any one of them, and beside ours it would
contradict it (`is_limit_header`).
"""

from datetime import UTC, datetime
from typing import Final

from tokenrouter.model.admission import Standing

Header = tuple[bytes, bytes]

_ANTHROPIC: Final = frozenset(("anthropic-messages", "anthropic-count"))
_KINDS: Final = ("requests", "tokens")
_OPENAI_NAMES: Final = {kind: tuple(f"x-ratelimit-{what}-{kind}".encode() for what in ("limit", "remaining", "reset")) for kind in _KINDS}
_ANTHROPIC_NAMES: Final = {kind: tuple(f"anthropic-ratelimit-{kind}-{what}".encode() for what in ("limit", "remaining", "reset")) for kind in _KINDS}

_PREFIXES: Final = (
    *("x-ratelimit", "ratelimit", "x-rate-limit", "x-tokenlimit"),  # OpenAI and most others; IETF's draft, Mistral; older hosts; Together
    *("anthropic-ratelimit-", "anthropic-priority-", "anthropic-fast-"),  # the last two are service tiers of their own
)


def is_limit_header(name: str) -> bool:
    """Whether a vendor's response header (in lower case) tells of the limits of the account that it sees."""
    return name.startswith(_PREFIXES)


def limit_headers(dialect: str, requests: Standing | None, tokens: Standing | None, now_ms: int) -> list[Header]:
    """Where a caller of a dialect stands. Nothing is said of what is not limited.

    now_ms  milliseconds since the epoch
    """
    headers: list[Header] = []
    if requests is not None:
        _add(headers, "requests", requests, dialect, now_ms)
    if tokens is not None:
        _add(headers, "tokens", tokens, dialect, now_ms)
    return headers


def _add(headers: list[Header], kind: str, standing: Standing, dialect: str, now_ms: int) -> None:
    limit, remaining = b"%d" % standing.limit, b"%d" % max(0, standing.remaining)
    named, left, reset = _OPENAI_NAMES[kind]
    headers += ((named, limit), (left, remaining), (reset, duration(standing.reset_ms)))
    if dialect in _ANTHROPIC:
        named, left, reset = _ANTHROPIC_NAMES[kind]
        headers += ((named, limit), (left, remaining), (reset, moment(now_ms + standing.reset_ms)))


def duration(ms: int) -> bytes:
    """A duration as Go prints it, which is how OpenAI does.

    >>> [duration(ms) for ms in (0, 120, 1_500, 72_500, 360_000, 3_600_000)]
    [b'0s', b'120ms', b'1.5s', b'1m12.5s', b'6m0s', b'1h0m0s']
    """
    if 0 < ms < 1000:
        return b"%dms" % ms
    minutes, rest = divmod(max(0, ms), 60_000)
    seconds = b"%d" % (rest // 1000)
    if rest % 1000:
        seconds += (b".%03d" % (rest % 1000)).rstrip(b"0")
    if not minutes:
        return seconds + b"s"
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%ss" % (hours, minutes, seconds) if hours else b"%dm%ss" % (minutes, seconds)


def moment(ms: int) -> bytes:
    """A moment as RFC 3339 has it, to the second, rounded up: nobody is told to come too early.

    >>> moment(1_700_000_000_001)
    b'2023-11-14T22:13:21Z'
    """
    return datetime.fromtimestamp(-(-ms // 1000), UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
