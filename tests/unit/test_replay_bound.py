from itertools import product

import pytest

from tokenrouter.replay.bound import Clairvoyant, Terms

TERMS = Terms(100, 10, ((300, 125), (3600, 200)))


def bound(times, terms=TERMS, tokens=1_000_000):
    found = Clairvoyant()
    for at_s in times:
        found.add("m", at_s, (b"a",), (tokens,), terms)
    return found.nano_usd().get("m", 0)


@pytest.mark.parametrize(
    ("times", "cost"),
    [
        ((0,), 100),
        ((0, 300), 135),
        ((0, 301), 200),
        ((0, 1000, 2000), 220),
        ((0, 250, 500, 750), 155),
        ((0, 10_000), 200),
    ],
)
def test_one_piece_costs_what_the_best_choice_of_lifetimes_costs(times, cost):
    assert bound(times) == cost


def test_no_choice_of_lifetimes_is_cheaper():
    times = (0, 200, 1500, 1600, 9000, 9100)

    def paid(choice):
        total, alive, life = 0, -1.0, 0
        for at_s, chosen in zip(times, choice, strict=True):
            if at_s <= alive:
                total += 10
                alive = at_s + life
                continue
            life = (0, 300, 3600)[chosen]
            total += (100, 125, 200)[chosen]
            alive = at_s + life if life else -1.0
        return total

    assert bound(times) == min(paid(choice) for choice in product(range(3), repeat=len(times)))


def test_what_can_not_be_kept_is_paid_in_full():
    assert bound((0, 1, 2), Terms(100, 10)) == 300


def test_models_and_other_beginnings_share_nothing():
    found = Clairvoyant()
    found.add("m", 0, (b"a", b"b"), (1_000_000, 1_000_000), TERMS)
    found.add("m", 1, (b"a", b"c"), (1_000_000, 1_000_000), TERMS)
    found.add("n", 2, (b"a",), (1_000_000,), TERMS)
    assert found.nano_usd() == {"m": 125 + 10 + 100 + 100, "n": 100}
