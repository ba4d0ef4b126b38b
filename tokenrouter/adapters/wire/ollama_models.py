"""Which models there are, in Ollama's words: `/api/tags`, `/api/show`, `/api/ps`, read and written.

Source: https://docs.ollama.com/api/tags, /api/show, /api/ps; https://github.com/ollama/ollama `api/types.go`, `cmd/cmd.go`.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

import msgspec

from tokenrouter.adapters.wire.reading import count, members, text, unreadable
from tokenrouter.model.catalog import Found

VERSION: Final = "0.40.12"
"""The server whose API is spoken here. Some clients ask for it before they do anything else."""

_MOST = 2_000
_LATEST = ":latest"
_UNKNOWN_TIME: Final = "1970-01-01T00:00:00Z"


class _Models(msgspec.Struct):
    models: list[msgspec.Raw] | None


_models = msgspec.json.Decoder(_Models)
_row = msgspec.json.Decoder(dict[str, object])


def read_rows(body: bytes) -> list[Mapping[str, object]]:
    """The rows of `/api/tags` or `/api/ps` that name a model.

    Raises:
        UpstreamFailed: it is something else.
    """
    try:
        rows = [_row.decode(raw) for raw in (_models.decode(body).models or ())[:_MOST]]
    except (ValueError, RecursionError) as error:
        raise unreadable(body, "a list of models", error) from error
    return [row for row in rows if name_of(row)]


def name_of(row: Mapping[str, object]) -> str:
    """The model that a row is about; servers before 0.1.30 only send `name`."""
    return text(row.get("model")) or text(row.get("name"))


def aliases(name: str) -> tuple[str, ...]:
    """Without a tag a name means `latest`."""
    return (name.removesuffix(_LATEST),) if name.endswith(_LATEST) and name != _LATEST else ()


def read_tags(body: bytes) -> tuple[Found, ...]:
    """The models of `/api/tags`. Raises UpstreamFailed."""
    return tuple([Found(name=name_of(row), aliases=aliases(name_of(row)), digest=text(row.get("digest")), row=row) for row in read_rows(body)])


def read_show(found: Found, body: bytes) -> Found:
    """What `/api/show` adds. Raises UpstreamFailed."""
    try:
        told = _row.decode(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(body, "a description of a model", error) from error
    capabilities = told.get("capabilities")
    facts = members(told.get("model_info"))
    contexts = [count(value) or 0 for name, value in facts.items() if name.endswith(".context_length")]
    return msgspec.structs.replace(
        found,
        capabilities=tuple([word for word in capabilities if isinstance(word, str)]) if isinstance(capabilities, list) else (),
        context=max(contexts, default=0),
    )


def write_models(rows: Iterable[Mapping[str, object]]) -> bytes:
    """The body of `/api/tags` and `/api/ps`."""
    return msgspec.json.encode({"models": list(rows)})


def renamed(row: Mapping[str, object], name: str) -> Mapping[str, object]:
    """A row under another name."""
    return {**row, "name": name, "model": name}


def write_tag(vendor: str, name: str) -> Mapping[str, object]:
    """The row of a model that another vendor serves, under `name`. Its size is nobody's here, and when it was changed is not known.

    The digest is of the name: the command line cuts off its first twelve characters without looking.
    """
    return {
        "name": name,
        "model": name,
        "remote_model": name,
        "remote_host": vendor,
        "modified_at": _UNKNOWN_TIME,
        "size": 0,
        "digest": sha256(f"{vendor}/{name}".encode()).hexdigest(),
        "details": _details(vendor),
    }


def write_show(vendor: str, name: str, capabilities: list[str]) -> bytes:
    """The body of `/api/show` for such a model."""
    return msgspec.json.encode(
        {
            "license": "",
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": _details(vendor),
            "model_info": {"general.architecture": vendor, "general.basename": name},
            "capabilities": capabilities,
            "remote_model": name,
            "remote_host": vendor,
            "modified_at": _UNKNOWN_TIME,
        }
    )


def _details(vendor: str) -> Mapping[str, object]:
    return {"parent_model": "", "format": "", "family": vendor, "families": [vendor], "parameter_size": "", "quantization_level": ""}
