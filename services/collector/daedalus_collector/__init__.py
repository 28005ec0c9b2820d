"""The collector: exchange feeds into JetStream, without loss.

ccxt is made lean when anything imports it, which a native feed never does: see `daedalus_collector.loader`.
"""

import sys

from daedalus_collector.loader import install_on_import

install_on_import()
if "aiohttp" not in sys.modules:  # nats-py imports it, if it is there, for NATS over WebSockets: 10 MB
    sys.modules["aiohttp"] = None  # type: ignore[assignment]  # what stands for a module that there is not
    try:
        import nats.aio.transport  # noqa: F401  # without it
    finally:
        del sys.modules["aiohttp"]
