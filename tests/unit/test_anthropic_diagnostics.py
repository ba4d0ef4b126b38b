"""Reading what Anthropic says of a prompt, out of whole answers and out of streams that come in any pieces."""

import json

import pytest

from tokenrouter.adapters.base import Heard
from tokenrouter.adapters.outbound.anthropic_diagnostics import AnthropicDiagnostics
from tokenrouter.upstream.diagnosing import _LONGEST, Diagnosis, _Tap

WIRE = AnthropicDiagnostics()
SAID = {"cache_miss_reason": {"type": "system_changed", "cache_missed_input_tokens": 812}}
MESSAGE = {"id": "msg_1", "type": "message", "content": [], "diagnostics": SAID, "usage": {"input_tokens": 1.0}}
START = b'event: message_start\ndata: {"type":"message_start","message":' + json.dumps(MESSAGE).encode() + b"}\n\n"
REST = b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
HEARD = Heard("msg_1", "system_changed", 812)


def test_the_question_is_the_last_member_and_nothing_else_changes():
    asked = WIRE.ask_why(b'{"model": "m" , "x": 1.0 }\n', "msg_0")
    assert asked == b'{"model": "m" , "x": 1.0 ,"diagnostics":{"previous_message_id":"msg_0"}}'
    assert json.loads(WIRE.ask_why(b'{"a":"\\"diagnostics\\""}', ""))["diagnostics"] == {"previous_message_id": None}
    assert WIRE.ask_why(b'{"diagnostics":null}', "msg_0") is None


def test_a_whole_answer_is_heard_and_says_nothing_any_more():
    body = json.dumps(MESSAGE).encode()
    assert WIRE.hear_whole(body, hide=False) == (HEARD, body)
    heard, hidden = WIRE.hear_whole(body, hide=True)
    assert heard == HEARD
    assert json.loads(hidden) == {**MESSAGE, "diagnostics": None}
    assert b"1.0" in hidden


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"id":"msg_1"', b'{"id":3}', b'{"id":"m","diagnostics":"no"}'])
def test_what_can_not_be_read_stays_as_it_is(body):
    assert WIRE.hear_whole(body, hide=True) == (Heard(), body)


def test_words_that_are_none_are_not_believed():
    strange = {"cache_miss_reason": {"type": "<b>because</b>", "cache_missed_input_tokens": -4}}
    assert WIRE.hear_whole(json.dumps({**MESSAGE, "diagnostics": strange}).encode(), hide=True)[0] == Heard("msg_1")


class Passing:
    usage, finished, reusable, failure, end, seen = None, False, False, None, b"", b""

    def feed(self, data):
        self.seen += data
        self.finished = b"message_stop" in self.seen
        return data

    def close(self):
        return b""


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
@pytest.mark.parametrize("lead", [b"", PING, b": hello\n\n"])
def test_a_stream_passes_without_it_whatever_its_pieces(size, lead):
    data, diagnosis, out = lead + START + REST, Diagnosis(), b""
    tap = _Tap(Passing(), WIRE, diagnosis, hides=True)
    for at in range(0, len(data), size):
        out += tap.feed(data[at : at + size])
    out += tap.close()
    assert diagnosis.heard == HEARD
    assert tap.finished
    assert b"system_changed" not in out
    assert b'"diagnostics":null' in out
    assert out.startswith(lead)
    assert out.endswith(REST)
    assert b"1.0" in out


def test_a_stream_whose_client_asked_passes_byte_by_byte():
    tap = _Tap(Passing(), WIRE, diagnosis := Diagnosis(), hides=False)
    assert tap.feed(START + REST) + tap.close() == START + REST
    assert diagnosis.heard == HEARD


@pytest.mark.parametrize("data", [b"<html>" * 9, b'event: error\ndata: {"type":"error"}\n\n', START[:40]])
def test_other_streams_pass_as_they_are(data):
    tap = _Tap(Passing(), WIRE, diagnosis := Diagnosis(), hides=True)
    assert tap.feed(data) + tap.close() == data
    assert diagnosis.heard == Heard()


def test_no_more_is_held_back_than_a_first_event_can_be():
    tap = _Tap(Passing(), WIRE, Diagnosis(), hides=True)
    assert tap.feed(b"x" * _LONGEST) == b""
    assert tap.feed(b"y") == b"x" * _LONGEST + b"y"
    assert tap.feed(b"z") == b"z"
