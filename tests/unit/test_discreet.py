"""A credential that a host repeats does not reach clients, wherever the answer is cut; all else passes as it came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrouter.upstream.discreet import Discreet

KEY = "sk-abcabcabd"
SHOWN = (("authorization", f"Bearer {KEY}"), ("x-other", "a header that says something"))


@given(st.lists(st.sampled_from([KEY, KEY[:5], KEY[3:], "sk-", "abc", "\n", "a header that says something", "é"]), max_size=12), st.data())
def test_it_is_hidden_however_the_answer_is_cut_and_nothing_else_changes(words: list[str], data: st.DataObject):
    whole, discreet, passed, start = "".join(words).encode(), Discreet(SHOWN), b"", 0
    while start < len(whole):
        end = start + data.draw(st.integers(1, len(whole) - start))
        passed += discreet.feed(whole[start:end])
        start = end
    assert passed + discreet.rest() == whole.replace(KEY.encode(), b"***")


def test_what_can_not_begin_it_is_never_held_back():
    discreet = Discreet(SHOWN)
    assert discreet.feed(b"data: {}\n\n") == b"data: {}\n\n"
    assert (discreet.feed(b"data: sk-ab"), discreet.feed(b"d\n"), discreet.rest()) == (b"data: ", b"sk-abd\n", b"")


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "x-goog-api-key", "x-amz-security-token"])
def test_every_way_to_show_one_counts(name: str):
    discreet = Discreet(((name, KEY),))
    assert (discreet.text(f"of {KEY}"), discreet.feed(f"of {KEY}.".encode())) == ("of ***", b"of ***.")


def test_a_host_that_is_shown_none_may_say_anything():
    discreet = Discreet(())
    assert (discreet.feed(b"anything"), discreet.rest(), discreet.text("anything")) == (b"anything", b"", "anything")
