"""Pinned forms over both stores: the first one counts, everybody finds it, and nothing of it is another tenant's."""

import pytest
from ledgers import database

from tokenrouter.clock import ManualClock
from tokenrouter.errors import Unavailable
from tokenrouter.model.at_hand import NotAtHand
from tokenrouter.model.pin import AS_IT_CAME, KEPT_NS, PinnedForm, PinnedTool, unpacked
from tokenrouter.storage.embedded_pins import EmbeddedPins
from tokenrouter.storage.shared_pins import FILES, SharedPins

KEY, OTHER = b"k" * 16, b"o" * 16
FORM = PinnedForm(order=("b", "a"), tools=(PinnedTool(b"kin", b"digest", b'{"name":"a"}'),), splits=((0, 12),))


@pytest.fixture(params=["embedded", "shared"])
async def make(request, tmp_path, clock):
    """Makes one worker's store after the other, all over the same data."""
    made, close = [], []
    if request.param == "shared":
        db = database(request.getfixturevalue("postgres_url"), *FILES)
        close.append(db)

    def new(**more):
        if request.param == "embedded":
            made.append(EmbeddedPins(tmp_path, clock, **more))
            return made[-1]
        return SharedPins(db, clock)

    yield new
    for store in made:
        store.close()
    for one in close:
        await one.aclose()


async def find(pins, tenant: str, key: bytes) -> PinnedForm | None:
    try:
        return pins.find(tenant, key)
    except NotAtHand as missing:
        await missing.fetch()
        return pins.find(tenant, key)


async def test_what_one_worker_pins_another_one_finds(make):
    assert await make().write("acme", KEY, FORM) == FORM
    assert await find(make(), "acme", KEY) == FORM
    assert await find(make(), "acme", OTHER) is None
    assert await find(make(), "other", KEY) is None


async def test_the_first_form_counts_until_it_is_replaced(make):
    one, other = make(), make()
    await one.write("acme", KEY, FORM)
    assert await other.write("acme", KEY, AS_IT_CAME) == FORM
    assert await find(other, "acme", KEY) == FORM
    assert await other.write("acme", KEY, AS_IT_CAME, replace=True) == AS_IT_CAME
    assert await find(make(), "acme", KEY) == AS_IT_CAME


async def test_a_pin_ends_a_month_after_its_last_use(make, clock: ManualClock):
    await make().write("acme", KEY, FORM)
    clock.advance(KEPT_NS / 1e9 - 60)
    assert await find(make(), "acme", KEY) == FORM  # renewed
    clock.advance(KEPT_NS / 1e9 - 60)
    assert await find(make(), "acme", KEY) == FORM
    clock.advance(KEPT_NS / 1e9 + 60)
    assert await find(make(), "acme", KEY) is None
    assert await make().write("acme", KEY, AS_IT_CAME) == AS_IT_CAME


async def test_old_pins_are_swept(tmp_path, clock: ManualClock):
    pins = EmbeddedPins(tmp_path, clock, sweep_every=2)
    await pins.write("acme", KEY, FORM)
    clock.advance(KEPT_NS / 1e9 + 60)
    await pins.write("acme", OTHER, AS_IT_CAME)
    counts = [pins._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("pins", "pinned_forms")]
    assert counts == [1, 1]
    pins.close()


async def test_shared_pins_that_can_not_be_looked_up_say_so_for_a_moment(clock: ManualClock):
    class Away:
        inline, problem = False, "away"

        async def rows(self, name, params=(), *, slow=False):
            raise Unavailable("away")

    pins = SharedPins(Away(), clock)
    with pytest.raises(NotAtHand) as missing:
        pins.find("acme", KEY)
    await missing.value.fetch()
    with pytest.raises(Unavailable):
        pins.find("acme", KEY)
    clock.advance(2)
    with pytest.raises(NotAtHand):
        pins.find("acme", KEY)


@pytest.mark.parametrize("body", [b"", b"junk", PinnedForm(version=99, order=("a",)).packed()])
def test_a_form_that_can_not_be_read_is_the_clients_own(body: bytes):
    assert unpacked(body) == AS_IT_CAME
    assert AS_IT_CAME.as_it_came
    assert not FORM.as_it_came
