"""What was seen in a segment file, and whether it is what the file says of itself. Pure."""

from __future__ import annotations

import msgspec

from daedalus.wire import NS_PER_HOUR
from daedalus_writer.layout import Key, hour_start
from daedalus_writer.verify.defect import Defect
from daedalus_writer.verify.gaps import Gaps


class Contents:
    """Of one file, put together while its rows go by."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.rows = 0
        self.first_received_ns = 0
        self.last_received_ns = 0
        self.gaps = Gaps()
        """The gap records in it."""
        self.gaps_about = 0
        """Gap records about it, as its footer says."""

    def add(self, rows: int, first_received_ns: int, last_received_ns: int) -> None:
        """Take note of some rows. Raises Defect when one was not received in the file's hour."""
        begin_ns = self.key.hour * NS_PER_HOUR
        for received_ns in (first_received_ns, last_received_ns):
            if not begin_ns <= received_ns < begin_ns + NS_PER_HOUR:
                hour = f"{hour_start(self.key.hour):%Y-%m-%dT%H}"
                raise Defect(f"every received_ns within the hour {hour}", received_ns)
        self.first_received_ns = min(first_received_ns, self.first_received_ns) if self.rows else first_received_ns
        self.last_received_ns = max(last_received_ns, self.last_received_ns)
        self.rows += rows


class Footer(msgspec.Struct, frozen=True, kw_only=True):
    """The keys `daedalus.…` of a Parquet file."""

    exchange: str
    channel: str
    symbol: str
    market_id: str
    hour: int
    rows: int
    format: str
    schema_version: int
    shard: int
    first_sequence: int
    last_sequence: int
    last_timestamp_ns: int
    first_received_ns: int
    last_received_ns: int
    gaps: int
    writer: str

    @property
    def key(self) -> Key:
        return Key(self.exchange, self.channel, self.symbol, self.hour)


_PREFIX = b"daedalus."


def read_footer(metadata: dict[bytes, bytes] | None) -> Footer:
    """Raises Defect when a key is missing or cannot be read."""
    own = {
        name.removeprefix(_PREFIX).decode(): value.decode(errors="replace")
        for name, value in (metadata or {}).items()
        if name.startswith(_PREFIX)
    }
    if not own:
        raise Defect("the metadata daedalus.*", "none: not a segment of Daedalus")
    try:
        return msgspec.convert(own, Footer, strict=False)
    except msgspec.ValidationError as error:
        raise Defect("the metadata daedalus.* of a segment", error) from error
