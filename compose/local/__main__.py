"""`make run` and `make demo`: the whole pipeline on this machine, without Docker.

python -m local run  [--config config.yaml]
python -m local demo [--seconds 60]
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from daedalus.errors import EXIT_CONFIG, ConfigError
from local import demo
from local.figures import LiveLine, how_to_query
from local.pipeline import Pipeline


def run(config: Path) -> int:
    """Record until Ctrl-C."""
    pipeline = Pipeline(config, {})
    print(
        f"Recording {', '.join(pipeline.config.ccxt.exchanges)} into {pipeline.root}. Ctrl-C ends it.\n"
        f"  status page   http://127.0.0.1:{pipeline.supervisor.port}/\n"
        f"  streams       nats --server {pipeline.nats.url} stream ls\n"
        f"  logs          {pipeline.root / 'logs'}"
    )
    pipeline.start()
    live = LiveLine(pipeline)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        while not stopped:
            time.sleep(1.0)
            for line in pipeline.restart_ended():
                print(f"\r\033[K{line}")
            print(f"\r\033[K{live.text()}", end="", flush=True)
    except ConfigError:
        pipeline.kill()
        raise
    print("\nStopping: collectors drain, the writer commits what is open …", flush=True)
    problems = pipeline.stop()
    print(*problems, how_to_query(pipeline.root), sep="\n")
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("run", help="record the exchanges of a configuration")
    recording.add_argument("--config", type=Path, default=Path("config.yaml"))
    showing = commands.add_parser("demo", help="the same against the built-in exchange simulator")
    showing.add_argument("--seconds", type=float, default=60.0)
    showing.add_argument("--root", type=Path, default=Path("data/demo"), help="emptied first; default: %(default)s")
    arguments = parser.parse_args()
    try:
        if arguments.command == "run":
            return run(arguments.config)
        return demo.run(arguments.root, arguments.seconds)
    except ConfigError as error:
        print(*error.mistakes, sep="\n", file=sys.stderr)
        return EXIT_CONFIG


if __name__ == "__main__":
    sys.exit(main())
