"""What hosts said they have: models that no data file knows. Kept here, asked for elsewhere (`upstream/discovery.py`)."""

import msgspec

from tokenrouter.model.catalog import Found, Model

_THINKS = "thinking"
"""A capability, in the hosts' words: the model may be asked to reason, and refuses no such request."""


class Discovered:
    """Models by vendor, in the order in which their hosts listed them."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Found, ...]] = {}
        self._names: dict[str, dict[str, Found]] = {}

    def put(self, vendor: str, models: tuple[Found, ...]) -> None:
        """Replaces what was known. A model's own name counts before another's alias."""
        self._found[vendor] = models
        aliases = {alias: found for found in reversed(models) for alias in found.aliases}
        self._names[vendor] = aliases | {found.name: found for found in reversed(models)}

    def of(self, vendor: str) -> tuple[Found, ...]:
        """All of a vendor."""
        return self._found.get(vendor, ())

    def find(self, vendor: str, name: str) -> Found | None:
        """The one that answers to a name."""
        names = self._names.get(vendor)
        return names.get(name) if names else None

    def told(self, model: Model) -> Model:
        """A model with what its host said of it, which counts more than what its name makes one expect."""
        found = self.find(model.vendor, model.name)
        if found is None or not found.capabilities or (_THINKS in found.capabilities) == (model.reasoning != "none"):
            return model
        return msgspec.structs.replace(model, reasoning="effort" if _THINKS in found.capabilities else "none")
