"""Breaks of tools and system text, and volatile text anywhere."""

import json

from injecting import Case, asks, bodies, listed, messages_of, set_system, system_of, system_place, tool_inside
from talks import WORDS, paragraph, schema, sentence, system_text

# --- tools


def tools_reordered(rng, said, dialect):
    made = bodies(said, dialect, rng)
    before = list(made[-1]["tools"])
    tools = made[-1]["tools"]
    at, other = sorted(rng.sample(range(len(tools)), 2))
    tools[at], tools[other] = tools[other], tools[at]
    assert tools != before
    return Case(asks(said, dialect, made), "tools.reordered", f"tools[{at}]")


def new_tool(rng, dialect, name):
    inside = {"name": name, "description": paragraph(rng, 2)}
    match dialect:
        case "openai-chat":
            return {"type": "function", "function": {**inside, "parameters": schema(rng)}}
        case "openai-responses":
            return {"type": "function", **inside, "parameters": schema(rng)}
        case "anthropic-messages":
            return {**inside, "input_schema": schema(rng)}
        case _:
            return {"functionDeclarations": [{**inside, "parameters": schema(rng)}]}


def tools_added(rng, said, dialect):
    made = bodies(said, dialect, rng)
    at = rng.randint(0, len(made[-1]["tools"]))
    made[-1]["tools"].insert(at, new_tool(rng, dialect, f"fresh_{rng.choice(WORDS)}"))
    return Case(asks(said, dialect, made), "tools.added", f"tools[{at}]", sort_tools=rng.random() < 0.5)


def tools_removed(rng, said, dialect):
    made = bodies(said, dialect, rng)
    at = rng.randrange(len(made[-1]["tools"]))
    del made[-1]["tools"][at]
    return Case(asks(said, dialect, made), "tools.removed", f"tools[{at}]", sort_tools=rng.random() < 0.5)


def tool_description_changed(rng, said, dialect):
    made = bodies(said, dialect, rng)
    at = rng.randrange(len(made[-1]["tools"]))
    inside, _, path = tool_inside(made[-1]["tools"][at])
    words = inside["description"].split(" ")
    words[rng.randrange(1, len(words))] = "otherwise"
    inside["description"] = " ".join(words)
    return Case(asks(said, dialect, made), "tools.changed", f"tools[{at}]", path=f"tools[{at}]{path}.description", sort_tools=rng.random() < 0.5)


def tool_property_added(rng, said, dialect):
    made = bodies(said, dialect, rng)
    at = rng.randrange(len(made[-1]["tools"]))
    inside, holds, path = tool_inside(made[-1]["tools"][at])
    inside[holds]["properties"]["verbosely"] = {"type": "boolean"}
    return Case(asks(said, dialect, made), "tools.changed", path=f"tools[{at}]{path}.{holds}.properties.verbosely", place=f"tools[{at}]")


def tool_type_changed(rng, said, dialect):
    made = bodies(said, dialect, rng)
    at = rng.randrange(len(made[-1]["tools"]))
    inside, holds, path = tool_inside(made[-1]["tools"][at])
    name = rng.choice(sorted(inside[holds]["properties"]))
    inside[holds]["properties"][name]["type"] = "number"
    return Case(asks(said, dialect, made), "tools.changed", path=f"tools[{at}]{path}.{holds}.properties.{name}.type", place=f"tools[{at}]")


def tool_keys_shuffled(rng, said, dialect):
    made = bodies(said, dialect, rng)
    at = rng.choice([at for at, tool in enumerate(made[-1]["tools"]) if len(tool_inside(tool)[0][tool_inside(tool)[1]]["properties"]) > 1])
    inside, holds, path = tool_inside(made[-1]["tools"][at])
    properties = inside[holds]["properties"]
    inside[holds]["properties"] = dict(reversed(properties.items()))
    return Case(asks(said, dialect, made), "tools.changed", path=f"tools[{at}]{path}.{holds}.properties", place=f"tools[{at}]")


# --- system


def system_word(rng, said, dialect):
    made = bodies(said, dialect, rng)
    lines = system_of(made[-1]).split("\n")
    at = rng.randrange(len(lines))
    words = lines[at].split(" ")
    words[rng.randrange(len(words))] = "otherwise"
    lines[at] = " ".join(words)
    set_system(made[-1], "\n".join(lines))
    return Case(asks(said, dialect, made), "system.changed", system_place(dialect), line=at + 1, kind="")


def system_line_added(rng, said, dialect):
    made = bodies(said, dialect, rng)
    lines = system_of(made[-1]).split("\n")
    at = rng.randrange(1, len(lines))
    lines.insert(at, "> " + sentence(rng))
    set_system(made[-1], "\n".join(lines))
    return Case(asks(said, dialect, made), "system.changed", system_place(dialect), line=at + 1, kind="")


def system_line_removed(rng, said, dialect):
    made = bodies(said, dialect, rng)
    lines = system_of(made[-1]).split("\n")
    at = next(index for index in range(rng.randrange(1, len(lines) - 3), len(lines) - 1) if lines[index][:2] != lines[index + 1][:2])
    del lines[at]
    set_system(made[-1], "\n".join(lines))
    return Case(asks(said, dialect, made), "system.changed", system_place(dialect), line=at + 1, kind="")


def system_replaced(rng, said, dialect):
    if len(said.tools) < 9:
        return None  # what stays would be too short to be cached
    made = bodies(said, dialect, rng)
    set_system(made[-1], system_text(rng, 30))
    return Case(asks(said, dialect, made), "system.changed", system_place(dialect), kind="")


# --- volatile


def clock(rng):
    return f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}"


def day(rng):
    return f"2026-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def hexes(rng, digits):
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def uuid(rng):
    return "-".join(hexes(rng, digits) for digits in (8, 4, 4, 4, 12))


def local_date(rng):
    month = rng.choice(["January", "March", "May", "June", "November"])
    return f"{rng.choice(['Monday', 'Tuesday', 'Saturday'])}, {month} {rng.randint(1, 28)}, 2026"


def path(rng):
    return f"/home/{rng.choice(WORDS)}/{rng.choice(WORDS)}-{rng.choice(WORDS)}"


def file_line(rng):
    return f"{rng.choice(WORDS)}_{rng.choice(WORDS)}.{rng.choice(['py', 'ts', 'md'])}"


def git(rng):
    return "\n".join(f" M src/{file_line(rng)}" for _ in range(rng.randint(1, 4)))


SLOTS = {
    # name: (template of a line, maker of the value, kinds that are right)
    "iso": ("Current time: {}", lambda r: f"{day(r)}T{clock(r)}Z", ("time",)),
    "zone": ("The time is {} in the user's zone.", lambda r: f"{day(r)} {clock(r)}+02:00", ("time",)),
    "clock": ("It is {} now.", clock, ("time",)),
    "clock12": ("Local time {} for the user.", lambda r: f"{r.randint(1, 12)}:{r.randint(0, 59):02d} {r.choice(['AM', 'PM'])}", ("time",)),
    "epoch": ("now={}", lambda r: str(r.randint(1_600_000_000, 1_900_000_000)), ("time",)),
    "epoch_ms": ("timestamp: {}", lambda r: str(r.randint(1_600_000_000_000, 1_900_000_000_000)), ("time",)),
    "day": ("Today's date is {}.", day, ("date",)),
    "local": ("Today is {}.", local_date, ("date",)),
    "slashes": ("Date: {}", lambda r: f"{r.randint(1, 12)}/{r.randint(1, 28)}/2026", ("date",)),
    "month": ("You may use sources up to {} 2026 only.", lambda r: r.choice(["January", "April", "August", "October"]), ("date",)),
    "uuid": ("Request: {}", uuid, ("uuid",)),
    "session": ("Session id: {}", uuid, ("session", "uuid")),
    "hexsession": ("session_id={}", lambda r: hexes(r, 16), ("session", "hex")),
    "hex": ("build {} of the tool", lambda r: hexes(r, 12), ("hex", "id")),
    "commit": ("HEAD is at {}", lambda r: hexes(r, 40), ("hex", "id", "git")),
    "id": ("trace id: {}", lambda r: f"req_{hexes(r, 14)}", ("id",)),
    "counter": ("This is turn {} of the conversation.", lambda r: str(r.randint(2, 900)), ("counter",)),
    "tokens": ("Tokens used: {}", lambda r: str(r.randint(1_000, 90_000)), ("counter",)),
    "cwd": ("Working directory: {}", path, ("path",)),
    "windows": ("Folder: {}", lambda r: f"C:\\Users\\{r.choice(WORDS)}\\{r.choice(WORDS)}", ("path",)),
    "home": ("  - `r0` = `{}/.skills/system`", path, ("path",)),
    "port": ("The preview runs at port {}.", lambda r: str(r.randint(3_000, 9_999)), ("port",)),
    "localhost": ("Open http://localhost:{}/ to look.", lambda r: str(r.randint(3_000, 9_999)), ("url", "port")),
    "url": ("Docs: {}", lambda r: f"https://{r.choice(WORDS)}.example/{r.choice(WORDS)}?t={hexes(r, 8)}", ("url",)),
    "git": ("gitStatus: the state of the repository\n\nStatus:\n{}\n", git, ("git", "path", "listing")),
    "tree": ("Files in the workspace folder:\n{}\n", lambda r: "\n".join(file_line(r) for _ in range(r.randint(3, 9))), ("listing", "path")),
    "header": ("x-client-billing-header: cc_version=2.1.{}; entry=cli;", lambda r: f"19{r.randint(0, 9)}.{hexes(r, 3)}", ("attribution",)),
}


def slot_values(rng, slot):
    template, make, kinds = SLOTS[slot]
    one, other = make(rng), make(rng)
    while other == one:
        other = make(rng)
    return template.format(one), template.format(other), kinds, template


def in_system(slot):
    def injector(rng, said, dialect):
        made = bodies(said, dialect, rng)
        one, other, kinds, template = slot_values(rng, slot)
        lines = system_of(made[-1]).split("\n")
        at = rng.randrange(len(lines))
        for number, request in enumerate(made):
            line = other if number == len(made) - 1 else one
            set_system(request, "\n".join([*lines[:at], line, *lines[at:]]))
        first = at + 1 + next((i for i, (a, b) in enumerate(zip(one.split("\n"), other.split("\n"), strict=False)) if a != b), template.count("\n"))
        return Case(asks(said, dialect, made), "volatile", system_place(dialect), kind=kinds, line=first)

    return injector


def volatile_first_message(rng, said, dialect):
    made = bodies(said, dialect, rng)
    one, other, kinds, _ = slot_values(rng, rng.choice(["iso", "day", "cwd", "uuid"]))
    first = 1 if dialect == "openai-chat" else 0
    for number, request in enumerate(made):
        message = listed(request)[first]
        line = (other if number == len(made) - 1 else one) + "\n"
        if "parts" in message:
            message["parts"][0]["text"] = line + message["parts"][0]["text"]
        elif isinstance(message["content"], str):
            message["content"] = line + message["content"]
        else:
            message["content"][0]["text"] = line + message["content"][0]["text"]
    return Case(asks(said, dialect, made), "volatile", f"{messages_of(dialect)}[{first}]", kind=kinds)


def volatile_tool(rng, said, dialect):
    made = bodies(said, dialect, rng)
    one, other, kinds, _ = slot_values(rng, rng.choice(["month", "day", "cwd"]))
    at = rng.randrange(len(made[-1]["tools"]))
    for number, request in enumerate(made):
        inside, _, path_to = tool_inside(request["tools"][at])
        inside["description"] += " " + (other if number == len(made) - 1 else one)
    return Case(asks(said, dialect, made), "volatile", f"tools[{at}]", kind=kinds, path=f"tools[{at}]{path_to}.description")


def volatile_ids(rng, said, dialect):
    """Ids of calls are made up anew with each replay."""
    made = bodies(said, dialect, rng, least=3)
    text = json.dumps(listed(made[-1]))
    known = [turn[1] for turn in said.turns if turn[0] == "tool" and f'"{turn[1]}"' in json.dumps(listed(made[-2]))]
    if not known:
        return None
    for ident in known:
        text = text.replace(f'"{ident}"', f'"call_{hexes(rng, 20)}"')
    fresh = json.loads(text)
    name = messages_of(dialect)
    at = next(index for index, (a, b) in enumerate(zip(listed(made[-1]), fresh, strict=True)) if a != b)
    made[-1][name] = fresh
    return Case(asks(said, dialect, made), "volatile", f"{name}[{at}]", kind=("id", "hex"))
