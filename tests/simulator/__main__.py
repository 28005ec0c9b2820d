"""``python -m simulator``: the simulator as a process of its own."""

import argparse
import asyncio
import signal
from collections import defaultdict

from simulator.pacing import Rates
from simulator.recording import Recording
from simulator.server import EXCHANGES, Simulator


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        prog="python -m simulator",
        description="Simulates the public market data of exchanges on one port: the real host becomes the first element "
        "of the path, as in ws://127.0.0.1:9000/stream.binance.com:9443/ws/1.",
        epilog="Control: GET /sim/counts, GET /sim/healthz, POST /sim/pause, /sim/resume, "
        'POST /sim/fault {"exchange":"coinbase","fault":"close|reset|freeze|garbage|error|sequence_gap|slow|refuse|refuse_subscribe|'
        'accept_then_close","seconds":5}, POST /sim/burst {"exchange":"coinbase","channel":"trade","frames":1000}.',
    )
    add = arguments.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=9000, help="port, 0 for any free one (%(default)s)")
    add("--exchange", action="append", choices=EXCHANGES, help="repeat for several; all when left out")
    add("--markets", type=int, default=3, metavar="N", help="products of each exchange (%(default)s)")
    add(
        "--symbol", action="append", default=[], metavar="EXCHANGE:BASE/QUOTE", help="name products instead; repeatable"
    )
    add("--trades-per-second", type=float, default=5.0, metavar="RATE", help="per symbol (%(default)s)")
    add("--tickers-per-second", type=float, default=2.0, metavar="RATE", help="per symbol (%(default)s)")
    add("--books-per-second", type=float, default=5.0, metavar="RATE", help="updates per symbol (%(default)s)")
    add("--levels", type=int, default=100, metavar="N", help="of each side of a book (%(default)s)")
    add("--seed", type=int, default=1, help="the same seed makes the same market (%(default)s)")
    add("--early-deltas", action="store_true", help="binance: do not hold a book still until its snapshot was served")
    add("--paused", action="store_true", help="begin with POST /sim/resume or with bursts")
    add("--replay", metavar="FILE", help="play a recorded Binance spot file instead of a generated market")
    add("--speed", choices=("recorded", "full"), default="recorded", help="of the replay (%(default)s)")
    add("--start-when", action="append", default=[], metavar="STREAM", help="begin the replay when this stream, as "
        "btcusdt@trade, is subscribed; repeatable, all must be; the first subscription when left out")  # fmt: skip
    return arguments


def configured(arguments: argparse.Namespace) -> Simulator:
    symbols: dict[str, list[str]] = defaultdict(list)
    for entry in arguments.symbol:
        exchange, _, symbol = entry.partition(":")
        symbols[exchange].append(symbol)
    return Simulator(
        arguments.exchange or EXCHANGES,
        markets=arguments.markets,
        symbols=symbols,
        rates=Rates(arguments.trades_per_second, arguments.tickers_per_second, arguments.books_per_second),
        levels=arguments.levels,
        seed=arguments.seed,
        early_deltas=arguments.early_deltas,
        paused=arguments.paused,
        host=arguments.host,
        port=arguments.port,
        replay=Recording(arguments.replay) if arguments.replay else None,
        speed=arguments.speed,
        start_when=frozenset(arguments.start_when),
    )


async def main() -> None:
    arguments = parser()
    try:
        simulator = configured(arguments.parse_args())
    except (ValueError, OSError) as error:
        arguments.error(str(error))
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with simulator:
        print(f"simulator ready on {simulator.url}", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main())
