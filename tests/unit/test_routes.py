"""Which path speaks which dialect, and what it says of the model."""

import pytest

from tokenrouter.adapters.known import known_dialects
from tokenrouter.api.routes import Routes, outside

ROUTES = Routes(known_dialects())


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash"),
        ("/v1beta/models/bedrock/us.anthropic.claude-v1:0:generateContent", "bedrock/us.anthropic.claude-v1:0"),
        ("/v1beta/models/bedrock%2Fclaude-v1%3A0:generateContent", "bedrock/claude-v1:0"),
        ("/v1beta/models/fireworks/accounts/fireworks/models/llama:generateContent", "fireworks/accounts/fireworks/models/llama"),
        ("/v1beta/ollama/llama3.2:latest:generateContent", "ollama/llama3.2:latest"),
        ("/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash"),
    ],
)
def test_the_model_stands_in_the_path_as_clients_write_it(path: str, model: str):
    route = ROUTES.find(path)
    assert route is not None
    assert route.dialect.dialect == "gemini-generate"
    assert route.said == {":model": model, ":method": "generateContent"}


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/chat/completions/", "/v1beta/models/x:unknown", "/v1beta/:generateContent", "/v1beta/x:generateContent", "/x:y"]
)
def test_other_paths_are_nobodys(path: str):
    assert ROUTES.find(path) is None


def test_a_credential_in_the_query_is_no_part_of_the_question():
    route = ROUTES.find("/v1beta/models/gemini-2.5-flash:streamGenerateContent")
    assert route is not None
    assert outside(route, {}, b"key=secret&alt=sse")[":query"] == "alt=sse"
