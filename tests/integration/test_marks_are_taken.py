"""Whatever clients send, no simulated vendor ever refuses a mark of ours: the whole gateway, every kind of limits in the catalog."""

import asyncio
import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig import Rig, running
from support import catalog

MARKS = (
    ("cache_control", {"type": "ephemeral"}),
    ("cache_control", {"type": "ephemeral", "ttl": "1h"}),
    ("prompt_cache_breakpoint", {"mode": "explicit"}),
)
TEXTS = st.sampled_from(("hi", "word " * 400, "word " * 1_700, "other " * 3_000))


@st.composite
def marked_requests(draw: st.DrawFn) -> dict[str, Any]:
    """Conversations of any form, with marks of the client's at random places."""

    def content() -> Any:
        texts = draw(st.lists(TEXTS, min_size=1, max_size=4))
        return texts[0] if len(texts) == 1 and draw(st.booleans()) else [{"type": "text", "text": text} for text in texts]

    messages: list[dict[str, Any]] = [{"role": "system", "content": content()} for _ in range(draw(st.integers(0, 2)))]
    for _ in range(draw(st.integers(0, 12))):
        messages += [{"role": "user", "content": content()}, {"role": "assistant", "content": content()}]
    messages.append({"role": "user", "content": content()})
    names = draw(st.lists(st.sampled_from(("ask", "look", "walk", "zip")), unique=True, max_size=4))
    tools = [{"type": "function", "function": {"name": name, "description": draw(TEXTS), "parameters": {"type": "object"}}} for name in names]
    places = [*messages, *tools, *[part for message in messages if isinstance(message["content"], list) for part in message["content"]]]
    for place in draw(st.lists(st.sampled_from(places), max_size=4)):
        name, mark = draw(st.sampled_from(MARKS))
        place[name] = mark
    return {"messages": messages, "max_tokens": 64, **({"tools": tools} if tools else {})}


_TURNS = ("Go on.", "word " * 1_500)


def models() -> list[str]:
    """One of each kind of limits that a simulated vendor has."""
    found: dict[Any, str] = {}
    for vendor, name in catalog().listed():
        target = catalog().resolve(f"{vendor}/{name}")
        if target.deployments[0].sandbox and target.model.cache.style in ("marks", "breakpoints"):
            found.setdefault((vendor, target.model.cache, target.model.bound_reasoning), f"{vendor}/{name}")
    return sorted(found.values())


@pytest.mark.parametrize("model", models())
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(requests=st.lists(marked_requests(), min_size=6, max_size=6))
def test_no_mark_of_ours_is_ever_refused(model: str, requests: list[dict[str, Any]]):
    asyncio.run(_all_taken(model, requests))


async def _all_taken(model: str, requests: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder)) as rig:
            for number, request in enumerate(requests):
                body = {**copy.deepcopy(request), "model": model, "stream": False}
                for words in _TURNS[: 1 + number % 2]:
                    await _taken(rig, body)
                    body = {**body, "messages": [*body["messages"], {"role": "assistant", "content": "Well."}, {"role": "user", "content": words}]}


async def _taken(rig: Rig, body: dict[str, Any]) -> None:
    answer = await rig.chat(body)
    if answer.status == 400:
        plain = await rig.chat(body, headers={"x-edits-off": "all"})
        assert plain.status == 400, (answer.body, json.dumps(body)[:2_000])
