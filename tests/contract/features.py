"""The rows of the matrix: what a client may want, whatever its dialect; and the values by which it is found again."""

import base64
from dataclasses import dataclass
from typing import Literal

SYSTEM = "SYSTEM-SENTINEL be brief"
TURNS = (("user", "first question UONE"), ("assistant", "first answer AONE"), ("user", "second question UTWO"))
LATE_SYSTEM = "LATE-SYSTEM-SENTINEL from now on in rhyme"
TEMPERATURE, TOP_P, TOP_K, SEED, LIMIT = 0.37, 0.83, 17, 4242, 3210
FREQUENCY, PRESENCE = 0.41, 0.43
STOP = "STOPWORD"
TOOL, OTHER_TOOL = "zulu_tool", "alpha_tool"
TOOL_TEXT = "TOOL-SENTINEL looks things up"
# Key order against the alphabet, numbers in spellings that a parser would change, an escape.
SCHEMA = b'{"type":"object","properties":{"zulu":{"type":"number","minimum":1.0,"maximum":1e2},"alpha":{"type":"string","description":"caf\\u00e9"}}}'
STRICT_SCHEMA = (
    b'{"type":"object","properties":{"zulu_out":{"type":"string"},"alpha_out":{"type":"number"}},'
    b'"required":["zulu_out","alpha_out"],"additionalProperties":false}'
)
ARGUMENTS = b'{"zulu": 1.0,  "big":12345678901234567890, "text":"\\u00e9\\/ x"}'
OTHER_ARGUMENTS = b'{"alpha":"second"}'
CALL_ID, OTHER_CALL_ID = "call_sentinel00001", "call_sentinel00002"
RESULT, OTHER_RESULT = "RESULT-SENTINEL forty-two", "OTHER-RESULT-SENTINEL seven"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE_URL = "https://pictures.example/sentinel.png"
PDF = base64.b64encode(b"%PDF-1.4\n% sentinel\n%%EOF\n").decode()
DOCUMENT = "DOCUMENT-SENTINEL plain words"
DOCUMENT_BASE64 = base64.b64encode(DOCUMENT.encode()).decode()
WAV = base64.b64encode(b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00sentinel").decode()
AFFINITY = "affinity-sentinel-1"
USER = "user-sentinel-1"
BUDGET = 4321
CUSTOM_TOOL = "custom_tool_sentinel"
UNKNOWN, UNKNOWN_VALUE = "unknown_sentinel", "UNKNOWN-VALUE"
THINKING = "THINKING-SENTINEL step by step"
SAID = "SAID-SENTINEL, in a few words that stream in more than one piece."
REFUSAL = "REFUSAL-SENTINEL I would rather not."
# Long enough for every simulated cache's minimum, with marks and without.
LONG = "a long prompt that repeats itself so that it may be cached " * 1200

Kind = Literal["ask", "answer"]


@dataclass(frozen=True)
class Feature:
    """A row. `role`: which of a vendor's models it is asked of. `kind`: looked for in what the vendor got, or in what the client got."""

    id: str
    title: str
    kind: Kind = "ask"
    role: str = "plain"


FEATURES: tuple[Feature, ...] = (
    Feature("system", "system text"),
    Feature("turns", "conversation of several turns"),
    Feature("mid_system", "system message in mid-conversation", role="mid_system"),
    Feature("temperature", "temperature"),
    Feature("top_p", "top_p"),
    Feature("top_k", "top_k"),
    Feature("seed", "seed"),
    Feature("stop", "stop strings"),
    Feature("limit", "output limit"),
    Feature("n", "several answers (n = 2)"),
    Feature("frequency_penalty", "frequency penalty"),
    Feature("presence_penalty", "presence penalty"),
    Feature("logprobs", "log probabilities"),
    Feature("tool", "tool with its schema, byte for byte"),
    Feature("choice_none", "tool choice: none"),
    Feature("choice_required", "tool choice: any tool"),
    Feature("choice_named", "tool choice: this tool"),
    Feature("one_call", "no parallel calls"),
    Feature("custom_tool", "tool that takes free text"),
    Feature("loop", "call and result, arguments byte for byte"),
    Feature("results_two", "two parallel results"),
    Feature("result_failed", "result of a tool that failed"),
    Feature("result_image", "image in a tool result", role="sees_and_calls"),
    Feature("result_pdf", "PDF in a tool result", role="sees_and_calls"),
    Feature("image", "image, in base64", role="sees"),
    Feature("image_url", "image, by URL", role="sees"),
    Feature("pdf", "PDF", role="sees"),
    Feature("text_document", "plain-text document", role="sees"),
    Feature("audio", "audio", role="hears"),
    Feature("schema", "structured output, schema byte for byte"),
    Feature("json_mode", "JSON mode"),
    Feature("effort", "reasoning effort", role="thinks"),
    Feature("budget", "reasoning budget", role="budget"),
    Feature("mark_system", "cache mark on the system text", role="marks"),
    Feature("mark_tool", "cache mark on a tool", role="marks"),
    Feature("mark_part", "cache mark on a message part", role="marks"),
    Feature("mark_message", "cache mark on a whole message", role="marks"),
    Feature("mark_result", "cache mark on a tool result", role="marks"),
    Feature("mark_auto", "cache marks where the provider likes", role="marks"),
    Feature("mark_hour", "cache mark for an hour", role="marks"),
    Feature("mark_long", "cache mark for twelve hours", role="marks"),
    Feature("cache_options", "lifetime for all of the cache", role="marks"),
    Feature("affinity", "affinity key", role="marks"),
    Feature("server_tool", "web search that the provider runs"),
    Feature("citations", "citations of a document, in the answer too", "answer"),
    Feature("user", "user id"),
    Feature("unknown", "unknown field"),
    Feature("reasoning", "readable reasoning in the answer", "answer", role="shows"),
    Feature("signed_loop", "signed reasoning through a tool loop", "answer", role="signs"),
    Feature("usage_cached", "usage with cached tokens", "answer", role="marks"),
    Feature("usage_written", "usage with tokens written to the cache", "answer", role="marks"),
    Feature("usage_reasoning", "usage with reasoning tokens", "answer", role="shows"),
    Feature("end_length", "stop by length", "answer"),
    Feature("end_call", "stop by tool call", "answer"),
    Feature("end_stop", "stop by a stop string", "answer"),
    Feature("two_calls", "two tool calls in one answer", "answer"),
    Feature("arguments", "arguments of a call, byte for byte", "answer"),
    Feature("refusal", "refusal", "answer"),
)
BY_ID = {feature.id: feature for feature in FEATURES}
