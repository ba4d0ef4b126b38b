"""Claude models as the sandbox knows them.

Sources: https://platform.claude.com/docs/en/build-with-claude/prompt-caching (minimums), .../thinking (which models keep earlier
thinking), .../mid-conversation-system-messages, .../preserved-thinking (bound thinking).
"""

import re

import msgspec

_DATE = re.compile(r"-\d{8}$")


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model.

    minimum        tokens below which nothing is cached
    keeps_thinking thinking of earlier turns stays in the prompt
    bound          thinking is bound to system, tools and earlier messages; forced tools, prefill, sampling and thinking budgets are refused
    account_bound  thinking is bound to the account as well
    mid_system     system messages inside `messages`
    adaptive       takes `thinking: adaptive`
    """

    minimum: int
    context: int = 1_000_000
    most_output: int = 128_000
    keeps_thinking: bool = True
    bound: bool = False
    account_bound: bool = False
    mid_system: bool = False
    adaptive: bool = True
    between_tools: bool = False


MODELS: dict[str, Model] = {
    "claude-opus-5-5": Model(minimum=512, bound=True, mid_system=True),
    "claude-sonnet-5-5": Model(minimum=512, bound=True, account_bound=True, mid_system=True, between_tools=True),
    "claude-fable-5-1": Model(minimum=512, bound=True, mid_system=True),
    "claude-fable-5": Model(minimum=512, mid_system=True),
    "claude-opus-5": Model(minimum=512, mid_system=True),
    "claude-opus-4-8": Model(minimum=1024, mid_system=True),
    "claude-opus-4-7": Model(minimum=2048),
    "claude-opus-4-6": Model(minimum=4096),
    "claude-opus-4-5": Model(minimum=4096, adaptive=False, context=200_000, most_output=64_000),
    "claude-opus-4-1": Model(minimum=1024, adaptive=False, keeps_thinking=False, context=200_000, most_output=32_000),
    "claude-sonnet-5": Model(minimum=1024),
    "claude-sonnet-4-6": Model(minimum=1024),
    "claude-sonnet-4-5": Model(minimum=1024, adaptive=False, keeps_thinking=False, most_output=64_000),
    "claude-haiku-4-5": Model(minimum=4096, adaptive=False, keeps_thinking=False, context=200_000, most_output=64_000),
}


def find(name: str) -> tuple[str, Model] | None:
    """The model behind a name, dated snapshots included."""
    base = _DATE.sub("", name)
    model = MODELS.get(base)
    return (base, model) if model is not None else None
