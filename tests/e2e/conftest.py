"""One sandbox and one gateway in front of it for the whole session; a folder of their own for those who start more."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from served import ADMIN_KEY, Gateway, Sandbox


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    started = Sandbox(tmp_path_factory.mktemp("sandbox"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[Gateway]:
    started = Gateway(tmp_path_factory.mktemp("gateway"), ADMIN_API_KEY=ADMIN_KEY, UPSTREAM_IDLE_TIMEOUT_S="2", **sandbox.environ)
    yield started
    assert started.stop() == 0
    assert "Traceback" not in started.err


@pytest.fixture
def gateway(shared: Gateway, sandbox: Sandbox) -> Gateway:
    """The shared gateway, over a sandbox that has forgotten everything."""
    sandbox.control("reset")
    return shared


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0, timeout=30) as made:
        yield made


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Start gateways; all are ended with the test."""
    begun: list[Gateway] = []

    def go(*arguments: str, **more: object) -> Gateway:
        begun.append(Gateway(tmp_path, *arguments, **more))  # type: ignore[arg-type]
        return begun[-1]

    yield go
    for gateway in begun:
        gateway.stop()
