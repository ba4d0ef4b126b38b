"""Writes the pages that are made from code, or checks that they are what the code says (`--check`)."""

import sys
from pathlib import Path

import hosts
import matrix

from tokenrouter.cli.config import env_example, settings_page
from tokenrouter.model.edits import EDITS

_ROOT = Path(__file__).parent.parent
_BEGIN, _END = "<!-- edits: made by docs/pages.py -->", "<!-- end -->"


def edits_table() -> str:
    """The table of docs/canonical-form.md."""
    rows = ["| edit | what | default | changes what the model reads | switch |", "| --- | --- | --- | --- | --- |"]
    for edit in EDITS:
        default, alters = "on" if edit.default else "off", "yes" if edit.alters else "no"
        rows.append(f"| `{edit.id}` | {edit.what} | {default} | {alters} | {'yes' if edit.switchable else 'no: routing needs it'} |")
    return "\n".join(rows)


def canonical_form(page: str) -> str:
    """docs/canonical-form.md with its table renewed."""
    head, _, rest = page.partition(_BEGIN)
    return f"{head}{_BEGIN}\n{edits_table()}\n{_END}{rest.partition(_END)[2]}"


def main() -> int:
    """Returns 1 if a page is not what it should be."""
    form = _ROOT / "docs" / "canonical-form.md"
    pages = {
        _ROOT / "docs" / "settings.md": settings_page(),
        _ROOT / ".env.example": env_example(),
        form: canonical_form(form.read_text("utf-8")),
        hosts.PAGE: hosts.page(),
        **matrix.pages(),
    }
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(_ROOT)} is not what the code says: run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(pages[path], "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
