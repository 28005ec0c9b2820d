"""ccxt without its reading of data: where frames are only recorded, as they come, ccxt keeps the connection and no more.

Its handlers of acknowledgements, pings and errors stay. Those of data are replaced by one that notes that there was data.
What Binance's acknowledgement of an order book begins, the REST snapshot, is not fetched either.
"""

from __future__ import annotations

import re
from typing import Any

from daedalus_collector.tap import TapClient

DATA_HANDLERS = re.compile(
    r"handle_(uta_|ws_|contract_|stock_|all_|new_spot_|l2_)?"
    r"(tickers?|trades?|order_books?|bid_ask|bids_asks|ohlcv|funding_rate|mark_prices?|liquidation|updates)(_\w+)?"
)
"""ccxt 4.5.90's names of them, in all exchanges."""
UNSUBSCRIPTIONS = re.compile(r"un_?sub")


def unparsed(exchange_class: Any) -> Any:
    """A subclass of a tapped class that reads no data."""

    def seen(_self: Any, client: Any, *_: Any, **__: Any) -> None:
        if isinstance(client, TapClient):
            client.seen()

    def accepted(_self: Any, *_: Any, **__: Any) -> None:
        """An acknowledgement."""

    names = [name for name in dir(exchange_class) if DATA_HANDLERS.fullmatch(name) and not UNSUBSCRIPTIONS.search(name)]
    replaced = {name: accepted if "subscription" in name else seen for name in names}
    return type(exchange_class.__name__, (exchange_class,), replaced)
