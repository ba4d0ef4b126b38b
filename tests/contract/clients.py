"""The rows' speakers: every client of this suite whose dialect the gateway knows."""

import client_anthropic
import client_openai_chat
from speaking import Client
from vendors import spoken

ALL: tuple[Client, ...] = (client_openai_chat.CLIENT, client_anthropic.CLIENT)


def speaking() -> list[Client]:
    """The clients whose dialect there is."""
    known = spoken()
    return [client for client in ALL if client.name in known]
