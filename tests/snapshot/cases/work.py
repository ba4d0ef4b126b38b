"""Tools: definitions in the styles of several makers, calls, results, agents at work, structured output."""

from cases.building import call, chat, long, result, says, system, text, tool, user

_PLACE = {"type": "object", "properties": {"zip": {"type": "string"}, "city": {"type": "string"}}, "required": ["zip"], "additionalProperties": False}
_PYDANTIC = {
    "$defs": {"Unit": {"enum": ["m", "ft"], "title": "Unit", "type": "string"}},
    "properties": {"height": {"title": "Height", "type": "number"}, "unit": {"$ref": "#/$defs/Unit", "default": "m"}},
    "required": ["height"],
    "title": "convert",
    "type": "object",
}
_ZOD = {
    "type": "object",
    "properties": {"path": {"type": "string", "minLength": 1}, "mode": {"anyOf": [{"const": "r"}, {"type": "null"}]}},
    "required": ["path", "mode"],
    "additionalProperties": False,
    "$schema": "http://json-schema.org/draft-07/schema#",
}
_FORECAST = {
    "type": "json_schema",
    "json_schema": {
        "name": "forecast",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"reasoning": {"type": "string"}, "answer": {"enum": ["sun", "rain"], "type": "string"}},
            "required": ["reasoning", "answer"],
            "additionalProperties": False,
        },
    },
}


def _function(name: str, parameters: dict, **more: object) -> dict:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


def _agent(results: int, *, after: str = "") -> list[dict]:
    """A turn of many parallel calls and all their results."""
    calls = [call(f"call_{i:02}", "read", f'{{"path":"src/{i:02}.py"}}') for i in range(results)]
    turn = [says(None, tool_calls=calls)] + [result(f"call_{i:02}", f"file {i:02}: ok") for i in range(results)]
    return turn + ([says(after), user("Next")] if after else [])


CASES = {
    "tools_one": chat(user("Weather?"), tools=[_function("weather", _PLACE, description="Look up", strict=True)]),
    "tools_in_order": chat(user("Go"), tools=[tool("alpha"), tool("beta"), tool("gamma")]),
    "tools_shuffled": chat(user("Go"), tools=[tool("gamma"), tool("alpha"), tool("beta")]),
    "tools_of_one_name": chat(user("Go"), tools=[tool("b", {"first": {}}), tool("a"), tool("b", {"second": {}})]),
    "tools_pydantic_style": chat(user("Go"), tools=[_function("convert", _PYDANTIC, description="Converts lengths.")]),
    "tools_zod_style": chat(user("Go"), tools=[_function("open", _ZOD, strict=True)]),
    "tools_without_parameters": chat(user("Go"), tools=[_function("now", {}), {"type": "function", "function": {"name": "ping"}}]),
    "tools_custom": chat(user("Go"), tools=[{"type": "custom", "custom": {"name": "sql", "format": {"type": "text"}}}]),
    "tools_served_by_the_vendor": chat(user("Go"), tools=[{"type": "web_search", "search_context_size": "low"}]),
    "tool_choice_required": chat(user("Go"), tools=[tool("a"), tool("b")], tool_choice="required", parallel_tool_calls=False),
    "tool_choice_named": chat(user("Go"), tools=[tool("a"), tool("b")], tool_choice={"type": "function", "function": {"name": "b"}}),
    "tool_choice_allowed_tools": chat(
        user("Go"),
        tools=[tool("a"), tool("b")],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "a"}}]},
        },
    ),
    "calls_parallel": chat(
        user("Weather in Delft and Ghent?"),
        says(None, tool_calls=[call("call_1", "weather", '{"city": "Delft"}'), call("call_2", "weather", '{"city":"Ghent"}')]),
        result("call_1", "rain"),
        result("call_2", [text("sun"), text("18°")]),
        tools=[_function("weather", _PLACE)],
    ),
    "calls_as_langchain_writes_them": chat(
        user("Find"),
        says("", tool_calls=[call("call_9", "find", '{"q": "caf\\u00e9", "limit": 10, "exact": true}')]),
        result("call_9", '[{"id": 1, "score": 0.10}]', name="find"),
        tools=[tool("find")],
    ),
    "calls_with_repeated_ids": chat(
        user("Go"),
        says(None, tool_calls=[call("0", "a", "{}")]),
        result("0", "one"),
        says(None, tool_calls=[call("0", "a", "{}")]),
        result("0", "two"),
        tools=[tool("a")],
    ),
    "calls_with_odd_ids": chat(
        user("Go"), says(None, tool_calls=[call("functions.a:0|x", "a", "")]), result("functions.a:0|x", ""), tools=[tool("a")]
    ),
    "calls_with_broken_arguments": chat(user("Go"), says(None, tool_calls=[call("c", "a", '{"q": ')]), result("c", "?"), tools=[tool("a")]),
    "functions_of_old": chat(
        user("Go"),
        says(None, function_call={"name": "now", "arguments": "{}"}),
        {"role": "function", "name": "now", "content": "noon"},
        functions=[{"name": "now", "parameters": {"type": "object", "properties": {}}}],
    ),
    "function_role_without_functions": chat(
        user("Go"), says(None, function_call={"name": "now", "arguments": "{}"}), {"role": "function", "name": "now", "content": "noon"}, user("So?")
    ),
    "output_json_schema_strict": chat(user("Tomorrow?"), response_format=_FORECAST),
    "output_json_object": chat(user("Tomorrow? As JSON."), response_format={"type": "json_object"}),
    "agent_of_25_parallel_results": chat(system(long(1100)), user("Read all"), *_agent(25), tools=[tool("read")]),
    "agent_after_25_parallel_results": chat(system(long(1100)), user("Read all"), *_agent(25, after="All read."), tools=[tool("read")]),
    "agent_long_tools": chat(
        system("Act."), user("Go"), *_agent(2), tools=[{**tool("read"), "function": {"name": "read", "description": long(1100)}}]
    ),
}
