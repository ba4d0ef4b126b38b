"""Where `--virtual-time` may be used: in one process, with stores of its own, before nobody who bills or would be told a wrong time."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from tokenrouter.catalog.loader import Catalog
from tokenrouter.clock import Clock, SystemClock, VirtualClock
from tokenrouter.errors import ConfigError
from tokenrouter.model.catalog import Deployment
from tokenrouter.setting_texts import without_credentials
from tokenrouter.settings import Settings


def check_virtual_time(settings: Settings, catalog: Catalog) -> None:
    """Nothing where time is the machine's. Raises ConfigError saying what stands against it."""
    if not settings.virtual_time:
        return
    if settings.database_url or settings.redis_url:
        raise ConfigError("virtual time is one process' own, and Redis counts by its own clock: unset REDIS_URL and DATABASE_URL, or VIRTUAL_TIME")
    if settings.workers > 1:
        raise ConfigError(f"virtual time is one process' own: WORKERS={settings.workers} would have as many clocks; run one worker")
    for deployments in catalog.deployments.values():
        for deployment in deployments:
            away = next((endpoint.base_url for endpoint in deployment.endpoints if not is_loopback(endpoint.base_url)), None)
            if away is not None and has_credential(deployment):
                raise ConfigError(
                    f"virtual time is for simulators: {deployment.name} has a credential and is at {without_credentials(away)}, beyond this machine; "
                    f"unset its key, set {deployment.vendor.upper().replace('-', '_')}_BASE_URL to an address like http://127.0.0.1:9100, "
                    "or start with SANDBOX=1"
                )


def is_loopback(url: str) -> bool:
    """Whether an address is one of this machine's own: 127.0.0.0/8, ::1 or localhost."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def has_credential(deployment: Deployment) -> bool:
    """Whether somebody real could be charged there, as far as the configuration tells."""
    if deployment.sandbox:
        return False
    in_address = any("@" in urlsplit(endpoint.base_url).netloc for endpoint in deployment.endpoints)
    return bool(deployment.api_key or deployment.credential) or in_address


def machine_clock(clock: Clock) -> Clock:
    """The clock of what comes from the world outside whatever time is played: tokens of clouds, lists of prices and of models."""
    return SystemClock() if isinstance(clock, VirtualClock) else clock
