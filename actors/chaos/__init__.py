"""Chaos for tests: simulated exchanges that misbehave on request, captures played back, a ledger of what was done."""

from actors.chaos.capture import Capture, CapturePlayer, read_capture
from actors.chaos.exchange import SimulatedExchange, simulated_exchange
from actors.chaos.faults import Fault, FaultKind
from actors.chaos.ledger import Entry, Ledger, Role, Shape, What
from actors.chaos.memory import MemoryNetwork, MemoryStream
from actors.chaos.server import Server
from actors.chaos.venues import SIMULATED, BinanceVenue, BithumbVenue, SimulatedVenue, Unknown, UpbitVenue

__all__ = [
    "SIMULATED",
    "BinanceVenue",
    "BithumbVenue",
    "Capture",
    "CapturePlayer",
    "Entry",
    "Fault",
    "FaultKind",
    "Ledger",
    "MemoryNetwork",
    "MemoryStream",
    "Role",
    "Server",
    "Shape",
    "SimulatedExchange",
    "SimulatedVenue",
    "Unknown",
    "UpbitVenue",
    "What",
    "read_capture",
    "simulated_exchange",
]
