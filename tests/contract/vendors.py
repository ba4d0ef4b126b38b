"""The columns of the matrix: simulated vendors, and which of their models a row is asked of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenrouter.adapters.known import known_dialects, known_wires
from tokenrouter.catalog.loader import Catalog


@dataclass(frozen=True)
class Vendor:
    """A column.

    models  by what a row needs of them; "plain" serves for what is not named
    caches  it tells what its cache gave
    passed_over  rows whose field its Chat endpoint takes and does nothing about, by its own reference
    """

    name: str
    plain: str
    models: Mapping[str, str] = field(default_factory=dict)
    caches: bool = True
    passed_over: frozenset[str] = frozenset()

    def model(self, role: str) -> str:
        """The model for a row, as clients name it."""
        return f"{self.name}/{self.models.get(role, self.plain)}"


CLAUDE = dict.fromkeys(("mid_system", "thinks", "shows", "signs"), "claude-opus-4-8")
GEMINI = {**dict.fromkeys(("thinks", "shows", "signs"), "gemini-3.6-flash"), "embeds": "gemini-embedding-001"}
ALL = (
    Vendor(
        "openai",
        "gpt-4.1",
        {**dict.fromkeys(("thinks", "budget", "shows", "signs"), "gpt-5.5"), "marks": "gpt-5.6-sol", "embeds": "text-embedding-3-small"},
    ),
    Vendor("anthropic", "claude-sonnet-4-5", CLAUDE),
    Vendor("vertex-anthropic", "claude-sonnet-4-5", CLAUDE),
    Vendor(
        "bedrock",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        {role: f"us.anthropic.{model}" for role, model in CLAUDE.items()},
    ),
    Vendor("gemini", "gemini-2.5-flash", GEMINI),
    Vendor("vertex", "gemini-2.5-flash", GEMINI),
    Vendor(
        "deepseek",
        "deepseek-chat",
        dict.fromkeys(("thinks", "budget", "shows", "signs"), "deepseek-reasoner"),
        passed_over=frozenset(("top_k", "seed", "n", "one_call", "custom_tool", "cache_options", "server_tool", "affinity", "user", "unknown")),
    ),
    Vendor(
        "ollama",
        "llama3.2",
        {
            "embeds": "nomic-embed-text",
            "sees": "gemma3:4b",
            "sees_and_calls": "qwen3-vl:8b",
            "thinks": "gpt-oss:20b",
            "budget": "gpt-oss:20b",
            "shows": "gpt-oss:20b",
            "signs": "gpt-oss:20b",
        },
        caches=False,
        passed_over=frozenset(
            (
                *("top_k", "n", "logprobs", "choice_none", "choice_required", "choice_named", "one_call", "custom_tool"),
                *("cache_options", "server_tool", "affinity", "user", "unknown"),
            )
        ),
    ),
)


def offered(catalog: Catalog) -> list[Vendor]:
    """The vendors that can be reached."""
    return [vendor for vendor in ALL if vendor.name in catalog.vendors]


def spoken() -> frozenset[str]:
    """Dialects that the gateway knows."""
    return frozenset(known_dialects())


def natives() -> frozenset[str]:
    """Dialects that a wire speaks natively."""
    return frozenset(wire.native.dialect for wire in known_wires(()).values() if wire.native is not None)
