"""Which path speaks which dialect. What a path says beside that (model, method) becomes part of `Call.outside`."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

from tokenrouter.adapters.base import Dialect

_PATHS = {
    "/v1/chat/completions": "openai-chat",
    "/v1/responses": "openai-responses",
    "/v1/embeddings": "openai-embeddings",
    "/v1/messages": "anthropic-messages",
    "/v1/messages/count_tokens": "anthropic-count",
    "/v1/chat": "neutral-chat",
    "/api/chat": "ollama-chat",
    "/api/generate": "ollama-generate",
    "/api/embed": "ollama-embed",
    "/api/embeddings": "ollama-embeddings",
}
GEMINI_METHODS = {
    "generateContent": "gemini-generate",
    "streamGenerateContent": "gemini-generate",
    "countTokens": "gemini-count",
    "embedContent": "gemini-embed",
    "batchEmbedContents": "gemini-embed",
}
"""Methods of a model in Google's API, and the dialect of each."""

# A model's name may hold a slash here: vendor/model; some clients (AI SDK) then leave out "models/". Clients of the other edition of this API
# put their project in front.
_MODEL_METHOD = re.compile(
    r"/(?:v1|v1beta|v1beta1|v1alpha)/(?:(?:(?!models/)[^/]*/)*?models/(?P<model>.+)|(?P<named>[^/]+/.+)):(?P<method>[A-Za-z]+)",
    re.DOTALL,  # a name that holds a line end is no model, and is refused as one
)


_CREDENTIALS = frozenset(("key", "access_token", "oauth_token"))
"""Where Google's APIs take a credential in the query: https://cloud.google.com/apis/docs/system-parameters."""


class Route(NamedTuple):
    """A dialect, and what the path said: pseudo-headers `:model` and `:method`."""

    dialect: Dialect
    said: Mapping[str, str]


_NOTHING_SAID: Mapping[str, str] = {}


class Routes:
    """Finds the dialect of a path."""

    def __init__(self, dialects: Mapping[str, Dialect]) -> None:
        self._dialects = dialects
        self._fixed = {path: Route(dialects[name], _NOTHING_SAID) for path, name in _PATHS.items() if name in dialects}

    def find(self, path: str) -> Route | None:
        """The route of `path`; None where no dialect has it."""
        route = self._fixed.get(path)
        if route is not None or ":" not in path:
            return route
        match = _MODEL_METHOD.fullmatch(path)
        dialect = self._dialects.get(GEMINI_METHODS.get(match["method"], "")) if match else None
        if match is None or dialect is None:
            return None
        return Route(dialect, {":model": unquote(match["model"] or match["named"]), ":method": match["method"]})


def outside(route: Route, headers: Mapping[str, str], query: bytes) -> Mapping[str, str]:
    """What belongs to the question and stands outside the body; a credential in the query is left out."""
    wanted = route.dialect.headers
    if not wanted:
        return route.said
    found = {name: headers[name] for name in sorted(wanted) if name in headers}
    if ":query" in wanted and query:
        said = [(name, value) for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if name not in _CREDENTIALS]
        if said:
            found[":query"] = urlencode(said)
    return {**route.said, **found}
