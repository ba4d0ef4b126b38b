"""Measures one cell of the matrix."""

from zlib import crc32

from answering import ANSWERS
from asking import Outcome, asked
from features import Feature
from rig import Rig
from speaking import Client
from vendors import Vendor


async def measure(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    """One cell. Raises Lost. Answers are looked at whole and as a stream; what is only asked for, as one of the two."""
    if feature.kind == "answer":
        return await ANSWERS[feature.id](rig, client, vendor, feature)
    said = client.says.get(feature.id)
    if said is None:
        return Outcome("–")
    stream = bool(crc32(f"{client.name} {vendor.name} {feature.id}".encode()) & 1)
    return await asked(rig, client, vendor, feature, said, stream=stream)
