"""The two ways through the gateway. Native: the client's own bytes up, the vendor's own bytes down, a tap reading figures.
Translation (`translation.py`): both sides through the model, for a client and a vendor that speak differently.
"""

from collections.abc import Mapping
from functools import cache
from typing import cast

import msgspec

from tokenrouter.adapters.base import (
    Aftermath,
    CountDialect,
    Dialect,
    GuestWire,
    KeepingWire,
    NativeWire,
    OutboundAdapter,
    StreamTap,
    ThinningWire,
)
from tokenrouter.adapters.outbound.behind import can_say_behind, with_behind
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.catalog import Deployment, Endpoint
from tokenrouter.model.edits import CHUNKS_EMPTY, USAGE_ASK
from tokenrouter.upstream.lane import NOTHING_LEFT, Asked, Lane, Whole
from tokenrouter.upstream.translation import client_name, estimate, translation


def is_native(deployment: Deployment, dialect: Dialect, wires: Mapping[str, OutboundAdapter]) -> bool:
    """Whether requests of `dialect` pass to `deployment` as they are."""
    return _native(deployment, dialect, wires) is not None


def says_behind(deployment: Deployment, dialect: Dialect, wires: Mapping[str, OutboundAdapter], *, results: bool) -> bool:
    """Whether a text can be said behind requests of `dialect` to `deployment`. `results`: the newest message holds tool results."""
    if results and "no_user_after_results" in deployment.quirks:
        return False
    return can_say_behind(dialect.dialect) if is_native(deployment, dialect, wires) else True


def _native(deployment: Deployment, dialect: Dialect, wires: Mapping[str, OutboundAdapter]) -> tuple[Endpoint, OutboundAdapter, NativeWire] | None:
    for endpoint in deployment.endpoints:
        wire = wires[endpoint.wire]
        if wire.native is not None and wire.native.dialect == dialect.dialect:
            return endpoint, wire, wire.native
    return None


def open_lane(asked: Asked, dialect: Dialect, wires: Mapping[str, OutboundAdapter], created_s: int) -> Lane:
    """Choose the lane and render the request.

    A host that speaks several wires is asked on the one that drops least, the first of these; what none carries is refused in the words
    of the first. Raises InvalidRequest, UnsupportedField.
    """
    found = _native(asked.deployment, dialect, wires)
    if found is not None:
        return _NativeLane(asked, *found)
    refused: InvalidRequest | None = None
    lanes: list[Lane] = []
    for endpoint in asked.deployment.endpoints:
        wire = wires[endpoint.wire]
        if wire.translated is None or wire.operation != dialect.operation or endpoint.native_only:
            continue
        try:
            lanes.append(translation(asked, dialect, endpoint, wire, created_s))
            if not lanes[-1].outgoing.dropped:
                break
        except UnsupportedField as error:
            refused = refused or error
        except InvalidRequest as error:
            raise _renamed(error, dialect.field_names) from error
    if lanes:
        return min(lanes, key=lambda lane: len(lane.outgoing.dropped))
    if refused is not None:
        raise _renamed(refused, dialect.field_names) from refused
    if dialect.operation == "count":
        return estimate(asked, cast("CountDialect", dialect))
    what = "answers" if dialect.operation == "generate" else "embeddings"
    raise UnsupportedField(f"{asked.deployment.vendor} gives no {what} to this API's clients", param="model")


def _renamed(error: InvalidRequest, names: Mapping[str, str]) -> InvalidRequest:
    """An error about a field, in the words of the client's dialect."""
    said = client_name(error.param or "", names)
    if not error.param or said == error.param:
        return error
    return type(error)(error.message.replace(error.param, said, 1), param=said, headers=error.headers)


@cache
def _keeps(kind: type) -> bool:
    """`isinstance` of a protocol is slow."""
    return issubclass(kind, KeepingWire)


class _NativeLane:
    native = True
    stream_type: bytes | None = None
    keep_alive = b""

    def __init__(self, asked: Asked, endpoint: Endpoint, wire: OutboundAdapter, native: NativeWire) -> None:
        self.endpoint: Endpoint | None = endpoint
        self._wire, self._native, self._params = wire, native, asked.params
        made = native.native_request(asked.envelope, asked.canonical, asked.model, asked.deployment, asked.plan, asked.edits)
        if asked.behind is not None:  # last: marks stand on what the client sent
            body = with_behind(native.dialect, made.body, asked.behind, parts_alike=asked.model.cache.parts_alike)
            made = msgspec.structs.replace(made, body=body)
        self.outgoing = made
        self._hide = asked.params.stream and USAGE_ASK in self.outgoing.edits

    def whole(self, body: bytes) -> Whole:
        usage, reusable = self._native.verdict(body)
        return Whole(body, usage, reusable)

    def stream(self) -> StreamTap:
        if CHUNKS_EMPTY in self.outgoing.edits:
            return cast("ThinningWire", self._native).relay(self._params, hide_usage=self._hide, drop_empty=True)
        return self._native.relay(self._params, hide_usage=self._hide)

    def error_message(self, body: bytes) -> str | None:
        return self._wire.error_message(body)

    def own_error(self, body: bytes) -> bool:
        return self.error_message(body) is not None and (not isinstance(self._native, GuestWire) or self._native.own_error(body))

    def aftermath(self, last: bytes) -> Aftermath:
        return cast("KeepingWire", self._native).aftermath(last) if _keeps(type(self._native)) else NOTHING_LEFT
