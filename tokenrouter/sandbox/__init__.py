"""Simulated LLM providers that obey each vendor's prompt-cache rules: for users without an API key, and for judging the gateway.

`create_app()` is one ASGI application; a vendor's base URL is its path prefix, e.g. `http://host:port/openai/v1`. Everything is
deterministic: the same prompt gets the same answer, lifetimes follow the clock that was handed in. Keys: any credential is an account
of its own with its own caches, except those containing "invalid". The package shares no code with what it judges.
"""

from tokenrouter.sandbox.answers import Scripted, ToolCall
from tokenrouter.sandbox.app import SandboxApp, create_app
from tokenrouter.sandbox.bill import Bill, Line, Total
from tokenrouter.sandbox.faults import Fault
from tokenrouter.sandbox.prices import PRICES, Tokens
from tokenrouter.sandbox.serving import ConnectionCut

__all__ = ["PRICES", "Bill", "ConnectionCut", "Fault", "Line", "SandboxApp", "Scripted", "Tokens", "ToolCall", "Total", "create_app"]
