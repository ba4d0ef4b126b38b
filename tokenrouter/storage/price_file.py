"""The list of prices that was fetched last, as a file in the data folder."""

import os
from contextlib import suppress
from pathlib import Path


class PriceFile:
    """See `upstream.price_refresh.PriceStore`. Written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "prices.json"

    def load(self) -> bytes | None:
        """What was kept; None where nothing was. Raises OSError."""
        with suppress(FileNotFoundError):
            return self._path.read_bytes()
        return None

    def save(self, table: bytes) -> None:
        """Keep it instead. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            with draft.open("wb") as file:
                file.write(table)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)
