"""
A simulated provider over real sockets, with faults on request; and a receiver of webhooks.

It imports nothing else of the service, so that it can't share its mistakes.
"""

from __future__ import annotations

from syncsvc.sandbox.faults import Endpoint, Fault
from syncsvc.sandbox.inventory import Inventory
from syncsvc.sandbox.pages_and_access_tokens import Behaviour
from syncsvc.sandbox.server import ACCEPT, Request, Sandbox

__all__ = ["ACCEPT", "Behaviour", "Endpoint", "Fault", "Inventory", "Request", "Sandbox"]
