"""Two tenants, the same questions, together and one after the other: nobody ever gets the other's answer, bytes or figures."""

import asyncio
import itertools
import json
import random

import pytest
from rig import Rig, question

ID = "x-tokenrouter-request-id"
FORMS = ({}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}})


def origin(answer) -> str:
    """The id that the vendor gave to the answer: another call, another id."""
    return answer.json["id"] if not answer.body.startswith(b"data:") else answer.events[0]["id"]


@pytest.mark.parametrize("mode", [{}, {"x-cache": "all", "x-dedup": "all"}, {"idempotency-key": "one"}])
@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-5"])
async def test_identical_questions_of_two_tenants_have_answers_of_their_own(rig: Rig, model: str, mode: dict):
    once = mode.get("idempotency-key")
    keys = {tenant: [rig.new_key(tenant), rig.new_key(tenant)] for tenant in ("acme", "evil")}
    owner: dict[str, str] = {}
    rng = random.Random(3)
    for wave, form in itertools.product(range(4), FORMS):
        wanted = [rng.choice(["acme", "evil"]) for _ in range(24)]
        body = question(f"question {wave}", model=model, **form)
        mode = {**mode, "idempotency-key": f"{once}-{wave}"} if once else mode
        answers = await asyncio.gather(*(rig.chat(body, key=rng.choice(keys[tenant]), headers=mode) for tenant in wanted))
        for tenant, answer in zip(wanted, answers, strict=True):
            assert answer.status == 200
            assert owner.setdefault(origin(answer), tenant) == tenant
            assert rig.services.recorder.find(answer.headers[ID], tenant) is not None
    assert set(owner.values()) == {"acme", "evil"}
    assert len(owner) <= rig.sandbox.requests.seen


async def test_tenants_with_names_that_run_together_stay_apart(rig: Rig):
    names = ["a", "aa", "a.a", "a-a", "A", "default", "default.", "0", "00"]
    seen = [origin(await rig.chat(key=rig.new_key(name))) for name in names]
    assert len(set(seen)) == len(names)


async def test_one_tenants_spending_and_limits_are_not_anothers(rig: Rig):
    mine, other = rig.new_key("acme", rpm=1), rig.new_key("evil", rpm=1)
    assert (await rig.chat(key=mine)).status == 200
    assert (await rig.chat(key=mine)).status == 429
    assert (await rig.chat(key=other)).status == 200
    assert rig.spent(mine) == rig.spent(other) > 0


async def test_a_provider_tells_tenants_apart_by_the_affinity_it_is_given(rig: Rig):
    system = {"role": "system", "content": "shared rules " * 500}
    for tenant in ("acme", "evil", "acme"):
        await rig.chat(question(messages=[system, {"role": "user", "content": tenant}], temperature=None), key=rig.new_key(tenant))
    fields = [json.loads(sent.body)["prompt_cache_key"] for sent in rig.sandbox.requests.items]
    assert fields[0] == fields[2] != fields[1]
    assert "acme" not in "".join(fields)
