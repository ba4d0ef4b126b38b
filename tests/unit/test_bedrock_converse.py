"""Conversations as Converse requests. What botocore's own validator says about them is asked in every test that renders one."""

import base64
import json
from functools import cache

import msgspec
import pytest

from tokenrouter.adapters.inbound.openai_chat_open import open_chat
from tokenrouter.adapters.outbound.bedrock_converse import BedrockConverse
from tokenrouter.adapters.outbound.bedrock_turns import family_of
from tokenrouter.errors import InvalidRequest, UnsupportedField
from tokenrouter.model.answer import Reasoning, ToolCall
from tokenrouter.model.cache_plan import NO_PLAN, Breakpoint, CachePlan, PromptCacheLimits
from tokenrouter.model.catalog import Deployment, Endpoint, Model, Secret
from tokenrouter.model.conversation import Audio, Call, Conversation, Document, Image, Result, Text, Thought, ToolSpec, Turn, Video

CLAUDE = "anthropic-claude-v1"
ADAPTER = BedrockConverse()
HI = {"role": "user", "content": "hi"}
MARKS = PromptCacheLimits(style="marks", max_marks=4, min_tokens=1024, lookback=20, lifetimes_s=(300, 3600), on_tools=True)
MODEL = Model(name="us.anthropic.claude-opus-4-6-v1:0", vendor="bedrock", max_output=32_000, mid_system=False, cache=MARKS)
NOVA = Model(name="amazon.nova-pro-v1:0", vendor="bedrock", mid_system=False, cache=PromptCacheLimits(style="marks", max_marks=4, on_results=False))
LLAMA = Model(name="meta.llama3-3-70b-instruct-v1:0", vendor="bedrock", mid_system=False)
DEPLOYMENT = Deployment(name="d", vendor="bedrock", endpoints=(Endpoint("bedrock-converse", "https://b"),), api_key=Secret(""), auth="aws")
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"x": {"type": "number"}}}}}
PNG = "data:image/png;base64,iVBORw0="


def model(like=MODEL, **changes):
    return msgspec.structs.replace(like, **changes)


def opened(messages, tools=(), **fields):
    def raw(value):
        return msgspec.Raw(json.dumps(value).encode())

    return open_chat(
        {name: raw(value) for name, value in {"model": "m", **fields}.items()}, [raw(one) for one in messages], [raw(one) for one in tools]
    )


SPEC = ToolSpec("f")


def said(*blocks, role="user", before=(), **more):
    """A conversation of one turn behind `before`."""
    return Conversation(turns=(*before, Turn(role, blocks, len(before))), **more)


@cache
def service():
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")


def valid(body, model_id):
    """Whatever botocore objects to. Blobs stay base64 text, which its validator takes for bytes."""
    from botocore.validate import ParamValidator

    shape = service().operation_model("Converse").input_shape
    report = ParamValidator().validate({**body, "modelId": model_id}, shape)
    assert not report.has_errors(), report.generate_report()
    return body


def sent(messages=(HI,), tools=(), *, to=MODEL, plan=NO_PLAN, **fields):
    conversation = messages if isinstance(messages, Conversation) else opened(messages, tools, **fields)
    out = ADAPTER.translate(conversation, to, DEPLOYMENT, plan)
    valid(json.loads(out.body), to.name)
    return out


def body(*args, **kwargs):
    return json.loads(sent(*args, **kwargs).body)


def refused(*args, **kwargs):
    with pytest.raises(InvalidRequest) as caught:
        sent(*args, **kwargs)
    return caught.value


def call(call_id, arguments="{}", name="f"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def called(*calls, content=None, **more):
    return {"role": "assistant", "content": content, "tool_calls": list(calls), **more}


def result(call_id, content="1"):
    return {"role": "tool", "tool_call_id": call_id, "content": content}


LOOP = [HI, called(call("c1")), result("c1")]


# --- the request as a whole


def test_tools_that_only_earlier_turns_know_are_defined_by_name():
    out = sent([HI, called(call("c1"), call("c2", name="g"), call("c3")), result("c1"), result("c2"), result("c3")])
    assert json.loads(out.body)["toolConfig"] == {
        "tools": [
            {
                "toolSpec": {
                    "name": name,
                    "inputSchema": {"json": {"type": "object", "properties": {}}},
                    "description": "This tool is no longer available. Do not call it.",
                }
            }
            for name in ("f", "g")
        ]
    }
    assert out.edits == ("tools.recalled",)
    assert sent(LOOP, [TOOL]).edits == ()


def test_a_plain_question_is_rendered_small_and_in_rendering_order():
    out = sent([{"role": "system", "content": "S"}, HI], [TOOL], stream=True)
    assert out.body == (
        b'{"inferenceConfig":{"maxTokens":32000},"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":'
        b'{"json":{"type": "object", "properties": {"x": {"type": "number"}}}},"description":"d"}}]},'
        b'"system":[{"text":"S"}],"messages":[{"role":"user","content":[{"text":"hi"}]}]}'
    )
    assert out.path == "/model/us.anthropic.claude-opus-4-6-v1%3A0/converse-stream"
    assert (out.headers, out.edits, out.dropped) == ((("content-type", "application/json"),), (), ())


def test_the_path_is_encoded_as_botocore_encodes_it():
    from botocore.serialize import create_serializer

    for name in (MODEL.name, "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-5"):
        serializer = create_serializer("rest-json", include_validation=False)
        request = serializer.serialize_to_request({"modelId": name, "messages": []}, service().operation_model("Converse"))
        assert sent(to=model(name=name)).path == request["url_path"]


def test_only_claude_is_told_the_catalogs_limit_where_there_was_none():
    assert body()["inferenceConfig"] == {"maxTokens": 32_000}
    assert "inferenceConfig" not in body(to=LLAMA)
    assert body(to=LLAMA, max_tokens=7)["inferenceConfig"] == {"maxTokens": 7}


def test_parameters_with_a_counterpart_are_carried():
    out = body(max_tokens=9, temperature=0.5, top_p=0.9, stop=["END"], user="u@example.com", service_tier="default")
    assert out["inferenceConfig"] == {"maxTokens": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]}
    assert (out["requestMetadata"], out["serviceTier"]) == ({"user": "u@example.com"}, {"type": "default"})
    assert out["additionalModelResponseFieldPaths"] == ["/stop_sequence"]
    assert "additionalModelResponseFieldPaths" not in body(stop=["END"], to=NOVA)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, "response_format.json_schema.schema"),
        ({"temperature": 1.5}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"reasoning_effort": "heroic"}, "reasoning_effort"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}}, "tool_choice.allowed_tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"messages": [{"role": "system", "content": "s"}]}, "messages"),
        ({"messages": [{"role": "assistant", "content": "a"}, HI]}, "messages[0].role"),
        ({"messages": [HI, {"role": "assistant", "content": "a"}, {"role": "system", "content": "s"}, HI]}, "messages[2].role"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "messages[0].content"),
    ],
)
def test_what_the_answer_depends_on_is_refused_by_name(fields, param):
    error = refused(fields.pop("messages", (HI,)), **fields)
    assert error.param == param
    assert param.split(".")[0] in error.message


def test_hints_without_a_counterpart_are_dropped_and_reported():
    fields = {"frequency_penalty": 1, "logit_bias": {"1": 2}, "verbosity": "low", "prediction": {}, "store": True, "seed": 1, "service_tier": "scale"}
    out = sent([HI | {"name": "ann"}], **fields, user="ann<b>")
    assert set(out.dropped) == {*fields, "messages.name", "user"}
    assert set(json.loads(out.body)) == {"inferenceConfig", "messages"}


def test_fields_of_other_dialects_are_reported_too():
    out = sent(said(Text("x"), frequency_penalty=0.5, presence_penalty=0.5, verbosity="low", seed=3, top_k=5, thinking_budget=2048), to=LLAMA)
    assert set(out.dropped) == {"frequency_penalty", "presence_penalty", "verbosity", "seed", "top_k", "thinking_budget"}


def test_blank_stop_strings_are_dropped_and_reported():
    out = sent(stop=["\n", "END", ""])
    assert json.loads(out.body)["inferenceConfig"]["stopSequences"] == ["END"]
    assert out.dropped == ("stop",)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        (MODEL.name, {"top_k": 5}),
        (NOVA.name, {"inferenceConfig": {"topK": 5}}),
        ("mistral.mistral-large-2407-v1:0", {"top_k": 5}),
        ("cohere.command-r-v1:0", {"k": 5}),
    ],
)
def test_top_k_goes_where_the_maker_has_it(name, field):
    assert body(said(Text("x"), top_k=5), to=model(name=name))["additionalModelRequestFields"] == field


def test_sampling_is_left_out_where_the_model_takes_none():
    out = sent(said(Text("x"), temperature=0.5, top_p=1, top_k=5), to=model(sampling=False))
    assert json.loads(out.body)["inferenceConfig"] == {"maxTokens": 32_000}
    assert set(out.dropped) == {"temperature", "top_k"}


@pytest.mark.parametrize(
    ("name", "claude"),
    [
        ("anthropic.claude-opus-5", True),
        ("us-gov.anthropic.claude-opus-5", True),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-opus-5", True),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", False),
        ("meta.llama3-3-70b-instruct-v1:0", False),
        ("amazon.nova-pro-v1:0", False),
    ],
)
def test_the_maker_is_read_from_the_id(name, claude):
    assert family_of(name).claude is claude


# --- tools


def test_schemas_keep_their_spelling_and_an_empty_one_gets_its_type():
    spelled = b'{"type" : "object","properties":{"n":{"const":1.0,"x":1e2,"b":12345678901234567890}}}'
    conversation = said(
        Text("x"), tools=(ToolSpec("f", parameters=msgspec.Raw(spelled)), ToolSpec("g", ""), ToolSpec("h", parameters=msgspec.Raw(b"{ }")))
    )
    out = sent(conversation)
    assert b'"inputSchema":{"json":' + spelled in out.body
    tools = json.loads(out.body)["toolConfig"]["tools"]
    assert [tool["toolSpec"]["inputSchema"]["json"] for tool in tools[1:]] == [{"type": "object", "properties": {}}] * 2
    assert "description" not in tools[1]["toolSpec"]


def test_strictness_is_carried_and_custom_tools_are_refused():
    assert body(tools=[TOOL | {"function": TOOL["function"] | {"strict": True}}])["toolConfig"]["tools"][0]["toolSpec"]["strict"] is True
    error = refused(said(Text("x"), tools=(ToolSpec("shell", custom=True),)))
    assert (error.param, "'shell'" in error.message) == ("tools", True)
    custom = said(Call(ToolCall("c", "shell", "ls", custom=True)), role="assistant", before=(Turn("user", (Text("x"),), 0),))
    assert refused(custom).param == "messages[1].tool_calls"


@pytest.mark.parametrize(
    ("choice", "parallel", "on_wire", "own"),
    [
        (None, None, None, None),
        (None, True, None, None),
        ("auto", None, {"auto": {}}, None),
        ("required", None, {"any": {}}, None),
        ({"type": "function", "function": {"name": "f"}}, None, {"tool": {"name": "f"}}, None),
        (None, False, None, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, None, {"type": "any", "disable_parallel_tool_use": True}),
        ({"type": "function", "function": {"name": "f"}}, False, None, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
    ],
)
def test_tool_choice_of_claude_in_all_its_forms(choice, parallel, on_wire, own):
    out = body(tools=[TOOL], tool_choice=choice, parallel_tool_calls=parallel)
    assert out["toolConfig"].get("toolChoice") == on_wire
    assert out.get("additionalModelRequestFields", {}).get("tool_choice") == own


@pytest.mark.parametrize("to", [MODEL, NOVA, LLAMA])
@pytest.mark.parametrize("parallel", [None, False])
def test_no_model_is_shown_tools_that_it_may_not_call_before_there_are_calls(to, parallel):
    out = sent(tools=[TOOL], tool_choice="none", parallel_tool_calls=parallel, to=to)
    assert ("toolConfig" in json.loads(out.body), "tool_choice" in str(out.body), out.dropped) == (False, False, ("tools",))
    error = refused(LOOP, tools=[TOOL], tool_choice="none", parallel_tool_calls=parallel, to=to)
    assert (type(error), error.param) == (UnsupportedField, "tool_choice")


def test_other_models_can_not_be_held_to_one_call():
    assert refused(tools=[TOOL], parallel_tool_calls=False, to=LLAMA).param == "parallel_tool_calls"


# --- turns


def test_neighbours_of_one_role_become_one_message():
    out = body([HI, {"role": "user", "content": "ho"}, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}, HI])
    assert [message["role"] for message in out["messages"]] == ["user", "assistant", "user"]
    assert [[block["text"] for block in message["content"]] for message in out["messages"]] == [["hi", "ho"], ["a", "b"], ["hi"]]


def test_results_and_the_user_behind_them_are_one_message():
    out = body([HI, called(call("a"), call("b"), content="T"), result("a"), result("b", ""), HI], [TOOL])
    assert out["messages"][1]["content"] == [
        {"text": "T"},
        {"toolUse": {"toolUseId": "a", "name": "f", "input": {}}},
        {"toolUse": {"toolUseId": "b", "name": "f", "input": {}}},
    ]
    assert out["messages"][2] == {
        "role": "user",
        "content": [
            {"toolResult": {"toolUseId": "a", "content": [{"text": "1"}]}},
            {"toolResult": {"toolUseId": "b", "content": []}},
            {"text": "hi"},
        ],
    }


def test_arguments_keep_their_spelling():
    spelled = '{"b" : 1.0,"a":1e2, "big":12345678901234567890}'
    assert f'"input":{spelled}'.encode() in sent([HI, called(call("c", spelled)), result("c")], [TOOL]).body
    assert refused([HI, called(call("c", "[1]")), result("c")], [TOOL]).param == "messages[1].tool_calls"
    assert refused([HI, called(call("c", '{"a":1,"a":2}')), result("c")], [TOOL]).param == "messages[1].tool_calls"


def test_ids_that_the_service_does_not_take_become_others_the_same_on_call_and_result_and_in_every_turn():
    def ids(messages):
        blocks = [block for message in body(messages, [TOOL])["messages"] for block in message["content"]]
        return [(block.get("toolUse") or block.get("toolResult"))["toolUseId"] for block in blocks if "text" not in block]

    odd = [HI, called(call("a b")), result("a b")]
    first = ids(odd)
    assert first[0] == first[1]
    assert first[0].startswith("tooluse_")
    assert ids([*odd, *odd[1:]])[:2] == first
    assert len(set(ids([*odd, *odd[1:]]))) == 2
    assert ids([HI, called(call("functions.f:0")), result("functions.f:0")]) == ["functions.f:0"] * 2


def test_a_later_system_message_stays_where_it_is_if_the_model_takes_it():
    system = {"role": "system", "content": "now"}
    out = body([HI, system, {"role": "assistant", "content": "a"}, HI, system], to=model(mid_system=True))
    assert [message["role"] for message in out["messages"]] == ["user", "system", "assistant", "user", "system"]
    assert refused([HI, {"role": "assistant", "content": "a"}, system, HI], to=model(mid_system=True)).param == "messages[2].role"


def test_blank_text_is_left_out_and_reported():
    out = sent([{"role": "system", "content": " "}, HI, {"role": "assistant", "content": "\n"}, {"role": "user", "content": "x"}])
    assert json.loads(out.body)["messages"] == [{"role": "user", "content": [{"text": "hi"}, {"text": "x"}]}]
    assert ("system" in json.loads(out.body), out.dropped) == (False, ("messages.content",))


def test_system_messages_hold_text_only():
    assert refused(Conversation(turns=(Turn("system", (Image(data="AA==", media_type="image/png"),), 0),))).param == "messages[0].content"


# --- media


def test_pictures_go_as_bytes_and_urls_are_refused():
    def with_url(url):
        return [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": url, "detail": "low"}}]}]

    out = sent(with_url(PNG))
    assert json.loads(out.body)["messages"][0]["content"][1] == {"image": {"format": "png", "source": {"bytes": "iVBORw0="}}}
    assert out.dropped == ("messages.content.image_url.detail",)
    assert refused(with_url("https://img.example/a.png")).param == "messages[0].content[1].image_url.url"
    assert refused(with_url("data:image/bmp;base64,AA==")).param == "messages[0].content[1].image_url.url"


def test_results_carry_pictures_documents_and_failure():
    outcome = Result("c", (Text(""), Text("T"), Image(data="AA==", media_type="image/jpeg"), Document(text="D", filename="a.txt")), failed=True)
    before = (Turn("user", (Text("x"),), 0), Turn("assistant", (Call(ToolCall("c", "f", "{}")),), 1))
    out = body(said(outcome, role="tool", before=before, tools=(SPEC,)))
    assert out["messages"][2]["content"][0]["toolResult"] == {
        "toolUseId": "c",
        "content": [
            {"text": "T"},
            {"image": {"format": "jpeg", "source": {"bytes": "AA=="}}},
            {"document": {"format": "txt", "name": "a", "source": {"bytes": base64.b64encode(b"D").decode()}}},
        ],
        "status": "error",
    }
    unable = sent(said(outcome, role="tool", before=before, tools=(SPEC,)), to=LLAMA)
    assert "status" not in json.loads(unable.body)["messages"][2]["content"][0]["toolResult"]
    assert "messages.is_error" in unable.dropped


@pytest.mark.parametrize(
    ("names", "on_wire"),
    [
        ([None, None, ""], ["document", "document 2", "document 3"]),
        (["report_v1.final.pdf", "Report v1 final.txt"], ["report v1 final", "Report v1 final 2"]),
        (["a  b\t(c) [d]-é.pdf"], ["a b (c) [d]-"]),
        (["document 2", None, None], ["document 2", "document", "document 3"]),
        (["分期.pdf", "x" * 400, "x" * 400], ["document", "x" * 180, "x" * 180 + " 2"]),
    ],
)
def test_documents_get_names_that_the_service_takes_each_only_once(names, on_wire):
    documents = [Document(data="AA==", media_type="application/pdf", filename=name) for name in names]
    content = body(said(Text("x"), *documents))["messages"][0]["content"]
    assert [block["document"]["name"] for block in content[1:]] == on_wire


@pytest.mark.parametrize(
    ("block", "param"),
    [
        (Document(file_id="f"), "content[1].file.file_id"),
        (Document(url="https://x"), "content[1].file.file_id"),
        (Document(data="AA==", media_type="application/zip"), "content[1].file.file_data"),
        (Image(data="AA==", media_type="image/tiff"), "content[1].image_url.url"),
        (Audio("AA==", "wav"), "content[1]"),
        (Audio(audio_id="a"), "audio"),
        (Video("AA==", "video/mp4"), "content[1]"),
    ],
)
def test_media_that_can_not_be_carried_are_refused_by_place(block, param):
    assert refused(said(Text("x"), block)).param == f"messages[0].{param}"


# --- reasoning


def thought(*reasoning, to=MODEL):
    before = (Turn("user", (Text("x"),), 0), Turn("assistant", (*map(Thought, reasoning), Text("a")), 1))
    out = sent(said(Text("y"), before=before), to=to)
    return json.loads(out.body)["messages"][1]["content"][:-1], out.dropped


def test_reasoning_goes_back_to_claude_byte_for_byte():
    blocks, dropped = thought(Reasoning(" T ", "sig=", format=CLAUDE), Reasoning(redacted="opaque", format=CLAUDE), Reasoning("t", "s"))
    assert blocks == [
        {"reasoningContent": {"reasoningText": {"text": " T ", "signature": "sig="}}},
        {"reasoningContent": {"redactedContent": base64.b64encode(b"opaque").decode()}},
        {"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}},
    ]
    assert dropped == ()


def test_foreign_reasoning_and_reasoning_for_others_is_left_out_and_reported():
    assert thought(Reasoning("T", "sig", format="google-gemini-v1")) == ([], ("messages.reasoning_details",))
    assert thought(Reasoning("T")) == ([], ("messages.reasoning_details",))
    assert thought(Reasoning("T", "sig", format=CLAUDE), to=LLAMA) == ([], ("messages.reasoning_details",))


def test_redacted_bytes_that_are_no_text_go_back_to_whatever_model_as_they_came():
    for to in (MODEL, LLAMA):
        blocks, _ = thought(Reasoning(redacted="//79", format="amazon-bedrock-v1"), to=to)
        assert blocks == [{"reasoningContent": {"redactedContent": "//79"}}]


@pytest.mark.parametrize(
    ("reasoning", "fields", "thinking", "effort", "dropped"),
    [
        ("none", {"effort": "high"}, None, None, ("reasoning_effort",)),
        ("budget", {"effort": "low"}, {"type": "enabled", "budget_tokens": 2048}, None, ()),
        ("budget", {"thinking_budget": 5000}, {"type": "enabled", "budget_tokens": 5000}, None, ()),
        ("budget", {"effort": "max"}, {"type": "enabled", "budget_tokens": 30_976}, None, ()),
        ("budget", {"effort": "low", "max_output": 2000}, None, None, ("reasoning_effort",)),
        ("budget", {"thinking_budget": 0}, None, None, ()),
        ("budget", {"effort": "none"}, None, None, ()),
        ("budget", {"effort": "low", "show_reasoning": False}, {"type": "enabled", "budget_tokens": 2048, "display": "omitted"}, None, ()),
        ("adaptive", {"effort": "minimal"}, {"type": "adaptive"}, "low", ()),
        ("adaptive", {"effort": "xhigh", "show_reasoning": True}, {"type": "adaptive", "display": "summarized"}, "xhigh", ()),
        ("adaptive", {"thinking_budget": 9000}, {"type": "adaptive"}, "high", ("thinking_budget",)),
        ("adaptive", {"thinking_budget": 10**6}, {"type": "adaptive"}, "max", ("thinking_budget",)),
        ("adaptive", {"thinking_budget": -1}, {"type": "adaptive"}, "medium", ("thinking_budget",)),
        ("effort", {"effort": "high"}, None, "high", ()),
    ],
)
def test_thinking_is_asked_for_by_what_the_model_knows(reasoning, fields, thinking, effort, dropped):
    out = sent(said(Text("x"), **fields), to=model(reasoning=reasoning))
    rendered = json.loads(out.body)
    assert rendered.get("additionalModelRequestFields", {}).get("thinking") == thinking
    assert rendered.get("outputConfig", {}).get("effort") == effort
    assert out.dropped == dropped


def test_thinking_excludes_forced_tools_and_sampling():
    forced = sent(tools=[TOOL], tool_choice="required", reasoning_effort="low", to=model(reasoning="budget"))
    assert ("additionalModelRequestFields" in json.loads(forced.body), forced.dropped) == (False, ("reasoning_effort",))
    warm = sent(reasoning_effort="low", temperature=0.3, to=model(reasoning="budget"))
    assert ("temperature" in json.loads(warm.body)["inferenceConfig"], warm.dropped) == (False, ("temperature",))


def test_a_budget_is_not_asked_for_inside_a_tool_loop_that_came_back_without_its_thinking():
    budget = model(reasoning="budget")
    assert sent(LOOP, [TOOL], reasoning_effort="low", to=budget).dropped == ("reasoning_effort",)
    details = [{"type": "reasoning.text", "text": "T", "signature": "s", "format": CLAUDE}]
    assert sent([HI, called(call("c1"), reasoning_details=details), result("c1")], [TOOL], reasoning_effort="low", to=budget).dropped == ()


def test_the_schema_of_the_answer_is_the_clients_own_text():
    schema = {"type": "object", "properties": {"z": {"type": "number"}, "a": {"const": "é"}}}
    out = body(
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}, reasoning_effort="low", to=model(reasoning="effort")
    )
    assert out["outputConfig"] == {
        "effort": "low",
        "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(schema), "name": "n"}}},
    }


# --- cache points


def point(section, index, part=-1, lifetime_s=0, origin="gateway"):
    return Breakpoint(section, index, part, lifetime_s, origin)


def marked(conversation, *points, to=MODEL, **kwargs):
    return sent(conversation, plan=CachePlan(points), to=to, **kwargs)


MARK = {"cachePoint": {"type": "default"}}
LONG = {"cachePoint": {"type": "default", "ttl": "1h"}}


def test_points_stand_behind_what_they_mark():
    messages = [
        {"role": "system", "content": "S"},
        {"role": "system", "content": "S2"},
        {"role": "user", "content": [{"type": "text", "text": t} for t in "ab"]},
    ]
    out = marked(
        messages, point("a_tools", 0, lifetime_s=3600), point("b_messages", 0, lifetime_s=3600), point("b_messages", 2, 0), tools=[TOOL, TOOL]
    )
    rendered = json.loads(out.body)
    assert [next(iter(tool)) for tool in rendered["toolConfig"]["tools"]] == ["toolSpec", "cachePoint", "toolSpec"]
    assert rendered["toolConfig"]["tools"][1] == LONG
    assert rendered["system"] == [{"text": "S"}, LONG, {"text": "S2"}]
    assert rendered["messages"][0]["content"] == [{"text": "a"}, MARK, {"text": "b"}]
    assert out.edits == ("marks.plan",)


def test_points_follow_their_message_into_a_merged_one():
    out = marked([HI, called(call("c")), result("c"), {"role": "user", "content": "u"}], point("b_messages", 2), point("b_messages", 3), tools=[TOOL])
    assert [next(iter(block)) for block in json.loads(out.body)["messages"][2]["content"]] == ["toolResult", "cachePoint", "text", "cachePoint"]


def test_of_two_points_at_one_place_the_longer_lifetime_stays():
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": " "}]}]
    out = json.loads(marked(parts, point("b_messages", 0, 0, 3600), point("b_messages", 0, 1)).body)
    assert out["messages"][0]["content"] == [{"text": "a"}, LONG]


def test_a_point_never_stands_behind_reasoning_and_vanishes_with_its_message():
    turns = (Turn("user", (Text("x"),), 0), Turn("assistant", (Text("a"), Thought(Reasoning("T", "s"))), 1), Turn("assistant", (Text(" "),), 2))
    out = json.loads(marked(said(Text("y"), before=turns), point("b_messages", 1), point("b_messages", 2), point("b_messages", 9)).body)
    assert [next(iter(block)) for block in out["messages"][1]["content"]] == ["text", "cachePoint", "reasoningContent"]
    assert str(out).count("cachePoint") == 1


def test_the_clients_own_points_are_no_edit():
    assert marked([HI], point("b_messages", 0, origin="client")).edits == ()


def test_models_that_cache_nothing_get_no_points():
    out = marked([HI], point("b_messages", 0), to=LLAMA)
    assert (b"cachePoint" in out.body, out.edits) == (False, ())


def test_models_that_take_no_point_beside_results_get_it_behind_the_calls():
    points = (point("b_messages", 0), point("b_messages", 2), point("b_messages", 3))
    out = json.loads(marked([HI, called(call("c")), result("c"), {"role": "user", "content": "u"}], *points, to=NOVA, tools=[TOOL]).body)
    assert [[next(iter(block)) for block in message["content"]] for message in out["messages"]] == [
        ["text", "cachePoint"],
        ["toolUse", "cachePoint"],
        ["toolResult", "text"],
    ]


def test_several_turns_of_one_message_count_their_parts_on():
    before = (Turn("user", (Text("x"),), 0), Turn("assistant", (Call(ToolCall("c", "f", "{}")),), 1))
    turns = (*before, Turn("tool", (Result("c", (Text("1"),)),), 2), Turn("user", (Text("a"), Text("b")), 2))
    out = json.loads(marked(Conversation(turns=turns, tools=(SPEC,)), point("b_messages", 2, 1)).body)
    assert [next(iter(block)) for block in out["messages"][2]["content"]] == ["toolResult", "text", "cachePoint", "text"]


# --- errors


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"message":"Too many tokens"}', "Too many tokens"),
        (b'{"Message":"User is not authorized"}', "User is not authorized"),
        (b'{"__type":"X","message":null}', None),
        (b"<html>", None),
        (b"[]", None),
    ],
)
def test_the_services_own_words_are_read(raw, words):
    assert ADAPTER.error_message(raw) == words


def test_unsupported_is_what_lets_another_wire_of_the_host_be_tried():
    assert isinstance(refused(said(Video(url="https://x"))), UnsupportedField)
