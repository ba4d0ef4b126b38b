"""Time as a zone reads it is cut where its clocks are set, and nowhere else."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrouter.api.admin.stretches import stretches

SECOND = 10**9
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "Africa/Casablanca"]


@given(st.sampled_from(ZONES), st.integers(0, 2 * 10**9), st.integers(0, 3 * 365 * 86_400), st.integers(0, SECOND - 1))
def test_every_moment_is_in_one_stretch_that_has_its_offset(zone: str, start: int, length: int, fraction: int):
    since, until = start * SECOND + fraction, (start + length) * SECOND + fraction
    found = stretches(zone, since, until)
    if not length:
        assert found == []
        return
    assert found[0].since_ns == since
    assert found[-1].until_ns == until
    assert all(one.until_ns == other.since_ns and one.offset_s != other.offset_s for one, other in pairwise(found))
    for each in found:
        for moment in (each.since_ns, (each.since_ns + each.until_ns) // 2, each.until_ns - 1):
            local = datetime.fromtimestamp(moment // SECOND, UTC).astimezone(ZoneInfo(zone))
            assert local.utcoffset().total_seconds() == each.offset_s


@pytest.mark.parametrize(
    ("zone", "year", "offsets"),
    [
        ("UTC", 2023, ["+00:00"]),
        ("Europe/Berlin", 2023, ["+01:00", "+02:00", "+01:00"]),
        ("Asia/Kolkata", 2023, ["+05:30"]),
        ("Australia/Lord_Howe", 2023, ["+11:00", "+10:30", "+11:00"]),
        ("Pacific/Apia", 2011, ["-11:00", "-10:00", "+14:00"]),
    ],
)
def test_a_year(zone: str, year: int, offsets: list[str]):
    ends = [int(datetime(each, 1, 15 if zone == "Pacific/Apia" else 1, tzinfo=ZoneInfo(zone)).timestamp()) * SECOND for each in (year, year + 1)]
    assert [each.offset for each in stretches(zone, *ends)][-3:] == offsets
