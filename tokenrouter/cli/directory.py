"""The directory for commands that need no more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tokenrouter.clock import SystemClock
from tokenrouter.errors import ConfigError, Unavailable
from tokenrouter.settings import Settings
from tokenrouter.storage.database import at_once
from tokenrouter.storage.directory import Directory
from tokenrouter.wiring import open_directory

T = TypeVar("T")


def with_directory(settings: Settings, work: Callable[[Directory], Awaitable[T]]) -> T:
    """Open the directory, do something with it, and close it. Raises ConfigError, also where the database can not be asked."""

    async def run() -> T:
        directory = await open_directory(settings, SystemClock())
        try:
            return await work(directory)
        except Unavailable as error:
            raise ConfigError(f"{error.message} ({directory.problem})") from error
        finally:
            await directory.aclose()

    return asyncio.run(run()) if settings.database_url else at_once(run())
