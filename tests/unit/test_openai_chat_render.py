"""Requests of other dialects on the Chat wire: what is carried, approximated, dropped and refused, host by host."""

import asyncio
import base64
import copy
import json

import httpx
import msgspec
import pytest

from tokenrouter.adapters.outbound.openai_chat import OpenAIChatWire
from tokenrouter.errors import InvalidRequest, UnsupportedField, UpstreamTruncated
from tokenrouter.model.answer import Reasoning, ToolCall, fold
from tokenrouter.model.cache_plan import NO_PLAN, Breakpoint, CachePlan, PromptCacheLimits
from tokenrouter.model.catalog import Deployment, Endpoint, Model, Secret
from tokenrouter.model.conversation import (
    Audio,
    Call,
    Conversation,
    Document,
    Image,
    OutputFormat,
    Refusal,
    Result,
    Text,
    Thought,
    ToolChoice,
    ToolSpec,
    Turn,
    Video,
)

WIRE = OpenAIChatWire()
MODEL = Model(name="gpt-4.1", vendor="openai")
THINKS = Model(name="gpt-5.2", vendor="openai", reasoning="effort", efforts=("none", "low", "medium", "high", "xhigh"))
SOL = Model(
    name="gpt-6-sol",
    vendor="openai",
    reasoning="effort",
    efforts=("none", "low", "medium", "high", "xhigh", "max"),
    cache=PromptCacheLimits(style="breakpoints", max_marks=4, lifetimes_s=(1800, 43_200), parts_alike=True),
)
MARKED = PromptCacheLimits(style="marks", max_marks=4, lifetimes_s=(300, 3600), parts_alike=True)
CLAUDE = Model(name="anthropic/claude-x", vendor="openrouter", cache=MARKED)


def host(*quirks, **fields):
    return Deployment(
        name="d", vendor="v", endpoints=(Endpoint("openai-chat", "https://h/v1"),), api_key=Secret("k"), quirks=frozenset(quirks), **fields
    )


OPENAI = host("openai", "files", affinity_field="prompt_cache_key", mark_field="prompt_cache_breakpoint")
PLAIN = host()
DEEPSEEK = host(
    *("max_tokens", "text_only", "strings", "reasoning_content", "thinking_switch"),
    *("no_json_schema", "no_n", "no_seed", "no_user", "no_parallel"),
)
MISTRAL = host("max_tokens", "no_stream_options", "random_seed", "short_ids", "no_names", "no_user", "top_k")
ROUTER = host("files", "file_urls", "top_k", "reasoning_details", affinity_field="session_id", mark_field="cache_control")
GOOGLE = host("thought_signatures")

SCHEMA = msgspec.Raw(b'{ "type":"object", "properties":{"x":{"type":"number","minimum":1.0}} }')
TOOL = ToolSpec("f", "d", SCHEMA)
HI = Turn("user", (Text("hi"),), 0)


def turns(*rows):
    """Turns from (role, block, block, ...), numbered in their order; a string is a text."""
    return tuple([Turn(role, tuple([Text(b) if isinstance(b, str) else b for b in blocks]), number) for number, (role, *blocks) in enumerate(rows)])


def asked(*rows, **fields):
    return Conversation(turns=turns(*rows) or (HI,), **fields)


def sent(*rows, to=MODEL, at=OPENAI, plan=NO_PLAN, **fields):
    return WIRE.translate(asked(*rows, **fields), to, at, plan)


def body(*rows, **fields):
    return json.loads(sent(*rows, **fields).body)


def messages(*rows, **fields):
    return body(*rows, **fields)["messages"]


def refused(*rows, **fields):
    with pytest.raises(InvalidRequest) as caught:
        sent(*rows, **fields)
    return caught.value


def call(call_id, arguments="{}", name="f", *, custom=False):
    return Call(ToolCall(call_id, name, arguments, custom))


def result(call_id, *content, failed=False):
    return Result(call_id, tuple([Text(one) if isinstance(one, str) else one for one in content]), failed=failed)


PNG = Image(data="AAAA", media_type="image/png")
PDF = Document(data="JVBERi0=", media_type="application/pdf", filename="a.pdf")


# --- the request as a whole


def test_a_plain_question_is_rendered_small_and_in_rendering_order():
    out = sent(("system", "S"), ("user", "hi"), tools=(TOOL,), stream=True, max_output=9)
    assert out.body == (
        b'{"model":"gpt-4.1","stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":9,'
        b'"tools":[{"type":"function","function":{"name":"f","description":"d",'
        b'"parameters":{ "type":"object", "properties":{"x":{"type":"number","minimum":1.0}} }}}],'
        b'"messages":[{"role":"system","content":"S"},{"role":"user","content":"hi"}]}'
    )
    assert (out.path, dict(out.headers)) == ("/chat/completions", {"content-type": "application/json"})
    assert (out.edits, out.dropped) == ((), ())


def test_parameters_are_carried():
    out = sent(
        temperature=0.5,
        top_p=0.9,
        frequency_penalty=0.1,
        presence_penalty=-0.2,
        stop=("a", "b"),
        seed=7,
        choices=2,
        user="u",
        service_tier="default",
        tools=(TOOL,),
        parallel_calls=False,
    )
    wire = json.loads(out.body)
    assert {name: wire[name] for name in wire if name not in ("model", "messages", "tools")} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "frequency_penalty": 0.1,
        "presence_penalty": -0.2,
        "stop": ["a", "b"],
        "seed": 7,
        "n": 2,
        "safety_identifier": "u",
        "service_tier": "default",
        "parallel_tool_calls": False,
    }
    assert out.dropped == ()


def test_hosts_have_their_own_names_for_some_parameters():
    wire = body(at=MISTRAL, max_output=9, seed=7, top_k=3, stream=True)
    assert (wire["max_tokens"], wire["random_seed"], wire["top_k"]) == (9, 7, 3)
    assert not {"max_completion_tokens", "seed", "stream_options"} & set(wire)
    assert body(at=PLAIN, user="u")["user"] == "u"


def test_hints_that_a_host_has_no_place_for_are_dropped_and_reported():
    fields = {"seed": 1, "user": "u", "top_k": 4, "verbosity": "low", "service_tier": "default", "parallel_calls": False, "tools": (TOOL,)}
    out = sent(at=DEEPSEEK, leftover=("logit_bias",), **fields)
    assert set(out.dropped) == {"seed", "user", "top_k", "verbosity", "service_tier", "parallel_tool_calls", "logit_bias"}
    assert set(json.loads(out.body)) == {"model", "messages", "tools"}
    assert sent(at=DEEPSEEK, tools=(TOOL,), parallel_calls=True).dropped == ()
    assert sent(service_tier="standard_only").dropped == ("service_tier",)
    assert sent(at=host("no_penalties"), frequency_penalty=0.5, presence_penalty=0.0).dropped == ("frequency_penalty",)
    assert sent(show_reasoning=True).dropped == ("show_reasoning",)
    assert sent(show_reasoning=True, at=DEEPSEEK).dropped == ()


def test_verbosity_goes_to_models_that_know_it():
    assert body(verbosity="low", to=THINKS)["verbosity"] == "low"
    assert sent(verbosity="low").dropped == ("verbosity",)


@pytest.mark.parametrize(
    ("fields", "at", "param"),
    [
        ({"choices": 2}, DEEPSEEK, "n"),
        ({"stop": tuple("abcde")}, OPENAI, "stop"),
        ({"leftover": ("logprobs",)}, OPENAI, "logprobs"),
        ({"leftover": ("top_logprobs",)}, OPENAI, "top_logprobs"),
        ({"leftover": ("modalities",)}, OPENAI, "modalities"),
        ({"leftover": ("web_search_options",)}, OPENAI, "web_search_options"),
        ({"output": OutputFormat("json_schema", schema=SCHEMA)}, DEEPSEEK, "response_format.type"),
        ({"effort": "heroic"}, OPENAI, "reasoning_effort"),
        ({"tool_choice": ToolChoice("required")}, OPENAI, "tool_choice"),
        ({"tool_choice": ToolChoice("named", name="f")}, OPENAI, "tool_choice"),
        ({"tools": (TOOL, ToolSpec("g"), ToolSpec("h")), "tool_choice": ToolChoice("subset", names=("f", "g"))}, PLAIN, "tool_choice.allowed_tools"),
        ({"tools": (TOOL, ToolSpec("c", custom=True))}, PLAIN, "tools[1].type"),
        ({"tools": (ToolSpec("c", custom=True, grammar=msgspec.Raw(b'{"type":"grammar"}')),)}, OPENAI, "tools[0].custom.format"),
    ],
)
def test_what_the_answer_depends_on_is_refused_by_name(fields, at, param):
    error = refused(at=at, **fields)
    assert error.param == param
    assert param.split(".")[0] in error.message


def test_more_stop_strings_pass_where_only_the_host_knows_its_limit():
    assert body(at=PLAIN, stop=tuple("abcde"))["stop"] == list("abcde")


def test_a_conversation_without_messages_is_refused():
    with pytest.raises(InvalidRequest) as caught:
        WIRE.translate(Conversation(turns=()), MODEL, OPENAI, NO_PLAN)
    assert caught.value.param == "messages"


# --- tools and the form of the answer


def test_a_function_without_parameters_says_so_as_the_host_wants_it():
    bare = ToolSpec("f", strict=False)
    assert body(tools=(bare,))["tools"] == [{"type": "function", "function": {"name": "f", "strict": False}}]
    assert body(tools=(bare,), at=PLAIN)["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    "spelling",
    [
        b'{"type":"grammar","grammar":{"syntax":"lark","definition":"start: \\u0041"}}',
        b'{"type":"grammar","syntax":"lark","definition":"start: \\u0041"}',
    ],
)
def test_custom_tools_keep_their_grammar(spelling):
    out = sent(tools=(ToolSpec("c", "d", custom=True, grammar=msgspec.Raw(spelling)),))
    wanted = b'{"type":"custom","custom":{"name":"c","description":"d","format":{"type":"grammar","grammar":'
    assert wanted + b'{"syntax":"lark","definition":"start: \\u0041"}}}}' in out.body


def test_custom_tools_without_a_grammar_take_any_text():
    for grammar in (None, msgspec.Raw(b'{"type":"text"}')):
        assert body(tools=(ToolSpec("c", custom=True, grammar=grammar),))["tools"] == [{"type": "custom", "custom": {"name": "c"}}]


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (None, None),
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("named", name="f"), {"type": "function", "function": {"name": "f"}}),
        (ToolChoice("named", name="c"), {"type": "custom", "custom": {"name": "c"}}),
        (ToolChoice("subset", names=("f", "c")), "auto"),
        (
            ToolChoice("subset", names=("c",), required=True),
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "custom", "custom": {"name": "c"}}]}},
        ),
    ],
)
def test_tool_choice_in_all_its_forms(choice, wire):
    assert body(tools=(TOOL, ToolSpec("c", custom=True)), tool_choice=choice).get("tool_choice") == wire


def test_a_subset_that_comes_to_one_forced_tool_or_to_all_goes_everywhere():
    both = (TOOL, ToolSpec("g"))
    one = body(tools=both, tool_choice=ToolChoice("subset", names=("g",), required=True), at=PLAIN)
    assert one["tool_choice"] == {"type": "function", "function": {"name": "g"}}
    assert body(tools=both, tool_choice=ToolChoice("subset", names=("g", "f"), required=True), at=PLAIN)["tool_choice"] == "required"


def test_tools_are_not_mentioned_where_there_are_none():
    wire = body(tool_choice=ToolChoice("auto"), parallel_calls=False)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(wire)


def test_the_form_of_the_answer_is_carried_and_a_schema_gets_a_name():
    out = sent(output=OutputFormat("json_schema", schema=SCHEMA, strict=True))
    assert b'"response_format":{"type":"json_schema","json_schema":{"name":"response","schema":' + bytes(SCHEMA) + b',"strict":true}}' in out.body
    assert body(output=OutputFormat("json_schema", "n", SCHEMA))["response_format"]["json_schema"]["name"] == "n"
    assert body(output=OutputFormat("json_object"), at=DEEPSEEK)["response_format"] == {"type": "json_object"}
    assert "response_format" not in body()


# --- effort and sampling


@pytest.mark.parametrize(
    ("effort", "budget", "word", "dropped"),
    [
        ("high", None, "high", ()),
        ("none", None, "none", ()),
        ("minimal", None, "low", ("reasoning_effort",)),
        ("max", None, "xhigh", ("reasoning_effort",)),
        (None, 0, "none", ()),
        (None, 1, "low", ()),
        (None, 5_120, "low", ()),
        (None, 5_121, "medium", ()),
        (None, 10_000, "medium", ()),
        (None, 16_000, "high", ()),
        (None, 31_999, "xhigh", ()),
        (None, 100_000, "xhigh", ()),
        (None, -1, None, ()),
        ("low", 100_000, "low", ()),
    ],
)
def test_effort_is_asked_for_in_the_nearest_word(effort, budget, word, dropped):
    out = sent(effort=effort, thinking_budget=budget, to=THINKS)
    assert (json.loads(out.body).get("reasoning_effort"), out.dropped) == (word, dropped)


def test_what_is_to_reason_is_never_told_not_to_and_what_can_not_stop_is_told_to_do_least():
    only = msgspec.structs.replace(THINKS, efforts=("high", "none"))
    assert body(effort="minimal", to=only)["reasoning_effort"] == "high"
    out = sent(effort="none", to=msgspec.structs.replace(THINKS, efforts=("high", "low")))
    assert (json.loads(out.body)["reasoning_effort"], out.dropped) == ("low", ("reasoning_effort",))


def test_reasoning_is_switched_off_where_there_is_a_switch():
    out = sent(thinking_budget=0, at=DEEPSEEK, to=msgspec.structs.replace(THINKS, efforts=("low", "high")))
    wire = json.loads(out.body)
    assert wire["thinking"] == {"type": "disabled"}
    assert ("reasoning_effort" in wire, out.dropped) == (False, ())


def test_a_model_that_does_not_reason_is_not_asked_to():
    assert sent(effort="high").dropped == ("reasoning_effort",)
    assert sent(thinking_budget=9).dropped == ("thinking_budget",)
    for off in ({"effort": "none"}, {"thinking_budget": 0}):
        out = sent(**off)
        assert (set(json.loads(out.body)), out.dropped) == ({"model", "messages"}, ())


def test_sampling_is_dropped_where_the_model_refuses_it_unless_it_is_the_default():
    cold = msgspec.structs.replace(THINKS, sampling=False)
    for fields in ({"to": cold}, {"to": THINKS, "effort": "low"}):
        out = sent(temperature=0.0, top_p=0.5, **fields)
        assert out.dropped == ("temperature", "top_p")
        assert not {"temperature", "top_p"} & set(json.loads(out.body))
        assert sent(temperature=1.0, top_p=1, **fields).dropped == ()
    assert body(temperature=0.0, to=THINKS, effort="none")["temperature"] == 0
    assert body(temperature=0.0, to=THINKS, effort="low", at=PLAIN)["temperature"] == 0


# --- turns


def test_content_is_a_string_where_it_is_exactly_one_text():
    rows = (("system", "S"), ("user", "a", "b"), ("assistant", "c"), ("user", PNG), ("user", "d"))
    assert [message["content"] for message in messages(*rows)] == [
        "S",
        [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "c",
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
        "d",
    ]


def test_a_host_of_strings_gets_strings():
    rows = (("system", "S", "T"), ("user", "a", "b"), ("assistant", call("x")), ("tool", result("x", "1", "2")))
    assert [message["content"] for message in messages(*rows, at=DEEPSEEK)] == ["S\nT", "a\nb", None, "1\n2"]


def test_where_marks_may_come_text_is_always_parts():
    rows = (("system", "S"), ("user", "hi"), ("assistant", "a", call("x")), ("tool", result("x", "1")), ("user", ""))
    for to, at in ((SOL, OPENAI), (CLAUDE, ROUTER)):
        assert [message["content"] for message in messages(*rows, to=to, at=at)] == [
            [{"type": "text", "text": "S"}],
            [{"type": "text", "text": "hi"}],
            [{"type": "text", "text": "a"}],
            [{"type": "text", "text": "1"}],
            "",
        ]


def test_system_turns_keep_their_place_and_hold_text_only():
    assert [message["role"] for message in messages(("system", "S"), ("user", "a"), ("system", "T"), ("user", "b"))] == [
        "system",
        "user",
        "system",
        "user",
    ]
    assert refused(("system", PNG), ("user", "a")).param == "messages[0].content"


def test_names_of_speakers_are_carried_or_reported():
    conversation = Conversation(turns=(Turn("user", (Text("hi"),), 0, "ann"),))
    assert json.loads(WIRE.translate(conversation, MODEL, OPENAI, NO_PLAN).body)["messages"][0]["name"] == "ann"
    out = WIRE.translate(conversation, MODEL, MISTRAL, NO_PLAN)
    assert ("name" in json.loads(out.body)["messages"][0], out.dropped) == (False, ("messages.name",))


def test_calls_and_results_are_carried_word_for_word():
    odd = ' { "b" : 1.0,\n"a":[1e2, "\\u00e9\\/"] } '
    rows = (("user", "go"), ("assistant", "t", call("a b", odd), call("", "")), ("tool", result("a b", "1"), result("", "2", "3")))
    assert messages(*rows)[1:] == [
        {
            "role": "assistant",
            "content": "t",
            "tool_calls": [
                {"type": "function", "id": "a b", "function": {"name": "f", "arguments": odd}},
                {"type": "function", "id": "", "function": {"name": "f", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "a b", "content": "1"},
        {"role": "tool", "tool_call_id": "", "content": [{"type": "text", "text": "2"}, {"type": "text", "text": "3"}]},
    ]


def test_calls_of_custom_tools_go_where_they_are_known():
    row = ("assistant", call("a", "free\ttext", custom=True))
    assert messages(row)[0]["tool_calls"] == [{"type": "custom", "id": "a", "custom": {"name": "f", "input": "free\ttext"}}]
    assert refused(row, at=PLAIN).param == "messages[0].tool_calls"


def test_strange_call_ids_become_short_ones_alike_in_call_and_result_and_the_same_every_time():
    def ids(call_id):
        wire = messages(("user", "go"), ("assistant", call(call_id)), ("tool", result(call_id, "1")), at=MISTRAL)
        return wire[1]["tool_calls"][0]["id"], wire[2]["tool_call_id"]

    assert ids("Abc123xyz") == ("Abc123xyz", "Abc123xyz")
    made = {strange: ids(strange) for strange in ("call_1", "", "Abc123xy_", "toolu_" + "x" * 40)}
    assert all(one == other and len(one) == 9 and one.isalnum() for one, other in made.values())
    assert len({one for one, _ in made.values()}) == len(made)
    assert ids("call_1") == made["call_1"]


def test_a_failed_result_says_so_unless_its_text_does():
    def said(*content):
        return messages(("assistant", call("x")), ("user", result("x", *content, failed=True)))[1]["content"]

    assert said("no such file") == "Error: no such file"
    assert said() == "Error"
    for own in ("Error: no", "error!", "<tool_use_error>x</tool_use_error>", "[ERROR] y"):
        assert said(own) == own
    assert said("Errand done", "b")[0]["text"] == "Error: Errand done"


def test_results_come_first_and_what_stood_with_them_follows():
    rows = (("assistant", call("x"), call("y")), ("user", result("x", "1"), result("y", "2"), "go on"))
    out = sent(*rows)
    assert [(message["role"], message["content"]) for message in json.loads(out.body)["messages"][1:]] == [
        ("tool", "1"),
        ("tool", "2"),
        ("user", "go on"),
    ]
    assert out.dropped == ()
    out = sent(rows[0], ("user", "before", result("x", "1"), result("y", "2")))
    assert [message["role"] for message in json.loads(out.body)["messages"][1:]] == ["tool", "tool", "user"]
    assert out.dropped == ("messages.order",)


def test_pictures_of_results_follow_behind_the_run_of_tool_messages():
    rows = (
        ("assistant", call("x"), call("y")),
        ("tool", result("x", "see", PNG)),
        ("tool", result("y", PDF)),
        ("assistant", "ok"),
    )
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}}
    assert messages(*rows)[1:] == [
        {"role": "tool", "tool_call_id": "x", "content": "see"},
        {"role": "tool", "tool_call_id": "y", "content": "The content of this result follows in the next user message."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Attached to the result of the tool call x:"},
                image,
                {"type": "text", "text": "Attached to the result of the tool call y:"},
                file,
            ],
        },
        {"role": "assistant", "content": "ok"},
    ]
    assert [message["role"] for message in messages(*rows[:3])] == ["assistant", "tool", "tool", "user"]


def test_what_stands_with_a_pictures_result_shares_its_message_and_a_turn_behind_it_does_not():
    head = ("assistant", call("x"))
    together = messages(head, ("user", result("x", PNG), "look"))
    assert [message["role"] for message in together] == ["assistant", "tool", "user"]
    assert [part["type"] for part in together[2]["content"]] == ["text", "image_url", "text"]
    apart = messages(head, ("tool", result("x", PNG)), ("user", "look"))
    assert [message["role"] for message in apart] == ["assistant", "tool", "user", "user"]
    assert apart[3]["content"] == "look"


def test_turns_of_the_model_are_flattened_and_a_real_change_is_reported():
    def flat(*blocks):
        out = sent(("user", "q"), ("assistant", *blocks))
        return json.loads(out.body)["messages"][1]["content"], out.dropped

    assert flat("a", "b", call("x")) == ("ab", ())
    assert flat(call("x"), call("y")) == (None, ())
    assert flat("a", call("x"), "") == ("a", ())
    assert flat("a", call("x"), "b", "c") == ("a\nbc", ("messages.order",))
    assert flat(call("x"), "b") == ("b", ("messages.order",))
    assert flat() == ("", ())


def test_refusals_are_a_field_at_openai_and_text_elsewhere():
    assert messages(("assistant", Refusal("no")))[0] == {"role": "assistant", "content": None, "refusal": "no"}
    assert messages(("assistant", Refusal("no")), at=PLAIN)[0] == {"role": "assistant", "content": "no"}


def test_media_are_rendered_as_parts():
    note = Document(data=base64.b64encode("né".encode()).decode(), media_type="text/plain", filename="n.txt")
    blocks = (
        Image(url="https://x/y.png", detail="high"),
        PDF,
        Document(data="AA==", media_type="application/vnd.ms-excel"),
        note,
        Document(text="inline"),
        Audio(data="UklG", format="wav"),
    )
    assert messages(("user", *blocks))[0]["content"] == [
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "high"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "data:application/vnd.ms-excel;base64,AA==", "filename": "document"}},
        {"type": "text", "text": "n.txt\n\nné"},
        {"type": "text", "text": "inline"},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
    ]
    assert messages(("user", Document(url="https://x/a.pdf")), at=ROUTER)[0]["content"][0]["file"]["file_data"] == "https://x/a.pdf"


@pytest.mark.parametrize(
    ("block", "at", "param"),
    [
        (PDF, PLAIN, "messages[0].content[1].file.file_data"),
        (Document(url="https://x/a.pdf"), OPENAI, "messages[0].content[1].file.file_data"),
        (Document(file_id="file-1"), OPENAI, "messages[0].content[1].file.file_id"),
        (Document(data="/w==", media_type="text/plain"), OPENAI, "messages[0].content[1].file.file_data"),
        (Image(url="gs://a/b"), OPENAI, "messages[0].content[1].image_url.url"),
        (PNG, DEEPSEEK, "messages[0].content[1]"),
        (Audio(data="A", format="wav"), DEEPSEEK, "messages[0].content[1]"),
        (Audio(data="A", format="flac"), OPENAI, "messages[0].content[1].input_audio.format"),
        (Audio(audio_id="audio_1"), OPENAI, "messages[0].audio"),
        (Video(url="https://x/v.mp4"), OPENAI, "messages[0].content[1]"),
        (call("x"), OPENAI, "messages[0].content[1]"),
    ],
)
def test_media_that_a_host_can_not_take_are_refused_by_name(block, at, param):
    error = refused(("user", "a", block), at=at)
    assert error.param == param
    assert error.message.startswith(param)


def test_media_in_results_are_refused_in_the_words_of_their_place():
    assert refused(("assistant", call("x")), ("tool", result("x", "a", PDF)), at=PLAIN).param == "messages[1].content[1].file.file_data"
    turn = Turn("assistant", (Text("a"), PNG), 3, path="input[2]")
    with pytest.raises(UnsupportedField) as caught:
        WIRE.translate(Conversation(turns=(turn,)), MODEL, OPENAI, NO_PLAN)
    assert caught.value.param == "input[2].content[1]"


def test_an_earlier_spoken_answer_is_refused():
    assert refused(("user", "q"), ("assistant", Audio(audio_id="audio_1"))).param == "messages[1].audio"


# --- reasoning

PLAIN_THOUGHT = Thought(Reasoning("hm"))
SIGNED = Thought(Reasoning("t", "sig", format="anthropic-claude-v1"))
GEMINI = "google-gemini-v1"


def test_readable_reasoning_goes_back_with_calls_where_it_is_asked_for():
    out = sent(("user", "q"), ("assistant", PLAIN_THOUGHT, Thought(Reasoning("m")), "a", call("x")), at=DEEPSEEK)
    assert json.loads(out.body)["messages"][1]["reasoning_content"] == "hmm"
    assert out.dropped == ()
    for blocks in ((PLAIN_THOUGHT, "a"), (SIGNED, call("x"))):
        out = sent(("user", "q"), ("assistant", *blocks), at=DEEPSEEK)
        assert ("reasoning_content" in json.loads(out.body)["messages"][1], out.dropped) == (False, ("messages.reasoning",))


def test_no_reasoning_goes_to_hosts_that_take_none():
    for at in (OPENAI, PLAIN, MISTRAL):
        out = sent(("user", "q"), ("assistant", PLAIN_THOUGHT, SIGNED, "a", call("x")), at=at)
        assert b"hm" not in out.body
        assert b"sig" not in out.body
        assert out.dropped == ("messages.reasoning",)


def test_signed_reasoning_goes_back_to_the_family_that_signed_it():
    def details(model, *reasoning):
        out = sent(("user", "q"), ("assistant", *map(Thought, reasoning), "a"), at=ROUTER, to=msgspec.structs.replace(MODEL, name=model))
        return json.loads(out.body)["messages"][1].get("reasoning_details"), out.dropped

    claude, redacted = Reasoning("t", "s", format="anthropic-claude-v1"), Reasoning(redacted="d", format="anthropic-claude-v1")
    item = Reasoning("sum", redacted="enc", format="openai-responses-v1", id="rs_1")
    over_call = Reasoning(signature="g", format=GEMINI, id="call_1")
    assert details("anthropic/claude-x", claude, item, redacted, Reasoning("plain")) == (
        [
            {"type": "reasoning.text", "text": "t", "signature": "s", "format": "anthropic-claude-v1", "index": 0},
            {"type": "reasoning.encrypted", "data": "d", "format": "anthropic-claude-v1", "index": 1},
        ],
        ("messages.reasoning",),
    )
    assert details("openai/gpt-x", item) == (
        [
            {"type": "reasoning.summary", "summary": "sum", "id": "rs_1", "format": "openai-responses-v1", "index": 0},
            {"type": "reasoning.encrypted", "data": "enc", "id": "rs_1", "format": "openai-responses-v1", "index": 1},
        ],
        (),
    )
    assert details("google/gemini-x", over_call) == (
        [{"type": "reasoning.encrypted", "data": "g", "id": "call_1", "format": GEMINI, "index": 0}],
        (),
    )
    assert details("moonshotai/kimi", Reasoning("plain"), claude) == (
        [{"type": "reasoning.text", "text": "plain", "format": "unknown", "index": 0}],
        ("messages.reasoning",),
    )


def test_a_signature_over_a_call_goes_back_on_that_call():
    def signed(*blocks):
        out = sent(("user", "q"), ("assistant", *blocks), at=GOOGLE)
        calls = json.loads(out.body)["messages"][1].get("tool_calls", [])
        return [one.get("extra_content", {}).get("google", {}).get("thought_signature") for one in calls], out.dropped

    def over(signature, call_id="", text=""):
        return Thought(Reasoning(text, signature, format=GEMINI, id=call_id))

    assert signed(over("1"), call("x"), call("y")) == (["1", None], ())
    assert signed(over("2", "y"), over("1", "x"), call("x"), call("y")) == (["1", "2"], ())
    assert signed(call("x"), over("2"), call("y")) == ([None, "2"], ())
    assert signed(over("1", text="why"), call("x")) == (["1"], ("messages.reasoning",))
    assert signed(over("1"), "text", call("x")) == ([None], ("messages.reasoning",))
    assert signed(over("1", "gone"), call("x")) == ([None], ("messages.reasoning",))
    assert signed(SIGNED, call("x")) == ([None], ("messages.reasoning",))


# --- marks and keys


def marks(value, path=""):
    found = {}
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        here = f"{path}.{key}" if path else str(key)
        if key in ("cache_control", "prompt_cache_breakpoint"):
            found[path] = inner
        else:
            found |= marks(inner, here)
    return found


LONG = (
    ("system", "s0", "s1"),
    ("user", "u0", "", PNG),
    ("assistant", PLAIN_THOUGHT, "t", call("a"), call("b")),
    ("user", result("a", "1", PNG), result("b", "2"), "more"),
    ("assistant", call("c")),
    ("tool", result("c", "")),
    ("user", "last"),
)


@pytest.mark.parametrize(
    ("point", "place"),
    [
        (Breakpoint("a_tools", 0), None),
        (Breakpoint("b_messages", 0), "messages.0.content.1"),
        (Breakpoint("b_messages", 0, 0), "messages.0.content.0"),
        (Breakpoint("b_messages", 1), "messages.1.content.1"),
        (Breakpoint("b_messages", 1, 1), "messages.1.content.0"),
        (Breakpoint("b_messages", 2), "messages.2.content.0"),
        (Breakpoint("b_messages", 2, 2), "messages.2.content.0"),
        (Breakpoint("b_messages", 3), "messages.5.content.2"),
        (Breakpoint("b_messages", 3, 0), "messages.5.content.1"),
        (Breakpoint("b_messages", 3, 1), "messages.4.content.0"),
        (Breakpoint("b_messages", 4), None),
        (Breakpoint("b_messages", 5), None),
        (Breakpoint("b_messages", 6), "messages.8.content.0"),
        (Breakpoint("b_messages", 99), None),
    ],
)
def test_a_mark_sits_where_the_plan_says_or_on_the_nearest_earlier_part(point, place):
    for to, at, mark in ((CLAUDE, ROUTER, {"type": "ephemeral"}), (SOL, OPENAI, {"mode": "explicit"})):
        out = sent(*LONG, to=to, at=at, plan=CachePlan((point,)), tools=(TOOL,))
        assert marks(json.loads(out.body)) == ({} if place is None else {place: mark})
        assert out.edits == (() if place is None else ("marks.plan",))


def test_only_the_gateways_own_marks_are_an_edit_and_lifetimes_are_not_confused():
    anthropic = [{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}, {"type": "ephemeral"}]
    openai = [{"mode": "explicit"}, {"mode": "explicit"}, {"mode": "explicit", "ttl": "12h"}]
    for to, at, wanted in ((CLAUDE, ROUTER, anthropic), (SOL, OPENAI, openai)):
        for seconds, mark in zip((300, 3600, 43_200), wanted, strict=True):
            out = sent(*LONG, to=to, at=at, plan=CachePlan((Breakpoint("b_messages", 6, lifetime_s=seconds, origin="client"),)))
            assert (list(marks(json.loads(out.body)).values()), out.edits) == ([mark], ())


def test_no_mark_goes_where_the_model_or_the_host_takes_none():
    plan = CachePlan((Breakpoint("b_messages", 0),))
    for to, at in ((MODEL, OPENAI), (CLAUDE, PLAIN)):
        out = sent(("user", "hi"), to=to, at=at, plan=plan)
        assert (json.loads(out.body)["messages"][0]["content"], out.edits) == ("hi", ())


def test_the_key_goes_where_the_host_wants_it_and_the_clients_own_comes_first():
    plan = CachePlan((), "tr-1")
    out = sent(plan=plan)
    assert (json.loads(out.body)["prompt_cache_key"], out.edits) == ("tr-1", ("marks.plan",))
    assert sent(plan=plan, at=PLAIN).edits == ()
    own = sent(plan=plan, affinity="mine")
    assert (json.loads(own.body)["prompt_cache_key"], own.edits) == ("mine", ())
    grok = host(affinity_header="x-grok-conv-id")
    out = sent(plan=plan, at=grok)
    assert (dict(out.headers)["x-grok-conv-id"], out.edits) == ("tr-1", ("marks.plan",))
    assert "tr-1" not in out.body.decode()
    odd = dict(sent(at=grok, affinity="a\r\nx: é").headers)["x-grok-conv-id"]
    assert odd.isalnum()


# --- what the vendor's own types and simulators say


def read_out(value):
    """What pydantic made: it checks the items of an iterable only when they are read."""
    if isinstance(value, dict):
        return {key: read_out(inner) for key, inner in value.items()}
    return value if isinstance(value, str) or not hasattr(value, "__iter__") else [read_out(inner) for inner in value]


def without_extras(value):
    """Without the members that other vendors added to OpenAI's types."""
    if isinstance(value, dict):
        return {key: without_extras(inner) for key, inner in value.items() if key not in ("cache_control", "reasoning_content", "reasoning_details")}
    return [without_extras(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("at", [OPENAI, ROUTER, DEEPSEEK, MISTRAL, GOOGLE])
def test_rendered_requests_have_the_form_that_the_sdk_types(at):
    pydantic = pytest.importorskip("pydantic")
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    adapter = pydantic.TypeAdapter(CompletionCreateParamsNonStreaming)
    rows = [row for row in LONG if at is not DEEPSEEK or row not in (LONG[1], LONG[3])]
    fields = {"output": OutputFormat("json_object"), "tools": (TOOL,), "tool_choice": ToolChoice("named", name="f"), "seed": 1, "user": "u"}
    plan = CachePlan((Breakpoint("b_messages", 0, lifetime_s=43_200), Breakpoint("b_messages", 6)), "key")
    for to in (MODEL, THINKS, SOL, CLAUDE):
        wire = body(*rows, to=to, at=at, plan=plan, effort="low", max_output=9, stop=("x",), **fields)
        checked = read_out(adapter.validate_python(copy.deepcopy(wire), strict=False))
        assert set(wire) - set(checked) <= {"random_seed", "thinking", "session_id"}
        assert without_extras(checked["messages"]) == without_extras(wire["messages"])


@pytest.fixture
def sandbox():
    return pytest.importorskip("tokenrouter.sandbox").create_app()


def ask(app, root, out):
    async def go():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            return await client.post("http://t" + root + out.path, content=out.body, headers={**dict(out.headers), "authorization": "Bearer sk-test"})

    return asyncio.run(go())


def heard(reply, *, stream):
    if not stream:
        return WIRE.decode_answer(reply.content)
    decoder = WIRE.decoder()
    return fold([*decoder.feed(reply.content), *decoder.finish()])


DEEPSEEK_CHAT = Model(name="deepseek-reasoner", vendor="deepseek", reasoning="effort", efforts=("low", "high", "max"))


@pytest.mark.parametrize(
    ("root", "to", "at"),
    [
        ("/openai/v1", SOL, OPENAI),
        ("/openai/v1", msgspec.structs.replace(THINKS, sampling=False), OPENAI),
        ("/openai/v1", MODEL, OPENAI),
        ("/deepseek", DEEPSEEK_CHAT, DEEPSEEK),
    ],
)
def test_a_strict_vendor_takes_a_tool_conversation_and_reads_its_cache(sandbox, root, to, at):
    rows = [("system", "Be brief. " * 3000), ("user", "call f")]
    read = []
    for number in range(4):
        stream = number % 2 == 1
        plan = CachePlan((Breakpoint("b_messages", 0), Breakpoint("b_messages", len(rows) - 1)), "key")
        out = sent(*rows, to=to, at=at, plan=plan, tools=(TOOL,), stream=stream, max_output=8000, effort="low", temperature=1.0, seed=1)
        reply = ask(sandbox, root, out)
        assert reply.status_code == 200, reply.text
        answer = heard(reply, stream=stream)
        assert answer.complete
        assert answer.usage.reported
        read.append(answer.usage.cache_read)
        choice = answer.choices[0]
        rows.append(("assistant", *map(Thought, choice.reasoning), *([choice.text] if choice.text else []), *map(Call, choice.tool_calls)))
        rows += [("tool", result(one.id, "42")) for one in choice.tool_calls] or [("user", "call f again")]
    assert sorted(read) == read
    assert read[0] == 0 < read[1] < read[-1]


def test_everything_that_openai_takes_is_taken(sandbox):
    rows = (
        ("system", "S", "T"),
        ("user", "q", PNG, PDF, Audio(data="UklG", format="wav")),
        ("assistant", "a", call("x"), call("y", "free", "c", custom=True)),
        ("user", result("x", "1", PNG, failed=True), result("y"), "and?"),
    )
    tools = (
        TOOL,
        ToolSpec("c", custom=True, grammar=msgspec.Raw(b'{"type":"grammar","syntax":"regex","definition":"a+"}')),
        ToolSpec("g", strict=True),
    )
    fields = {
        "tool_choice": ToolChoice("subset", names=("f", "c")),
        "parallel_calls": False,
        "output": OutputFormat("json_schema", schema=SCHEMA),
        "effort": "minimal",
        "verbosity": "low",
        "user": "u",
        "service_tier": "default",
        "stop": ("a", "b", "c", "d"),
        "choices": 2,
        "stream": True,
    }
    plan = CachePlan((Breakpoint("b_messages", 0, lifetime_s=43_200), Breakpoint("b_messages", 3)), "key")
    reply = ask(sandbox, "/openai/v1", sent(*rows, to=SOL, tools=tools, plan=plan, **fields))
    assert reply.status_code == 200, reply.text
    assert len(heard(reply, stream=True).choices) == 2


def test_the_vendors_refusals_are_read(sandbox):
    reply = ask(sandbox, "/openai/v1", sent(to=msgspec.structs.replace(MODEL, name="gpt-nobody")))
    assert reply.status_code == 404
    assert "gpt-nobody" in WIRE.error_message(reply.content)


def test_a_stream_that_stops_early_is_called_truncated():
    decoder = WIRE.decoder()
    decoder.feed(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n')
    with pytest.raises(UpstreamTruncated):
        decoder.finish()
