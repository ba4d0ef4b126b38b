"""Reasoning of earlier turns on the Chat wire: only what the host can check, or asks to have back, is sent; all else is reported.

    reasoning_details    OpenRouter: blocks whose signature belongs to the family of the model that is asked. Models of families that sign
                         nothing get readable reasoning back as it is.
    thought_signatures   Google's compatible endpoint: a signature over a call goes back on that call.
    reasoning_content    DeepSeek and Moonshot: readable reasoning of turns that call tools, which they refuse to go on without. A signed
                         text is another vendor's and stays out.
Sources: OpenRouter, "Preserving reasoning"; Google, "Thought signatures"; DeepSeek, "Thinking mode"; Moonshot, "Use thinking models".
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from tokenrouter.adapters.wire.openai_chat_calls import GEMINI_FORMAT
from tokenrouter.adapters.wire.openai_chat_request import ReasoningDetail
from tokenrouter.model.answer import Reasoning
from tokenrouter.model.conversation import Call, Thought, Turn

_FAMILIES: Final[Mapping[str, str]] = {
    "anthropic": "anthropic-claude-v1",
    "openai": "openai-responses-v1",
    "google": GEMINI_FORMAT,
    "x-ai": "xai-responses-v1",
}
"""Who signs reasoning, by the first half of OpenRouter's model names."""

_SUMMARIZED = frozenset(("openai-responses-v1", "xai-responses-v1"))
_REPORTED = "messages.reasoning"


class Thoughts(msgspec.Struct, frozen=True):
    """What one turn takes along. `signatures`: by the number of the call in its turn."""

    readable: str = ""
    details: tuple[ReasoningDetail, ...] = ()
    signatures: Mapping[int, str] = {}


_NOTHING = Thoughts()


class Thinker(msgspec.Struct, frozen=True):
    """What one host does with reasoning. `model`: its name, for hosts that ask others."""

    quirks: frozenset[str]
    model: str

    def read(self, turn: Turn, dropped: dict[str, None]) -> Thoughts:
        """The reasoning of an assistant's turn."""
        thoughts = [block.reasoning for block in turn.blocks if isinstance(block, Thought)]
        if not thoughts:
            return _NOTHING
        if "reasoning_details" in self.quirks:
            return self._details(thoughts, dropped)
        if "thought_signatures" in self.quirks:
            return _signatures(turn, dropped)
        if "reasoning_content" in self.quirks and any(isinstance(block, Call) for block in turn.blocks):
            plain = [thought.text for thought in thoughts if _is_plain(thought)]
            if len(plain) != len(thoughts):
                dropped[_REPORTED] = None
            return Thoughts("".join(plain))
        dropped[_REPORTED] = None
        return _NOTHING

    def _details(self, thoughts: list[Reasoning], dropped: dict[str, None]) -> Thoughts:
        signer = _FAMILIES.get(self.model.partition("/")[0])
        details: list[ReasoningDetail] = []
        for thought in thoughts:
            if (thought.format != signer) if signer else not _is_plain(thought):
                dropped[_REPORTED] = None
            else:
                details += _entries(thought)
        for index, detail in enumerate(details):
            detail.index = index
        return Thoughts(details=tuple(details))


def _is_plain(thought: Reasoning) -> bool:
    return not (thought.signature or thought.redacted or thought.format) and bool(thought.text)


def _entries(thought: Reasoning) -> list[ReasoningDetail]:
    """A block as OpenRouter writes it: what can be read, then what only the vendor reads. A bare signature of Google's is such data."""
    block_id, form = thought.id or None, thought.format or "unknown"
    redacted, signature = thought.redacted, thought.signature
    if form == GEMINI_FORMAT and signature and not thought.text:
        redacted, signature = signature, ""
    entries: list[ReasoningDetail] = []
    if thought.text and form in _SUMMARIZED:
        entries.append(ReasoningDetail("reasoning.summary", summary=thought.text, id=block_id, format=form))
    elif thought.text or signature:
        entries.append(ReasoningDetail("reasoning.text", text=thought.text, signature=signature or None, id=block_id, format=form))
    if redacted:
        entries.append(ReasoningDetail("reasoning.encrypted", data=redacted, id=block_id, format=form))
    return entries


def _signatures(turn: Turn, dropped: dict[str, None]) -> Thoughts:
    """A signature goes to the call that it names, else to the call right behind it. One over a text has no place on this wire."""
    named = {
        block.reasoning.id: block.reasoning.signature for block in turn.blocks if isinstance(block, Thought) and _is_over_a_call(block.reasoning)
    }
    found: dict[int, str] = {}
    calls = 0
    waiting = ""
    for block in turn.blocks:
        if isinstance(block, Thought):
            reasoning = block.reasoning
            ours = reasoning.format == GEMINI_FORMAT and bool(reasoning.signature)
            if waiting or not ours or reasoning.text:
                dropped[_REPORTED] = None
            waiting = reasoning.signature if ours and not reasoning.id else ""
        elif isinstance(block, Call):
            signature = named.pop(block.call.id, "") or waiting
            if signature:
                found[calls] = signature
            calls, waiting = calls + 1, ""
        elif waiting:
            dropped[_REPORTED] = None
            waiting = ""
    if waiting or named:
        dropped[_REPORTED] = None
    return Thoughts(signatures=found)


def _is_over_a_call(reasoning: Reasoning) -> bool:
    return bool(reasoning.id) and bool(reasoning.signature) and reasoning.format == GEMINI_FORMAT
