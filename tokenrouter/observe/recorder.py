"""Takes each request's record when it is finished, and shows it to everybody who watches."""

import logging
from collections import OrderedDict
from collections.abc import Callable

from tokenrouter.model.record import RequestRecord
from tokenrouter.observe.metrics import Metrics

log = logging.getLogger("tokenrouter.requests")


class Recorder:
    """Metrics, the last requests, the log. `note` writes down a request that cost nothing (the leader's row is written elsewhere)."""

    def __init__(self, metrics: Metrics, note: Callable[[RequestRecord], None], *, keep: int = 4096) -> None:
        self.metrics = metrics
        self._note = note
        self._keep = keep
        self._last: OrderedDict[str, RequestRecord] = OrderedDict()

    def finish(self, record: RequestRecord) -> None:
        """One request is over."""
        self.metrics.add(record)
        if record.cache in ("hit", "coalesced") and record.status < 400:
            self._note(record)
        last = self._last
        last[record.id] = record
        if len(last) > self._keep:
            last.popitem(last=False)
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%s %s %s/%s %s %d cost=%d saved=%d %.1f ms",
                record.id,
                record.dialect,
                record.vendor,
                record.model,
                record.cache,
                record.status,
                record.cost,
                record.saved,
                record.duration_ns / 1e6,
            )

    def find(self, request_id: str, tenant: str) -> RequestRecord | None:
        """One of the last requests, for its own tenant only."""
        record = self._last.get(request_id)
        return record if record is not None and record.tenant == tenant else None
