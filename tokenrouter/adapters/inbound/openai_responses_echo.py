"""What a response repeats of its request, in the client's own bytes."""

from collections.abc import Mapping

import msgspec

from tokenrouter.adapters.inbound.openai_responses_namespaces import spaces_of
from tokenrouter.model.envelope import Envelope

_NULL = msgspec.Raw(b"null")
_DEFAULTS: Mapping[str, object] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
"""What stands there where the request said nothing."""

_FIXED: Mapping[str, object] = {"previous_response_id": None, "store": False}
"""A translated answer builds on nothing stored, and is not stored."""


def echo_of(asked: Envelope | None) -> Mapping[str, object]:
    """The members. None: the request is no longer at hand, and the defaults stand for it."""
    if asked is None:
        return {**_DEFAULTS, **_FIXED}
    fields = asked.fields
    said = {name: fields[name] if fields.get(name, _NULL) != _NULL else default for name, default in _DEFAULTS.items()}
    if bytes(fields.get("service_tier", _NULL)) == b'"auto"':
        said["service_tier"] = "default"
    return {**said, **_FIXED}


def in_namespaces(asked: Envelope | None) -> Mapping[str, tuple[str, str]]:
    """(namespace, name) of tools that were sent under another name; see `openai_responses_namespaces`."""
    return spaces_of(asked.tools) if asked is not None else {}
