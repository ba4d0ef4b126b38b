"""All SQL, as files: Python holds none. A file is a series of blocks, each headed by `-- name: what_it_does`."""

import re
from importlib import resources

_HEAD = re.compile(r"^-- name: ([a-z0-9_]+)$", re.MULTILINE)


def read_sql(file: str) -> str:
    """The text of one of this folder's files."""
    return resources.files(__name__).joinpath(file).read_text("utf-8")


def read_queries(file: str) -> dict[str, str]:
    """The named statements of a file."""
    parts = _HEAD.split(read_sql(file))
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
