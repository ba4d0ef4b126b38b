"""The rows' speakers: every client of this suite whose dialect the gateway knows."""

import client_anthropic
import client_gemini
import client_neutral
import client_ollama
import client_ollama_generate
import client_openai_chat
import client_responses
from speaking import Client
from vendors import spoken

ALL: tuple[Client, ...] = tuple(
    module.CLIENT
    for module in (
        client_openai_chat,
        client_responses,
        client_anthropic,
        client_gemini,
        client_ollama,
        client_ollama_generate,
        client_neutral,
    )
)


def speaking() -> list[Client]:
    """The clients whose dialect there is."""
    known = spoken()
    return [client for client in ALL if client.name in known]


def conversing() -> list[Client]:
    """Those that know tools and turns."""
    return [client for client in speaking() if client.calls]
