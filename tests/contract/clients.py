"""The rows' speakers: every client of this suite whose dialect the gateway knows."""

import client_anthropic
import client_gemini
import client_ollama
import client_openai_chat
import client_responses
from speaking import Client
from vendors import spoken

ALL: tuple[Client, ...] = (client_openai_chat.CLIENT, client_responses.CLIENT, client_anthropic.CLIENT, client_gemini.CLIENT, client_ollama.CLIENT)


def speaking() -> list[Client]:
    """The clients whose dialect there is."""
    known = spoken()
    return [client for client in ALL if client.name in known]
