"""What the provider says of a prompt: kept with every break, and a cause of its own where nothing else was found."""

import pytest
from desk import RATES, Asked, Desk
from talks import body, ends, talk

from tokenrouter.model.usage import Usage
from tokenrouter.prefixes.diagnosis import Context, diagnose


def asked_twice(change=None, *, said="system_changed", missed=900, read=None):
    """A conversation's second request, of which the provider says something."""
    talked, desk = talk(21), Desk()
    stops = ends(talked)
    desk.ask(Asked("anthropic-messages", body(talked, "anthropic-messages", stops[1]), 1000.0, session="s"))
    request = body(talked, "anthropic-messages", stops[2])
    if change is not None:
        change(request)
    now = desk.snapshot(Asked("anthropic-messages", request, 1020.0, session="s"))
    total = sum(piece.tokens for piece in now.pieces)
    got = total - 900 if read is None else round(total * read)
    usage = Usage(fresh_input=total - got, cache_read=got)
    context = Context(usage=usage, rates=RATES, lifetime_s=300, minimum=100, expected=0, said=said, said_missed=missed)
    return diagnose(desk.sessions.before(now), now, context)


def test_what_it_says_is_kept_with_a_break_that_is_found_here():
    def change(request):
        request["system"][0]["text"] = "You are a careless assistant."

    found = asked_twice(change, read=0.0)
    assert (found.cause, found.said) == ("system.changed", "system_changed")


def test_where_nothing_is_found_it_is_the_provider_in_its_own_word():
    found = asked_twice(read=0.0)
    assert (found.cause, found.said, found.tokens) == ("provider", "system_changed", 900)
    assert "system_changed" in found.sentence
    assert found.alarming
    assert found.nano_usd > 0


@pytest.mark.parametrize("more", [{"missed": 0, "said": "unavailable", "read": 0.0}, {"missed": 20, "read": 0.0}, {"read": 0.99}])
def test_it_is_no_alarm_where_next_to_nothing_was_missed(more):
    assert asked_twice(**more) is None


def test_another_way_of_the_conversation_is_no_alarm_whatever_it_says():
    def change(request):
        request["messages"] = [{"role": "user", "content": "Something else. " * 9}]

    assert asked_twice(change, said="messages_changed", read=0.5) is None
