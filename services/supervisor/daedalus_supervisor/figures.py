"""From the metrics that the services answer to the figures that are reported. The families' names stand here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from daedalus.naming import CATALOG_STREAM, UPLOADS_STREAM
from daedalus_supervisor.discovery import Seen
from daedalus_supervisor.jetstream import Stream
from daedalus_supervisor.samples import Samples
from daedalus_supervisor.status import Figures, Recent, ServiceStatus, Totals

COUNTERS = {
    "collector": ("received", "sent", "discarded", "overflowed", "errors", "reconnects", "gaps"),
    "writer": ("received", "sent", "discarded", "errors", "segments"),
    "sync": ("errors", "segments"),
}
"""What a service counts. A counter by label is not there before its first count: then it is 0."""


def figures(service: str, samples: Samples) -> Figures:
    """A service's families of figures; what it does not have stays None."""

    def total(name: str, **labels: str) -> float | None:
        return samples.total(f"daedalus_{service}_{name}", **labels)

    overflowed = total("discarded_records_total", cause="outbox_full")
    discarded = total("discarded_records_total")
    counted = {
        "received": total("received_records_total"),
        "sent": total("sent_records_total"),
        "discarded": None if discarded is None else discarded - (overflowed or 0),
        "overflowed": overflowed,
        "errors": total("errors_total"),
        "reconnects": total("reconnects_total"),
        "gaps": total("gaps_total"),
        "segments": total("sent_segments_total"),
    }
    zero = dict.fromkeys(COUNTERS.get(service, ()), 0.0)
    return Figures(
        **{**zero, **{name: value for name, value in counted.items() if value is not None}},
        open_segments=total("open_segments"),
        pending_segments=total("pending_segments"),
        outbox_records=total("outbox_records"),
        outbox_limit_records=total("outbox_limit_records"),
        outbox_bytes=total("outbox_bytes"),
        outbox_limit_bytes=total("outbox_limit_bytes"),
        memory_bytes=samples.total("daedalus_memory_bytes"),
        memory_limit_bytes=samples.total("daedalus_memory_limit_bytes"),
    )


def read_positions(seen: Iterable[Seen]) -> dict[tuple[str, int], int]:
    """Instance and shard → the last sequence that a writer says it has read."""
    family = "daedalus_writer_sequence"
    return {
        (one.answer.instance, int(shard)): int(one.samples.total(family, shard=shard) or 0)
        for one in seen
        if one.answer.service == "writer" and not one.missing
        for shard in one.samples.label_values(family, "shard")
        if shard.isdecimal()
    }


def totals(services: Iterable[ServiceStatus], streams: Mapping[str, Stream], takeovers: int) -> Totals:
    """Records since each service's start; segments since the catalog's first entry."""
    collectors = [service.figures for service in services if service.service == "collector"]
    writers = [service.figures for service in services if service.service == "writer"]
    return Totals(
        received_records=sum(one.received or 0 for one in collectors),
        sent_records=sum(one.sent or 0 for one in collectors),
        committed_records=sum(one.sent or 0 for one in writers),
        committed_segments=max(0, _entries(streams, CATALOG_STREAM) - takeovers),
        uploaded_segments=_entries(streams, UPLOADS_STREAM),
        gaps=sum(one.gaps or 0 for one in collectors),
    )


def _entries(streams: Mapping[str, Stream], name: str) -> int:
    """Its last sequence, not its messages: the oldest entries go when a log is full."""
    return streams[name].last_sequence if name in streams else 0


def rates(services: Iterable[ServiceStatus]) -> Totals:
    """In a second, over the last minute."""
    by_service: dict[str, list[Recent]] = {}
    for one in services:
        if one.minute.seconds > 0:
            by_service.setdefault(one.service, []).append(one.minute)
    collectors, writers, syncs = (by_service.get(service, []) for service in ("collector", "writer", "sync"))
    return Totals(
        received_records=sum(one.received / one.seconds for one in collectors),
        sent_records=sum(one.sent / one.seconds for one in collectors),
        committed_records=sum(one.sent / one.seconds for one in writers),
        committed_segments=sum(one.segments / one.seconds for one in writers),
        uploaded_segments=sum(one.segments / one.seconds for one in syncs),
        gaps=sum(one.gaps / one.seconds for one in collectors),
    )
