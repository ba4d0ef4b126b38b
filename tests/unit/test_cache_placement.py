"""Worked examples of where marks go."""

import json
import re
from pathlib import Path

import pytest
from support import DEEPSEEK, GPT, HAIKU, OPUS, SOL, marks_in, plan, render, resolve, see

from tokenrouter.errors import InvalidRequest
from tokenrouter.model.cache_plan import Breakpoint
from tokenrouter.model.edits import EDITS, SWITCHABLE
from tokenrouter.pipeline.cache_injector import plan_cache

MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
WISH = (Breakpoint("b_messages", 0, -1),)
LONG = "word " * 1_000  # 1,250 estimated tokens
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("b", "a")]


def points(messages, model=OPUS, **fields):
    return [(mark.section[2:], mark.index, mark.part, mark.lifetime_s, mark.origin) for mark in planned(messages, model, **fields)]


def planned(messages, model=OPUS, **fields):
    return plan(see({"model": model, "messages": messages, **fields}), resolve(model)).breakpoints


def system(text=LONG, **more):
    return {"role": "system", "content": text, **more}


def user(text="go", **more):
    return {"role": "user", "content": text, **more}


def says(text="ok", **more):
    return {"role": "assistant", "content": text, **more}


def part(text, **more):
    return {"type": "text", "text": text, **more}


def agent(results):
    calls = [{"id": f"c{i}", "type": "function", "function": {"name": "a", "arguments": "{}"}} for i in range(results)]
    return [says(None, tool_calls=calls), *({"role": "tool", "tool_call_id": f"c{i}", "content": "x"} for i in range(results))]


def ours(*places):
    return [(section, index, -1, 0, "gateway") for section, index in places]


def test_the_first_turn_is_marked_behind_the_system_text_and_at_its_end():
    assert points([system(), user()]) == ours(("messages", 0), ("messages", 1))


def test_the_rolling_mark_moves_on_and_the_previous_end_stays_marked():
    conversation = [system(), user(), says(), user(), says(), user()]
    assert points(conversation[:2]) == ours(("messages", 0), ("messages", 1))
    assert points(conversation[:4]) == ours(("messages", 0), ("messages", 1), ("messages", 3))
    assert points(conversation) == ours(("messages", 0), ("messages", 3), ("messages", 5))


@pytest.mark.parametrize("results", [1, 19, 25, 200])
def test_a_turn_of_more_blocks_than_are_searched_is_still_read_back(results):
    conversation = [system(), user(), *agent(results)]
    assert points(conversation, tools=TOOLS) == ours(("messages", 0), ("messages", 1), ("messages", len(conversation) - 1))
    newest_before = points([system(), user()], tools=TOOLS)[-1]
    assert newest_before in points(conversation, tools=TOOLS), "the end of the previous request is not marked again"


def test_the_last_tool_is_marked_once_the_tools_are_long_enough():
    tools = [{"type": "function", "function": {"name": "a", "description": LONG}}, {"type": "function", "function": {"name": "z"}}]
    assert points([system(), user(), says(), user()], tools=tools)[0] == ("tools", 1, -1, 0, "gateway")


def test_nothing_below_the_minimum_is_marked():
    assert points([system("short"), user()]) == []
    assert points([system(), user()], HAIKU) == []
    assert points([system("short"), user(LONG)]) == ours(("messages", 1))
    assert points([system(LONG * 4), user()], HAIKU) == ours(("messages", 0), ("messages", 1))


@pytest.mark.parametrize("model", [GPT, DEEPSEEK, "gpt-5.5"])
def test_models_that_cache_by_themselves_get_no_mark(model):
    assert points([system(LONG * 9), user()], model) == []
    assert marks_in(json.loads(render({"model": model, "messages": [system(LONG * 9), user()]}, model).body)) == []


def test_from_5_6_on_only_the_end_of_the_opening_block_is_marked():
    conversation = [system(), {"role": "developer", "content": "x"}, user(LONG), says(), user()]
    assert points(conversation, SOL, tools=TOOLS) == ours(("messages", 1))
    assert points([user(LONG), says(), user()], SOL) == []
    assert points([system("short"), user()], SOL) == []


def test_the_clients_marks_come_first_and_ours_fill_what_is_left():
    conversation = [system([part(LONG, cache_control=MARK), part("b", cache_control=MARK)]), user(), says(), user([part("c", cache_control=MARK)])]
    found = points(conversation)
    assert [mark for mark in found if mark[4] == "client"] == [
        ("messages", 0, 0, 0, "client"),
        ("messages", 0, 1, 0, "client"),
        ("messages", 3, 0, 0, "client"),
    ]
    assert [mark for mark in found if mark[4] == "gateway"] == ours(("messages", 1))


def test_four_marks_of_the_client_leave_no_room_and_five_are_refused():
    texts = [part(LONG, cache_control=MARK)] + [part("b", cache_control=MARK)] * 3
    assert all(mark[4] == "client" for mark in points([system(texts), user()]))
    with pytest.raises(InvalidRequest, match="5 cache marks in one request; this model takes 4") as refused:
        points([system(texts), user([part("e", cache_control=MARK)])], OPUS)
    assert refused.value.param == "cache_control"
    marks = points([system(texts), user([part("e", cache_control=MARK)])], SOL)
    assert [mark[4] for mark in marks] == ["client"] * 5, "that vendor limits what it writes, not what is marked"
    assert points([system(texts), user([part("e", cache_control=MARK)])], GPT) == []


def test_five_marks_in_four_places_are_four():
    texts = [part(LONG, cache_control=MARK)] + [part("b", cache_control=MARK)] * 3
    found = points([system(texts, cache_control=MARK), user()])
    assert len(found) == 4


def test_an_hour_in_front_of_five_minutes_is_fine_and_behind_them_refused():
    assert len(points([system([part(LONG, cache_control=HOUR)]), user([part("b", cache_control=MARK)])])) == 2
    with pytest.raises(InvalidRequest, match="must stand before"):
        points([system([part(LONG, cache_control=MARK)]), user([part("b", cache_control=HOUR)])])


def test_a_vendor_that_reads_the_clients_marks_itself_judges_them_and_gets_none_of_ours():
    texts = [part(LONG, cache_control=MARK)] + [part("b", cache_control=MARK)] * 3
    for messages in (
        [system(texts), user([part("e", cache_control=MARK)])],
        [system([part(LONG, cache_control=MARK)]), user([part("b", cache_control=HOUR)]), says(), user()],
    ):
        seen = see({"model": OPUS, "messages": messages})
        plan = plan_cache(seen.canonical, resolve(OPUS).model.cache, WISH, None, judged_above=True)
        assert {mark.origin for mark in plan.breakpoints} == {"client"}


def test_our_mark_in_front_of_an_hour_of_the_clients_lives_an_hour_too():
    found = points([system(), user([part("b", cache_control=HOUR)]), says(), user()])
    assert found == [("messages", 0, -1, 3600, "gateway"), ("messages", 1, 0, 3600, "client"), ("messages", 3, -1, 0, "gateway")]


def test_a_wish_for_an_hour_never_makes_a_mark_of_the_clients_dearer():
    class Hours:
        def wishes(self, canonical, limits):
            return (Breakpoint("b_messages", 1, -1, 3600),)

    seen = see({"model": OPUS, "messages": [system([part(LONG, cache_control=MARK)]), user()]})
    assert [mark.lifetime_s for mark in plan(seen, resolve(OPUS), Hours()).breakpoints] == [0, 0]


@pytest.mark.parametrize(("ttl", "asked"), [("1h", 0), ("5m", 0), ("30m", 1800), ("12h", 43200)])
def test_a_lifetime_that_the_vendor_has_not_becomes_its_default(ttl, asked):
    found = planned([system([part(LONG, cache_control={"type": "ephemeral", "ttl": ttl})]), user()], SOL)
    assert [mark.lifetime_s for mark in found] == [asked]


def test_long_and_short_marks_stand_as_they_like_where_the_vendor_has_no_order():
    long = {"mode": "explicit", "ttl": "12h"}
    content = [part(LONG, prompt_cache_breakpoint={"mode": "explicit"}), part("b", prompt_cache_breakpoint=long)]
    assert [mark.lifetime_s for mark in planned([system(content), user()], SOL)] == [0, 43200]


@pytest.mark.parametrize("model", ["gpt-5.5", GPT])
def test_marks_do_not_reach_models_that_refuse_them(model):
    request = {"model": model, "messages": [system([part(LONG, prompt_cache_breakpoint={"mode": "explicit"})]), user()]}
    sent = render(request, model)
    assert b"prompt_cache_breakpoint" not in sent.body
    assert "marks.plan" in sent.edits


def test_a_mark_inside_a_function_is_a_mark_on_its_tool():
    tools = [{"type": "function", "function": {"name": "a", "cache_control": MARK}}]
    assert json.loads(render({"model": OPUS, "messages": [user()], "tools": tools}, OPUS).body)["tools"][0]["cache_control"] == MARK
    assert b"cache_control" not in render({"model": DEEPSEEK, "messages": [user()], "tools": tools}, DEEPSEEK).body


def test_the_published_list_of_edits_is_the_list_in_the_code():
    page = (Path(__file__).parents[2] / "docs" / "canonical-form.md").read_text("utf-8")
    assert re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", page, re.MULTILINE) == [edit.id for edit in EDITS]
    for edit in EDITS:
        assert edit.what in page
    assert {edit.id for edit in EDITS} - SWITCHABLE == {
        *("model.name", "extensions.strip", "count.estimate", "limits.name"),
        *("tools.recalled", "items.recalled"),
    }


@pytest.mark.parametrize("marked", [0, 1, 2])
def test_a_mark_sits_on_the_very_part_that_it_was_put_on(marked):
    parts = [part(text, **({"cache_control": MARK} if place == marked else {})) for place, text in enumerate("abc")]
    body = json.loads(render({"model": HAIKU, "messages": [user(parts)]}, HAIKU).body)
    assert [("cache_control" in block) for block in body["messages"][0]["content"]] == [place == marked for place in range(3)]


def test_our_mark_sits_on_the_last_block_of_its_message():
    calls = agent(2)
    body = json.loads(render({"model": OPUS, "messages": [user([part(LONG), part("b")]), *calls, user([part("c"), part("d")])]}, OPUS).body)
    marked = [[("cache_control" in block) for block in message["content"]] for message in body["messages"]]
    assert marked[0] == [False, True]
    assert marked[-1] == [False, True]
    assert sum(map(sum, marked)) == 2
