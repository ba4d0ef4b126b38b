"""The only place that constructs. `build` makes the services of one process from its settings; `Gateway.aclose` ends them in order."""

from tokenrouter.wiring.gateway import Gateway, build
from tokenrouter.wiring.prices import load_prices, price_refresh, unpriced
from tokenrouter.wiring.stores import Stores, gate_limits, open_directory
from tokenrouter.wiring.virtual_time import check_virtual_time

__all__ = ["Gateway", "Stores", "build", "check_virtual_time", "gate_limits", "load_prices", "open_directory", "price_refresh", "unpriced"]
