"""What a provider keeps for a tenant, in an account that all tenants share."""

import msgspec


class Owned(msgspec.Struct, frozen=True):
    """One object at a provider.

    deployment  name of the account that holds it
    tokens      how many tokens it may bring into a prompt at most
    expires_ns  when the provider may have forgotten it, Unix nanoseconds
    """

    deployment: str
    tokens: int
    expires_ns: int
