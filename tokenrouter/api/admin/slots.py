"""Volatile texts that a tenant has approved for `volatile.relocate`.

What this process has found is forgotten when it ends, so what is approved is kept with what it is found again by: the text around it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, cast

from pydantic import BaseModel, Field

from tokenrouter.api.admin.values import STRICT, Plain
from tokenrouter.errors import SlotRefused
from tokenrouter.model.breaks import Kind
from tokenrouter.model.volatile import Template
from tokenrouter.prefixes.relocation import MOST_AROUND, MOST_SLOTS, fault


class SlotTemplate(BaseModel):
    """A place in opening system texts whose value differs from request to request, as it is kept."""

    model_config = STRICT

    id: str = Field(max_length=64, description="As `GET /admin/prompt-cache/volatile` names it.")
    kind: str = Field(max_length=32, description="What it holds: time, date, uuid, hex, id, counter, session, path, url or port.")
    left: str = Field(max_length=MOST_AROUND, description="The text in front of it, to the character.")
    right: str = Field(max_length=MOST_AROUND, description="The text behind it.")


Said = Annotated[list[SlotTemplate | Plain], Field(max_length=MOST_SLOTS)]
"""Slots as they may be approved: by the id under which this process found them, or whole."""


def shown(templates: Sequence[Template]) -> list[SlotTemplate]:
    """What is kept, for people."""
    return [SlotTemplate(id=each.id, kind=each.kind, left=each.left, right=each.right) for each in templates]


def resolved(said: Sequence[SlotTemplate | str], found: Sequence[Mapping[str, object]], kept: Sequence[Template]) -> tuple[Template, ...]:
    """The templates of what was said. `found`: by this process; `kept`: approved before. Raises SlotRefused."""
    templates: list[Template] = []
    for each in said:
        template = _by_id(each, found, kept) if isinstance(each, str) else _template(each.model_dump())
        if wrong := fault(template, templates):
            raise SlotRefused(f"prompt_cache.slots: {wrong}", param="prompt_cache.slots")
        templates.append(template)
    return tuple(templates)


def _by_id(name: str, found: Sequence[Mapping[str, object]], kept: Sequence[Template]) -> Template:
    for slot in found:
        if slot["id"] != name:
            continue
        if slot["section"] != "system":
            raise SlotRefused(f"prompt_cache.slots: {name} stands in {slot['path']}; only opening system text is moved", param="prompt_cache.slots")
        return _template(slot)
    for template in kept:
        if template.id == name:
            return template
    raise SlotRefused(
        f"prompt_cache.slots: this process has found no slot {name[:64]!r}; take an id of GET /admin/prompt-cache/volatile, or say the whole "
        "template: id, kind, left, right",
        param="prompt_cache.slots",
    )


def _template(slot: Mapping[str, object]) -> Template:
    return Template(id=str(slot["id"]), kind=cast("Kind", slot["kind"]), left=str(slot["left"]), right=str(slot["right"]))
