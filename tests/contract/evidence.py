"""Where a feature is to be found in what a vendor received, wire by wire. Written from the vendors' references, not from the adapters.

`FOUND`: it stands where the wire has it. `OTHERWISE`: another form of it, with one line that says which; its evidence is looked for too.
"""

import json
from collections.abc import Mapping
from itertools import pairwise

from evidence_claude import CONVERSE, MESSAGES
from evidence_openai import CHAT, RESPONSES
from evidence_others import GEMINI, OLLAMA, OLLAMA_GENERATE
from features import AFFINITY, DOCUMENT, LATE_SYSTEM, PDF, PNG, RESULT, SYSTEM, TOOL
from sent import Found, Sent, marked, points, texts
from speaking import words

FOUND: Mapping[str, Mapping[str, Found]] = {
    "openai-chat": CHAT,
    "openai-responses": RESPONSES,
    "anthropic-messages": MESSAGES,
    "gemini-generate": GEMINI,
    "bedrock-converse": CONVERSE,
    "ollama-chat": OLLAMA,
    "ollama-generate": OLLAMA_GENERATE,
}


_SPELLINGS = ("cache_control", "cacheControl", "prompt_cache_breakpoint", "promptCacheBreakpoint", "cachePoint", "prompt_cache_options")


def unmarked(text: str) -> Found:
    """No mark of any spelling is left, and what it stood on is there."""

    def check(sent: Sent) -> bool:
        return text.encode() in sent.raw and not any(f'"{field}"'.encode() in sent.raw for field in _SPELLINGS)

    return check


def attached(data: str) -> Found:
    """It stands in a message of the user right behind the results, which names the call."""

    def check(sent: Sent) -> bool:
        *_, result, last = sent.at("messages")
        return data in json.dumps(last) and last["role"] == "user" and result["tool_call_id"] in words(last["content"])

    return check


def beside(data: str) -> Found:
    """It is the part right behind the result."""

    def check(sent: Sent) -> bool:
        parts = sent.at("contents")[-1]["parts"]
        return any("functionResponse" in one and data in json.dumps(other) for one, other in pairwise(parts))

    return check


def unoptioned(sent: Sent) -> bool:
    """Options of a cache that the provider does not have are not sent."""
    return b"hello" in sent.raw and b"prompt_cache_options" not in sent.raw


def keyless(sent: Sent) -> bool:
    """The key is in no place where it could be taken for something else."""
    return AFFINITY.encode() not in sent.raw


ANY_MARK = ("cache_control", "prompt_cache_breakpoint")
_ITSELF = "the provider caches by itself and takes no marks; the mark is taken out"
_NEAR = "marks stand on texts only here: the gateway marks the end of the system text instead"
_ITS_DEFAULT = "the provider has no such lifetime; the mark stands for its own default, so that nothing costs more than asked for"
_ROOT = "the provider has no such key; requests with one root go to one account by themselves"
_NO_OPTIONS = "the provider has no such options; what the gateway plans for it stands in their place"
_AT_END = "as a mark at the end of the last message"
_AS_ERROR = "the provider has no flag for it: the result's text begins with `Error: `"
_ATTACHED = "the provider takes text alone there: it follows in a message of the user that names the call"
_BESIDE = "the model takes text alone there: it stands right behind the result"
_AS_TEXT = "as text, with its title in front where it has one"
_LEFT_OUT = "the provider has no such choice: the tools are left out, so that none is called"
_AS_WORD = "the number becomes the next word of effort"
_AS_USERS = "the provider has no place for it: it stands where it stood, as a user's words"

Otherwise = tuple[tuple[Found, str], ...]
BY_ITSELF: Mapping[str, Otherwise] = {
    **{name: ((unmarked(SYSTEM), _ITSELF),) for name in ("mark_system", "mark_hour", "mark_long")},
    **{name: ((unmarked("MARKED"), _ITSELF),) for name in ("mark_part", "mark_message")},
    "mark_tool": ((unmarked(TOOL), _ITSELF),),
    "mark_result": ((unmarked(RESULT), _ITSELF),),
    "mark_auto": ((unmarked("hello"), _ITSELF),),
    "cache_options": ((unmarked("hello"), _NO_OPTIONS),),
    "affinity": ((keyless, _ROOT),),
}
_OPENAI_MARKS: Mapping[str, Otherwise] = {
    **BY_ITSELF,
    "mark_hour": ((lambda sent: marked(sent, ANY_MARK, SYSTEM), _ITS_DEFAULT), *BY_ITSELF["mark_hour"]),
    "mark_tool": ((lambda sent: marked(sent, ANY_MARK, "words to make"), _NEAR), *BY_ITSELF["mark_tool"]),
    "mark_auto": ((lambda sent: marked(sent, ANY_MARK, "hello"), _AT_END), *BY_ITSELF["mark_auto"]),
}


def as_error(sent: Sent) -> bool:
    return f"Error: {RESULT}" in texts(sent, sent.at("messages"), ("tool",))


OTHERWISE: Mapping[str, Mapping[str, Otherwise]] = {
    "openai-chat": {
        **_OPENAI_MARKS,
        "result_failed": ((as_error, _AS_ERROR),),
        "result_image": ((attached(PNG), _ATTACHED),),
        "result_pdf": ((attached(PDF), _ATTACHED),),
        "text_document": ((lambda sent: DOCUMENT in words(sent.at("messages")[-1]["content"]), _AS_TEXT),),
        "budget": ((lambda sent: sent.at("reasoning_effort") == "low", _AS_WORD),),
    },
    "openai-responses": {
        **_OPENAI_MARKS,
        "result_failed": ((lambda sent: f"Error: {RESULT}" in [words(o["output"]) for o in sent.objects if "output" in o], _AS_ERROR),),
        "text_document": ((lambda sent: DOCUMENT in words(sent.at("input")[-1]["content"]), _AS_TEXT),),
        "budget": ((lambda sent: sent.at("reasoning.effort") == "low", _AS_WORD),),
    },
    "anthropic-messages": {
        "affinity": ((keyless, _ROOT),),
        "cache_options": ((unoptioned, _NO_OPTIONS),),
        "mark_auto": ((lambda sent: "cache_control" in json.dumps(sent.at("messages")[-1]), _AT_END),),
        "mark_long": ((lambda sent: marked(sent, ("cache_control",), SYSTEM), _ITS_DEFAULT),),
    },
    "gemini-generate": {
        **BY_ITSELF,
        "mid_system": ((lambda sent: LATE_SYSTEM in texts(sent, sent.at("contents")[3:], ("user",), "parts"), _AS_USERS),),
        "result_image": ((beside(PNG), _BESIDE),),
        "result_pdf": ((beside(PDF), _BESIDE),),
        "text_document": ((lambda sent: DOCUMENT in words(sent.at("contents")[-1]), _AS_TEXT),),
    },
    "bedrock-converse": {
        "affinity": ((keyless, _ROOT),),
        "cache_options": ((unoptioned, _NO_OPTIONS),),
        "mark_long": ((lambda sent: points(sent.at("system"), lambda block: SYSTEM in block.get("text", "")), _ITS_DEFAULT),),
        "choice_none": ((lambda sent: not sent.at("toolConfig"), _LEFT_OUT),),
    },
    "ollama-chat": {
        **BY_ITSELF,
        "budget": ((lambda sent: sent.at("think") == "medium", _AS_WORD),),
        "choice_none": ((lambda sent: not sent.at("tools"), _LEFT_OUT),),
        "result_failed": ((as_error, _AS_ERROR),),
        "text_document": ((lambda sent: DOCUMENT in sent.at("messages")[-1]["content"], _AS_TEXT),),
    },
    "ollama-generate": {},
}
