"""Who serves which model: values that the catalog's data files are compiled to."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from tokenrouter.model.cache_plan import PromptCacheLimits


class Secret:
    """A credential that does not print itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The credential itself: for the outgoing header only."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret(***)" if self._value else "Secret(unset)"


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """What one model of one vendor can do.

    name              as the vendor spells it
    image_tokens      what one picture may cost at most
    max_output        tokens; sent where a wire demands a limit and the client gave none, and held where nobody gave one
    reasoning         how reasoning is asked for: "none", "effort" (a word), "budget" (a token count), "adaptive" (a word, thinking on)
    efforts           the words of effort that it takes where the wire asks for a word
    mid_system        takes system messages in the middle of a conversation
    sampling          takes temperature and top_p
    bound_reasoning   replayed reasoning is bound to the exact prompt before it
    """

    name: str
    vendor: str
    cache: PromptCacheLimits = PromptCacheLimits()
    image_tokens: int = 6_000
    max_output: int = 32_768
    reasoning: Literal["none", "effort", "budget", "adaptive"] = "none"
    efforts: tuple[str, ...] = ("low", "medium", "high")
    mid_system: bool = True
    sampling: bool = True
    bound_reasoning: bool = False


class Endpoint(msgspec.Struct, frozen=True):
    """One wire that a host speaks, and where. `base_url` without a trailing slash; the adapter adds its paths.

    native_only  nothing is translated to it: the host passes over fields of this wire in silence
    """

    wire: str
    base_url: str
    native_only: bool = False


AuthStyle = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "aws", "google", "none"]
"""How a credential is presented: in one of four headers, by AWS Signature 4, by a Google access token, or not at all."""


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One account at one host.

    endpoints       what it speaks; requests that have to be translated go to the first that can do what is asked for
    affinity_field  body field that keeps requests together ("" where there is none)
    affinity_header the same as a header, where the host wants it there
    mark_field      how a cache mark is spelled on this wire's content parts ("" where marks must not be sent)
    keeps_volatile  ids of known volatile lines that this upstream handles itself
    diagnoses       it says why a prompt could not be reused, when it is asked in the words of its wire
    credential      variables that a credential is made of where it is not one key: keys to sign with, the place of a key file, a region
    quirks          what it takes beyond or short of its wire's common ground; vendors.toml lists the words
    auto_tier       tier of service in which it answers requests that ask for none; "" is the standard one
    sandbox         simulated: no money flows
    """

    name: str
    vendor: str
    endpoints: tuple[Endpoint, ...]
    api_key: Secret
    auth: AuthStyle = "bearer"
    affinity_field: str = ""
    affinity_header: str = ""
    mark_field: str = ""
    keeps_volatile: tuple[str, ...] = ()
    diagnoses: bool = False
    credential: Mapping[str, Secret] = {}
    quirks: frozenset[str] = frozenset()
    auto_tier: str = ""
    sandbox: bool = False

    @property
    def wire(self) -> str:
        """The wire that is preferred."""
        return self.endpoints[0].wire

    @property
    def base_url(self) -> str:
        """Where the preferred wire is spoken."""
        return self.endpoints[0].base_url


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a host said it has.

    name          as the host lists it
    aliases       other names under which it answers
    digest        changes whenever the model does; "" where the host tells none
    capabilities  the host's own words for what it can do; empty where it was not said
    context       longest prompt and answer together, in tokens; 0 where it was not said
    row           what the host's list says of it, for lists of the same API
    """

    name: str
    aliases: tuple[str, ...] = ()
    digest: str = ""
    capabilities: tuple[str, ...] = ()
    context: int = 0
    row: Mapping[str, object] = {}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What a request's model name resolved to: one model, and the deployments that serve it, best first."""

    asked: str
    model: Model
    deployments: tuple[Deployment, ...]
