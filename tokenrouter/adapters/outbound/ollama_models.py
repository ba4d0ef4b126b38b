"""An Ollama server is asked which models were pulled."""

import msgspec

from tokenrouter.adapters.wire.ollama_models import read_show, read_tags
from tokenrouter.model.catalog import Found


class OllamaModels:
    """See `ModelLister`."""

    wire = "ollama-chat"
    list_path = "/api/tags"
    show_path = "/api/show"

    def read_list(self, body: bytes) -> tuple[Found, ...]:
        """See `ModelLister`."""
        return read_tags(body)

    def show_request(self, name: str) -> bytes:
        """See `ModelLister`."""
        return msgspec.json.encode({"model": name})

    def with_facts(self, found: Found, body: bytes) -> Found:
        """See `ModelLister`."""
        return read_show(found, body)
