"""A local stand-in for the public market-data services of Binance spot, Bybit spot, Coinbase Advanced Trade,
Kraken v2 and OKX spot.

It speaks their protocols, counts exactly what it sent, fails on request and replays recorded frames. It knows nothing of
the recorder that it tests.
"""

from simulator.counts import Count
from simulator.faults import Fault
from simulator.pacing import Rates
from simulator.recording import Recording
from simulator.server import Simulator

__all__ = ["Count", "Fault", "Rates", "Recording", "Simulator"]
