"""Whole answers of the small API: what is written is read again, and says the same as a Chat Completions answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_answers import chat_answer

from tokenrouter.adapters.inbound.neutral import NeutralChat
from tokenrouter.adapters.wire import openai_chat
from tokenrouter.adapters.wire.neutral import decode_answer, encode_answer
from tokenrouter.errors import UpstreamFailed
from tokenrouter.model.answer import Answer, fold

one_answer = chat_answer.map(lambda answer: Answer(answer.id, answer.model, answer.created_s, answer.choices[:1], answer.usage))


@given(one_answer)
def test_what_is_written_is_read_again(answer):
    assert decode_answer(encode_answer(answer)) == answer


@given(one_answer)
def test_the_message_and_the_figures_are_those_of_chat_completions(answer):
    small, chat = json.loads(encode_answer(answer)), json.loads(openai_chat.encode_answer(answer))
    assert small["message"] == chat["choices"][0]["message"]
    assert small["finish_reason"] == chat["choices"][0]["finish_reason"]
    assert [small.get(name) for name in ("id", "model", "created", "usage")] == [chat.get(name) for name in ("id", "model", "created", "usage")]


@given(one_answer, st.data())
def test_half_an_answer_is_none(answer, data):
    body = encode_answer(answer)
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(UpstreamFailed):
        decode_answer(body[:cut])


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"message":1}', b'{"message":null,"finish_reason":[]}', b'{"error":{}}', b"<html>"])
def test_something_else_is_no_answer(body):
    with pytest.raises(UpstreamFailed):
        decode_answer(body)


def test_an_answer_that_was_cut_off_before_a_word_is_one_without_a_reason():
    assert json.loads(encode_answer(Answer("x", "m", 5, (), fold([]).usage)))["finish_reason"] is None
    assert NeutralChat().decoder().feed(b"") == []
