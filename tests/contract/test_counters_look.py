"""What people are shown of counters is what admission goes by, in every place that counts; looking takes nothing."""

from counting import USD, Place, bind

from tokenrouter.model.admission import Admitted, CapState, Look, Refusal
from tokenrouter.model.rules import EACH, Cap, Limit, Scope

RULES = (
    Limit(id="rpm", metric="requests", amount=10),
    Limit(id="tpm", metric="tokens", amount=1000, kind="sliding"),
    Limit(id="places", metric="concurrency", amount=3),
    Cap(id="month", amount=5 * USD, period="month"),
    Cap(id="each", scope=Scope(key=EACH), amount=700, unit="tokens", period="total"),
    Cap(id="one", amount=USD, period="request"),
)


async def looked(place: Place, bound, *, sandbox: bool = False) -> Look:
    await place.settled()
    return await place.counters.look(bound, sandbox=sandbox)


async def test_untouched_counters_are_whole_and_empty(place: Place):
    look = await looked(place, bind(place.tenant(), *RULES))
    assert look.now_ms == place.now_ms
    assert [(each.limit.id, each.most, each.left) for each in look.limits] == [("rpm", 10, 10), ("places", 3, 3), ("tpm", 1000, 1000)]
    assert [each.whole_ms for each in look.limits] == [0, -1, 0]
    assert [(each.cap.id, each.state, each.left) for each in look.caps] == [
        ("month", CapState(), 5 * USD),
        ("each", CapState(), 700),
        ("one", CapState(), USD),
    ]


async def test_it_shows_what_is_taken_held_spent_and_presumed(place: Place):
    bound = bind(place.tenant(), *RULES)
    spent, lost = await place.hold(bound, USD // 2, 100), await place.hold(bound, USD // 4, 50)
    await place.hold(bound, USD // 8, 25)
    await place.lease(bound)
    place.counters.settle(spent, USD // 3, 80)
    place.counters.settle(lost, 0, 0, presumed=True)
    look = await looked(place, bound)
    assert {each.limit.id: each.left for each in look.limits} == {"rpm": 6, "places": 2, "tpm": 1000 - 80 - 50 - 25}
    month, each, one = look.caps
    assert month.state == CapState(spent=USD // 3, held=USD // 8, presumed=USD // 4)
    assert each.state == CapState(spent=80, held=25, presumed=50)
    assert (one.counter, one.state) == ("", CapState())
    assert [month.counter, each.counter] == ["c:month:2023-11", "c:each:k=k1"]
    assert month.ends_ms == 1_701_388_800_000, "the first of December"
    assert each.ends_ms == 0


async def test_money_of_the_sandbox_is_looked_at_by_itself(place: Place):
    bound = bind(place.tenant(), *RULES)
    await place.hold(bound, USD // 2, 100, sandbox=True)
    assert (await looked(place, bound)).caps[0].state == CapState()
    assert (await looked(place, bound, sandbox=True)).caps[0].state == CapState(held=USD // 2)
    assert (await looked(place, bound, sandbox=True)).caps[0].counter == "sc:month:2023-11"


async def test_looking_takes_nothing(place: Place):
    bound = bind(place.tenant(), *RULES)
    await place.hold(bound, USD // 2, 100)
    first = await looked(place, bound)
    for _ in range(50):
        assert await looked(place, bound) == first
    for _ in range(9):
        assert isinstance(await place.ask(bound), Admitted)
    assert isinstance(await place.ask(bound), Refusal)
    assert (await looked(place, bound)).limits[0].left == 0


async def test_it_says_when_a_limit_is_whole_again(place: Place):
    bound = bind(place.tenant(), *RULES[:2])
    await place.hold(bound, 1, 600)
    look = await looked(place, bound)
    waits = {each.limit.id: each.whole_ms for each in look.limits}
    place.advance(max(waits.values()) / 1000 - 0.001)
    assert any(each.left < each.most for each in (await looked(place, bound)).limits)
    place.advance(0.001)
    assert all(each.left == each.most for each in (await looked(place, bound)).limits)
