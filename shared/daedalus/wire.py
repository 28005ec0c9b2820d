"""The message format on JetStream: a batch of records of one exchange and channel, symbols side by side.

    Batch = [version, exchange, channel, hour, instance, boot, counter, [Part, …]]      MessagePack
    Part  = [symbol, market_id, count, [record, …], gap_ns]

The records of a symbol stand together, so a reader that sorts by symbol never looks at a single record; and a batch
never crosses an hour of receive time, so neither does a part.
"""

from __future__ import annotations

from types import GenericAlias

import msgspec

from daedalus.errors import PermanentError
from daedalus.records import CHANNELS, Record

VERSION = 1
NS_PER_HOUR = 3_600_000_000_000


class Part(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The records of one symbol, still encoded: `records` is a MessagePack array of `count` records."""

    symbol: str
    """ccxt's unified symbol."""
    market_id: str
    """The exchange's own name for the market."""
    count: int
    records: msgspec.Raw
    gap_ns: int = 0
    """Where a gap of the symbol begins that is over and not written down yet, or 0: should that never happen, the next run's does."""


class Batch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    version: int
    exchange: str
    channel: str
    hour: int
    """Hours since 1970-01-01 UTC, of the receive time of every record in the batch."""
    instance: str
    """The collector replica that sent it."""
    boot: str
    """That replica's run."""
    counter: int
    """Counts the batches of a run, from 0, without holes."""
    parts: list[Part]

    @property
    def message_id(self) -> str:
        """What makes a batch unique: sent again, it is stored once."""
        return f"{self.instance}.{self.boot}.{self.counter}"


class WireError(PermanentError):
    """A message that this version cannot read."""


_encoder = msgspec.msgpack.Encoder()
_batch_decoder = msgspec.msgpack.Decoder(Batch)
_record_decoders: dict[str, msgspec.msgpack.Decoder[list[Record]]] = {
    channel: msgspec.msgpack.Decoder(GenericAlias(list, (record,))) for channel, record in CHANNELS.items()
}


def append_record(buffer: bytearray, record: Record) -> None:
    """Encode one record at the end of a buffer. Encoding at once, and not when the batch leaves, keeps the garbage
    collector from walking thousands of waiting records.
    """
    _encoder.encode_into(record, buffer, -1)


def part(symbol: str, market_id: str, count: int, records: bytes | bytearray, gap_ns: int = 0) -> Part:
    """Close a buffer of `count` appended records into a part."""
    return Part(symbol, market_id, count, msgspec.Raw(array(count, records)), gap_ns)


def bodies(records: bytes | msgspec.Raw) -> bytes:
    """The records of a part without the array's header, so that parts can be put together without decoding them; in
    memory of their own, which keeps no message alive.

    Raises WireError when it is no MessagePack array.
    """
    whole = bytes(records)  # two copies of a few hundred bytes cost less than a view and one
    head = whole[0] if whole else 0
    if head == 0xDD:
        return whole[5:]
    if head == 0xDC:
        return whole[3:]
    if head & 0xF0 == 0x90:
        return whole[1:]
    raise WireError(f"records: expected a MessagePack array, found first byte {head:#04x}")


def array(count: int, records: bytes | bytearray) -> bytes:
    """The opposite of `bodies`: `count` encoded records as one MessagePack array."""
    return b"\xdd" + count.to_bytes(4, "big") + records


def encode(batch: Batch) -> bytes:
    return _encoder.encode(batch)


def decode(message: bytes) -> Batch:
    """Read a message. The parts' records stay encoded and share the message's memory.

    Raises WireError when it is no batch, or one of a version that this reader does not know.
    """
    try:
        batch = _batch_decoder.decode(message)
    except msgspec.DecodeError as error:
        raise WireError(
            f"message of {len(message)} bytes: expected a batch of version {VERSION}, found {error}"
        ) from error
    if batch.version != VERSION:
        raise WireError(
            f"batch {batch.message_id}: expected version {VERSION}, found {batch.version}: update this service"
        )
    if batch.channel not in CHANNELS:
        raise WireError(f"batch {batch.message_id}: expected a channel of {sorted(CHANNELS)}, found {batch.channel!r}")
    return batch


def decode_records(channel: str, records: bytes | msgspec.Raw | memoryview) -> list[Record]:
    """Read the records of a part.

    Raises WireError when they are not records of that channel.
    """
    try:
        return _record_decoders[channel].decode(records)
    except msgspec.DecodeError as error:
        raise WireError(f"records of {channel}: {error}") from error
