"""Changes of requests, as clients make them, in the words of four dialects. Shares nothing with the diagnosis."""

import json
import random

from captures import listed


def swap(old, new, times=1):
    """Replace a text in the first strings that have it."""

    def change(body):
        left = [times]

        def walk(value):
            if isinstance(value, str) and old in value and left[0]:
                left[0] -= 1
                return value.replace(old, new)
            if isinstance(value, list):
                return [walk(item) for item in value]
            if isinstance(value, dict):
                return {name: walk(inner) for name, inner in value.items()}
            return value

        for name in ("tools", "system", "systemInstruction", "instructions", "messages", "input", "contents"):
            if name in body:
                body[name] = walk(body[name])
        assert left[0] < times, old

    return change


def every(*changes):
    def change(body):
        for one in changes:
            one(body)

    return change


def put(path, value):
    """Set a member, `None`: take it out. A path is names and indexes."""

    def change(body):
        for step in path[:-1]:
            body = body[step]
        if value is None:
            del body[path[-1]]
        else:
            body[path[-1]] = value

    return change


def append_text(path, text):
    def change(body):
        for step in path[:-1]:
            body = body[step]
        body[path[-1]] += text

    return change


def strip_texts(body):
    """A proxy that cuts white space at the ends of texts."""

    def walk(value):
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, dict):
            return {
                name: inner.rstrip() if name in ("text", "content", "output") and isinstance(inner, str) else walk(inner)
                for name, inner in value.items()
            }
        return value

    for name in ("system", "messages", "input", "contents"):
        if name in body:
            body[name] = walk(body[name])


def sort_keys(body):
    """A proxy that spells JSON its own way."""
    made = json.loads(json.dumps(body, sort_keys=True))
    body.clear()
    body.update(made)


def drop_thoughts(body):
    """What Claude Code does when a signature was refused."""
    for message in body["messages"]:
        if isinstance(message["content"], list):
            message["content"] = [block for block in message["content"] if block["type"] != "thinking"]


def bad_signatures(body):
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "thinking":
                block["signature"] = "AAAA"


def functions(body):
    tools = body["tools"]
    return tools[0].get("functionDeclarations", tools)


def drop_tool(at):
    return lambda body: functions(body).pop(at)


def swap_tools(one, other):
    def change(body):
        tools = functions(body)
        tools[one], tools[other] = tools[other], tools[one]

    return change


def shuffle_tools(body):
    random.Random(3).shuffle(functions(body))


def add_tool(at, name):
    """A tool like the ones that are there."""

    def change(body):
        tools = functions(body)
        made = json.loads(json.dumps(tools[0]))
        inner = made.get("function", made)
        inner["name"], inner["description"] = name, f"Look up entries of the {name} server and return what was found there."
        tools.insert(at, made)

    return change


def describe_tool(at, text):
    def change(body):
        inner = functions(body)[at]
        inner.get("function", inner)["description"] += text

    return change


def turn_schema(at):
    """The properties of a tool in another order, as an unordered map has them."""

    def change(body):
        inner = functions(body)[at]
        inner = inner.get("function", inner)
        name = next(one for one in ("input_schema", "parameters", "parametersJsonSchema", "parameters_json_schema") if one in inner)
        inner[name] = dict(reversed(inner[name].items()))

    return change


CLEARED = "[Old tool result content cleared]"


def clear_result(at):
    """The message at `at` holds tool results; their text is cleared."""

    def change(body):
        message = listed(body)[at]
        if isinstance(message.get("output"), str):
            message["output"] = CLEARED
        elif message.get("role") == "tool":
            message["content"] = CLEARED
        elif "parts" in message:
            for part in message["parts"]:
                if "functionResponse" in part:
                    part["functionResponse"]["response"] = {"output": CLEARED}
        else:
            for block in message["content"]:
                if block["type"] == "tool_result":
                    block["content"] = CLEARED

    return change


def said(body, text):
    """A message of the user's in the words of the body's dialect."""
    if "contents" in body:
        return {"role": "user", "parts": [{"text": text}]}
    if "input" in body:
        return {"role": "user", "content": [{"type": "input_text", "text": text}]}
    return {"role": "user", "content": text}


SUMMARY = "This session goes on from an earlier one. Summary: the folder was looked at, calc.py was read, the sign was wrong and was changed."


def compact(start, end):
    """Messages from `start` up to `end` are one summary."""

    def change(body):
        listed(body)[start:end] = [said(body, SUMMARY)]

    return change


def leave_out(start, end):
    def change(body):
        del listed(body)[start:end]

    return change


def insert(at, text):
    return lambda body: listed(body).insert(at, said(body, text))


def reminder(at, text):
    """A block that a client puts into an earlier message of the user's."""
    return lambda body: body["messages"][at]["content"].append({"type": "text", "text": f"<system-reminder>{text}</system-reminder>"})


def flip(at):
    """The only text of a message, as a string or as a part."""

    def change(body):
        message = listed(body)[at]
        if isinstance(message["content"], str):
            kind = "input_text" if "input" in body else "text"
            message["content"] = [{"type": kind, "text": message["content"]}]
        else:
            message["content"] = message["content"][0]["text"]

    return change


def respell_arguments(body):
    """Arguments of calls, read and written again with white space."""
    for item in listed(body):
        for holder in [item, *(call["function"] for call in item.get("tool_calls") or ())]:
            if isinstance(holder.get("arguments"), str):
                loose = json.dumps(json.loads(holder["arguments"]), separators=(", ", ": "))
                tight = json.dumps(json.loads(holder["arguments"]), separators=(",", ":"))
                holder["arguments"] = tight if holder["arguments"] == loose else loose


def in_system(text, where="end"):
    """A line that an app puts at the head or the end of its system text."""

    def change(body):
        if "systemInstruction" in body:
            holder, key = body["systemInstruction"]["parts"][0], "text"
        elif "instructions" in body or isinstance(body.get("system"), str):
            holder, key = body, "instructions" if "instructions" in body else "system"
        elif "system" in body:
            holder, key = body["system"][0], "text"
        else:
            holder, key = listed(body)[0], "content"
            if isinstance(holder[key], list):
                holder, key = holder[key][0], "text"
        holder[key] = holder[key] + text if where == "end" else text + holder[key]

    return change
