"""What a request builds on at its provider: earlier answers and their items. Only the tenant that created them may, and only where they are.

An id that is not known and one of another tenant's are refused in the same words, which are the provider's own.
"""

from collections.abc import Iterator

import msgspec

from tokenrouter.adapters.base import Dialect
from tokenrouter.errors import InvalidRequest, NotFound, StateNotFound, UnsupportedField
from tokenrouter.model.catalog import Deployment, Target
from tokenrouter.model.chunk import Chunks
from tokenrouter.model.envelope import Envelope, ParamWords
from tokenrouter.recall.ownership import find_all
from tokenrouter.serving.services import Services
from tokenrouter.upstream.lanes import is_native


class Pinned(msgspec.Struct, frozen=True):
    """The account that holds what the request builds on, and how many tokens that may bring into the prompt."""

    deployment: Deployment
    tokens: int


def pinned(envelope: Envelope, chunks: Chunks, params: ParamWords, target: Target, services: Services, *, tenant: str) -> Pinned | None:
    """Where the request has to go; None where it builds on nothing, or goes to a provider that will refuse it by the field's name.

    Raises StateNotFound, NotFound, NotAtHand.
    """
    if not params.state and not chunks.stateful:
        return None
    dialect = services.inbound[envelope.dialect]
    accounts = {account.name: account for account in target.deployments if is_native(account, dialect, services.outbound)}
    if not accounts:
        return None
    found: Deployment | None = None
    tokens = 0
    named = tuple(_named(envelope, chunks, params))
    for (_, refusal), owned in zip(named, find_all(services.owned, tenant, [object_id for object_id, _ in named]), strict=True):
        account = accounts.get(owned.deployment) if owned is not None else None
        if owned is None or account is None or (found is not None and account.name != found.name):
            raise refusal
        found, tokens = account, tokens + owned.tokens
    return None if found is None else Pinned(found, tokens)


def _named(envelope: Envelope, chunks: Chunks, params: ParamWords) -> Iterator[tuple[str, InvalidRequest | NotFound]]:
    """Every id that the request names, with what is said where it is not the tenant's."""
    if params.state:
        yield (
            params.state,
            StateNotFound(f"Previous response with id '{params.state[:100]}' not found.", param="previous_response_id"),
        )
    first, place = len(envelope.system), envelope.grammar.places[1]
    for index, reading in enumerate(chunks.messages):
        if reading.state:
            words = f"Item with id '{reading.state[:100]}' not found: only what this tenant had stored through this gateway can be named."
            yield reading.state, NotFound(words, param=f"{place}[{index - first}]")


def check_hosted(envelope: Envelope, chunks: Chunks, deployment: Deployment, dialect: Dialect, services: Services) -> None:
    """Refuse tools that the provider runs itself and that nobody here can price. Toward others they are not sent at all."""
    if not chunks.stateful or not is_native(deployment, dialect, services.outbound):
        return
    first, (_, at_messages, at_tools) = len(envelope.system), envelope.grammar.places
    places = [(f"{at_tools}[{index}]", "type", reading) for index, reading in enumerate(chunks.tools)]
    places += [(f"{at_messages}[{index - first}]", "tools", reading) for index, reading in enumerate(chunks.messages)]
    for place, member, reading in places:
        if reading.fee < 0:
            what = repr(reading.name[:64]) if member == "type" else "one of its tools"
            raise UnsupportedField(
                f"{place}: {what} is run by the provider at a price that is not known to the gateway; it is not served here yet",
                param=f"{place}.{member}",
            )
