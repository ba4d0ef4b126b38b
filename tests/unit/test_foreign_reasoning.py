import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrouter.adapters.wire.foreign_reasoning import PREFIX, seal, unseal
from tokenrouter.model.answer import Reasoning

words = st.text(st.characters(codec="utf-8"), max_size=30)


@given(words, words, words, words, words)
def test_what_is_sealed_comes_back_as_it_was(text, signature, redacted, form, block_id):
    reasoning = Reasoning(text, signature, redacted, form, block_id)
    assert unseal(seal(reasoning), text) == reasoning


@given(words, words)
def test_an_envelope_is_ascii_without_anything_that_a_json_or_header_would_escape(signature, redacted):
    envelope = seal(Reasoning("seen", signature, redacted))
    assert envelope.startswith(PREFIX)
    assert set(envelope[len(PREFIX) :]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_the_text_stays_outside():
    assert seal(Reasoning("one", "sig")) == seal(Reasoning("two", "sig"))


@pytest.mark.parametrize("signature", ["", "tr1", "ErUBCkYIBx==", "tr1.", "tr1.@@@", "tr1.AAAA", "tr1.W10", "tr1.eyJmIjoxfQ", "TR1.e30"])
def test_what_is_no_envelope_is_nobodys_reasoning(signature):
    assert unseal(signature) is None
