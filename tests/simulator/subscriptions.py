"""Who is subscribed to what on one exchange."""

from collections.abc import Callable, Iterator

from simulator.connection import Connection

Key = tuple[str, str]


class Subscriptions:
    """Keys are (the exchange's own channel name, unified symbol). ``on_first`` hears of each key once in a lifetime."""

    def __init__(self, on_first: Callable[[str, str], None]) -> None:
        self.refused_until_ns = 0.0
        """Until then the exchange answers every subscribe request with an error."""
        self._on_first = on_first
        self._known: set[Key] = set()
        self._of_key: dict[Key, dict[Connection, None]] = {}
        self._of_connection: dict[Connection, dict[Key, None]] = {}

    def refused(self, now_ns: int) -> bool:
        return now_ns < self.refused_until_ns

    def add(self, connection: Connection, channel: str, symbol: str) -> None:
        key = channel, symbol
        self._of_key.setdefault(key, {})[connection] = None
        self._of_connection.setdefault(connection, {})[key] = None
        if key not in self._known:
            self._known.add(key)
            self._on_first(channel, symbol)

    def remove(self, connection: Connection, channel: str, symbol: str) -> None:
        self._of_key.get((channel, symbol), {}).pop(connection, None)
        self._of_connection.get(connection, {}).pop((channel, symbol), None)

    def drop(self, connection: Connection) -> None:
        for key in self._of_connection.pop(connection, {}):
            self._of_key[key].pop(connection, None)

    def subscribers(self, channel: str, symbol: str) -> tuple[Connection, ...]:
        return tuple(self._of_key.get((channel, symbol), ()))

    def of(self, connection: Connection) -> tuple[Key, ...]:
        return tuple(self._of_connection.get(connection, ()))

    def __iter__(self) -> Iterator[Key]:
        """The keys that have a subscriber now."""
        return iter(sorted(key for key, connections in self._of_key.items() if connections))
