"""No alarm where nothing is broken: turns, retries, branches, parallel calls, helpers, side requests, resumed and new conversations."""

import msgspec
import pytest
from clean import traffic
from desk import Asked, Desk
from talks import body, ends, talk


def alarms(seed, **desk):
    at, found, count = Desk(**desk), [], 0
    for together in traffic(seed):
        for started in [at.start(asked) for asked in together]:
            count += 1
            said = at.answer(started)
            if said is not None and said.alarming and said.cause != "expired":
                found.append(said)
    return found, count


def late(seed):
    """Whether requests that are called expired came later than the lifetime after the one before."""
    at = Desk()
    for together in traffic(seed):
        for started in [at.start(asked) for asked in together]:
            said = at.answer(started)
            if said is not None and said.cause == "expired":
                yield said.idle_s > 300


@pytest.mark.parametrize(("tells", "seeds"), [(True, 2), (False, 1), *[pytest.param(tells, 5, marks=pytest.mark.slow) for tells in (True, False)]])
def test_clean_traffic_raises_no_alarm(tells, seeds):
    total = 0
    for seed in range(seeds):
        found, count = alarms(seed, tells=tells)
        total += count
        assert not found
    assert total >= 200 * seeds


def test_only_pauses_that_are_too_long_are_called_so():
    assert all(answer for seed in range(1) for answer in late(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
def test_more_clean_traffic_raises_no_alarm(seed):
    assert not alarms(seed)[0]


def test_the_first_request_is_explained_without_an_alarm():
    said = talk(3)
    found = Desk().ask(Asked("openai-chat", body(said, "openai-chat", 1), 1000.0))
    assert found.cause == "first_sight"
    assert not found.alarming
    assert found.tokens == found.nano_usd == 0


def test_a_prompt_that_is_too_short_is_no_break_either():
    said = talk(4, lines=2, tools=0, rounds=2)
    desk, found = Desk(minimum=4096), None
    for number, upto in enumerate(ends(said)):
        found = desk.ask(Asked("anthropic-messages", body(said, "anthropic-messages", upto), 1000.0 + 9 * number))
        assert found.cause == "below_minimum"
    assert not found.alarming


def test_what_another_tenant_asked_is_never_compared_with():
    said = talk(5)
    desk = Desk()
    for tenant in ("tenant-a", "tenant-b"):
        found = desk.ask(Asked("openai-chat", body(said, "openai-chat", 1), 1000.0, session="the same", tenant=tenant))
        assert found.cause == "first_sight"
        assert found.previous_id == ""


def test_requests_under_way_at_the_same_time_are_not_compared():
    said = talk(6)
    desk = Desk()
    first = desk.start(Asked("openai-chat", body(said, "openai-chat", 1), 1000.0, lasts_s=9.0))
    desk.answer(first)
    found = desk.ask(Asked("openai-chat", body(said, "openai-chat", 1), 1005.0))
    assert found.cause == "first_sight"


def test_a_branch_that_happens_to_repeat_one_long_message_is_no_edit():
    said, other = talk(9, rounds=9, tools=0), talk(10, rounds=9, tools=0)
    desk = Desk()
    turns = [*said.turns[:3], ("assistant", "A way.", []), ("user", "And then?"), ("assistant", "word " * 900, []), *other.turns[:9], said.turns[0]]
    branch = [
        *said.turns[:3],
        ("assistant", "Another way.", []),
        ("user", "Why?"),
        ("assistant", "word " * 900, []),
        ("user", "Well."),
        said.turns[7],
        ("user", "Yes."),
    ]
    said.turns = turns
    desk.ask(Asked("openai-chat", body(said, "openai-chat", len(turns)), 1000.0, session="s"))
    said.turns = branch
    assert desk.ask(Asked("openai-chat", body(said, "openai-chat", len(branch)), 1010.0, session="s")) is None


def test_small_talk_that_two_apps_have_in_common_makes_no_conversation_of_them():
    desk = Desk()
    for app, at_s in ((31, 1000.0), (32, 1010.0)):
        said = talk(app, rounds=0, tools=4, session="")
        said.turns = [("user", "Hello"), ("assistant", "Hello! How can I help?", []), ("user", f"Tell me about {said.tools[0]['name']}. " * 12)]
        found = desk.ask(Asked("openai-chat", body(said, "openai-chat", 3), at_s))
        assert found.cause == "first_sight"


@pytest.mark.parametrize("moved", [{"account": "account-2"}, {"model": "other/model"}])
def test_what_was_read_all_the_same_is_no_break(moved):
    said, desk = talk(12), Desk()
    desk.ask(Asked("openai-chat", body(said, "openai-chat", ends(said)[1]), 1000.0, session="s"))
    asked = Asked("openai-chat", body(said, "openai-chat", ends(said)[2]), 1010.0, session="s", **moved)
    _, now, usage = desk.start(asked)
    read = msgspec.structs.replace(usage, fresh_input=100, cache_read=usage.input_total - 100)
    assert desk.answer((asked, now, usage)).alarming
    desk = Desk()
    desk.ask(Asked("openai-chat", body(said, "openai-chat", ends(said)[1]), 1000.0, session="s"))
    assert desk.answer((asked, desk.snapshot(asked), read)) is None
