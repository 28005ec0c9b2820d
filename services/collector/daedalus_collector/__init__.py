"""The collector: exchange feeds into JetStream, without loss.

ccxt is made lean when anything imports it, which a native feed never does: see `daedalus_collector.loader`.
"""

from daedalus_collector.loader import install_on_import

install_on_import()
