"""Whatever a client sends, it gets an answer or an error in the vendor's shape, never a crash; and every model has a price."""

import copy
import json
import random
from typing import Any

import pytest

from tokenrouter.sandbox import PRICES, anthropic_models, deepseek, embeddings, gemini, openai_models

JUNK: list[Any] = [None, True, 0, -1, 1.5, 10**30, "", "x", [], [[]], {}, {"type": "text"}, ["a"], [{"role": "user"}], {"type": "ephemeral"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#"}}, "b": {"anyOf": [{"type": "null"}]}}, "required": ["a"]}
CHAT_TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
CHAT = {
    "model": "gpt-6-sol",
    "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}]},
        {"role": "user", "content": [{"type": "text", "text": "call f"}, {"type": "image_url", "image_url": {"url": "u"}}], "name": "n"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "r"}]},
    ],
    "tools": [CHAT_TOOL],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
    "prompt_cache_options": {"mode": "implicit", "ttl": "30m"},
    "stream_options": {"include_usage": True},
    "stream": True,
    "stop": ["a"],
    "n": 2,
    "max_completion_tokens": 50,
}
MARK = {"type": "ephemeral", "ttl": "5m"}
MESSAGES = {
    "model": "claude-opus-5",
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "s", "cache_control": MARK}],
    "tools": [{"name": "f", "input_schema": SCHEMA, "cache_control": MARK}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
    "stop_sequences": ["x"],
    "stream": True,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "use f"},
                {"type": "document", "source": {"type": "text", "data": "d"}, "citations": {"enabled": False}},
            ],
        },
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "text", "text": "r", "cache_control": MARK}, {"type": "image", "source": {}}],
                }
            ],
        },
        {"role": "system", "content": "now"},
    ],
}
GENERATE = {
    "systemInstruction": {"parts": [{"text": "s"}]},
    "tools": [{"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    "generationConfig": {
        "maxOutputTokens": 50,
        "stopSequences": ["q"],
        "responseSchema": SCHEMA,
        "responseMimeType": "application/json",
        "thinkingConfig": {"includeThoughts": True},
    },
    "contents": [
        {"role": "user", "parts": [{"text": "use f"}, {"inlineData": {"mimeType": "image/png", "data": "AA"}}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "skip_thought_signature_validator"}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
    ],
}
GEMINI_CHAT = {**CHAT, "model": "gemini-2.5-flash"}
RESPONSES = {
    "model": "gpt-6-sol",
    "instructions": "be brief",
    "input": [
        {"role": "developer", "content": [{"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}]},
        {"role": "user", "content": [{"type": "input_text", "text": "call f as json"}, {"type": "input_image", "image_url": "u", "detail": "low"}]},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "y"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "caller": {"type": "direct"}},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file", "file_data": "d"}]},
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "custom", "name": "g", "format": {"type": "text"}}]},
        {"type": "shell_call", "call_id": "s", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "call_id": "s", "output": []},
    ],
    "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}, {"type": "mcp", "server_label": "m", "require_approval": {"never": {}}}],
    "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
    "text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "detailed", "context": "all_turns"},
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_options": {"mode": "implicit", "ttl": "12h"},
    "metadata": {"a": "b"},
    "stream_options": {"include_obfuscation": True},
    "stream": True,
    "max_output_tokens": 50,
}
CASES = {
    "responses": ("/openai/v1/responses", RESPONSES),
    "embeddings": ("/openai/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 8, "encoding_format": "float"}),
    "openai": ("/openai/v1/chat/completions", CHAT),
    "automatic": ("/openai/v1/chat/completions", {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}], "tools": [CHAT_TOOL]}),
    "anthropic": ("/anthropic/v1/messages", MESSAGES),
    "deepseek": (
        "/deepseek/chat/completions",
        {
            **CHAT,
            "model": "deepseek-reasoner",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "call f"}]}, *CHAT["messages"][2:]],
            "response_format": {"type": "json_object"},
        },
    ),
    "gemini": ("/gemini/v1beta/models/gemini-3.6-flash:streamGenerateContent?alt=sse", GENERATE),
    "compatible": ("/gemini/v1beta/openai/chat/completions", GEMINI_CHAT),
    "echo": (
        "/echo/v1/chat/completions",
        {"model": "echo", "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}], "n": 1, "stream": True},
    ),
}


def places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += [(value, key), *places(inner)]
    return found


@pytest.mark.parametrize("case", CASES)
async def test_the_base_request_is_fine_and_its_mutants_do_not_crash(app, call, case):
    path, body = CASES[case]
    headers = {"anthropic-version": "2023-06-01"}
    base = await call.post(path, body, headers=headers)
    assert base.status == 200, base.body
    rng = random.Random(case)
    for _ in range(400):
        mutant = copy.deepcopy(body)
        for _ in range(rng.randint(1, 2)):
            holder, key = rng.choice(places(mutant))
            if rng.random() < 0.3:
                del holder[key]
            else:
                holder[key] = copy.deepcopy(rng.choice(JUNK))
            if not places(mutant):
                break
        response = await call.post(path, mutant, headers=headers)
        assert response.status == 200 or 400 <= response.status < 500, (mutant, response.body)
        if response.status != 200:
            assert response.message


async def test_deep_nesting_is_refused(call):
    schema: Any = {"type": "object"}
    for _ in range(400):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    for path in ("/openai/v1/chat/completions", "/deepseek/chat/completions"):
        model = "gpt-4.1" if "openai" in path else "deepseek-chat"
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "x"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
        }
        response = await call.post(path, json.dumps(body).encode())
        assert response.status in (200, 400)


def test_every_model_has_a_price():
    models = {*openai_models.MODELS, *embeddings.MODELS, *anthropic_models.MODELS, *deepseek.MODELS, *gemini.MODELS, "echo"}
    assert models <= PRICES.keys()
