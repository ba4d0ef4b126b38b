"""Pieces that differ in unusual ways are told apart like all others."""

import pytest

from tokenrouter.model.chunk import Shape
from tokenrouter.prefixes.differences import first_difference


@pytest.mark.parametrize(
    ("before", "after", "manner"),
    [
        (b"1", b"true", "changed"),
        (b"false", b"0", "changed"),
        (b"1.5", b"true", "changed"),
        (b"1", b"1.0", "spelling"),
        (b"1", b"1e400", "changed"),
        (b"1", b"9" * 400, "changed"),
        (b"1", b"null", "changed"),
    ],
)
def test_a_number_that_becomes_something_else_is_a_difference(before: bytes, after: bytes, manner: str):
    found = first_difference(b'{"default":%b}' % before, b'{"default":%b}' % after, Shape())
    assert found is not None
    assert (found.path, found.manner) == (".default", manner)
