"""The memory of conversations: bounded, per tenant, without text where that is switched off, and silent about what it holds."""

import json
import random

import msgspec
import pytest
from desk import Asked, Desk
from injecting import set_system
from injections import case
from talks import body, ends, talk

from tokenrouter.model.breaks import Break, redacted
from tokenrouter.prefixes.sessions import Limits, Sessions, session_key
from tokenrouter.prefixes.snapshots import WHOLE, Clip, first_line

SECRET_WORD = "xyzzyplugh"


def spoken(desk, said, dialect="openai-chat", *, tenant="tenant-a", at_s=1000.0):
    found = None
    for number, upto in enumerate(ends(said)):
        found = desk.ask(Asked(dialect, body(said, dialect, upto), at_s + 9 * number, session=said.session, tenant=tenant))
    return found


@pytest.mark.parametrize("tenants", [1, 3])
def test_memory_stays_within_its_bounds(tenants):
    limits = Limits(head=40_000, tenant=60_000, process=100_000)
    desk = Desk(sessions=Sessions(limits))
    for number in range(40):
        spoken(desk, talk(number, rounds=2), tenant=f"tenant-{number % tenants}")
        assert desk.sessions.held <= limits.process + 60_000
    assert 0 < desk.sessions.held <= limits.process


def test_what_is_counted_is_given_back():
    """Long use leaves nothing behind: the count is that of what is held."""
    desk = Desk(sessions=Sessions(Limits(tenant=150_000, process=150_000)))
    for number in range(30):
        spoken(desk, talk(number, rounds=3))
        for tenant in desk.sessions._tenants.values():
            clips = {id(entry[0]): entry[0].cost for entry in tenant.texts.values()}
            heads = [head for heads in tenant.sessions.values() for head in heads] + [root.head for root in tenant.roots.values()]
            bare = sum(768 + len(head.shot.parameters) + 72 * len(head.shot.pieces) for head in heads)
            assert tenant.held == sum(clips.values()) + bare + 192 * len(tenant.tails)
            assert {id(clip) for head in heads for clip in head.clips if clip is not None} == set(clips)
    assert all(1 < len(tenant.sessions) < 30 for tenant in desk.sessions._tenants.values()), "some were forgotten, not all"


def test_parameters_are_counted():
    """An output schema is said again in every conversation."""
    desk = Desk(sessions=Sessions(Limits(tenant=1_000_000, process=1_000_000)))
    for number in range(300):
        schema = {"name": "answer", "schema": {"description": f"{number} " * 2_000}}
        asked = {
            "model": "gpt-4.1",
            "messages": [{"role": "user", "content": "Hi."}],
            "response_format": {"type": "json_schema", "json_schema": schema},
        }
        desk.ask(Asked("openai-chat", asked, 1000.0 + number, session=f"session {number}"))
    (tenant,) = desk.sessions._tenants.values()
    assert 0 < sum(len(head.shot.parameters) for heads in tenant.sessions.values() for head in heads) <= 1_000_000


def test_what_finds_forgotten_conversations_is_forgotten_with_them():
    desk = Desk(sessions=Sessions(Limits(tenant=100_000, process=100_000)))
    for number in range(300):
        asked = {"model": "gpt-4.1", "messages": [{"role": "user", "content": f"Question {number}."}]}
        desk.ask(Asked("openai-chat", asked, 1000.0 + number, session=f"session {number}"))
    (tenant,) = desk.sessions._tenants.values()
    assert 1 < len(tenant.tails) == len(tenant.sessions) < 300


def test_a_conversation_takes_the_place_of_its_own_beginning():
    desk, said = Desk(), talk(2, rounds=6)
    spoken(desk, said)
    now = desk.snapshot(Asked("openai-chat", body(said, "openai-chat", len(said.turns)), 0.0, session=said.session))
    (head,) = desk.sessions.heads("tenant-a", now.session)
    assert len(head.shot.pieces) == len(now.pieces)
    assert head.shot.slices == ()


def test_a_conversation_has_a_bounded_number_of_lines():
    desk, said = Desk(), talk(2, rounds=2)
    for number in range(30):
        other = talk(2, rounds=2)
        other.turns[-1] = ("user", f"Another question, number {number}.")
        desk.ask(Asked("openai-chat", body(other, "openai-chat", len(other.turns)), 1000.0 + number * 9, session=said.session))
    now = desk.snapshot(Asked("openai-chat", body(said, "openai-chat", 1), 0.0, session=said.session))
    assert len(desk.sessions.heads("tenant-a", now.session)) <= 8


def test_without_text_places_are_told_by_digest_and_nothing_is_held():
    desk = Desk(sessions=Sessions(Limits(keep_text=False)))
    made = case("tool_description_changed", 1, "openai-chat")
    found = [desk.ask(asked) for asked in made.asked][-1]
    assert found.cause == "tools.changed"
    assert found.path == made.place
    assert found.excerpt.before == found.excerpt.after == ""
    assert not any(tenant.texts for tenant in desk.sessions._tenants.values())


def test_without_text_another_form_is_still_told_from_another_text():
    desk = Desk(sessions=Sessions(Limits(keep_text=False)))
    for dialect in ("openai-chat", "openai-responses", "anthropic-messages"):
        said = talk(11, rounds=6, tools=0)
        spoken(desk, said, dialect)
        request = body(said, dialect, len(said.turns))
        message = request["input" if dialect == "openai-responses" else "messages"][3]
        text = message["content"]
        message["content"] = text[0]["text"] if isinstance(text, list) else [{"type": "text", "text": text}]
        found = desk.ask(Asked(dialect, request, 1100.0, session=said.session))
        assert found.cause == ("form.flipped" if dialect != "openai-responses" else "message.edited"), "a part that has more than text is another one"


def test_without_text_a_parameter_is_still_named():
    desk = Desk(sessions=Sessions(Limits(keep_text=False)))
    said = talk(1)
    for number, effort in enumerate(("low", "low", "high")):
        request = {**body(said, "openai-chat", ends(said)[number]), "reasoning_effort": effort}
        found = desk.ask(Asked("openai-chat", request, 1000.0 + 9 * number, session="s"))
    assert (found.cause, found.path) == ("parameters", "reasoning_effort")
    assert "low" not in found.excerpt.before


def test_text_stands_in_no_representation():
    desk, said = Desk(), talk(3)
    said.system += SECRET_WORD
    spoken(desk, said)
    now = desk.snapshot(Asked("openai-chat", body(said, "openai-chat", 1), 0.0, session=said.session))
    assert SECRET_WORD not in repr(desk.sessions.heads("tenant-a", now.session))


def test_a_break_is_json_and_can_be_redacted():
    said = talk(4)
    desk = Desk()
    spoken(desk, said)
    request = body(said, "openai-chat", len(said.turns))
    set_system(request, said.system.replace("\n", f"\n{SECRET_WORD}, be kind.\n", 1))
    found = desk.ask(Asked("openai-chat", request, 1200.0, session=said.session))
    assert found.cause == "system.changed"
    assert SECRET_WORD in json.dumps(msgspec.to_builtins(found))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Break) == found
    bare = redacted(found)
    assert SECRET_WORD not in json.dumps(msgspec.to_builtins(bare))
    assert bare.excerpt.after == f"<{len(found.excerpt.after)}: letters, spaces, signs>"
    assert said.system.split()[0] not in found.sentence.split()


def test_a_name_makes_the_session_whatever_is_asked():
    desk, one, other = Desk(), talk(1), talk(2)
    first, second = [desk.snapshot(Asked("openai-chat", body(said, "openai-chat", 1), 0.0, session="n")).session for said in (one, other)]
    assert first == second
    unnamed = [desk.snapshot(Asked("openai-chat", body(said, "openai-chat", upto), 0.0)).session for said in (one, other) for upto in (1, 3)]
    assert unnamed[0] == unnamed[1] != unnamed[2] == unnamed[3]


def test_keys_of_tenants_and_secrets_have_nothing_in_common():
    from support import see

    canonical = see({"model": "m", "messages": [{"role": "user", "content": "a"}]}).canonical
    keys = {session_key(secret, tenant, named, canonical) for secret in (b"a", b"b") for tenant in ("t", "u") for named in ("", "n", "m")}
    assert len(keys) == 12


@pytest.mark.parametrize("lines", [2_000, 9_000])
def test_a_text_that_is_too_long_is_still_compared_by_line(lines):
    rng = random.Random(5)
    text = [f"{number}: {rng.getrandbits(200):x}" for number in range(lines)]
    before = json.dumps("\n".join(text)).encode()
    assert len(before) > WHOLE
    text[lines // 2] = "otherwise"
    clip = Clip(before)
    assert clip.whole() is None
    assert clip.cost < len(before)
    assert first_line(clip, json.dumps("\n".join(text)).encode()) == lines // 2 + 1
    assert first_line(clip, before) == 0


def test_a_long_system_text_that_changes_is_told_by_its_line():
    said = talk(5)
    said.system = "\n".join(f"{number}. {random.Random(number).getrandbits(300):x}" for number in range(1_500))
    desk = Desk()
    spoken(desk, said)
    request = body(said, "openai-chat", len(said.turns))
    set_system(request, said.system.replace("\n700. ", "\n700. Never ", 1))
    found = desk.ask(Asked("openai-chat", request, 1200.0, session=said.session))
    assert (found.cause, found.path, found.line) == ("system.changed", "messages[0]", 701)


def test_a_request_to_another_model_is_no_part_of_a_conversation_that_nobody_named():
    said, desk = talk(17, rounds=4), Desk()
    first = body(said, "openai-chat", ends(said)[-1])
    desk.ask(Asked("openai-chat", first, 1000.0, session="one"))
    second = {**first, "messages": [{"role": "system", "content": "Write a title."}, *first["messages"][1:]]}
    for model, alike in (("gpt-4.1", True), ("gpt-4.1-mini", False)):
        past = desk.sessions.before(desk.snapshot(Asked("openai-chat", second, 1020.0, session=f"two of {model}", model=model)))
        assert (past is not None and past.relation == "conversation") is alike
