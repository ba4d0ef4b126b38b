"""Breaks that were put into conversations on purpose are found, called by their cause, and shown in their place."""

import pytest
from desk import Desk
from injecting import verdict
from injections import INJECTORS, case
from talks import DIALECTS

SEEDS = (1, 7)
UNSEEN = frozenset(("expired", "provider", "affinity"))
"""Causes that only the provider's own figures can show."""


def diagnosed(made, **desk):
    at = Desk(sort_tools=made.sort_tools, **desk)
    return [at.ask(asked) for asked in made.asked]


@pytest.mark.parametrize("seed", [SEEDS[0], pytest.param(SEEDS[1], marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", INJECTORS)
def test_a_break_is_called_by_its_cause_and_place(name, seed):
    wrong, cases = [], 0
    for dialect in DIALECTS:
        made = case(name, seed, dialect)
        if made is None:
            continue
        cases += 1
        *before, found = diagnosed(made)
        wrong += [f"{dialect}: alarm before the break: {early}" for early in before if early is not None and early.alarming]
        if said := verdict(found, made):
            wrong.append(f"{dialect}: {said}")
        elif found.tokens <= 0 or found.nano_usd <= 0 or not found.sentence.endswith("."):
            wrong.append(f"{dialect}: not priced, or not said: {found}")
    assert cases
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", INJECTORS)
def test_the_same_is_told_where_the_provider_reports_no_usage(name):
    wrong = []
    for dialect in DIALECTS:
        made = case(name, 15, dialect)
        if made is None or made.cause in UNSEEN:
            continue
        found = diagnosed(made, tells=False)[-1]
        if said := verdict(found, made):
            wrong.append(f"{dialect}: {said}")
        elif found.read != -1:
            wrong.append(f"{dialect}: {found.read} tokens read, and nobody said so")
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", INJECTORS)
def test_many_more_breaks(name):
    wrong = []
    for seed in range(20, 60):
        for dialect in DIALECTS:
            made = case(name, seed, dialect)
            if made is not None and (said := verdict(diagnosed(made)[-1], made)):
                wrong.append(f"{dialect} {seed}: {said}")
    assert not wrong


@pytest.mark.slow
def test_there_are_enough_of_them():
    made = [case(name, seed, dialect) for name in INJECTORS for seed in SEEDS for dialect in DIALECTS]
    assert len([one for one in made if one is not None]) >= 300
    assert len({one.cause for one in made if one is not None}) == 17, "every cause but the two that cost nothing"
