"""What decides about prompt caches: long texts, marks of the client's, per-request lines."""

from cases.building import chat, long, result, says, system, text, tool, user
from cases.work import call

MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
POINT = {"mode": "explicit"}
LINE = "x-anthropic-billing-header: cc_version=2.1.7; cch=0f3a1;\n"

CASES = {
    "long_system_1100_tokens": chat(system(long(1100)), user("Which section?")),
    "long_system_4200_tokens": chat(system(long(4200)), user("Which section?")),
    "long_system_of_1000_tokens": chat(system(long(985)), user("Which section?")),
    "long_system_in_parts": chat(system([text(long(1100)), text("Today: be kind.")]), user("Which section?")),
    "long_conversation": chat(system(long(4200)), user("one"), says("1"), user("two"), says("2"), user("three")),
    "long_user_text_only": chat(user(long(1100))),
    "long_system_in_two_messages": chat(system(long(600)), {"role": "developer", "content": long(600)}, user("Go")),
    "mark_on_a_message": chat(system(long(1100), cache_control=MARK), user("Go")),
    "mark_on_a_part": chat(system([text(long(1100), cache_control=MARK), text("Also.")]), user("Go")),
    "mark_below_the_minimum": chat(system([text("Short.", cache_control=MARK)]), user("Go")),
    "mark_for_an_hour": chat(system([text(long(1100), cache_control=HOUR)]), user([text("Go", cache_control=MARK)])),
    "mark_for_an_hour_behind_a_short_one": chat(system([text(long(1100), cache_control=MARK)]), user([text("Go", cache_control=HOUR)])),
    "mark_on_the_last_tool": chat(system(long(1100)), user("Go"), tools=[tool("b"), tool("a", cache_control=MARK)]),
    "mark_inside_the_function": chat(
        user("Go"), tools=[{"type": "function", "function": {"name": "a", "description": long(1100), "cache_control": MARK}}]
    ),
    "mark_on_a_tool_result": chat(
        system(long(1100)),
        user("Go"),
        says(None, tool_calls=[call("c1", "a", "{}")]),
        result("c1", [text("one"), text("two", cache_control=MARK)]),
        tools=[tool("a")],
    ),
    "marks_four_of_the_client": chat(
        system([text(long(1100), cache_control=MARK), text("b", cache_control=MARK)]),
        user([text("c", cache_control=MARK)]),
        says("d"),
        user([text("e", cache_control=MARK)]),
    ),
    "marks_five_of_the_client": chat(
        system([text(long(1100), cache_control=MARK), text("b", cache_control=MARK), text("b2", cache_control=MARK)]),
        user([text("c", cache_control=MARK)]),
        says("d"),
        user([text("e", cache_control=MARK)]),
    ),
    "mark_in_the_words_of_openai": chat(
        system([text(long(1100), prompt_cache_breakpoint=POINT), text("Also.")]), user("Go"), prompt_cache_options={"mode": "explicit"}
    ),
    "mark_of_12_hours": chat(system([text(long(1100), prompt_cache_breakpoint={"mode": "explicit", "ttl": "12h"})]), user("Go")),
    "attribution_line": chat(system(LINE + long(1100)), user("Go")),
    "attribution_line_in_a_part_of_its_own": chat(
        system([text(LINE.strip()), text(long(1100), cache_control=MARK), text("Also.", cache_control=MARK)]), user("Go")
    ),
    "attribution_line_alone": chat(system(LINE.strip()), user("Go")),
    "attribution_line_in_user_text": chat(user(LINE + "What is this line?")),
}
