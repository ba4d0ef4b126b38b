"""Measures one cell of the matrix."""

from answering import ANSWERS
from asking import Lost, Outcome, asked
from features import Feature
from rig import Rig
from speaking import Client
from vendors import Vendor


async def measure(rig: Rig, client: Client, vendor: Vendor, feature: Feature) -> Outcome:
    """One cell, of a whole answer and of a stream, which must come to the same. Raises Lost."""
    if feature.kind == "answer":
        return await ANSWERS[feature.id](rig, client, vendor, feature)
    said = client.says.get(feature.id)
    if said is None:
        return Outcome("–")
    whole, streamed = [await asked(rig, client, vendor, feature, said, stream=stream) for stream in (False, True)]
    if whole != streamed:
        raise Lost(f"whole: {whole}, streamed: {streamed}")
    return whole
