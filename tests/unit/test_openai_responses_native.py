"""A Responses request on its native lane: read from outside, changed by the published edits only; its stream relayed."""

import json

import msgspec
import pytest
from support import GPT, NO_EDITS, SOL, as_body, render, resolve, see

from tokenrouter.adapters.base import Aftermath
from tokenrouter.adapters.inbound.openai_responses import OpenAIResponses
from tokenrouter.adapters.outbound.openai_responses import OpenAIResponsesWire
from tokenrouter.adapters.outbound.openai_responses_relay import ResponsesRelay, aftermath, verdict
from tokenrouter.adapters.wire.foreign_reasoning import seal
from tokenrouter.errors import InvalidRequest, UpstreamFailed
from tokenrouter.model.answer import Reasoning
from tokenrouter.model.cache_plan import Breakpoint, CachePlan
from tokenrouter.model.edits import DEFAULT_EDITS
from tokenrouter.model.usage import NO_USAGE

WIRE = OpenAIResponsesWire()
DIALECT = OpenAIResponses()
LONG = "word " * 2_000
MARK = {"mode": "explicit"}
TOOLS = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in ("zeta", "alpha")]


def sent(request, model=SOL, **options):
    return render({"model": model, **request}, model, dialect=DIALECT, **options)


def body(request, model=SOL, **options):
    return json.loads(sent(request, model, **options).body)


def reading(item, **fields):
    return see({"model": "m", "input": [item], **fields}, dialect=DIALECT).canonical.messages[0]


def refused(request, **more):
    with pytest.raises(InvalidRequest) as caught:
        see(request if isinstance(request, bytes) else {"model": "m", **request}, dialect=DIALECT, **more)
    return caught.value


# reading


@pytest.mark.parametrize(
    ("item", "role"),
    [
        ("hi", "user"),
        ({"role": "developer", "content": "hi"}, "developer"),
        ({"type": "message", "role": "assistant", "content": []}, "assistant"),
        ({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}, "assistant"),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, "assistant"),
        ({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"}, "assistant"),
        ({"type": "function_call_output", "call_id": "c", "output": "x"}, "tool"),
        ({"type": "custom_tool_call_output", "call_id": "c", "output": "x"}, "tool"),
        ({"type": "web_search_call", "id": "ws_1"}, "assistant"),
        ({"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}}, "tool"),
        ({"type": "mcp_approval_response", "approve": True}, "tool"),
        ({"type": "additional_tools", "role": "developer", "tools": []}, "developer"),
        ({"type": "brand_new", "content": 7}, "assistant"),
        ({"id": "msg_1"}, "assistant"),
    ],
)
def test_every_item_has_a_side(item, role):
    assert reading(item).role == role


def test_the_query_begins_after_the_models_last_item():
    items = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "go"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
        {"role": "user", "content": "and?"},
    ]
    canonical = see({"model": "m", "instructions": "you are", "input": items}, dialect=DIALECT).canonical
    assert (canonical.opening, canonical.query) == (2, 5)
    assert canonical.messages[0].role == "system"
    assert not canonical.messages[0].markable


@pytest.mark.parametrize(
    ("item", "stateful"),
    [
        ({"role": "user", "content": "hi"}, False),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA"}]}, False),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "https://x/y.png"}]}, True),
        ({"role": "user", "content": [{"type": "input_file", "file_data": "data:application/pdf;base64,AA"}]}, False),
        ({"role": "user", "content": [{"type": "input_file", "file_url": "https://x/y.pdf"}]}, True),
        ({"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file", "file_id": "file_1"}]}, True),
        ({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}, False),
        ({"type": "reasoning", "id": "rs_1", "summary": []}, True),
        ({"type": "item_reference", "id": "msg_1"}, True),
        ({"type": "web_search_call", "id": "ws_1"}, True),
        ({"type": "brand_new"}, True),
    ],
)
def test_what_depends_on_the_provider_is_never_shared(item, stateful):
    assert reading(item).stateful is stateful


def test_items_that_stand_for_something_stored_name_it():
    assert reading({"type": "item_reference", "id": "msg_1"}).state == "msg_1"
    assert reading({"id": "msg_1"}).state == "msg_1"
    assert reading({"type": "reasoning", "id": "rs_1", "summary": []}).state == "rs_1"
    assert reading({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}).state == ""
    assert reading({"type": "message", "id": "msg_1", "role": "assistant", "content": "x"}).state == ""
    assert reading({"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}).object_id


def test_pictures_marks_and_blocks_are_counted_in_content_and_output():
    part = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 400}
    found = reading({"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}, part]})
    assert (found.images, found.blocks) == (1, 2)
    assert found.text_bytes < 300
    marked = reading({"role": "user", "content": [{"type": "input_text", "text": "a", "prompt_cache_breakpoint": {**MARK, "ttl": "12h"}}]})
    assert [(mark.part, mark.lifetime_s, mark.spelling) for mark in marked.marks] == [(0, 43_200, "prompt_cache_breakpoint")]
    whole = reading({"role": "user", "content": "a", "cache_control": {"type": "ephemeral"}})
    assert [(mark.part, mark.spelling) for mark in whole.marks] == [(-1, "cache_control")]


def test_what_the_params_say():
    fields = {
        "instructions": "x",
        "max_output_tokens": 9,
        "stream": True,
        "temperature": 0.0,
        "prompt_cache_key": "k",
        "previous_response_id": "resp_1",
        "max_tool_calls": 3,
    }
    params = see({"model": "m", "input": "hi", **fields}, dialect=DIALECT).params
    assert (params.model, params.stream, params.include_usage, params.max_output, params.choices) == ("m", True, True, 9, 1)
    assert (params.deterministic, params.stateful, params.own_affinity, params.state) == (True, True, True, "resp_1")
    assert (params.stores, params.most_uses, params.unserved) == (True, 3, "")
    plain = see({"model": "m", "input": "hi", "store": False}, dialect=DIALECT).params
    assert (plain.deterministic, plain.stateful, plain.stores) == (False, False, False)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"prompt_cache_options": {"comparison_response_id": "resp_1"}}, "prompt_cache_options.comparison_response_id"),
        ({"background": False, "prompt_cache_options": {"mode": "explicit"}}, ""),
    ],
)
def test_objects_of_the_account_and_work_in_the_background_are_not_served(fields, name):
    assert see({"model": "m", "input": "hi", **fields}, dialect=DIALECT).params.unserved == name


def test_two_spellings_of_one_question_are_one():
    def identity(**fields):
        return see({"model": "m", **fields}, dialect=DIALECT).answer()

    same = [
        identity(input="hi"),
        identity(input=[{"role": "user", "content": "hi"}]),
        identity(input=[{"content": [{"text": "hi", "type": "input_text"}], "role": "user", "type": "message"}]),
        identity(input="hi", temperature=1.0, store=True, truncation="disabled", text={"format": {"type": "text"}}, metadata={"a": "b"}),
        identity(input="hi", instructions=None, tools=None, user="u", stream=True),
    ]
    assert len(set(same)) == 1
    others = [
        identity(input="ho"),
        identity(input=[{"role": "developer", "content": "hi"}]),
        identity(input=[{"role": "user", "content": "hi", "id": "msg_1"}]),
        identity(input="hi", instructions=""),
        identity(input="hi", store=False),
        identity(input="hi", reasoning={"effort": "low"}),
        identity(input="hi", text={"verbosity": "low"}),
        identity(input="hi", tools=TOOLS),
        identity(input="hi", include=["reasoning.encrypted_content"]),
    ]
    assert len({*same, *others}) == 1 + len(others)


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({}, "input"),
        ({"input": 1}, "input"),
        ({"input": []}, "input"),
        ({"input": [1]}, "input[0]"),
        ({"input": [{"role": "nobody", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": ["a", {"role": "user", "content": [1]}]}, "input[1].content[0]"),
        ({"input": [{"type": 1}]}, "input[0].type"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": {"a": 1}}]}, "input[0].output"),
        ({"input": "x", "instructions": 1}, "instructions[0]"),
        ({"input": "x", "tools": {}}, "tools"),
        ({"input": "x", "tools": [{"type": "function"}]}, "tools[0].name"),
        ({"input": "x", "tools": [{"name": "x"}]}, "tools[0]"),
        ({"input": "x", "store": "yes"}, "store"),
        ({"input": "x", "previous_response_id": 7}, "previous_response_id"),
        ({"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "x", "temperature": "hot"}, "temperature"),
        ({"input": "x", "model": ""}, "model"),
    ],
)
def test_bad_requests_say_where(request_, param):
    assert refused(request_).param == param


def test_without_input_a_stored_response_goes_on():
    assert see({"model": "m", "previous_response_id": "resp_1"}, dialect=DIALECT).canonical.messages == ()


# splicing


def test_with_all_edits_off_the_body_is_the_very_body_that_came():
    came = b'{ "model" : "gpt-6-sol",\n "input":[ {"role":"user", "content":"h\\u00e9"}, {"type":"new", "x": 1.0} ], "u":[1.50] }'
    out = render(came, SOL, edits=NO_EDITS, dialect=DIALECT)
    assert out.body is came
    assert (out.edits, out.dropped, out.path) == ((), (), "/responses")


def test_the_model_is_named_as_the_vendor_does_and_extensions_stay_here():
    out = render({"model": "openai/gpt-4.1", "input": "hi", "x-cache": "off"}, "openai/gpt-4.1", edits=NO_EDITS, dialect=DIALECT)
    assert json.loads(out.body) == {"model": "gpt-4.1", "input": "hi"}
    assert out.edits == ("model.name", "extensions.strip")


def test_tools_are_sorted_by_name_and_lose_marks_that_can_not_sit_there():
    marked = [{**TOOLS[0], "cache_control": {"type": "ephemeral"}}, TOOLS[1], {"type": "web_search"}]
    out = sent({"input": "hi", "tools": marked})
    assert json.loads(out.body)["tools"] == [TOOLS[1], {"type": "web_search"}, TOOLS[0]]
    assert set(out.edits) == {"tools.order", "marks.plan"}
    assert body({"input": "hi", "tools": marked}, edits=NO_EDITS)["tools"] == marked


def test_an_opening_message_becomes_a_part_and_carries_the_mark():
    items = [{"role": "developer", "content": LONG}, {"role": "user", "content": "hi"}]
    out = sent({"input": items})
    first, second = json.loads(out.body)["input"]
    assert first["content"] == [{"type": "input_text", "text": LONG, "prompt_cache_breakpoint": MARK}]
    assert second == items[1]
    assert set(out.edits) == {"content.parts", "marks.plan"}


def test_instructions_carry_no_mark_and_a_text_stays_a_text():
    out = json.loads(sent({"instructions": LONG, "input": LONG}).body)
    assert (out["instructions"], out["input"]) == (LONG, LONG)


def test_marks_in_the_other_spelling_are_translated_and_keep_their_place():
    items = [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "input_text", "text": "b"}],
        },
        {"role": "user", "content": "whole", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "done", "cache_control": {"type": "ephemeral"}},
    ]
    found = body({"input": items})["input"]
    assert found[0]["content"] == [{"type": "input_text", "text": "a", "prompt_cache_breakpoint": MARK}, {"type": "input_text", "text": "b"}]
    assert found[1] == {"role": "user", "content": [{"type": "input_text", "text": "whole", "prompt_cache_breakpoint": MARK}]}
    assert found[3]["output"] == [{"type": "input_text", "text": "done", "prompt_cache_breakpoint": MARK}]
    assert body({"input": items}, edits=NO_EDITS)["input"] == items


def test_the_clients_own_marks_stay_and_models_that_refuse_marks_get_none():
    part = {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}
    items = [{"role": "user", "content": [part]}]
    assert body({"input": items})["input"] == items
    assert body({"input": items}, GPT)["input"] == [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]


def test_the_models_own_words_take_no_mark():
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x", "cache_control": {"type": "ephemeral"}}]}
    assert body({"input": [{"role": "user", "content": "a"}, said]})["input"][1]["content"] == [{"type": "output_text", "text": "x"}]


def test_a_text_alone_becomes_a_message_where_a_mark_has_to_sit_in_it():
    seen = see({"model": SOL, "input": "hi"}, dialect=DIALECT)
    target = resolve(SOL)
    plan = CachePlan((Breakpoint("b_messages", 0, -1, 43_200),))
    out = WIRE.native_request(seen.envelope, seen.canonical, target.model, target.deployments[0], plan, DEFAULT_EDITS)
    part = {"type": "input_text", "text": "hi", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}
    assert json.loads(out.body)["input"] == [{"role": "user", "content": [part]}]
    kept = WIRE.native_request(seen.envelope, seen.canonical, target.model, target.deployments[0], plan, DEFAULT_EDITS - {"content.parts"})
    assert kept.body is seen.envelope.body


def test_the_affinity_key_is_added_once_and_never_over_the_clients():
    key = body({"instructions": "x", "input": "hi"})["prompt_cache_key"]
    assert key == body({"instructions": "x", "input": "ho"})["prompt_cache_key"]
    assert body({"instructions": "x", "input": "hi", "prompt_cache_key": "mine"})["prompt_cache_key"] == "mine"
    assert "prompt_cache_key" not in body({"input": "hi"})


def test_known_lines_are_dropped_from_instructions_and_opening_messages():
    line = "x-anthropic-billing-header: cch=1;\n"
    found = body({"instructions": line + "be", "input": [{"role": "developer", "content": [{"type": "input_text", "text": line + "brief"}]}, "x"]})
    assert found["instructions"] == "be"
    assert found["input"][0]["content"][0]["text"] == "brief"


def test_reasoning_that_another_vendor_signed_is_taken_out_and_named():
    sealed = seal(Reasoning("hm", "c2ln", "", "anthropic-claude-v1"))
    items = [
        {"role": "user", "content": "go"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAA"},
        {"role": "user", "content": f'"{sealed}"'},
    ]
    out = render({"model": GPT, "input": items}, GPT, edits=NO_EDITS, dialect=DIALECT)
    assert json.loads(out.body)["input"] == [items[0], items[2], items[3]]
    assert (out.edits, out.dropped) == (("extensions.strip",), ("input.reasoning",))


# the tap


def frame(event):
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


USAGE = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
DELTA = {"type": "response.output_text.delta", "delta": 'an "error" and response.completed, in words'}


def last(status, **more):
    return {"type": f"response.{status}", "response": {"id": "resp_1", "status": status, "output": [{"id": "msg_1"}], "usage": USAGE, **more}}


@pytest.mark.parametrize(
    ("end", "reusable", "failure"),
    [
        (last("completed"), True, None),
        (last("incomplete"), False, None),
        (last("failed", error={"code": "server_error", "message": "boom"}), False, "boom"),
        ({"type": "error", "message": "boom", "code": "x"}, False, "boom"),
    ],
)
def test_the_last_event_is_held_back_and_says_everything(end, reusable, failure):
    tap = ResponsesRelay()
    assert tap.feed(frame(DELTA) + frame(end)) == frame(DELTA)
    assert (tap.end, tap.finished, tap.reusable, tap.failure) == (frame(end), True, reusable, failure)
    assert tap.usage.reported is (end["type"] != "error")
    assert tap.close() == b""


def test_what_comes_behind_the_last_event_stays_behind_it():
    tap = ResponsesRelay()
    assert tap.feed(frame(last("completed")) + b"data: [DONE]\n\n") == b""
    assert tap.end == frame(last("completed")) + b"data: [DONE]\n\n"


def test_a_stream_without_its_last_event_is_not_finished():
    tap = ResponsesRelay()
    tap.feed(frame(DELTA))
    assert tap.close() == b""
    assert (tap.finished, tap.usage, tap.end) == (False, NO_USAGE, b"")


def test_a_last_event_without_its_blank_line_counts():
    tap = ResponsesRelay()
    tap.feed(frame(last("completed")).rstrip())
    tap.close()
    assert tap.finished


@pytest.mark.parametrize("data", [b"<html>\n\n", b'{"error":{"message":"no"}}\n\n', b"event: error\ndata: {broken\n\n"])
def test_bytes_that_are_no_stream_are_refused(data):
    with pytest.raises(UpstreamFailed):
        ResponsesRelay().feed(data)


def test_an_endless_line_is_refused():
    tap = ResponsesRelay()
    for _ in range(32):
        assert tap.feed(b"x" * (1 << 19)) == b""
    with pytest.raises(UpstreamFailed, match="endless"):
        tap.feed(b"x")


def test_verdicts_on_whole_answers():
    whole = last("completed")["response"]
    assert verdict(json.dumps(whole).encode())[1]
    assert verdict(json.dumps(whole).encode())[0].output == 2
    assert not verdict(json.dumps({**whole, "status": "incomplete"}).encode())[1]
    failed = {**whole, "status": "failed", "error": {"message": "x"}}
    assert verdict(json.dumps(failed).encode()) == (verdict(json.dumps(whole).encode())[0], False)
    for nonsense in (b"", b"{}", b"[]", b'{"error":{"message":"no"}}', b"<html>"):
        with pytest.raises(UpstreamFailed):
            verdict(nonsense)


def test_what_the_vendor_keeps_is_read_off_the_last_bytes():
    whole = last("completed")["response"]
    kept = Aftermath(("resp_1", "msg_1"))
    assert aftermath(json.dumps(whole).encode()) == aftermath(frame(last("completed"))) == kept
    assert aftermath(frame(last("completed")) + b"data: [DONE]\n\n") == kept
    assert aftermath(json.dumps({**whole, "store": False}).encode()) == Aftermath()
    assert aftermath(frame(last("failed"))) == kept  # vendors keep failed answers as well
    assert aftermath(b"") == aftermath(b"data: x\n\n") == aftermath(b"<html>\n\n") == aftermath(b'{"id":') == Aftermath()


SEARCH = {"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}}


def test_what_searches_cost_is_part_of_the_usage():
    whole = last("completed", output=[SEARCH, SEARCH])["response"]
    assert verdict(json.dumps(whole).encode())[0].fees == 20_000_000
    tap = ResponsesRelay()
    tap.feed(frame(last("completed", output=[SEARCH, SEARCH])))
    assert (tap.usage.fees, tap.usage.output) == (20_000_000, 2)


def test_of_a_stream_that_is_cut_the_searches_so_far_are_known():
    tap = ResponsesRelay()
    done = frame({"type": "response.output_item.done", "item": SEARCH})
    assert tap.feed(frame(DELTA) + done) == frame(DELTA) + done
    tap.feed(frame({"type": "response.output_item.added", "item": SEARCH}) + done + frame(DELTA)[:9])
    assert (tap.usage.fees, tap.usage.reported) == (20_000_000, False)
    tap.feed(frame(DELTA)[9:] + frame(last("completed", output=[SEARCH])))
    assert tap.usage.fees == 20_000_000


def test_the_tier_of_service_that_answered_is_part_of_the_usage():
    whole = last("completed", service_tier="flex")["response"]
    assert verdict(json.dumps(whole).encode())[0].service_tier == "flex"
    tap = ResponsesRelay()
    tap.feed(
        frame({"type": "response.created", "response": {"id": "resp_1", "service_tier": "auto"}}) + frame(last("completed", service_tier="priority"))
    )
    assert tap.usage.service_tier == "priority"
    for said, kept in (("auto", ""), (None, ""), (5, ""), ("SERVICE_TIER_FLEX", "flex"), ("x\n{}", "other"), ("y" * 50, "other")):
        assert verdict(json.dumps({**whole, "service_tier": said}).encode())[0].service_tier == kept


def test_what_a_stream_had_begun_is_read_off_everything_that_came_of_it():
    created = frame({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}})
    said = frame({"type": "response.output_item.done", "item": {"type": "message", "id": "msg_1"}})
    search = frame({"type": "response.output_item.done", "item": {"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}}})
    assert aftermath(created) == Aftermath(("resp_1",))
    assert aftermath(created + said + search + frame(DELTA)[:20]) == Aftermath(("resp_1", "msg_1", "ws_1"))
    assert aftermath(created + said + frame({"type": "error", "message": "x"})) == Aftermath(("resp_1", "msg_1"))
    failed = frame({"type": "response.failed", "response": {"id": "resp_1", "output": []}})
    assert aftermath(b": hello\r\n\r\n" + created + said + failed) == Aftermath(("resp_1", "msg_1"))
    unstored = frame({"type": "response.created", "response": {"id": "resp_1", "store": False}})
    assert aftermath(unstored + said + search) == Aftermath()


@pytest.mark.parametrize(
    ("item", "state"),
    [
        ({"id": "msg_1"}, "msg_1"),
        ({"type": "item_reference", "id": "msg_1"}, "msg_1"),
        ({"type": "reasoning", "id": "rs_1", "summary": []}, "rs_1"),
        ({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": ""}, "rs_1"),
        ({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}, ""),
        ({"type": "compaction", "id": "cmp_1"}, "cmp_1"),
        ({"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}, ""),
        ({"type": "image_generation_call", "id": "ig_1", "result": None, "status": "completed", "size": "1x1"}, "ig_1"),
        ({"type": "image_generation_call", "id": "ig_1", "result": "AAAA"}, ""),
        ({"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}, "mcpr_1"),
        ({"type": "web_search_call", "id": "ws_1", "status": "completed"}, "ws_1"),
        ({"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}, ""),
        ({"type": "message", "role": "assistant", "id": "msg_1", "content": "hi"}, ""),
        ({"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}, ""),
    ],
)
def test_what_stands_for_something_stored_is_told_by_its_id(item, state):
    found = reading(item)
    assert found.state == state
    assert found.stateful or not state


@pytest.mark.parametrize(
    ("item", "named"),
    [
        ({"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}, True),
        ({"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "file_id": "file_1"}]}, True),
        ({"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "file_id": "file_1"}}, True),
        ({"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "file_id": None}}, False),
        ({"type": "shell_call", "call_id": "c", "environment": {"type": "container_reference", "container_id": "cntr_1"}}, True),
        ({"type": "code_interpreter_call", "id": "ci_1", "code": "", "container_id": "cntr_1"}, True),
        ({"type": "brand_new", "deep": [{"er": {"vector_store_ids": ["vs_1"]}}]}, True),
        ({"type": "tool_search_call", "call_id": "c", "arguments": {"file_id": "mine"}}, False),
        ({"role": "assistant", "content": [{"type": "output_text", "text": "x", "annotations": [{"file_id": "file_1"}]}]}, False),
    ],
)
def test_objects_in_the_providers_account_are_found_wherever_an_item_names_them(item, named):
    assert reading(item).object_id == named


def test_tools_that_come_with_an_item_or_in_a_namespace_have_the_fee_of_the_dearest():
    search, code = {"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}
    for tools, fee in (([TOOLS[0]], 0), ([TOOLS[0], search], 10_000_000), ([search, code], -1)):
        assert reading({"type": "additional_tools", "role": "developer", "tools": tools}).fee == fee
        assert reading({"type": "tool_search_output", "tools": tools}).fee == fee
        seen = see({"model": "m", "input": "x", "tools": [{"type": "namespace", "name": "n", "tools": tools}]}, dialect=DIALECT)
        assert (seen.canonical.tools[0].fee, seen.canonical.tools[0].stateful) == (fee, fee != 0)


def test_errors_have_the_shape_of_the_api():
    error = InvalidRequest("no", param="input[0]")
    fields = {"message": "no", "type": "invalid_request_error", "param": "input[0]", "code": "invalid_request"}
    assert json.loads(DIALECT.encode_error(error)) == {"error": fields}
    event = msgspec.json.decode(DIALECT.encode_stream_error(error).split(b"data: ")[1])
    assert event == {**fields, "type": "error", "sequence_number": 0, "error": fields}


def test_a_request_as_it_came_is_read_the_same_from_bytes():
    assert see(as_body({"model": "m", "input": "hi"}), dialect=DIALECT).params.model == "m"
