"""Which conversation a request belongs to, as clients say it: in headers of their own, or in fields that `ParamWords.session` carries.

A value is somebody's secret at times: it is hashed with a key before it is remembered (`prefixes/sessions.py`), and never logged.
Sources: captures of the named clients (2026-11); https://docs.x.ai/docs/guides (x-grok-conv-id); https://docs.fireworks.ai (x-session-affinity).
"""

import json
from collections.abc import Mapping
from typing import Final

OWN_HEADER: Final = "x-tokenrouter-session"
"""Our own: whoever sets it is believed before anything else."""

SESSION_HEADERS: Final = (
    OWN_HEADER,
    "x-claude-code-session-id",
    *("session-id", "session_id", "thread-id", "conversation_id"),  # Codex, by age
    *("x-session-id", "x-session-affinity"),  # opencode; hosts that keep requests of one session together
    "x-grok-conv-id",
)
"""Headers that name a conversation, the most trustworthy first."""

LONGEST_NAME: Final = 512
"""A longer value is no name, and is not looked at."""

_PART: Final = "_session_"


def header_session(headers: Mapping[str, str]) -> str:
    """What the headers (names in lower case) call the conversation; "" where they say nothing."""
    for name in SESSION_HEADERS:
        value = headers.get(name)
        if value and 0 < len(value.strip()) <= LONGEST_NAME:
            return value.strip()
    return ""


def field_session(fields: Mapping[str, object]) -> str:
    """What a request's own fields call it, in APIs with an affinity key; "" where they say nothing."""
    for name in ("prompt_cache_key", "session_id"):
        value = fields.get(name)
        if isinstance(value, str) and 0 < len(value) <= LONGEST_NAME:
            return value
    return ""


def user_session(user_id: str) -> str:
    """The session part of a Messages request's `metadata.user_id`: a JSON object with `session_id`, or `…_session_…`; "" where it has none.

    A user id without one names a person, who may have many conversations.
    """
    if not 0 < len(user_id) <= LONGEST_NAME * 2:
        return ""
    if user_id.startswith("{"):
        try:
            value = json.loads(user_id)
        except (ValueError, RecursionError):
            return ""
        said = value.get("session_id") if isinstance(value, dict) else None
        return said if isinstance(said, str) and len(said) <= LONGEST_NAME else ""
    return user_id.rpartition(_PART)[2] if _PART in user_id else ""
