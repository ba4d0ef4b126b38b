"""The secret of a deployment of several processes: made once in the shared database, with a copy in each DATA_DIR.

The copy lets a process start while the database is away. It has a file of its own, beside that of the embedded stores, so that trying
the shared mode in a folder does not make the keys in it unreadable.
"""

import os
import secrets
from pathlib import Path

from tokenrouter.errors import ConfigError, Unavailable
from tokenrouter.storage.database import Database, Step

_NAME = "deployment_secret"
_FILE = "shared-secret"
_BYTES = 32


async def shared_secret(database: Database, folder: Path) -> bytes:
    """The deployment's secret; whoever asks first makes it, and all agree.

    Raises:
        ConfigError: the database is away and this folder has no copy, or the folder can not be used.
    """
    path = folder / _FILE
    try:
        rows = await database.rows("read_meta", {"name": _NAME})
        if not rows:
            await database.change((Step("write_meta_once", {"name": _NAME, "value": secrets.token_hex(_BYTES)}),))
            rows = await database.rows("read_meta", {"name": _NAME})
    except Unavailable as error:
        kept = kept_secret(folder)
        if kept is None:
            raise ConfigError(
                f"the database can not be asked ({database.problem}), and {folder} has no copy of the deployment's secret from an earlier start"
            ) from error
        return kept
    secret = bytes.fromhex(str(rows[0][0]))
    if kept_secret(folder) != secret:
        _write(path, secret)
    return secret


def kept_secret(folder: Path) -> bytes | None:
    """The copy in a folder; None where there is none. Raises ConfigError: the folder can not be used."""
    path = folder / _FILE
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from error
    return kept if len(kept) == _BYTES else None


def _write(path: Path, secret: bytes) -> None:
    """For its owner only, and never half of it: several processes may share the folder."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
        draft.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from error
