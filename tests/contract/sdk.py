"""Answers as the official SDKs read them: whole, and put together from a stream by the SDK's own accumulator where it has one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx
import httpx2
import ollama
import openai
from google import genai
from google.genai import types
from openai.lib.streaming.chat import ChatCompletionStreamState
from rig import Rig
from speaking import Json, encode

HEADERS = {"x-cache": "off", "x-dedup": "off"}


@dataclass
class Read:
    """An answer as far as two ways to get it must agree."""

    text: str
    reasoning: str
    signatures: list[str]
    calls: list[tuple[str, Json]]
    end: str
    usage: tuple[int, int]


def _plain(fields: Mapping[str, Json]) -> dict[str, Any]:
    return json.loads(encode(fields))


def _http(rig: Rig) -> Any:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(rig.app))


def _openai(rig: Rig) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=rig.key, base_url="http://gateway/v1", http_client=_http(rig), max_retries=0, default_headers=HEADERS)


async def chat(rig: Rig, fields: Mapping[str, Json], *, stream: bool) -> Read:
    client = _openai(rig)
    if stream:
        state = ChatCompletionStreamState()
        async for chunk in await client.chat.completions.create(**_plain(fields), extra_body=None):
            state.handle_chunk(chunk)
        said = state.get_final_completion()
    else:
        said = await client.chat.completions.create(**_plain(fields))
    message = said.choices[0].message
    details = (message.model_extra or {}).get("reasoning_details") or []
    return Read(
        message.content or "",
        (message.model_extra or {}).get("reasoning_content") or "",
        [detail.get("signature") or detail.get("data") or "" for detail in details],
        [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()],
        said.choices[0].finish_reason,
        (said.usage.prompt_tokens, said.usage.completion_tokens),
    )


async def responses(rig: Rig, fields: Mapping[str, Json], *, stream: bool) -> Read:
    client = _openai(rig)
    if stream:
        asked = {name: value for name, value in _plain(fields).items() if name != "stream"}
        async with client.responses.stream(**asked) as events:
            async for _ in events:
                pass
            said: Any = await events.get_final_response()
    else:
        said = await client.responses.create(**_plain(fields))
    thoughts = [item for item in said.output if item.type == "reasoning"]
    calls = [item for item in said.output if item.type == "function_call"]
    return Read(
        said.output_text,
        "".join(part.text for item in thoughts for part in [*item.summary, *(item.content or ())]),
        [item.encrypted_content or "" for item in thoughts],
        [(item.name, json.loads(item.arguments)) for item in calls],
        said.status,
        (said.usage.input_tokens, said.usage.output_tokens),
    )


async def messages(rig: Rig, fields: Mapping[str, Json], *, stream: bool) -> Read:
    client = anthropic.AsyncAnthropic(api_key=rig.key, base_url="http://gateway", http_client=_http(rig), max_retries=0, default_headers=HEADERS)
    asked = {name: value for name, value in _plain(fields).items() if name != "stream"}
    if stream:
        async with client.messages.stream(**asked) as events:
            said: Any = await events.get_final_message()
    else:
        said = await client.messages.create(**asked)
    usage = said.usage
    return Read(
        "".join(block.text for block in said.content if block.type == "text"),
        "".join(block.thinking for block in said.content if block.type == "thinking"),
        [block.signature for block in said.content if block.type == "thinking"],
        [(block.name, block.input) for block in said.content if block.type == "tool_use"],
        said.stop_reason,
        (usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0), usage.output_tokens),
    )


async def generate(rig: Rig, fields: Mapping[str, Json], *, stream: bool) -> Read:
    """google-genai writes its requests itself; the fields go in as its own types."""
    options = types.HttpOptions(base_url="http://gateway", httpx_async_client=_http(rig), headers=HEADERS)
    models = genai.Client(api_key=rig.key, http_options=options).aio.models
    asked = _plain(fields)
    config = {**asked.get("generationConfig", {}), "tools": asked.get("tools")}
    call = {"model": asked["model"], "contents": asked["contents"], "config": config}
    found = [chunk async for chunk in await models.generate_content_stream(**call)] if stream else [await models.generate_content(**call)]
    parts = [part for chunk in found for candidate in chunk.candidates or () for part in (candidate.content and candidate.content.parts) or ()]
    ends = [candidate.finish_reason for chunk in found for candidate in chunk.candidates or () if candidate.finish_reason]
    usage = [chunk.usage_metadata for chunk in found if chunk.usage_metadata][-1]
    return Read(
        "".join(part.text for part in parts if part.text and not part.thought),
        "".join(part.text for part in parts if part.text and part.thought),
        [str(part.thought_signature) for part in parts if part.thought_signature],
        [(part.function_call.name, part.function_call.args) for part in parts if part.function_call],
        str(ends),
        (usage.prompt_token_count, (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)),
    )


async def ollama_chat(rig: Rig, fields: Mapping[str, Json], *, stream: bool) -> Read:
    headers = {**HEADERS, "authorization": f"Bearer {rig.key}"}
    client = ollama.AsyncClient("http://gateway", transport=httpx.ASGITransport(rig.app), headers=headers)
    asked = {name: value for name, value in _plain(fields).items() if name != "stream"}
    found = [chunk async for chunk in await client.chat(**asked, stream=True)] if stream else [await client.chat(**asked)]
    return Read(
        "".join(chunk.message.content or "" for chunk in found),
        "".join(chunk.message.thinking or "" for chunk in found),
        [],
        [(call.function.name, call.function.arguments) for chunk in found for call in chunk.message.tool_calls or ()],
        found[-1].done_reason,
        (found[-1].prompt_eval_count, found[-1].eval_count),
    )


READERS = {
    "openai-chat": chat,
    "openai-responses": responses,
    "anthropic-messages": messages,
    "gemini-generate": generate,
    "ollama-chat": ollama_chat,
}
