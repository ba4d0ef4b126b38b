"""Breaks of real clients, labelled by hand, are called by their cause and place; what real clients do otherwise raises no alarm.

The requests are captured ones without other people's words (`reducing.py`); causes and places are in `captured/labels.txt`.
"""

import re

import pytest
from labelled import asked, desk_of_clients, judged, labels, wrong
from reducing import CLIENTS, KEPT_MEMBERS, KEPT_WORDS, load, stored

PAIRS = {pair.name: pair for client in CLIENTS for pair in load(client)[1]}
MADE_UP = re.compile(r"(?:[bdfgklmnprstvz][aeiou])*[bdfgklmnprstvz]?")


@pytest.mark.parametrize("client", sorted({pair.then.client for pair in PAIRS.values()}))
def test_a_break_of_a_client_is_called_by_its_cause_and_place(client):
    told, said = labels(), []
    for pair in PAIRS.values():
        if pair.then.client == client and (fault := wrong(judged(pair)[1], told[pair.name])):
            said.append(f"{pair.name}: {fault}")
    assert not said


@pytest.mark.parametrize("client", CLIENTS)
def test_a_whole_capture_raises_no_alarm_but_the_labelled_ones(client):
    told, desk, said = labels(), desk_of_clients(), []
    for number, sent in enumerate(load(client)[0]):
        found, label = desk.ask(asked(sent, 1000.0 + 5 * number)), told.get(f"captured {client} {sent.number}")
        if label is not None:
            said += [f"{sent.number}: {fault}" for fault in [wrong(found, label)] if fault]
        elif found is not None and found.alarming:
            said.append(f"{sent.number}: false alarm: {found.cause} at {found.path}, {found.tokens} tokens")
    assert not said


def test_there_are_enough_pairs_of_both_kinds_and_each_has_its_label():
    told = labels()
    breaks = [name for name in told if not name.startswith("captured ")]
    assert set(breaks) == set(PAIRS)
    assert len(breaks) >= 150
    assert all(label.why for label in told.values())
    assert len({cause for label in told.values() for cause in label.causes}) >= 16
    assert sum(len(load(client)[0]) for client in CLIENTS) - (len(told) - len(breaks)) >= 400


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_stored_holds_no_words_of_prompts(client):
    value, odd = stored(client), set()
    for piece in [*value["pieces"], *[request[-1] for request in value["requests"]]]:
        for member, text in texts(piece):
            if member not in KEPT_MEMBERS and not text.startswith("x-anthropic-billing-header"):
                tokens = [token for token in re.findall(r"\\.|\w+", text) if not re.search(r"\d|\\", token)]
                words = [word.lower() for token in tokens for word in re.findall(r"[^\W\d_]{3,}", token)]
                odd |= {word for word in words if word not in KEPT_WORDS and not MADE_UP.fullmatch(word)}
    assert not odd


def texts(value, member=""):
    if isinstance(value, str):
        yield member, value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, member)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from texts(inner, name)
