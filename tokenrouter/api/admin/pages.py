"""Pages of long lists. A cursor is the place of the last item that was shown, so what is added or taken away meanwhile moves nothing."""

import base64
import binascii
from typing import Annotated, Generic, TypeVar

import msgspec
from fastapi import Query
from pydantic import BaseModel, Field

from tokenrouter.errors import InvalidRequest

T = TypeVar("T")
Place = tuple[str | int, ...]
"""Where a page ends."""

MOST_PER_PAGE = 500
_LONGEST = 2_000
_place = msgspec.json.Decoder(tuple[str | int, ...])

PageSize = Annotated[int, Query(alias="limit", ge=1, le=MOST_PER_PAGE, description="How many at most.")]
Cursor = Annotated[str, Query(max_length=_LONGEST, description="`next_cursor` of the page before; empty: from the beginning.")]


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    data: list[T]
    has_more: bool = Field(description="There are more behind these.")
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")


def page(data: list[T], places: list[Place], size: int) -> Page[T]:
    """The first `size` of what was found. `places`: of each item. Ask the store for one more than `size`, so that it is known if there are more."""
    return page_behind(data[:size], places[size - 1] if len(data) > size else None)


def page_behind(data: list[T], after: Place | None) -> Page[T]:
    """A page; `after`: where the next one begins, None on the last one."""
    return Page(data=data, has_more=after is not None, next_cursor=None if after is None else _cursor(after))


def place_of(cursor: str, *kinds: type) -> Place | None:
    """The place that a cursor tells; None where there is none. Raises InvalidRequest for one that was not made here."""
    if not cursor:
        return None
    try:
        place = _place.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        place = ()
    if [type(part) for part in place] != list(kinds) or any(isinstance(part, int) and abs(part) >> 63 for part in place):
        raise InvalidRequest("cursor: take `next_cursor` of the page before as it is", param="cursor")
    return place


def _cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")
