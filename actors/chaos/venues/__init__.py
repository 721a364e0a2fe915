"""The rules of the exchanges, written from their documentation, with a switch for what that leaves open."""

from actors.chaos.venues.binance import BinanceVenue
from actors.chaos.venues.simulated import SIMULATED, SimulatedVenue, Unknown
from actors.chaos.venues.upbit_family import BithumbVenue, UpbitVenue

__all__ = ["SIMULATED", "BinanceVenue", "BithumbVenue", "SimulatedVenue", "Unknown", "UpbitVenue"]
