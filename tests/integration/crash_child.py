"""Gateways that kill themselves with SIGKILL, each at a point of a call: `python crash_child.py FOLDER`.

One process of its own for every point and form, over FOLDER/NUMBER; the vendor's bill as far as it went, and the key, are written to
FOLDER/NUMBER.json before it dies. Forked from one process that has imported everything and started nothing.
"""

import asyncio
import json
import os
import signal
import sys
from functools import wraps
from itertools import product
from pathlib import Path

from rig import Rig, question, running

from tokenrouter.sandbox.faults import Fault
from tokenrouter.storage.sqlite import Writer

POINTS = (
    "before the intent",
    "after the intent",
    "while the provider thinks",
    "in the middle",
    "after the last byte",
    "after the journal has the settlement",
    "after the commit",
)
FORMS = ("whole", "stream")


def die(rig: Rig) -> None:
    said = json.dumps({"key": rig.key, "bill": rig.sandbox.bill.nano_usd})
    rig.folder.with_suffix(".json").write_text(said)
    os.kill(os.getpid(), signal.SIGKILL)


def dying(rig: Rig, owner: object, name: str, *, after: bool, only=lambda *_: True) -> None:
    """Put the end before or after a method."""
    real = getattr(owner, name)

    @wraps(real)
    def method(*arguments, **named):
        if not only(*arguments):
            return real(*arguments, **named)
        if not after:
            die(rig)
        result = real(*arguments, **named)
        die(rig)
        return result

    setattr(owner, name, method)


async def main(folder: Path, point: str, form: str) -> None:
    async with running(folder) as rig:
        await rig.chat(question("an earlier call, booked for good"))
        assert rig.ledger.writer.flush()
        ledger, journal, body = rig.ledger, rig.ledger._journal, question("Answer in 300 words", stream=form == "stream")
        match point:
            case "before the intent":
                dying(rig, journal, "intend", after=False)
            case "after the intent":
                dying(rig, journal, "intend", after=True)
            case "after the last byte":
                dying(rig, journal, "settle", after=False)
            case "after the journal has the settlement":
                Writer._commit = lambda *_: False  # the group commit never comes
                dying(rig, journal, "settle", after=True)
            case "after the commit":
                dying(rig, journal, "committed", after=False)
            case "while the provider thinks" | "in the middle":
                rig.sandbox.fault(Fault(kind="stall_start" if point.startswith("while") else "stall", after=20))
                waiting = asyncio.create_task(rig.chat(body))
                await rig.sandbox.stalling(1)
                await asyncio.sleep(0)
                rig.clock.advance(1)
                die(rig)
                await waiting
        assert ledger
        await rig.chat(body)
        await asyncio.sleep(5)  # the writer's thread ends this process


if __name__ == "__main__":
    for number, (point, form) in enumerate(product(POINTS, FORMS)):
        child = os.fork()
        if not child:
            asyncio.run(main(Path(sys.argv[1]) / str(number), point, form))
            os._exit(1)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status), (point, form, status)
        assert os.WTERMSIG(status) == signal.SIGKILL, (point, form, status)
