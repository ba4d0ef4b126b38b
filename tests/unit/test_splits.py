"""Where a system text is cut in two: by what earlier texts had, and before there are any, by what looks like it changes."""

import pytest

from tokenrouter.prefixes.scanners import first_likely
from tokenrouter.prefixes.splits import SplitSeen, cut, guess

HEAD = "You are the agent of a shop.\nBe brief and be kind, and look things up before you promise anything.\n" * 40


def seen(text: str, chars: int = 0) -> SplitSeen:
    return SplitSeen("acme", b"parent", text.encode()[-16:], text, chars, 1)


@pytest.mark.parametrize(
    "line",
    [
        "The current time is 2026-03-01 10:02:11.",
        "Today is Saturday, March 7, 2026.",
        "Session id: 7f3c2a91-08aa-4a9e-9f0c-5d1f6f2a9b11",
        "Working directory: /home/ada/shop",
        "  Working directory: /srv/build/shop",
        "cwd: /Users/ada/shop",
        "You are talking to user number 7 of this shop.",
        "Your session id: c4f81b2277.",
    ],
)
def test_a_text_that_is_like_none_before_is_cut_in_front_of_a_line_that_probably_changes(line: str):
    text = f"{HEAD}{line}\nAnswer in the customer's language."
    assert guess(text, 1000) == len(HEAD)


@pytest.mark.parametrize(
    "line",
    [
        "Refunds take 14 days, and cost 3 percent.",
        "Use GET /orders/list to find orders, and either/or in answers.",
        "Call 555-2368 in an emergency; see section 12.",
        "Write May and March with capitals.",
        "Version 3 of the rules counts.",
    ],
)
def test_numbers_words_and_routes_of_instructions_are_no_reason_to_cut(line: str):
    assert guess(f"{HEAD}{line}\n", 1000) == 0


def test_nothing_is_cut_that_is_too_short_to_be_cached():
    text = f"It is 10:05.\n{HEAD}"
    assert guess(text, 0) == 0
    assert guess(text, 4000) == 0
    assert guess(f"{HEAD}It is 10:05.\n", len(HEAD) + 1) == 0


def test_a_text_without_lines_is_cut_behind_a_sentence():
    head = "Be brief and be kind. Look things up before you promise anything. " * 40
    assert guess(f"{head}The current time is 10:05:11. Answer now.", 1000) == len(head)


def test_what_earlier_texts_had_counts_for_more_than_a_guess():
    text, other = (f"{HEAD}It is 10:0{n}.\n{HEAD}Ask for {name}.\n" for n, name in ((5, "Ada"), (5, "Grace")))
    assert cut(text, [seen(other)], 1000) == len(f"{HEAD}It is 10:05.\n{HEAD}")


def test_what_is_likely_is_looked_for_from_a_place_on():
    text = "10:05 and again 10:06"
    assert (first_likely(text, 0), first_likely(text, 1 + text.index("10:05") + 4), first_likely(text, 20)) == (0, text.index("10:06"), -1)


@pytest.mark.parametrize("tail", [" ", "\n\n", "\t\n"])
def test_no_part_is_white_space_alone(tail: str):
    assert cut(HEAD + tail, [seen(HEAD)], 1000) == 0
    assert guess("\n" * 4000 + "It is 10:05:11 now.\n", 1000) == 0
