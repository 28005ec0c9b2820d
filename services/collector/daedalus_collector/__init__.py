"""The collector: exchange feeds into JetStream, without loss.

ccxt is made lean before anything in this package can import it: see `daedalus_collector.loader`.
"""

from daedalus_collector.loader import install

install()
