"""What current Claude clients send: betas, Anthropic's own tools, citations, hidden thinking, the list of models."""

from typing import Any

import pytest

from tokenrouter.sandbox import Scripted, ToolCall
from tokenrouter.sandbox.anthropic_engine import REDACTED

USER = {"role": "user", "content": "hi"}
SEARCH = {"type": "web_search_20260209", "name": "web_search", "max_uses": 3}
DOCUMENT = {
    "type": "document",
    "title": "notes",
    "source": {"type": "text", "media_type": "text/plain", "data": "The sky is blue. The grass is green. The sea is deep."},
    "citations": {"enabled": True},
}


def ask(messages: Any = None, model: str = "claude-opus-4-8", **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 300, "messages": messages or [USER], **more}


@pytest.fixture
def client(app: Any) -> Any:
    anthropic, transport = pytest.importorskip("anthropic"), pytest.importorskip("httpx2")
    http = transport.AsyncClient(transport=transport.ASGITransport(app))
    return anthropic.AsyncAnthropic(api_key="k", base_url="http://sandbox/anthropic", http_client=http, max_retries=0)


async def both(resource: Any, **body: Any) -> Any:
    """The same question whole and streamed: the same answer."""
    whole = await resource.create(**body)
    async with resource.stream(**body) as stream:
        final = await stream.get_final_message()
    clean = [{key: value for key, value in block.to_dict().items() if key != "parsed_output"} for block in final.content]
    assert clean == [block.to_dict() for block in whole.content]
    assert final.stop_reason == whole.stop_reason
    assert final.usage == whole.usage
    return whole


async def test_beta_fields_want_a_beta(client, call):
    more = {
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "mcp_servers": [{"type": "url", "url": "https://mcp.example", "name": "m"}],
        "tools": [{"type": "mcp_toolset", "mcp_server_name": "m"}],
    }
    answer = await client.beta.messages.create(**ask(**more), betas=["context-management-2025-06-27", "mcp-client-2025-11-20"])
    assert answer.stop_reason == "end_turn"
    refused = await call.claude(ask(**more))
    assert (refused.status, "Extra inputs are not permitted" in refused.message) == (400, True)
    assert (await call.post("/anthropic/v1/messages?beta=true", ask(), headers={"anthropic-version": "2023-06-01"})).status == 200


async def test_the_parameters_of_today_are_taken_together(client):
    answer = await both(
        client.messages,
        **ask(
            model="claude-opus-5",
            cache_control={"type": "ephemeral"},
            container="c1",
            metadata={"user_id": "u"},
            service_tier="auto",
            thinking={"type": "adaptive"},
            output_config={"effort": "medium"},
            tools=[SEARCH, {"type": "code_execution_20260521", "name": "code_execution"}, {"type": "computer_toolset_20260801"}],
        ),
    )
    assert [block.type for block in answer.content] == ["thinking", "text"]


@pytest.mark.parametrize("kind", ["adaptive", "enabled", "disabled"])
async def test_kinds_of_thinking(client, kind):
    config: dict[str, Any] = {"type": kind} | ({"budget_tokens": 1024} if kind == "enabled" else {})
    answer = await both(client.messages, **ask(thinking=config, max_tokens=2000))
    assert ("thinking" in [block.type for block in answer.content]) == (kind != "disabled")


async def test_hidden_thinking_keeps_its_signature_and_is_good_again(client, call):
    config = {"type": "adaptive", "display": "omitted"}
    answer = await both(client.messages, **ask(thinking=config))
    assert answer.content[0].thinking == ""
    assert answer.usage.output_tokens_details.thinking_tokens > 0
    history = [USER, {"role": "assistant", "content": [block.to_dict() for block in answer.content]}, USER]
    assert (await call.claude(ask(history, thinking=config))).status == 200
    assert (await call.claude(ask(thinking={"type": "adaptive", "display": "none"}))).status == 400


async def test_redacted_thinking(client, call):
    question = {"role": "user", "content": REDACTED}
    answer = await both(client.messages, **ask([question], thinking={"type": "adaptive"}))
    assert [block.type for block in answer.content] == ["redacted_thinking", "text"]
    history = [question, {"role": "assistant", "content": [block.to_dict() for block in answer.content]}, USER]
    assert (await call.claude(ask(history))).status == 200
    history[1]["content"][0]["data"] = "c29tZW9uZQ=="
    assert (await call.claude(ask(history))).status == 400


async def test_anthropics_tools_are_never_called_unless_scripted(app, client):
    question = [{"role": "user", "content": "use web_search"}]
    assert (await client.messages.create(**ask(question, tools=[SEARCH]))).stop_reason == "end_turn"
    scripted = Scripted(vendor="anthropic", text="found nothing", calls=(ToolCall("web_search", '{"query": "sky"}'),))
    app.script(scripted, scripted)
    answer = await both(client.messages, **ask(question, tools=[SEARCH]))
    assert [block.type for block in answer.content] == ["server_tool_use", "web_search_tool_result", "text"]
    assert answer.content[0].id == answer.content[1].tool_use_id
    assert (answer.stop_reason, answer.usage.server_tool_use.web_search_requests) == ("end_turn", 1)
    history = [*question, {"role": "assistant", "content": [block.to_dict() for block in answer.content]}, USER]
    assert (await client.messages.create(**ask(history, tools=[SEARCH]))).stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ({"type": "web_search_20260209", "name": "search"}, "Input should be 'web_search'"),
        ({"type": "web_search_20260209"}, "name: Field required"),
        ({"type": "teleport_20260101", "name": "teleport"}, "does not match any of the expected tags"),
        ({"type": "mcp_toolset"}, "mcp_server_name: Field required"),
        ({"type": 5, "name": "x"}, "type: Input should be a valid string"),
    ],
)
async def test_tools_that_nobody_knows_are_refused(call, tool, words):
    response = await call.claude(ask(tools=[tool]))
    assert response.status == 400
    assert words in response.message


async def test_citations_point_into_the_document(client, call):
    asked = [{"role": "user", "content": [{"type": "text", "text": "what?"}, {**DOCUMENT, "citations": None}, DOCUMENT]}]
    answer = await both(client.messages, **ask(asked))
    (citation,) = answer.content[0].citations
    assert (citation.type, citation.document_index, citation.document_title) == ("char_location", 1, "notes")
    assert DOCUMENT["source"]["data"][citation.start_char_index : citation.end_char_index] == citation.cited_text
    wanted = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert (await call.claude(ask(asked, output_config=wanted))).status == 400


async def test_search_results(client, call):
    result = {"type": "search_result", "source": "https://example", "title": "t", "content": [{"type": "text", "text": "c"}]}
    answer = await client.messages.create(
        **ask([{"role": "user", "content": [{**result, "citations": {"enabled": True}}, {"type": "text", "text": "?"}]}])
    )
    assert answer.stop_reason == "end_turn"
    for change in ({"title": None}, {"content": []}, {"content": [{"type": "image"}]}):
        assert (await call.claude(ask([{"role": "user", "content": [{**result, **change}]}]))).status == 400


async def test_models_are_listed_in_pages(client):
    names = [model.id async for model in client.models.list(limit=3)]
    assert len(names) == len(set(names)) > 10
    assert (await client.models.retrieve("claude-sonnet-4-5-20250929")).max_input_tokens > 0
    with pytest.raises(Exception, match="claude-nope"):
        await client.models.retrieve("claude-nope")
