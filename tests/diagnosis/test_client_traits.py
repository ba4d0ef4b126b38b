"""What a diagnosis knows of dialects and conversations that captured clients brought up."""

import copy
import json
import random

from desk import Asked, Desk
from talks import body, ends, paragraph, system_text, talk


def item(number, text, role="developer"):
    return {"type": "message", "id": f"msg_{number:032x}", "role": role, "content": [{"type": "input_text", "text": text}]}


def asking(number, text, **more):
    return {"model": "gpt-4.1", "input": [item(number, text), item(number + 1, "Hello", "user")], "store": False, **more}


def links(*bodies):
    desk = Desk()
    return [desk.snapshot(Asked("openai-responses", one, 1000.0)).links for one in bodies]


def test_ids_of_items_that_say_everything_themselves_are_no_prompt():
    one, other = links(asking(1, "Be brief."), asking(5, "Be brief."))
    assert one == other


def test_ids_of_items_that_stand_for_what_is_stored_are_prompt():
    for stored in ({"type": "item_reference"}, {"type": "reasoning", "summary": []}):
        made = []
        for number in (1, 2):
            request = asking(1, "Be brief.")
            request["input"].insert(1, {**stored, "id": f"rs_{number:032x}"})
            made.append(request)
        one, other = links(*made)
        assert one[0] == other[0]
        assert one[1] != other[1]


def test_an_id_is_not_named_where_the_text_behind_it_changed():
    rules = system_text(random.Random(4), 60)
    desk = Desk()
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}"}
    first, second = asking(1, rules), asking(7, rules)
    for request, number in ((first, 1), (second, 7)):
        output = {
            "type": "function_call_output",
            "id": f"fco_{number}",
            "call_id": "call_1",
            "output": rules if number == 1 else rules.replace(".", "!", 1),
        }
        request["input"] += [call, output, item(number + 2, rules[::-1], "user")]
    second["input"].append(item(99, "And then?", "user"))
    desk.ask(Asked("openai-responses", first, 1000.0, session="s"))
    found = desk.ask(Asked("openai-responses", second, 1020.0, session="s"))
    assert (found.cause, found.path) == ("message.edited", "input[3].output")


def test_a_function_of_gemini_is_named_where_its_client_put_it():
    said = talk(3)
    before, now = body(said, "gemini-generate", 1), body(said, "gemini-generate", 1)
    for request in (before, now):
        request["tools"] = [{"functionDeclarations": [one["functionDeclarations"][0] for one in request["tools"]]}]
    now["tools"][0]["functionDeclarations"][4]["description"] += " Otherwise."
    desk = Desk()
    desk.ask(Asked("gemini-generate", before, 1000.0, session="s"))
    found = desk.ask(Asked("gemini-generate", now, 1020.0, session="s"))
    assert (found.cause, found.path) == ("tools.changed", "tools[0].functionDeclarations[4].description")


def test_a_sentence_that_is_said_again_and_again_does_not_hide_what_was_compacted():
    rng, turns = random.Random(5), []
    for _ in range(8):
        turns += [{"role": "assistant", "content": "Let me look."}, {"role": "user", "content": paragraph(rng, 8)}]
    first = {"model": "gpt-4.1", "messages": [{"role": "system", "content": system_text(rng, 60)}, {"role": "user", "content": "Go."}, *turns]}
    then = copy.deepcopy(first)
    then["messages"][1:7] = [{"role": "user", "content": "Summary: it was looked at."}]
    then["messages"] += [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "Thanks."}]
    desk = Desk()
    desk.ask(Asked("openai-chat", first, 1000.0, session="s"))
    found = desk.ask(Asked("openai-chat", then, 1020.0, session="s"))
    assert (found.cause, found.path) == ("history.compacted", "messages[1]")
    assert found.also[0].startswith("6 messages")


def test_the_same_task_done_again_is_no_edit():
    said = talk(6, rounds=3, session="")
    upto = ends(said)[-1]
    one = body(said, "openai-chat", upto)
    again = json.loads(json.dumps(one).replace("call_", "call_9"))
    desk = Desk()
    desk.ask(Asked("openai-chat", one, 1000.0))
    assert desk.ask(Asked("openai-chat", again, 1020.0)) is None


def test_a_system_text_behind_a_changed_line_counts_up_to_its_own_first_change():
    rules = system_text(random.Random(8), 200)
    desk, found = Desk(), None
    for number, (line, end) in enumerate((("one", "x"), ("two", "y"))):
        system = [{"type": "text", "text": f"Line {line}"}, {"type": "text", "text": f"{rules}\n{end}"}]
        request = {"model": "claude-opus-4-8", "max_tokens": 9, "system": system, "messages": [{"role": "user", "content": "Hello"}]}
        found = desk.ask(Asked("anthropic-messages", request, 1000.0 + 20 * number))
    assert (found.cause, found.path) == ("system.changed", "system[0].text")
    assert found.tokens > len(rules) // 5
