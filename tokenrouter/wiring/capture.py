"""What `serve --record` records, and where."""

from tokenrouter.catalog.loader import Catalog
from tokenrouter.observe.capture import Capture
from tokenrouter.observe.scramble import Scrambler
from tokenrouter.settings import Settings


def capture_of(settings: Settings, catalog: Catalog) -> Capture | None:
    """The recording of this process; None where nothing is to be recorded. Raises ConfigError: the file can not be written."""
    if settings.record_file is None:
        return None
    scrambles = settings.record_text == "scramble"
    return Capture(
        settings.record_file,
        most=settings.record_max_mb << 20,
        hider=Scrambler(bytes.fromhex(settings.record_key.reveal()), known=[line.prefix for line in catalog.volatile]) if scrambles else None,
        secrets=_secrets(settings, catalog),
    )


def _secrets(settings: Settings, catalog: Catalog) -> list[str]:
    deployments = [deployment for row in catalog.deployments.values() for deployment in row if not deployment.sandbox]
    found = [settings.admin_api_key, *(each.api_key for each in deployments), *(part for each in deployments for part in each.credential.values())]
    return list(dict.fromkeys(secret.reveal() for secret in found))
