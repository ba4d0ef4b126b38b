"""What clients are known to do to a prompt, done to their captured requests.

`cases(captured)` lists pairs to judge: requests that were answered, in order, and the one behind them. Some of the latter were captured as
they are (a resumed session, another user, another task); in the others a documented behavior is played: the next month, an edited memory
file, a tool server that comes or goes, old results that are cleared, a compaction, a switched model or effort, a proxy that respells.
"""

from dataclasses import dataclass, field

from behaviors import (
    add_tool,
    bad_signatures,
    clear_result,
    compact,
    describe_tool,
    drop_thoughts,
    drop_tool,
    every,
    flip,
    functions,
    in_system,
    insert,
    leave_out,
    put,
    reminder,
    respell_arguments,
    shuffle_tools,
    sort_keys,
    strip_texts,
    swap,
    swap_tools,
    turn_schema,
)
from captures import chain, listed


@dataclass
class Pair:
    """`before` was answered, then `then` is asked; `how`: what is otherwise about it beside its text (`Asked` of the desk)."""

    name: str
    before: list
    then: object
    how: dict = field(default_factory=dict)


def cases(captured):
    """All pairs, of the clients that were captured."""
    makers = (claude_code, opencode, codex, langchain, pydantic_ai, ai_sdk, sdks)
    found = [pair for maker in makers for pair in maker(captured)]
    assert len({pair.name for pair in found}) == len(found)
    return found


def _session(sent, label):
    return [one for one in sent if one.label == label and one.body.get("tools")]


def _all(turns, change):
    return [turn.other(change) for turn in turns]


def claude_code(captured):
    sent = captured["claude-code"]
    s1, s1c, s2, s3 = (_session(sent, label) for label in ("s1", "s1c", "s2", "s3"))
    clean = put(("system",), s1[0].body["system"])  # the tree as it was

    def pair(name, before, then, change=None, headers=(), **how):
        return Pair(f"claude-code {name}", list(before), then.other(change, **dict(headers)), how)

    month = swap("November 2026", "December 2026")
    day = swap("2026-11-21", "2026-11-22")
    yield pair("resumed", s1, s1c[0])
    yield pair("resumed, one turn known", s1[:2], s1c[0])
    yield pair("resumed on the next day", s1, s1c[0], day)
    yield pair("resumed on the next day, clean tree", s1, s1c[0], every(clean, day))
    yield pair("resumed after an update", s1, s1c[0], every(clean, swap("2.1.197.06c", "2.1.198.06c")))
    yield pair("resumed on another branch", s1, s1c[0], every(clean, swap("Current branch: main", "Current branch: mul")))
    yield pair("resumed after a commit", s1, s1c[0], every(clean, swap("2a9f163 first", "77b01ce mul\n2a9f163 first")))
    yield pair("another task", s1, s2[0])
    yield pair("another task after the resumed one", [*s1, *s1c], s2[0])
    yield pair("another task, back", s2, s1[0])
    yield pair("another user", s1, s3[0])
    yield pair("another user, back", s3, s1[0])
    yield pair("another user and task", s2, s3[0])
    yield pair("another user and task, back", s3, s2[0])
    yield pair("another user after the resumed one", s1c, s3[0])
    for name, turns, at in (("s1", s1, 2), ("s1c", s1c, 3), ("s2", s2, 1), ("s3", s3, 4)):
        yield pair(f"a month begins in {name}", turns[:at], turns[at], month)
    yield pair("a month begins between sessions", s1, s2[0], month)
    for name, turns, at in (("s1", s1, 4), ("s2", s2, 2), ("s3", s3, 3)):
        yield pair(f"midnight in {name}", turns[:at], turns[at], day)
    yield pair("thinking left out after a refusal", s1[:4], s1[4], drop_thoughts)
    yield pair("signatures damaged", s1[:4], s1[4], bad_signatures)
    yield pair("a proxy cuts white space", s1[:3], s1[3], strip_texts)
    yield pair("a proxy sorts keys", s2[:3], s2[3], sort_keys)
    yield pair("the last tool goes", s3[:2], s3[2], drop_tool(25))
    yield pair("a tool server connects late", s1[:1], s1[1], every(add_tool(26, "mcp__wiki__find"), add_tool(27, "mcp__wiki__read")))
    yield pair("a tool server goes", _all(s1[:3], add_tool(26, "mcp__wiki__find")), s1[3])
    yield pair("a tool in the middle comes", s2[:2], s2[2], add_tool(10, "LSP"))
    yield pair("web search is forbidden", s3[:3], s3[3], drop_tool(23))
    yield pair("tools in another order", s1[:2], s1[2], swap_tools(3, 9))
    yield pair("tools shuffled between sessions", s1, s2[0], shuffle_tools)
    yield pair("a helper is described in a tool", s1[:2], s1[2], describe_tool(0, "\n- reviewer: reads changes (Tools: Read)"))
    yield pair("a schema in another order", s2[:1], s2[1], turn_schema(1))
    yield pair(
        "a helper is listed in the first message",
        s1[:2],
        s1[2],
        swap("- statusline-setup:", "- reviewer: reads what was changed and says what is wrong with it. (Tools: Read)\n- statusline-setup:"),
    )
    yield pair("a skill is listed", s3[:3], s3[3], swap("- init: ", "- mul: Multiplies two numbers as this project wants it\n- init: "))
    memory = "# claudeMd\nContents of /home/ada/shop/CLAUDE.md:\n\nUse four spaces. Run the tests before you say that you are done.\n# currentDate"
    yield pair("a memory file comes up", s1, s1c[0], every(clean, swap("# currentDate", memory)))
    yield pair(
        "a memory file is edited", _all(s1, swap("# currentDate", memory)), s1c[0], every(clean, swap("# currentDate", memory.replace("four", "two")))
    )
    yield pair("compacted", s1c[:3], s1c[3], compact(1, 10))
    yield pair("compacted in part", s1c[:2], s1c[2], compact(1, 6))
    yield pair("an old result is cleared", s1c[:3], s1c[3], clear_result(2))
    yield pair("two old results are cleared", s1c[:3], s1c[3], every(clear_result(2), clear_result(4)))
    yield pair("earlier turns are left out", s1c[:3], s1c[3], leave_out(1, 3))
    yield pair("a reminder in an earlier message", s1c[:3], s1c[3], reminder(2, "The task tools have not been used lately."))
    yield pair("a message is pushed in", s1c[:3], s1c[3], insert(1, "Remember to answer in English."))
    yield pair("another model", s1[:2], s1[2], put(("model",), "claude-opus-4-8"), model="claude-opus-4-8")
    yield pair("another model in the resumed session", s1, s1c[0], every(clean, put(("model",), "claude-opus-4-8")), model="claude-opus-4-8")
    yield pair("less thinking", s1[:2], s1[2], put(("thinking", "budget_tokens"), 4000))
    yield pair("no thinking", s2[:3], s2[3], put(("thinking",), None))
    yield pair("a feature flag goes", s1[:2], s1[2], headers={"anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14"})
    yield pair("a tool is forced", s3[:3], s3[3], put(("tool_choice",), {"type": "tool", "name": "Bash"}))
    style = swap("\nYou are an interactive agent that helps", "\nYou are an explaining agent that teaches and helps")
    yield pair("another output style", s1[:2], s1[2], style)
    yield pair(
        "a line of the system text changes", s2[:2], s2[2], swap("\n\ngitStatus: This is", "\n\nAnswer in short sentences.\n\ngitStatus: This is")
    )
    yield pair("a system block is put in front", s3[:2], s3[2], lambda body: body["system"].insert(1, {"type": "text", "text": "House rules hold."}))
    yield pair("a long pause", s1[:3], s1[3], gap_s=900)
    yield pair("another account", s1[:3], s1[3], account="account-2")
    yield pair("evicted early", s2[:3], s2[3], evicted=True)


def opencode(captured):
    for sub, first in (("anthropic", 0), ("openai", 1), ("compat", 1), ("google", 0)):
        sent = [one for one in captured["opencode"] if one.label.startswith(f"{sub}/")]
        s1, s1c, s2, s3 = (_session(sent, f"{sub}/{label}") for label in ("s1", "s1c", "s2", "s3"))

        def pair(name, before, then, change=None, sub=sub, **how):
            return Pair(f"opencode {sub} {name}", list(before), then.other(change), how)

        tools = len(functions(s1[0].body))
        day = swap("Sat Nov 21 2026", "Sun Nov 22 2026")
        yield pair("another folder", s1, s3[0])
        yield pair("another folder, back", s3, s1[0])
        yield pair("another folder and task", s2, s3[0])
        yield pair("midnight", s1[:3], s1[3], day)
        yield pair("another task on the next day", s1, s2[0], day)
        yield pair("a tool server connects late", s2[:2], s2[2], add_tool(tools, "wiki_find"))
        yield pair("a tool is forbidden", s3[:2], s3[2], drop_tool(4))
        yield pair("a skill is added", s1[:2], s1[2], swap("</available_skills>", "  <skill>\n    <name>mul</name>\n  </skill>\n</available_skills>"))
        yield pair("compacted", s1c[:3], s1c[3], compact(first + 1, len(listed(s1[3].body))))
        result = {"anthropic": 2, "openai": 5, "compat": 3, "google": 2}[sub]
        yield pair("an old result is cleared", s1c[:3], s1c[3], clear_result(result))
        yield pair("instructions of a folder come up", s1, s2[0], in_system("\nInstructions from: AGENTS.md\nUse four spaces. Run the tests.\n"))
        if sub == "openai":
            yield pair("more effort", s1[:3], s1[3], put(("reasoning", "effort"), "high"))
            yield pair("other verbosity", s2[:2], s2[2], put(("text", "verbosity"), "high"))


def codex(captured):
    sent = captured["codex"]
    s1, s1c, s2, s3 = (_session(sent, label) for label in ("s1", "s1c", "s2", "s3"))

    def pair(name, before, then, change=None, **how):
        return Pair(f"codex {name}", list(before), then.other(change), how)

    yield pair("another user", s1, s3[0])
    yield pair("another user, back", s3, s1[0])
    yield pair("another user and task", s2, s3[0])
    yield pair("another user and task, back", s3, s2[0])
    yield pair("another user after the resumed session", s1c, s3[0])
    yield pair("resumed on the next day, told anew", s1, s1c[0], swap("2026-11-21", "2026-11-22"))
    yield pair("resumed in another folder, told anew", s1, s1c[0], swap("<cwd>/tmp/tokenrouter-clients/run/codex/repo", "<cwd>/srv/calc"))
    approval = swap("Approval policy is currently never.", "Approval policy is currently on-request.")
    yield pair("another approval policy, told anew", s1[:3], s1[3], approval)
    yield pair("another approval policy in another session", s1, s2[0], approval)
    yield pair("more effort", s1[:3], s1[3], put(("reasoning", "effort"), "high"))
    yield pair("calls one by one", s2[:2], s2[2], put(("parallel_tool_calls",), False))
    yield pair("another model", s1[:3], s1[3], put(("model",), "gpt-5.1"), model="gpt-5.1")
    yield pair("compacted", s1c[:3], s1c[3], compact(4, 20))
    yield pair("an old result is cleared", s1c[:3], s1c[3], clear_result(7))
    yield pair("a skill is added", s1[:2], s1[2], swap("</skills_instructions>", "- mul: multiplies (file: r1/mul/SKILL.md)\n</skills_instructions>"))
    yield pair("web search is switched off", s3[:3], s3[3], drop_tool(8))
    yield pair("a tool server connects late", s2[:1], s2[1], add_tool(9, "wiki_find"))
    yield pair("another key of affinity", s1[:3], s1[3], affinity="another")


def _framework(captured, client, label="s1"):
    """Conversations with tools, by dialect."""
    sent = captured[client]
    for dialect in ("openai-chat", "openai-responses", "anthropic-messages", "gemini-generate"):
        turns = chain(sent, label, dialect)
        if len(turns) >= 2:
            yield dialect, turns


def langchain(captured):
    for dialect, turns in _framework(captured, "langchain"):
        name = f"langchain {dialect}"
        first, then = turns[2].other(in_system("\nNow: 2026-11-21 10:04:05")), turns[3].other(in_system("\nNow: 2026-11-21 10:04:35"))
        yield Pair(f"{name} the time in the prompt", [first], then)
        yield Pair(f"{name} a selected tool goes", turns[:3], turns[3].other(drop_tool(1)))
        yield Pair(
            f"{name} messages are trimmed", turns[:5], turns[5].other(leave_out(1 if "openai" in dialect else 0, 5 if "openai" in dialect else 4))
        )
    for dialect in ("openai-chat", "openai-responses"):
        turns = chain(captured["langchain"], "s2", dialect)
        yield Pair(f"langchain {dialect} arguments respelled", turns[:5], turns[5].other(respell_arguments))


def pydantic_ai(captured):
    for dialect, turns in _framework(captured, "pydantic-ai"):
        name = f"pydantic-ai {dialect}"
        first = turns[1].other(in_system("Today is Friday, November 20, 2026.\n", "head"))
        yield Pair(f"{name} the day in the prompt", [first], turns[2].other(in_system("Today is Saturday, November 21, 2026.\n", "head")))
        yield Pair(f"{name} a prepared tool goes", turns[:3], turns[3].other(drop_tool(0)))
        yield Pair(f"{name} a tool is described otherwise", turns[:4], turns[4].other(describe_tool(1, " Never guess.")))


def ai_sdk(captured):
    for dialect, turns in _framework(captured, "ai-sdk"):
        name = f"ai-sdk {dialect}"
        yield Pair(f"{name} active tools", turns[:1], turns[1].other(drop_tool(0)))
        user = [turn.other(in_system(f"\nUser id: {user}")) for turn, user in zip(turns[1:3], ("u_83hf72kd01", "u_5521mmaqz7"), strict=True)]
        yield Pair(f"{name} a user id in the prompt", user[:1], user[1])


def sdks(captured):
    chat, answers = chain(captured["openai-python"], "s1", "openai-chat"), chain(captured["openai-python"], "s2", "openai-responses")
    yield Pair("openai-python chat other tools first", chat[:1], chat[1].other(swap_tools(0, 1)))
    yield Pair("openai-python chat a schema in another order", chat[:1], chat[1].other(turn_schema(0)))
    shape = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object", "properties": {"token": {"type": "string"}}}}}
    yield Pair("openai-python chat a shape is asked for", chat[:1], chat[1].other(put(("response_format",), shape)))
    yield Pair("openai-python chat the system text as a part", chat[:1], chat[1].other(flip(0)))
    yield Pair("openai-python responses another effort", answers[:2], answers[2].other(put(("reasoning",), {"effort": "high", "summary": "auto"})))
    yield Pair("openai-python responses a rule is reworded", answers[:2], answers[2].other(swap("Rule 40:", "Rule 40 (new):")))
    asked = [one for one in captured["anthropic-python"] if one.label == "s1" and not one.body.get("tools")][:3]
    yield Pair("anthropic-python a rule is reworded", asked[:2], asked[2].other(swap("Rule 40:", "Rule 40 (new):")))
    yield Pair(
        "anthropic-python a request id in the prompt",
        _all(asked[:1], in_system("\nrequest_id=7f3a9c21")),
        asked[1].other(in_system("\nrequest_id=b01d44e8")),
    )
    google = chain(captured["google-genai-python"], "s1", "gemini-generate")
    yield Pair("google-genai a rule is reworded", google[:2], google[2].other(swap("Rule 40:", "Rule 40 (new):")))
    yield Pair("google-genai a counter in the prompt", _all(google[:1], in_system("\nTurn: 1")), google[1].other(in_system("\nTurn: 2")))
