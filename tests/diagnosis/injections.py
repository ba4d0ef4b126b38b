"""Breaks, put into conversations by hand. Each injector returns the requests up to the broken one, and what a diagnosis has to say about that one.

Shares nothing with the detector: it edits requests in their dialect's own words, and knows what it did.
"""

import copy
import json
import random

import injections_root as at_root
from desk import Asked
from injecting import STEP_S, Case, asks, bodies, listed, messages_of, set_system, system_place, texts_of
from injections_root import SLOTS, in_system, new_tool, slot_values
from talks import WORDS, body, ends, paragraph, talk

# --- messages


def earlier(made, rng, first, keep=1):
    """A message of the last request that the one before it had too, not its newest."""
    shared = len(listed(made[-2]))
    return rng.randrange(first, shared - keep)


def opening(dialect):
    return 1 if dialect == "openai-chat" else 0


def enough(made, at):
    """Something worth reading stands behind the place."""
    return len(json.dumps(listed(made[-2])[at + 1 :])) > 900


def message_edited(rng, said, dialect):
    made = bodies(said, dialect, rng, least=3)
    at = earlier(made, rng, opening(dialect), keep=2)
    texts = texts_of(listed(made[-1])[at])
    if not texts or not enough(made, at):
        return None
    holder, key = rng.choice(texts)
    words = holder[key].split(" ")
    words[rng.randrange(len(words))] = "otherwise"
    holder[key] = " ".join(words)
    return Case(asks(said, dialect, made), "message.edited", f"{messages_of(dialect)}[{at}]", kind="")


def result_pruned(rng, said, dialect):
    made = bodies(said, dialect, rng, least=3)
    spots = [
        index
        for index, message in enumerate(listed(made[-2])[:-2])
        if any(key == "output" or holder.get("type") == "tool_result" or message.get("role") == "tool" for holder, key in texts_of(message))
    ]
    spots = [at for at in spots if enough(made, at)]
    if not spots:
        return None
    for at in spots:
        for holder, key in texts_of(listed(made[-1])[at]):
            if key == "output" or holder.get("type") == "tool_result" or listed(made[-1])[at].get("role") == "tool":
                holder[key] = "[old result cleared]"
    return Case(asks(said, dialect, made), "message.edited", f"{messages_of(dialect)}[{spots[0]}]", kind="")


def message_dropped(rng, said, dialect):
    made = bodies(said, dialect, rng, least=3)
    at = earlier(made, rng, opening(dialect) + 1, keep=2)
    if not enough(made, at):
        return None
    gone = rng.randint(1, 2)
    del listed(made[-1])[at : at + gone]
    if not enough(made, at + gone) or listed(made[-1])[at] in listed(made[-2])[at : at + gone]:
        return None
    return Case(asks(said, dialect, made), "message.dropped", f"{messages_of(dialect)}[{at}]")


def window(rng, said, dialect):
    made = bodies(said, dialect, rng, least=3)
    first, gone = opening(dialect), rng.randint(1, 3)
    if not enough(made, first + gone):
        return None
    del listed(made[-1])[first : first + gone]
    return Case(asks(said, dialect, made), "message.dropped", f"{messages_of(dialect)}[{first}]")


def a_message(rng, dialect, text):
    if dialect == "gemini-generate":
        return {"role": "user", "parts": [{"text": text}]}
    return {"role": "user", "content": text}


def message_inserted(rng, said, dialect):
    made = bodies(said, dialect, rng, least=3)
    at = earlier(made, rng, opening(dialect), keep=2)
    if not enough(made, at):
        return None
    for _ in range(rng.randint(1, 2)):
        listed(made[-1]).insert(at, a_message(rng, dialect, "Remember: " + paragraph(rng)))
    return Case(asks(said, dialect, made), "message.inserted", f"{messages_of(dialect)}[{at}]")


def compacted(rng, said, dialect):
    made = bodies(said, dialect, rng, least=4)
    first, shared = opening(dialect), len(listed(made[-2]))
    gone = rng.randint(2, max(2, (shared - first) // 2))
    if not enough(made, first + gone):
        return None
    listed(made[-1])[first : first + gone] = [a_message(rng, dialect, "Summary of what was said: " + paragraph(rng, 5))]
    return Case(asks(said, dialect, made), "history.compacted", f"{messages_of(dialect)}[{first}]")


def form_flipped(rng, said, dialect):
    """A string becomes one part, or the other way round; with the mark wandering on, as one client does."""
    if dialect == "gemini-generate":
        return None
    made = bodies(said, dialect, rng, least=3)
    spots = [
        i
        for i, message in enumerate(listed(made[-2])[:-2])
        if i >= opening(dialect) and enough(made, i) and (message.get("role") == "user" or isinstance(message.get("content"), list))
    ]
    for at in spots:
        message = listed(made[-1])[at]
        content = message.get("content")
        if isinstance(content, str):
            kind = "input_text" if dialect == "openai-responses" else "text"
            message["content"] = [{"type": kind, "text": content}]
        elif dialect == "anthropic-messages" and content[0].get("type") == "tool_result":
            content[0]["content"] = [{"type": "text", "text": content[0]["content"]}]
        elif dialect == "openai-responses" and message.get("role") == "user":
            message["content"] = content[0]["text"]
        else:
            continue
        return Case(asks(said, dialect, made), "form.flipped", f"{messages_of(dialect)}[{at}]")
    return None


def arguments_respelled(rng, said, dialect):
    if dialect not in ("openai-chat", "openai-responses"):
        return None
    made = bodies(said, dialect, rng, least=3)
    for at, message in enumerate(listed(made[-2])[:-2]):
        calls = [call["function"] for call in message.get("tool_calls", [])] or ([message] if message.get("type") == "function_call" else [])
        if calls and enough(made, at):
            fresh = listed(made[-1])[at]
            calls = [call["function"] for call in fresh.get("tool_calls", [])] or [fresh]
            calls[0]["arguments"] = json.dumps(json.loads(calls[0]["arguments"]), indent=1)
            return Case(asks(said, dialect, made), "form.flipped", f"{messages_of(dialect)}[{at}]")
    return None


# --- what is not text


def parameters(rng, said, dialect):
    made = bodies(said, dialect, rng)
    choices = {
        "openai-chat": [
            ("reasoning_effort", "low", "high"),
            ("parallel_tool_calls", True, False),
            ("response_format", {"type": "text"}, {"type": "json_object"}),
            ("verbosity", "low", "high"),
        ],
        "openai-responses": [
            ("reasoning", {"effort": "low"}, {"effort": "high"}),
            ("parallel_tool_calls", True, False),
            ("text", {"verbosity": "low"}, {"verbosity": "high"}),
        ],
        "anthropic-messages": [
            ("thinking", {"type": "enabled", "budget_tokens": 2_000}, {"type": "enabled", "budget_tokens": 4_000}),
            ("tool_choice", {"type": "auto"}, {"type": "any"}),
            ("output_config", {"effort": "low"}, {"effort": "high"}),
            ("anthropic-beta", "context-1m-2025-08-07", "context-1m-2025-08-07,fast-mode"),
        ],
        "gemini-generate": [
            ("toolConfig", {"functionCallingConfig": {"mode": "AUTO"}}, {"functionCallingConfig": {"mode": "ANY"}}),
            ("generationConfig", {"thinkingConfig": {"thinkingBudget": 100}}, {"thinkingConfig": {"thinkingBudget": 900}}),
        ],
    }
    name, one, other = rng.choice(choices[dialect])
    asked = asks(said, dialect, made)
    for number, request in enumerate(asked):
        value = other if number == len(asked) - 1 else one
        if name.startswith("anthropic"):
            request.headers = {name: value}
        else:
            request.body[name] = value
    return Case(asked, "parameters", {"generationConfig": "thinkingConfig"}.get(name, name))


def model_moved(rng, said, dialect):
    asked = asks(said, dialect, bodies(said, dialect, rng))
    asked[-1].model = "other/model"
    return Case(asked, "model")


def account_moved(rng, said, dialect):
    asked = asks(said, dialect, bodies(said, dialect, rng))
    asked[-1].account = "account-2"
    return Case(asked, "account")


def affinity_moved(rng, said, dialect):
    asked = asks(said, dialect, bodies(said, dialect, rng), affinity="key-1")
    asked[-1].affinity = "key-2"
    return Case(asked, "affinity")


def expired(rng, said, dialect):
    asked = asks(said, dialect, bodies(said, dialect, rng))
    asked[-1].at_s += rng.randint(301, 4_000)
    return Case(asked, "expired")


def evicted(rng, said, dialect):
    asked = asks(said, dialect, bodies(said, dialect, rng))
    asked[-1].evicted = True
    return Case(asked, "provider")


# --- a new conversation of the same app


def another(rng, said, dialect, **more):
    """A conversation of the same app, and the first request of another one."""
    made = bodies(said, dialect, rng)
    if rng.random() < 0.3:
        said.session = ""
    app = getattr(said, "app", said.seed)
    fresh = talk(
        said.seed + 100_000, app=app, tools=len(said.tools), lines=more.get("lines", 40), session=f"other-{said.seed}" if said.session else ""
    )
    fresh.system, fresh.tools = said.system, said.tools
    first = copy.deepcopy(body(fresh, dialect, ends(fresh)[0]))
    asked = asks(said, dialect, made)
    asked.append(Asked(dialect, first, asked[-1].at_s + STEP_S, session=fresh.session))
    return asked


def new_conversation_volatile(rng, said, dialect):
    one, other, kinds, _ = slot_values(rng, rng.choice(["iso", "day", "cwd", "header", "uuid", "home"]))
    lines = said.system.split("\n")
    at = rng.randrange(len(lines))
    said.system = "\n".join([*lines[:at], one, *lines[at:]])
    asked = another(rng, said, dialect)
    set_system(asked[-1].body, "\n".join([*lines[:at], other, *lines[at:]]))
    return Case(asked, "volatile", system_place(dialect), kind=kinds, line=at + 1)


def new_conversation_tool(rng, said, dialect):
    asked = another(rng, said, dialect)
    tools = asked[-1].body["tools"]
    at = rng.randrange(len(tools))
    if rng.random() < 0.5:
        del tools[at]
        return Case(asked, "tools.removed", f"tools[{at}]")
    tools.insert(at, new_tool(rng, dialect, f"fresh_{rng.choice(WORDS)}"))
    return Case(asked, "tools.added", f"tools[{at}]")


def new_conversation_order(rng, said, dialect):
    asked = another(rng, said, dialect)
    tools = asked[-1].body["tools"]
    at, other = sorted(rng.sample(range(len(tools)), 2))
    tools[at], tools[other] = tools[other], tools[at]
    return Case(asked, "tools.reordered", f"tools[{at}]")


INJECTORS = {
    function.__name__: function
    for function in (
        *(
            at_root.tools_reordered,
            at_root.tools_added,
            at_root.tools_removed,
            at_root.tool_description_changed,
            at_root.tool_property_added,
            at_root.tool_type_changed,
            at_root.tool_keys_shuffled,
        ),
        *(at_root.system_word, at_root.system_line_added, at_root.system_line_removed, at_root.system_replaced),
        *(at_root.volatile_first_message, at_root.volatile_tool, at_root.volatile_ids),
        *(message_edited, result_pruned, message_dropped, window, message_inserted, compacted, form_flipped, arguments_respelled),
        *(parameters, model_moved, account_moved, affinity_moved, expired, evicted),
        *(new_conversation_volatile, new_conversation_tool, new_conversation_order),
    )
} | {f"system_{slot}": in_system(slot) for slot in SLOTS}


def case(name, seed, dialect):
    """One break; None where this conversation has no place for it."""
    rng = random.Random(f"{name} {seed} {dialect}")
    said = talk(seed, lines=rng.randint(25, 60), tools=rng.randint(4, 14), rounds=rng.randint(4, 7), session=rng.choice([None, None, ""]))
    made = INJECTORS[name](rng, said, dialect)
    if made is not None:
        made.name = name
    return made
