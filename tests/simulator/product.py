"""What is traded: a product has its unified symbol and the decimals of its prices and amounts."""

from collections.abc import Sequence

from msgspec import Struct

# Names on which ccxt agrees with the exchanges; it renames some others (XBT, XDG, LUNA, …).
BASES = (
    ("BTC", 61_837), ("ETH", 2_668), ("SOL", 158), ("XRP", 3), ("ADA", 2), ("LTC", 63), ("DOT", 5), ("LINK", 11),
    ("AVAX", 23), ("UNI", 6), ("ATOM", 5), ("AAVE", 98), ("BCH", 349), ("ALGO", 1), ("FIL", 4), ("ICP", 8),
)  # fmt: skip
QUOTES = {"binance": "USDT", "bybit": "USDT", "coinbase": "USD", "kraken": "USD", "okx": "USDT"}
# Binance lists BTCUSDT with stepSize 0.00001, Bybit with basePrecision 0.000001; the others take eight decimals.
AMOUNT_DECIMALS = {"binance": 5, "bybit": 6, "coinbase": 8, "kraken": 8, "okx": 8}
# A walk by single ticks must stay far from zero: enough decimals that the price is at least this many ticks.
LEAST_TICKS = 100_000


class Product(Struct, frozen=True):
    symbol: str
    base: str
    quote: str
    price_decimals: int
    amount_decimals: int
    start_price: int
    """In ticks of 10 ** -price_decimals."""


def _product(exchange: str, base: str, quote: str) -> Product:
    price = dict(BASES).get(base, 1)
    decimals = 1 if exchange in {"kraken", "okx"} and base == "BTC" else 2
    while price * 10**decimals < LEAST_TICKS:
        decimals += 1
    return Product(f"{base}/{quote}", base, quote, decimals, AMOUNT_DECIMALS[exchange], price * 10**decimals)


def products(exchange: str, markets: int, symbols: Sequence[str] | None = None) -> tuple[Product, ...]:
    """The named ``symbols`` (unified, as ``BTC/USD``) or, without names, the first ``markets`` of an endless list."""
    if symbols is None:
        bases = [base for base, _ in BASES] + [f"SIM{number:04d}" for number in range(len(BASES), markets)]
        symbols = [f"{base}/{QUOTES[exchange]}" for base in bases[:markets]]
    pairs = [symbol.split("/", 1) for symbol in symbols]
    if bad := [symbol for symbol, pair in zip(symbols, pairs, strict=True) if len(pair) < 2]:
        raise ValueError(f"symbols of {exchange}: expected BASE/QUOTE, was {bad[0]!r}")
    return tuple(_product(exchange, base, quote) for base, quote in pairs)
