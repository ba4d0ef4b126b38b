"""The memory of prefixes: what it believes, and how reports correct it."""

import hashlib

import msgspec
import pytest

from tokenrouter.model.cache_plan import PromptCacheLimits
from tokenrouter.model.prefix import CacheScope, Sight
from tokenrouter.model.usage import NO_USAGE, Usage
from tokenrouter.prefixes.forest import Forest
from tokenrouter.prefixes.looks import Lesson, Look
from tokenrouter.prefixes.tree import Tree

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
SCOPE = CacheScope("acme", "account", "vendor/model")
MARKS = PromptCacheLimits(style="marks", max_marks=4, min_tokens=1000, lookback=20, lifetimes_s=(300, 3600), on_tools=True)
EXACT = PromptCacheLimits(style="breakpoints", max_marks=4, min_tokens=1000, lookback=50, lifetimes_s=(1800,))


def sight(*names: str, tokens: int = 1000, blocks: int = 1, opening: int = 1, auto_end: bool = False) -> Sight:
    link, links = b"", []
    for name in names:
        link = hashlib.blake2b(link + name.encode(), digest_size=16).digest()
        links.append(link)
    count = len(links)
    return Sight(
        scope=SCOPE,
        links=tuple(links),
        tokens=(tokens,) * count,
        blocks=(blocks,) * count,
        markable=(True,) * count,
        tools=0,
        opening=opening,
        query=count - 1,
        auto_end=auto_end,
    )


def tree(limits: PromptCacheLimits = MARKS) -> Tree:
    return Forest().of(SCOPE, limits)


def written(memory: Tree, seen: Sight, at_s: float, *, mark: int = -1, lifetime_s: int = 0, tokens: int = 0) -> Look:
    """A request that wrote its prompt up to a mark, two seconds long."""
    at_ns = START + int(at_s * SECOND)
    look = memory.look(seen, at_ns)
    mark = mark if mark >= 0 else len(seen.links) - 1
    size = tokens or look.tokens_at(mark)
    usage = Usage(cache_write=size, fresh_input=look.total - look.tokens_at(mark))
    memory.learn(look, ((mark, lifetime_s),), usage, at_ns, at_ns + 2 * SECOND)
    return look


def at(memory: Tree, seen: Sight, at_s: float) -> Look:
    return memory.look(seen, START + int(at_s * SECOND))


def test_a_first_sight_knows_nothing_and_a_second_knows_how_far_it_went() -> None:
    memory = tree()
    assert (at(memory, sight("s", "a"), 0).seen, at(memory, sight("s", "a"), 0).live) == (-1, ())
    written(memory, sight("s", "a", "b"), 0)
    again = at(memory, sight("s", "a", "x"), 10)
    assert (again.seen, again.count, again.gap_s) == (1, 1, 10.0)


def test_looking_counts_nothing() -> None:
    memory = tree()
    at(memory, sight("s", "a"), 0)
    assert len(memory) == 0


def test_an_entry_can_be_read_from_the_first_byte_until_its_lifetime_ends_counted_from_the_start() -> None:
    memory, seen = tree(), sight("s", "a")
    look = at(memory, seen, 0)
    memory.began(look, ((1, 0),), START, START + 3 * SECOND)
    assert [at(memory, seen, age).live != () for age in (2.9, 3.0, 299.9, 300.0)] == [False, True, True, False]


def test_a_read_keeps_an_entry_for_its_own_lifetime() -> None:
    memory, seen = tree(), sight("s", "a")
    written(memory, seen, 0)
    look = at(memory, seen, 200)
    memory.learn(look, ((1, 0),), Usage(cache_read=2000), look.now_ns, look.now_ns + SECOND)
    assert at(memory, seen, 450).live
    assert not at(memory, seen, 501).live


def test_a_long_lifetime_lives_long() -> None:
    memory, seen = tree(), sight("s", "a")
    written(memory, seen, 0, lifetime_s=3600)
    (live,) = at(memory, seen, 3000).live
    assert (live.boundary, live.lifetime_s) == (1, 3600)


def test_an_entry_that_was_not_read_is_gone_and_counts_as_lost() -> None:
    memory, seen = tree(), sight("s", "a", "b")
    written(memory, seen, 0)
    before = memory.lost
    look = at(memory, seen, 20)
    learned = memory.learn(look, ((2, 0),), Usage(cache_write=3000), look.now_ns, look.now_ns + SECOND)
    assert (learned.expected, learned.read, learned.surprise) == (3000, 0, "lost")
    assert memory.lost > before
    assert at(memory, seen, 22).live[-1].dies_ns == look.now_ns + 300 * SECOND, "written again by this very request"


def test_an_eviction_in_the_middle_keeps_what_was_read() -> None:
    memory, seen = tree(), sight("s", "a", "b")
    written(memory, seen, 0, mark=0)
    written(memory, seen, 5, mark=2)
    look = at(memory, sight("s", "a", "b", "c"), 20)
    memory.learn(look, ((0, 0), (2, 0)), Usage(cache_read=1000, fresh_input=3000), look.now_ns, look.now_ns + SECOND)
    assert [live.boundary for live in at(memory, seen, 30).live] == [0]


def test_an_entry_that_a_mark_behind_it_did_not_find_is_gone() -> None:
    memory = tree()
    written(memory, sight("s", "a"), 0)
    look = at(memory, sight("s", "a", "b"), 20)
    memory.learn(look, ((2, 0),), Usage(cache_write=3000), look.now_ns, look.now_ns + SECOND)
    assert [live.boundary for live in at(memory, sight("s", "a", "b"), 30).live] == [2]


def test_what_is_not_reported_corrects_nothing() -> None:
    memory, seen = tree(), sight("s", "a", "b")
    written(memory, seen, 0)
    lost, ratio = memory.lost, memory.ratio
    for usage in (NO_USAGE, Usage(fresh_input=9999, cache_reported=False)):
        look = at(memory, seen, 20)
        learned = memory.learn(look, ((2, 0),), usage, look.now_ns, look.now_ns + SECOND)
        assert not learned.reported
        assert at(memory, seen, 30).live
    assert (memory.lost, memory.ratio) == (lost, ratio)


def test_reported_tokens_anchor_the_path_and_calibrate_the_rest() -> None:
    memory, seen = tree(), sight("s", "a", "b")
    look = at(memory, seen, 0)
    memory.learn(look, ((1, 0),), Usage(cache_write=2600, fresh_input=1300), look.now_ns, look.now_ns + SECOND)
    for turn in range(40):
        other = at(memory, sight("s", "a", f"x{turn}"), 1 + turn)
        memory.learn(other, ((1, 0),), Usage(cache_read=2600, fresh_input=1300), other.now_ns, other.now_ns + SECOND)
    later = at(memory, sight("s", "a", "b", "new"), 60)
    assert (later.tokens_at(1), later.tokens_at(2)) == (2600, 3900)
    assert later.tokens_at(0) == 1300, "between exact ones in proportion"
    assert later.tokens_at(3) == pytest.approx(5200, rel=0.05), "the new piece by the ratio of exact to estimated"


def test_a_mark_reads_within_the_lookback_only() -> None:
    memory = tree()
    written(memory, sight("s", "a", blocks=10), 0)
    for pieces, reached in ((["b"], True), (["b", "c"], False)):
        look = at(memory, sight("s", "a", *pieces, blocks=10), 10)
        assert look.reaches(len(pieces) + 1, 1) is reached
        assert look.reaches(1, 1)


def test_breakpoints_read_right_where_they_were_written() -> None:
    memory = tree(EXACT)
    written(memory, sight("s", "a"), 0)
    look = at(memory, sight("s", "a", "b"), 10)
    assert (look.reaches(1, 1), look.reaches(2, 1)) == (True, False)


def test_marks_that_make_no_entry_teach_the_true_minimum() -> None:
    memory, seen = tree(), sight("s", "a")
    look = at(memory, seen, 0)
    learned = memory.learn(look, ((1, 0),), Usage(fresh_input=2000), look.now_ns, look.now_ns + SECOND)
    assert learned.surprise == "unwritten"
    assert not at(memory, seen, 5).live
    assert memory.least == 2001
    written(memory, sight("s", "b", "c"), 9)
    written(memory, sight("s", "d"), 12)
    assert memory.least == 1000, "a smaller one was written after all"


def test_the_least_recently_used_paths_go_first_and_never_a_parent_before_its_children() -> None:
    memory = Tree(SCOPE, MARKS, most_nodes=5)
    for age, name in enumerate("abcd"):
        written(memory, sight("s", name, name), age)
    assert len(memory) == 5
    assert at(memory, sight("s", "d", "d"), 9).seen == 2
    assert at(memory, sight("s", "c", "c"), 9).seen == 2
    assert at(memory, sight("s", "a", "a"), 9).seen == 0
    assert at(memory, sight("s"), 9).count == 4, "what all have in common was never forgotten"


def test_a_forest_is_bounded_and_keeps_tenants_apart() -> None:
    forest = Forest(most_trees=2)
    scopes = [CacheScope(f"tenant {i}", "account", "vendor/model") for i in range(3)]
    for scope in scopes:
        memory = forest.of(scope, MARKS)
        assert at(memory, sight("s", "a"), 0).seen == -1
        written(memory, sight("s", "a"), 0)
    assert len(forest) == 2
    assert at(forest.of(scopes[0], MARKS), sight("s", "a"), 5).seen == -1, "forgotten"
    assert at(forest.of(scopes[2], MARKS), sight("s", "a"), 5).seen == 1


def test_a_forest_is_bounded_in_nodes_too() -> None:
    forest = Forest(all_nodes=100)
    scopes = [CacheScope(f"tenant {i}", "account", "vendor/model") for i in range(10)]
    for scope in scopes:
        for number in range(10):
            written(forest.of(scope, MARKS), sight("s", f"{number}", "b"), number)
    for _ in range(64):
        forest.of(scopes[-1], MARKS)
    assert len(forest) == 4, "of 21 nodes each"


def picture(memory: Tree, paths: list[Sight], at_s: float) -> list[object]:
    looks = [at(memory, path, at_s) for path in paths]
    return [(look.seen, look.count, look.live, look.tokens) for look in looks]


def test_two_trees_that_hear_each_other_know_the_same() -> None:
    left, right = tree(), tree()
    paths = [sight("s", "a"), sight("s", "b", "c"), sight("s", "a", "d"), sight("t", "a"), sight("s", "b", "c", "e")]
    for age, path in enumerate(paths * 3):
        teller, hearer = (left, right) if age % 2 else (right, left)
        look = teller.look(path, START + age * 7 * SECOND)
        last = len(path.links) - 1
        live = look.live[-1].tokens if look.live else 0
        usage = Usage(cache_read=live, cache_write=look.total - live)
        teller.learn(look, ((last, 0),), usage, look.now_ns, look.now_ns + SECOND)
        assert teller.lesson is not None
        hearer.hear(teller.lesson)
        assert picture(left, paths, age * 7 + 3) == picture(right, paths, age * 7 + 3)


def test_lessons_that_cross_on_the_way_agree_too() -> None:
    left, right = tree(), tree()
    for memory, name in ((left, "a"), (right, "b")):
        written(memory, sight("s", "common", name), 0, mark=1)
    assert left.lesson
    assert right.lesson
    first, second = left.lesson, right.lesson
    left.hear(second)
    right.hear(first)
    paths = [sight("s", "common", "a"), sight("s", "common", "b")]
    assert picture(left, paths, 5) == picture(right, paths, 5)
    assert at(left, paths[0], 5).live


def test_a_lesson_tells_only_what_is_behind_what_the_teller_knew() -> None:
    memory = tree()
    written(memory, sight("s", "a", "b"), 0)
    written(memory, sight("s", "a", "b", "c"), 5)
    assert memory.lesson is not None
    assert (memory.lesson.base, memory.lesson.links) == (sight("s", "a", "b").links[-1], sight("s", "a", "b", "c").links[3:])


def test_a_lesson_of_another_scope_or_behind_something_forgotten_does_no_harm() -> None:
    teller, other, fresh = tree(), Forest().of(CacheScope("other", "account", "vendor/model"), MARKS), tree()
    written(teller, sight("s", "a"), 0)
    written(teller, sight("s", "a", "b"), 5)
    assert teller.lesson is not None
    other.hear(teller.lesson)
    assert len(other) == 0
    fresh.hear(teller.lesson)
    assert at(fresh, sight("s", "a", "b"), 9).seen == -1
    written(fresh, sight("s", "a", "b"), 10)
    assert at(fresh, sight("s", "a", "b"), 15).seen == 2


def test_vendors_that_cache_by_themselves_are_expected_to_have_what_was_sent_lately() -> None:
    memory = tree(PromptCacheLimits(style="automatic", min_tokens=1000))
    first = at(memory, sight("s", "a"), 0)
    assert memory.learn(first, (), Usage(fresh_input=2000), first.now_ns, first.now_ns + SECOND).surprise == ""
    again = at(memory, sight("s", "a", "b"), 60)
    assert [live.boundary for live in again.live] == [1]
    learned = memory.learn(again, (), Usage(cache_read=1920, fresh_input=1080), again.now_ns, again.now_ns + SECOND)
    assert (learned.expected, learned.boundary, learned.surprise) == (2000, 1, "")
    assert at(memory, sight("s", "a", "b"), 400).live == ()


def test_an_automatic_cache_that_missed_is_told_from_one_that_was_not_expected_to_hit() -> None:
    memory = tree(PromptCacheLimits(style="automatic", min_tokens=1000))
    for age, surprise in ((0, ""), (60, "lost"), (500, "")):
        look = at(memory, sight("s", "a"), age)
        assert memory.learn(look, (), Usage(fresh_input=2000), look.now_ns, look.now_ns + SECOND).surprise == surprise


def test_in_implicit_mode_earlier_ends_are_found_without_a_mark() -> None:
    memory = tree(EXACT)
    written(memory, sight("s", "a"), 0)
    look = at(memory, sight("s", "a", "b", "c"), 10)
    usage = Usage(cache_read=2000, cache_write=2000)
    learned = memory.learn(look, ((3, 0),), usage, look.now_ns, look.now_ns + SECOND, implicit=True)
    assert (learned.expected, learned.boundary, learned.surprise) == (2000, 1, "")
    look = at(memory, sight("s", "a", "x"), 20)
    assert memory.learn(look, ((2, 0),), Usage(cache_write=3000), look.now_ns, look.now_ns + SECOND).expected == 0


def test_requests_side_by_side_are_no_returns_of_each_other() -> None:
    alone, beside = tree(), tree()
    for memory, apart_s in ((alone, 20.0), (beside, 0.01)):
        for group in range(12):
            for number in range(4):
                path = sight("s", f"doc{group}", f"{number}")
                memory.note(at(memory, path, group * 400 + number * apart_s), START + int((group * 400 + number * apart_s) * SECOND))
    chances = []
    for memory in (alone, beside):
        place = next(place for place in at(memory, sight("s", "doc", "x"), 5000).places if place.boundary == 1)
        chances.append(place.odds.within(300))
    assert chances[0] > 0.7
    assert chances[1] < 0.1
    looks = [at(memory, sight("s", "doc11", "y"), 11 * 400 + 90) for memory in (alone, beside)]
    visits = [next(place for place in look.places if place.boundary == 1).keys[-1] for look in looks]
    assert visits[0] != visits[1], "four requests at once count as one"


def test_an_old_lesson_that_comes_late_shortens_no_life() -> None:
    teller, hearer, path = tree(), tree(), sight("s", "a")
    written(teller, path, 0)
    first = teller.lesson
    look = at(teller, path, 200)
    teller.learn(look, ((1, 0),), Usage(cache_read=2000), look.now_ns, look.now_ns + SECOND)
    second = teller.lesson
    assert first
    assert second
    hearer.hear(first)
    hearer.hear(second)
    late = tree()
    late.hear(first)
    late.hear(second)
    late.hear(first)
    assert at(hearer, path, 450).live == at(late, path, 450).live != ()


def test_tokens_that_are_said_behind_a_prompt_belong_to_no_prefix() -> None:
    memory = tree(PromptCacheLimits(style="automatic", min_tokens=1000))
    seen = msgspec.structs.replace(sight("s", "a"), behind=50)
    memory.learn(memory.look(seen, START), (), Usage(fresh_input=2300), START, START + SECOND)
    assert at(memory, sight("s", "a", "b"), 10).tokens_at(1) == 2250


def test_who_comes_while_an_answer_has_not_begun_is_no_return_however_long_that_takes() -> None:
    memory, seen = tree(), sight("s", "a")
    slow = at(memory, seen, 0)
    memory.note(slow, START)
    assert at(memory, seen, 20).gap_s == -1.0
    assert at(memory, seen, 40).gap_s == 40.0, "an answer that has not begun by then is not waited for"
    memory.began(slow, (), START, START + 20 * SECOND)
    assert at(memory, seen, 20.001).gap_s == pytest.approx(20.001)


def test_who_comes_right_behind_a_fast_answer_is_a_return() -> None:
    memory, seen = tree(), sight("s", "a")
    for start in range(20):
        look = at(memory, sight(f"other {start}"), start * 10)
        memory.learn(look, (), Usage(fresh_input=1000), look.now_ns, look.now_ns + 5 * SECOND)  # answers take five seconds to begin, usually
    fast = at(memory, seen, 300)
    memory.note(fast, fast.now_ns)
    memory.began(fast, (), fast.now_ns, fast.now_ns + SECOND // 10)
    assert at(memory, seen, 300.2).gap_s == pytest.approx(0.2)


def test_a_request_that_got_no_answer_is_waited_for_by_nobody() -> None:
    memory, seen = tree(), sight("s", "a")
    refused = at(memory, seen, 0)
    memory.note(refused, START)
    memory.answered(refused, START + SECOND)
    assert at(memory, seen, 2).gap_s == 2.0


def test_whoever_may_wait_for_what_others_write_is_beside_nobody() -> None:
    memory, seen = tree(), sight("s", "a")
    memory.note(at(memory, seen, 0), START)
    patient = memory.look(seen, START + SECOND // 10, patient=True)
    assert patient.gap_s == pytest.approx(0.1)
    memory.note(patient, patient.now_ns)
    assert memory.look(seen, START + SECOND // 5, patient=True).count == 2


def test_a_clock_that_stands_still_does_not_say_that_answers_take_no_time() -> None:
    memory, seen = tree(), sight("s", "a")
    for start in range(50):
        look = at(memory, sight(f"other {start}"), start * 10)
        memory.learn(look, (), Usage(fresh_input=1000), look.now_ns, look.now_ns)
    look = at(memory, seen, 600)
    memory.learn(look, (), Usage(fresh_input=2000), look.now_ns, look.now_ns)
    assert [at(memory, seen, 600 + later).gap_s for later in (0.0, 0.5, 1.5)] == [-1.0, -1.0, 1.5]


def test_paths_that_are_not_whole_may_be_heard_of() -> None:
    memory = Tree(SCOPE, MARKS, most_nodes=3)
    a, b, c, d, e = (bytes([number]) * 16 for number in range(5))
    for base, links in ((b"", (a, b, c)), (b"", (c,)), (b"", (d,)), (c, (e,))):
        memory.hear(Lesson(scope=SCOPE, at_ns=START, base=base, links=links))
    assert len(memory) == 3
