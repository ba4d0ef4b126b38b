"""What the counters' scripts answer: flat lists, whose order is known here only."""

from collections.abc import Sequence
from typing import cast

import msgspec

from tokenrouter.model.admission import Bound, CapLook, CapState, LimitLook, Look, Refusal, Standing
from tokenrouter.storage.redis_link import Arg, Reply
from tokenrouter.storage.redis_plans import Charged, Plan


class Given(msgspec.Struct, frozen=True):
    """What `admit` said when it gave everything."""

    now_ms: int
    epoch: str
    kept: bytes
    requests: Standing | None
    tokens: Standing | None
    ticks: tuple[int, ...]
    warnings: tuple[int, ...]


def read_given(told: Sequence[Reply], plan: Plan) -> Given:
    """The reply of `admit` when it gave everything."""
    ticks, numbers = 10 + plan.tokens.count, cast("Sequence[int]", told)
    return Given(
        numbers[1], words(told[2]), raw(told[3]), _standing(numbers[4:7]), _standing(numbers[7:10]), tuple(numbers[10:ticks]), tuple(numbers[ticks:])
    )


def read_refusal(told: Sequence[Reply], bound: Bound, charged: Charged | None) -> Refusal:
    """The reply of `admit` when it refused."""
    kind, which = raw(told[3]), number(told[4]) - 1
    retry_ms, left, held = number(told[5]), number(told[6]), number(told[7])
    if kind == b"c":
        cap = bound.caps[which].cap
        ends_ms = number(charged.rules.args[5 * which + 4]) if charged is not None else 0
        return Refusal(cap=cap, retry_ms=retry_ms, left=left, held=held, resets_ms=max(0, ends_ms))
    limits = bound.requests if kind == b"r" else bound.tokens if kind == b"t" else bound.concurrency
    return Refusal(limit=limits[which].limit, retry_ms=retry_ms, left=left)


def read_look(told: Sequence[Reply], plan: Plan, charged: Charged) -> Look:
    """The reply of `look`."""
    parts, bound = iter([number(each) for each in told[2:]]), plan.bound
    requests = [LimitLook(each.limit, each.counter, each.limit.amount, next(parts), next(parts)) for each in bound.requests]
    places = [LimitLook(each.limit, each.counter, each.limit.amount, each.limit.amount - next(parts), -1) for each in bound.concurrency]
    tokens = [LimitLook(each.limit, each.counter, each.limit.amount, next(parts), next(parts)) for each in bound.tokens]
    held, caps = iter(charged.held), []
    for counted in bound.caps:
        if counted.cap.period == "request":
            caps.append(CapLook(counted.cap, "", CapState()))
        else:
            cap, name, ends_ms = next(held)
            caps.append(CapLook(cap, name, CapState(next(parts), next(parts), next(parts)), ends_ms))
    return Look(number(told[1]), (*requests, *places, *tokens), tuple(caps))


def _standing(told: Sequence[int]) -> Standing | None:
    most, left, whole_ms = told
    return None if most < 0 else Standing(most, left, whole_ms)


def number(told: Reply | Arg) -> int:
    """An integer of a reply."""
    return int(told) if isinstance(told, int | bytes | str) else 0


def raw(told: Reply) -> bytes:
    """Bytes of a reply."""
    return told if isinstance(told, bytes) else b""


def words(told: Reply) -> str:
    """Text of a reply."""
    return raw(told).decode()


def listed(told: Reply) -> list[Reply]:
    """A reply that is a list: all of these scripts answer with one."""
    if not isinstance(told, list):
        raise TypeError(f"a script answered {type(told).__name__}, not a list")
    return told
