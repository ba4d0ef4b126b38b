"""Streams of every pair: read by the official SDKs, cut anywhere, and booked as the vendor bills them."""

import re

import pytest
from asking import post
from clients import conversing
from features import ARGUMENTS, OTHER_ARGUMENTS, OTHER_TOOL, SAID, THINKING, TOOL
from listening import listen
from rig import Rig
from sdk import READERS
from sent import Sent
from speaking import Client, laid
from vendors import ALL, Vendor, offered

from tokenrouter.sandbox import Fault, Scripted, ToolCall

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAIRS = [pytest.param(client, vendor, id=f"{client.name}-{vendor.name}") for client in conversing() for vendor in ALL]
# A vendor's own end, as it stands in its bytes.
ENDS = {
    "openai-chat": rb'"usage":\{.*\n\n',  # not every host sends [DONE]
    "openai-responses": rb'"type":"response\.completed".*\n\n',
    "anthropic-messages": rb'"type":"message_stop"\}',
    "gemini-generate": rb'"finishReason":.*(\n|\r)',
    "bedrock-converse": rb"metadata.*metrics.*\}",
    "ollama-chat": rb'"done":true.*\n',
}
SCRIPT = Scripted(thinking=THINKING, text=SAID, calls=(ToolCall(TOOL, ARGUMENTS.decode()), ToolCall(OTHER_TOOL, OTHER_ARGUMENTS.decode())))
SHORT = Scripted(thinking="Hm.", text="Two words. é", calls=(ToolCall(TOOL, '{"zulu":1}'),))
CUTS = 100
NEAR = 20


def needed(rig: Rig, vendor: Vendor) -> None:
    if vendor not in offered(rig.services.catalog):
        pytest.skip(f"{vendor.name} is not simulated")


@pytest.mark.parametrize(("client", "vendor"), [pair for pair in PAIRS if pair.values[0].name in READERS])
async def test_an_official_sdk_reads_a_stream_as_it_reads_the_whole_answer(rig: Rig, client: Client, vendor: Vendor):
    needed(rig, vendor)
    read = READERS[client.name]
    model = vendor.model("shows")
    both = []
    for stream in (False, True):
        rig.sandbox.script(SCRIPT)
        fields = {"model": model, **laid(client.body(model, stream), client.asks(True))}
        both.append(await read(rig, fields, stream=stream))
        line = rig.sandbox.bill.lines[-1].tokens
        assert both[-1].usage == (line.prompt, line.output)
        row = rig.rows()[-1]
        booked = row["fresh_input"] + row["cache_read"] + row["cache_write"] + row["cache_write_1h"], row["output"]
        assert (booked, row["cache_read"], row["settled"]) == ((line.prompt, line.output), line.cache_read, "exact")
    assert both[0].text == SAID
    assert [name for name, _ in both[0].calls] == [TOOL, OTHER_TOOL]
    assert both[0] == both[1]


@pytest.mark.slow
@pytest.mark.parametrize(("client", "vendor"), PAIRS)
async def test_a_stream_cut_at_any_byte_never_ends_cleanly_and_says_so(rig: Rig, client: Client, vendor: Vendor):
    needed(rig, vendor)
    await cut_up(rig, client, vendor, cuts=1 << 20)


@pytest.mark.parametrize(("client", "vendor"), PAIRS)
async def test_a_stream_cut_here_and_there_never_ends_cleanly_and_says_so(rig: Rig, client: Client, vendor: Vendor):
    needed(rig, vendor)
    await cut_up(rig, client, vendor, cuts=CUTS)


async def cut_up(rig: Rig, client: Client, vendor: Vendor, *, cuts: int) -> None:
    """Cut the vendor's stream at about `cuts` places, and everywhere around its end."""
    ear, model, fields = listen(rig), vendor.model("shows"), client.asks(True)
    rig.sandbox.script(SHORT)
    answer = await post(rig, client, model, fields, stream=True)
    vendors_bytes, full = ear.body, client.stream(answer.body)
    assert full.closed
    wire = Sent(rig.sandbox.requests.items[-1]).wire
    over = re.search(ENDS[wire], vendors_bytes, re.DOTALL)
    assert over is not None, vendors_bytes
    wrong = []
    step = max(1, len(vendors_bytes) // cuts)
    for cut in sorted({*range(0, len(vendors_bytes), step), *range(over.start() - NEAR, min(over.start() + NEAR, len(vendors_bytes)))}):
        rig.sandbox.script(SHORT)
        rig.sandbox.fault(Fault(kind="truncate_bytes", after=cut))
        answer = await post(rig, client, model, fields, stream=True)
        if answer.status != 200:
            assert answer.status == 502
            client.error(answer.body)
            continue
        seen = client.stream(answer.body)
        complete = cut >= over.start() and (seen.text, seen.calls, seen.end, seen.output) == (full.text, full.calls, full.end, full.output)
        if seen.failed is None and not complete:
            wrong.append((cut, "a clean end" if seen.closed else "no error", vendors_bytes[max(0, cut - 60) : cut], answer.body[-200:]))
        if seen.failed is not None and seen.closed:
            wrong.append((cut, "an error and a clean end", vendors_bytes[max(0, cut - 60) : cut], answer.body[-200:]))
        assert full.text.startswith(seen.text)
        assert full.reasoning.startswith(seen.reasoning)
        rig.sandbox.script()
    assert not wrong, f"{len(wrong)} of {len(vendors_bytes)}: {wrong[:3]}"
