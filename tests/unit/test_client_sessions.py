"""Which conversation a request belongs to, as its client says."""

import itertools
import json

import pytest

from tokenrouter.adapters.inbound.client_sessions import SESSION_HEADERS, field_session, header_session, user_session
from tokenrouter.adapters.known import known_dialects
from tokenrouter.pipeline.canonicalizer import Memo
from tokenrouter.pipeline.chunker import chunk


@pytest.mark.parametrize(("stronger", "weaker"), list(itertools.pairwise(SESSION_HEADERS)))
def test_headers_are_believed_in_their_order(stronger, weaker):
    assert header_session({weaker: "w", stronger: " s "}) == "s"
    assert header_session({weaker: "w", stronger: " "}) == "w"
    assert header_session({stronger: "x" * 513}) == ""


def test_our_own_header_comes_first():
    assert SESSION_HEADERS[0] == "x-tokenrouter-session"


@pytest.mark.parametrize(
    ("user", "session"),
    [
        ("user_1f_account__session_3fa85f64-5717", "3fa85f64-5717"),
        (json.dumps({"device_id": "d", "account_uuid": "", "session_id": "abc"}), "abc"),
        (json.dumps({"device_id": "d"}), ""),
        ("[1]", ""),
        ('{"session_id": 5}', ""),
        ('{"session_id": "' + "x" * 600 + '"}', ""),
        ("{" * 900, ""),
        ("somebody@example.org", ""),
        ("", ""),
    ],
)
def test_the_session_part_of_a_user_id(user, session):
    assert user_session(user) == session


@pytest.mark.parametrize(
    ("dialect", "body", "session"),
    [
        ("openai-chat", {"prompt_cache_key": "k", "session_id": "s"}, "k"),
        ("openai-chat", {"session_id": "s"}, "s"),
        ("openai-chat", {"user": "u"}, ""),
        ("openai-responses", {"prompt_cache_key": "k"}, "k"),
        ("anthropic-messages", {"max_tokens": 1, "metadata": {"user_id": "a_session_b"}}, "b"),
        ("anthropic-messages", {"max_tokens": 1}, ""),
    ],
)
def test_dialects_read_the_session_off_their_own_fields(dialect, body, session):
    turn = "input" if dialect == "openai-responses" else "messages"
    raw = json.dumps({"model": "m", turn: [{"role": "user", "content": "hi"}], **body}).encode()
    envelope = known_dialects()[dialect].parse(raw, {})
    assert chunk(envelope, Memo(1))[1].session == session


def test_a_field_that_is_no_name_is_no_session():
    assert field_session({"prompt_cache_key": 5, "session_id": ["s"]}) == ""
