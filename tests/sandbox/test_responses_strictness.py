"""What OpenAI Responses refuses, in which words; and which thoughts it withholds without refusing."""

from typing import Any

import pytest

PATH = "/openai/v1/responses"
USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
CUSTOM = {"type": "custom_tool_call", "call_id": "c2", "name": "shell", "input": "ls"}
CUSTOM_RESULT = {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "ok"}]}
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
MARK = {"mode": "explicit"}


def ask(*items: Any, model: str = "gpt-6-sol", **more: Any) -> dict[str, Any]:
    return {"model": model, "input": list(items) or "hi", **more}


def text_part(mark: Any, kind: str = "input_text") -> dict[str, Any]:
    return {"role": "user", "content": [{"type": kind, "text": "x", "prompt_cache_breakpoint": mark}]}


def schema(**more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"type": "string"}}, **more}


def form(**more: Any) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "name": "s", "strict": True, "schema": schema(**more)}}


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"input": "hi"}, "model", "Missing required parameter: 'model'"),
        ({"model": "gpt-5"}, "input", "one of 'input', 'previous_response_id'"),
        (ask(model="gpt-nope"), "model", "The requested model 'gpt-nope' does not exist."),
        (ask(foo=1), "foo", "Unknown parameter: 'foo'."),
        (ask(messages=[USER]), "messages", "Unknown parameter"),
        (ask(max_tokens=5), "max_tokens", "Unknown parameter"),
        (ask(reasoning_effort="low"), "reasoning_effort", "Unknown parameter"),
        (ask(response_format={"type": "text"}), "response_format", "Unknown parameter"),
        (ask(max_output_tokens=15), "max_output_tokens", "Expected a value >= 16, but got 15"),
        (ask(max_output_tokens=16.5), "max_output_tokens", "expected an integer, but got a decimal"),
        (ask(temperature=3), "temperature", "above maximum"),
        (ask(store="no"), "store", "expected a boolean, but got a string"),
        (ask(user=None), "user", "expected a string, but got null"),
        (ask(tools=None), "tools", "expected an array, but got null"),
        (ask(metadata={"a": 1}), "metadata.a", "expected a string"),
        (ask(metadata={"a" * 65: "b"}), "metadata." + "a" * 65, "string too long"),
        (ask(include=["reasoning"]), "include[0]", "Supported values are: 'file_search_call.results', "),
        (ask(truncation="middle"), "truncation", "Supported values are: 'auto' and 'disabled'."),
        (ask(prompt_cache_key="k" * 65), "prompt_cache_key", "maximum length 64, but got a string with length 65"),
        (ask(reasoning={"effort": "extreme"}), "reasoning.effort", "Invalid value: 'extreme'"),
        (ask(reasoning={"budget": 1}), "reasoning.budget", "Unknown parameter"),
        (ask(reasoning={"effort": "low"}, model="gpt-4.1"), "reasoning.effort", "not supported with this model"),
        (ask(include=["reasoning.encrypted_content"], model="gpt-4.1"), "include", "Encrypted content is not supported with this model."),
        (ask(stream_options={"include_obfuscation": False}), "stream_options", "only allowed when 'stream' is enabled"),
        (ask(stream=True, stream_options={"include_usage": True}), "stream_options.include_usage", "Unknown parameter"),
        (ask(background=True), "background", "not supported"),
        (ask(previous_response_id="resp_nope"), "previous_response_id", "Previous response with id 'resp_nope' not found."),
        (ask(x=1, input=[]), "x", "Unknown"),
        (ask(input=[]), "input", "empty array"),
        # items
        (ask({"role": "tool", "content": "x"}), "input[0].role", "Supported values are: 'assistant', 'system', 'developer', and 'user'."),
        (ask({"role": "user", "content": None}), "input[0].content", "expected one of a string or array of objects, but got null"),
        (ask({"role": "user", "content": "x", "name": "n"}), "input[0].name", "Unknown parameter"),
        (ask({"role": "user", "content": [{"type": "text", "text": "x"}]}), "input[0].content[0].type", "Invalid value: 'text'"),
        (ask({"role": "user", "content": [{"type": "output_text", "text": "x"}]}), "input[0].content[0].type", "Invalid value: 'output_text'"),
        (ask({"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}), "input[0].content[0].type", "'output_text' and 'refusal'"),
        (ask({"role": "user", "content": [{"type": "input_image"}]}), "input[0].content[0].image_url", "Missing required parameter"),
        (ask({"role": "assistant", "content": "x", "id": "rs_1"}), "input[0].id", "Expected an ID that begins with 'msg'."),
        (ask({"role": "assistant", "content": "x", "id": ""}), "input[0].id", "letters, numbers, underscores, or dashes"),
        (ask({"role": "assistant", "content": "x", "tool_calls": []}), "input[0].tool_calls", "Unknown parameter"),
        (ask({"type": "tool_result"}), "input[0].type", "Invalid value: 'tool_result'"),
        (ask({**CALL, "arguments": {}}, RESULT), "input[0].arguments", "expected a string, but got an object"),
        (ask({**CALL, "id": "call_1"}, RESULT), "input[0].id", "Expected an ID that begins with 'fc'."),
        (ask({**CALL, "call_id": "c" * 65}, RESULT), "input[0].call_id", "string too long"),
        (ask(CALL, {**RESULT, "output": None}), "input[1].output", "but got null"),
        (ask(CALL, {**RESULT, "is_error": True}), "input[1].is_error", "Unknown parameter"),
        (ask({"type": "reasoning", "id": "rs_1"}), "input[0].summary", "Missing required parameter"),
        (ask({"role": "assistant", "content": "x", "id": "msg_1"}, {"role": "assistant", "content": "x", "id": "msg_1"}), "input", "Duplicate item"),
        # calls and their outputs
        (ask(USER, RESULT), "input", "No tool call found for function call output with call_id c1."),
        (ask(USER, CALL), "input", "No tool output found for function call c1."),
        (ask(RESULT, CALL), "input", "No tool call found"),
        (ask(CALL, RESULT, RESULT), "input", "No tool call found"),
        (ask(CUSTOM, {**RESULT, "call_id": "c2"}), "input", "No tool call found for function call output with call_id c2."),
        (ask(USER, CUSTOM), "input", "No tool output found for custom tool call c2."),
        # tools
        (ask(tools=[{"type": "function", "function": {"name": "f"}}]), "tools[0].name", "Missing required parameter: 'tools[0].name'."),
        (ask(tools=[{"type": "function", "name": "a b"}]), "tools[0].name", "does not match pattern"),
        (ask(tools=[{**LOOK, "parameters": {"type": "array"}}]), "tools[0].parameters", "Invalid schema"),
        (ask(tools=[{**LOOK, "strict": True}]), "tools[0].parameters", "'additionalProperties' is required to be supplied and to be false."),
        (
            ask(tools=[{**LOOK, "strict": True, "parameters": schema(additionalProperties=False, required=[])}]),
            "tools[0].parameters",
            "Missing 'a'",
        ),
        (ask(tools=[{**LOOK, "cache_control": {}}]), "tools[0].cache_control", "Unknown parameter"),
        (ask(tools=[{**LOOK, "prompt_cache_breakpoint": MARK}]), "tools[0].prompt_cache_breakpoint", "Unknown parameter"),
        (ask(tools=[{"type": "telepathy"}]), "tools[0].type", "Invalid value: 'telepathy'"),
        (ask(tools=[{"type": "file_search"}]), "tools[0].vector_store_ids", "Missing required parameter"),
        (ask(tool_choice="required"), "tool_choice", "must be specified with 'tools'"),
        (ask(tool_choice={"type": "function", "name": "f"}, tools=[LOOK]), "tool_choice", "Tool choice 'f' not found"),
        (ask(tool_choice={"type": "function", "function": {"name": "look"}}, tools=[LOOK]), "tool_choice.name", "Missing required parameter"),
        (
            ask(tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}, tools=[LOOK]),
            "tool_choice",
            "'f'",
        ),
        # structured output
        (ask(text={"format": {"type": "json_schema", "json_schema": {"name": "s"}}}), "text.format.name", "Missing required parameter"),
        (ask(text=form()), "text.format.schema", "Invalid schema for response_format 's'"),
        (ask(text={"format": {"type": "json_object"}}), "input", "must contain the word 'json'"),
        # cache directives
        (ask(text_part({"mode": "implicit"})), "input[0].content[0].prompt_cache_breakpoint.mode", "'explicit'"),
        (ask(text_part({"mode": "explicit", "ttl": "1h"})), "input[0].content[0].prompt_cache_breakpoint.ttl", "'30m' and '12h'"),
        (ask(text_part(MARK), model="gpt-5.5"), "input[0].content[0].prompt_cache_breakpoint", "Unknown parameter"),
        (ask({**USER, "prompt_cache_breakpoint": MARK}), "input[0].prompt_cache_breakpoint", "Unknown parameter"),
        (ask(prompt_cache_options={"ttl": "1h"}), "prompt_cache_options.ttl", "'30m' and '12h'"),
        (ask(prompt_cache_options={"mode": "implicit"}, model="gpt-5.5"), "prompt_cache_options", "not supported with this model"),
        (ask(prompt_cache_retention="in_memory"), "prompt_cache_retention", "not supported with this model"),
        (ask({"role": "user", "content": "x" * 600_000}, model="gpt-4o"), "input", "exceeds the context window"),
    ],
)
async def test_refusals_name_the_place(call, app, body, param, words):
    response = await call.post(PATH, body)
    assert response.status == 400, response.body
    error = response.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert words in error["message"]
    assert app.bill.nano_usd == 0


@pytest.mark.parametrize(
    "body",
    [
        ask(USER, CALL, CUSTOM, RESULT, CUSTOM_RESULT),
        ask({"type": "message", **USER}, {"role": "assistant", "content": "x", "phase": "commentary"}, USER),
        ask({"role": "user", "content": [{"type": "input_image", "image_url": "u"}, {"type": "input_file", "file_id": "f"}]}),
        ask(CALL, {**RESULT, "output": [{"type": "input_text", "text": "x", "prompt_cache_breakpoint": None}], "id": None, "status": None}),
        ask({"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "q"}, "status": "completed"}, USER),
        ask(USER, {"type": "configuration_update", "reasoning": {"effort": "low"}}),
        ask(tool_choice="auto", parallel_tool_calls=False, client_metadata={"installation": "x"}),
        ask(instructions=None, metadata=None, reasoning=None, previous_response_id=None, service_tier=None, max_output_tokens=None),
        ask(tools=[LOOK, {"type": "namespace", "name": "n", "description": "d", "tools": [LOOK]}, {"type": "code_interpreter", "container": "c"}]),
        ask(text={"format": {"type": "text"}, "verbosity": "low"}, safety_identifier="u", user="u", truncation="auto", top_logprobs=2),
        ask({"role": "user", "content": "x" * 600_000}, USER, model="gpt-4o", truncation="auto"),
    ],
)
async def test_what_the_types_allow_is_taken(call, body):
    response = await call.post(PATH, body)
    assert response.status == 200, response.body


async def test_conversations_and_prompts_that_nobody_made_are_not_found(call):
    for more in ({"conversation": "conv_1"}, {"conversation": {"id": "conv_1"}}, {"prompt": {"id": "pmpt_1"}}):
        assert (await call.post(PATH, ask(**more))).status == 404


@pytest.mark.parametrize(("method", "path"), [("PUT", PATH), ("GET", PATH), ("POST", f"{PATH}/resp_1"), ("GET", f"{PATH}/resp_1/nothing")])
async def test_other_paths_do_not_exist(call, method, path):
    assert (await call.request(method, path, headers={"authorization": "Bearer k"})).status == 404


# thoughts


async def thought(call: Any, *before: Any, model: str = "gpt-6-sol", **more: Any) -> list[Any]:
    """The items of an answer that called a tool: a thought and a call."""
    body = ask(*before, {"role": "user", "content": "call look"}, model=model, tools=[LOOK], **{"store": False, **more})
    response = await call.post(PATH, body)
    assert [item["type"] for item in response.json["output"]] == ["reasoning", "function_call"], response.body
    return response.json["output"]


async def replay(call: Any, *items: Any, model: str = "gpt-6-sol", key: str = "k", **more: Any) -> Any:
    return await call.post(PATH, ask(*items, model=model, tools=[LOOK], store=False, **more), key=key)


def answer_to(item: Any) -> dict[str, Any]:
    return {**RESULT, "call_id": item["call_id"]}


ASKED = {"role": "user", "content": "call look"}


async def test_damaged_encrypted_content_is_refused(call):
    seal, called = await thought(call)
    content = seal["encrypted_content"]
    flipped = content[:40] + ("A" if content[40] != "A" else "B") + content[41:]
    for damaged in (flipped, content[:-8], content + "AAAA", "gAAAAAB", "x", "", "é" * 20):
        response = await replay(call, ASKED, {**seal, "encrypted_content": damaged}, called, answer_to(called))
        assert response.status == 400, damaged
        assert response.json["error"]["code"] == "invalid_encrypted_content"
        assert "could not be verified" in response.message
    moved = await replay(call, ASKED, {**seal, "id": "rs_other"}, called, answer_to(called))
    assert "item_id did not match" in moved.message
    assert (await replay(call, ASKED, seal, called, answer_to(called))).status == 200


async def test_what_was_announced_in_a_stream_is_not_yet_the_content(call):
    response = await call.post(PATH, ask(ASKED, tools=[LOOK], store=False, stream=True))
    added = next(event["item"] for event in response.events if event["type"] == "response.output_item.added")
    called = response.events[-1]["response"]["output"][1]
    assert (await replay(call, ASKED, added, called, answer_to(called))).json["error"]["code"] == "invalid_encrypted_content"


async def test_a_thought_needs_the_item_that_followed_it(call):
    seal, called = await thought(call)
    words = f"Item '{seal['id']}' of type 'reasoning' was provided without its required following item."
    for rest in ([], [USER], [{"role": "assistant", "content": "x"}], [{**called, "id": "fc_other"}, answer_to(called)], [CALL, RESULT]):
        response = await replay(call, ASKED, seal, *rest)
        assert (response.status, response.message) == (400, words)
    bare = {name: value for name, value in called.items() if name not in ("id", "status")}
    assert (await replay(call, ASKED, seal, bare, answer_to(called))).status == 200


async def test_a_thought_without_content_has_to_be_stored(call):
    seal, called = await thought(call)
    bare = {"type": "reasoning", "id": seal["id"], "summary": []}
    response = await replay(call, ASKED, bare, called, answer_to(called))
    assert response.status == 404
    assert "Items are not persisted when `store` is set to false." in response.message
    await thought(call, store=True)
    assert (await replay(call, ASKED, bare, called, answer_to(called))).status == 200


async def test_what_is_stored_with_a_thought_does_not_come_without_it(call):
    seal, called = await thought(call, store=True)
    response = await replay(call, ASKED, called, answer_to(called))
    assert response.message == f"Item '{called['id']}' of type 'function_call' was provided without its required 'reasoning' item: '{seal['id']}'."
    bare = {name: value for name, value in called.items() if name != "id"}
    assert (await replay(call, ASKED, bare, answer_to(called))).status == 200


async def test_a_chain_with_an_open_call_is_refused(call):
    first = await call.post(PATH, ask(ASKED, tools=[LOOK]))
    response = await call.post(PATH, ask(USER, previous_response_id=first.json["id"]))
    assert response.message == f"No tool output found for function call {first.json['output'][1]['call_id']}."
    again = await call.post(PATH, ask(*first.json["output"], previous_response_id=first.json["id"]))
    assert "Duplicate item found" in again.message


async def test_nothing_is_kept_when_nothing_may_be_stored(call):
    first = (await call.post(PATH, ask(USER, store=False))).json
    response = await call.post(PATH, ask(USER, previous_response_id=first["id"]))
    assert response.json["error"]["code"] == "previous_response_not_found"
    other = (await call.post(PATH, ask(USER))).json
    assert (await call.post(PATH, ask(USER, previous_response_id=other["id"]), key="stranger")).status == 400
    assert (await call.post(PATH, ask(USER, previous_response_id=other["id"]))).status == 200


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"key": "stranger"}, "organization_mismatch"),
        ({"model": "gpt-6.1-sol"}, "model_mismatch"),
        ({"first": {"role": "user", "content": "call  look"}}, "prefix_mismatch"),
        ({"after": USER}, None),
        ({"after": USER, "reasoning": {"context": "current_turn"}}, "turn_boundary"),
    ],
)
async def test_thoughts_from_elsewhere_are_withheld_and_reported(call, change, reason):
    seal, called = await thought(call)
    after = [change["after"]] if "after" in change else []
    more = {name: value for name, value in change.items() if name not in ("first", "after")}
    with_it = await replay(call, change.get("first", ASKED), seal, called, answer_to(called), *after, **more)
    assert with_it.status == 200, with_it.body
    removed = [{"id": seal["id"], "type": "reasoning", "action": "removed", "reason": reason}] if reason else None
    assert with_it.json.get("input_transformations") == removed
    without = await replay(call, change.get("first", ASKED), called, answer_to(called), *after, **more)
    assert (with_it.json["usage"]["input_tokens"] == without.json["usage"]["input_tokens"]) == bool(reason)


async def test_older_models_are_shown_the_thoughts_of_the_current_turn(call):
    seal, called = await thought(call, model="gpt-5")
    loop = await replay(call, ASKED, seal, called, answer_to(called), model="gpt-5")
    assert "input_transformations" not in loop.json
    later = await replay(call, ASKED, seal, called, answer_to(called), USER, model="gpt-5")
    assert [item["reason"] for item in later.json["input_transformations"]] == ["turn_boundary"]
    edited = await replay(call, {**ASKED, "content": "call look now"}, seal, called, answer_to(called), model="gpt-5")
    assert "input_transformations" not in edited.json
