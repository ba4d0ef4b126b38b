"""A clock at the head of a system text, approved to be moved, before the whole gateway and its simulated vendors."""

import json
from typing import Any

import pytest
from rig import CHAT, Response, Rig, call

from tokenrouter.prefixes.relocation import HEADING

RULES = "\n".join(f"Rule {number}: you are the memory of room {number * 7} of a house, and you answer in few words." for number in range(120))
CLOCK = {"id": "c10c4ab8", "kind": "time", "left": "It is ", "right": " now, in the house.\nRule 0"}
PLACE = {"id": "9a7d00f1", "kind": "path", "left": "You work in ", "right": ", where all is kept."}
NOTE = "(see time-c10c4a below)"


def system(turn: int) -> str:
    return f"It is 2026-11-21T0{turn}:15:00Z now, in the house.\n{RULES}\nYou work in /home/ann/{turn}, where all is kept."


async def approve(rig: Rig, *slots: Any) -> None:
    answer = await rig.admin("PATCH", "/admin/tenants/default", {"prompt_cache": {"slots": list(slots)}})
    assert answer.status == 200, answer.body
    await rig.gateway.keys.refresh()


class Talk:
    """A conversation whose system text says another time in each turn. `path`: whose dialect it speaks."""

    def __init__(self, rig: Rig, path: str, model: str, *, key: str | None = None, **headers: str) -> None:
        self.rig, self.path, self.model, self.headers, self.key = rig, path, model, headers, key or rig.key
        self.said: list[Any] = []
        self.more: dict[str, Any] = {}

    def body(self, words: str) -> dict[str, Any]:
        turn = len(self.said) // 2
        match self.path:
            case "/v1/messages":
                self.said.append({"role": "user", "content": words})
                return {"model": self.model, "max_tokens": 50, "system": system(turn), "messages": self.said}
            case "/v1/responses":
                self.said.append({"role": "user", "content": words})
                return {"model": self.model, "instructions": system(turn), "input": self.said, "store": False}
            case "/v1/chat/completions":
                self.said.append({"role": "user", "content": words})
                return {"model": self.model, "messages": [{"role": "system", "content": system(turn)}, *self.said]}
            case _:
                self.said.append({"role": "user", "parts": [{"text": words}]})
                return {"systemInstruction": {"parts": [{"text": system(turn)}]}, "contents": self.said}

    async def turn(self) -> Response:
        words = f"Turn {len(self.said)}. " + "What do you remember of what I have told you, and of the rooms? " * 30
        raw = json.dumps({**self.body(words), **self.more}).encode()
        response = await call(self.rig.app, "POST", self.path, raw, {"x-api-key": self.key, **self.headers})
        assert response.status == 200, response.body
        self.said.append(self.answer(response.json))
        return response

    def answer(self, said: Any) -> Any:
        match self.path:
            case "/v1/messages":
                return {"role": "assistant", "content": said["content"]}
            case "/v1/responses":
                return {"role": "assistant", "content": said["output"][-1]["content"][0]["text"]}
            case "/v1/chat/completions":
                return {"role": "assistant", "content": said["choices"][0]["message"]["content"]}
            case _:
                return said["candidates"][0]["content"]


def sent(rig: Rig) -> Any:
    return json.loads(rig.sandbox.requests.items[-1].body)


async def talked(rig: Rig, path: str, model: str, *, turns: int = 6, **headers: str) -> tuple[list[Response], list[dict[str, Any]], int]:
    """The answers, what the ledger says, and what the vendor billed for input."""
    talk = Talk(rig, path, model, **headers)
    answers = [await talk.turn() for _ in range(turns)]
    rows = rig.billed_rows()[-turns:]
    return answers, rows, sum(row["cost"] for row in rows)


WAYS = {
    "Anthropic, its own words, a system message": ("/v1/messages", "claude-opus-4-8"),
    "Anthropic, its own words, a block of the user's": ("/v1/messages", "claude-sonnet-5"),
    "OpenAI chat, automatic": (CHAT, "gpt-4.1"),
    "OpenAI chat, breakpoints": (CHAT, "gpt-5.6-sol"),
    "OpenAI responses, automatic": ("/v1/responses", "gpt-4.1"),
    "OpenAI responses, breakpoints": ("/v1/responses", "gpt-5.6-sol"),
    "Gemini": ("/v1beta/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro"),
    "DeepSeek": (CHAT, "deepseek-chat"),
    "chat to Anthropic, a system message": (CHAT, "claude-opus-4-8"),
    "chat to Anthropic, a block of the user's": (CHAT, "claude-sonnet-5"),
    "Anthropic to OpenAI": ("/v1/messages", "gpt-4.1"),
    "Anthropic to Gemini": ("/v1/messages", "gemini-2.5-pro"),
    "responses to Anthropic": ("/v1/responses", "claude-sonnet-5"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_conversation_is_read_although_its_system_text_tells_the_time(rig: Rig, way: str):
    path, model = WAYS[way]
    off = {"x-edits-off": "system.split"}
    _, before, dear = await talked(rig, path, model, **off)
    assert [row["cache_read"] for row in before] == [0] * 6, "a clock at the head lets nothing be read"
    rig.reset()
    await approve(rig, CLOCK, PLACE)
    answers, after, cheap = await talked(rig, path, model, **off)
    assert all("volatile.relocate" in answer.headers["x-tokenrouter-edits"] for answer in answers)
    said = json.dumps(sent(rig))
    assert (said.count(NOTE), said.count("2026-11-21T05:15:00Z"), said.count("/home/ann/5"), said.count(HEADING)) == (1, 1, 1, 1)
    assert "2026-11-21T04" not in said
    assert after[-1]["cache_read"] > len(RULES) / 4 + 400, "the system text, and the conversation"
    assert cheap < 0.7 * dear
