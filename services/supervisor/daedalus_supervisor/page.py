"""The web page: the report as HTML, complete without JavaScript, which only fetches it again.

Every value is escaped: names come from whoever may connect to NATS. Nothing is loaded from anywhere else, and the
page's own policy forbids it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from importlib.resources import files

from daedalus.naming import shard_stream
from daedalus_supervisor.status import Problem, ServiceStatus, ShardStatus, Status, StreamStatus
from daedalus_supervisor.text import ORDER
from daedalus_supervisor.units import count, duration, megabytes, rate

CONTENT_TYPE = "text/html; charset=utf-8"
_STYLE = (files(__package__) / "page.css").read_text()
_SCRIPT = (files(__package__) / "page.js").read_text()
_STATES = {"ready": "ready", "not_ready": "not ready", "missing": "missing", "absent": "absent"}


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


_POLICY = (
    f"default-src 'none'; style-src {_digest(_STYLE)}; script-src {_digest(_SCRIPT)}; connect-src 'self'; img-src data:"
)


def page(status: Status) -> tuple[str, bytes]:
    """Content type and body."""
    return CONTENT_TYPE, document(status).encode()


def document(status: Status) -> str:
    mark = "🟢" if status.healthy else "🔴"
    icon = f"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><text y='13' font-size='13'>{mark}</text></svg>"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{mark} Daedalus: {escape(status.health)}</title>
<link rel="icon" href="{escape(icon)}">
<style>{_STYLE}</style>
</head>
<body>
<p id="stale" role="alert" hidden>The supervisor does not answer. What stands here is old.</p>
{_main(status)}
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _main(status: Status) -> str:
    problems = [one for one in status.problems if one.weight == "problem"]
    state, word = ("good", "healthy") if status.healthy else ("bad", _plural(len(problems), "problem"))
    services = sorted(status.services, key=lambda one: (ORDER.get(one.service, len(ORDER)), one.title))
    return f"""<main data-poll-seconds="{status.poll_seconds:g}">
<header>
<h1>Daedalus</h1>
<p class="pill {state}">{escape(word)}</p>
<p>{escape(status.health)}</p>
<p class="quiet">as of <time datetime="{status.observed_at.isoformat()}">{status.observed_at:%Y-%m-%d %H:%M:%S} UTC</time></p>
</header>
{_problems(status.problems)}
{_flow(status)}
<section><h2>Services</h2><div class="cards">{"".join(map(_service, services)) or "<p>None has answered yet.</p>"}</div></section>
{_streams(status)}
<footer class="quiet"><a href="/status.json">status.json</a> <a href="/metrics">metrics</a> <a href="/readyz">readyz</a></footer>
</main>"""


def _problems(problems: Iterable[Problem]) -> str:
    items = "".join(
        f'<li class="{one.weight}"><strong>{escape(one.where)}</strong> {escape(one.what)}.'
        f'<span class="hint">{escape(one.hint)}</span></li>'
        for one in problems
    )
    return f'<section><h2>Findings</h2><ul class="problems">{items}</ul></section>' if items else ""


def _flow(status: Status) -> str:
    """The way of the data: each step beside the one before it, so that a loss between two shows."""
    total, per_second = status.totals, status.per_second
    steps = [
        ("received", count(total.received_records), f"{rate(per_second.received_records)} records"),
        ("in JetStream", count(total.sent_records), f"{rate(per_second.sent_records)} records"),
        ("committed", count(total.committed_records), f"{count(total.committed_segments)} segments in all"),
    ]
    if status.uploads:
        steps.append(("uploaded", count(total.uploaded_segments), f"{count(status.waiting_uploads)} segments wait"))
    steps.append(("gaps", count(total.gaps), "intervals written down"))
    tiles = "".join(
        f'<li><span class="quiet">{escape(name)}</span><b>{escape(figure)}</b><span class="quiet">{escape(more)}</span></li>'
        for name, figure, more in steps
    )
    return f'<section><h2>Flow</h2><ol class="flow">{tiles}</ol></section>'


def _service(service: ServiceStatus) -> str:
    state = "good" if service.healthy else "bad"
    its = service.figures
    rows: list[tuple[str, str]] = []
    if service.state == "missing":
        rows.append(("not seen for", duration(service.unseen_seconds)))
    if service.state != "absent":
        rows.append(("up for", duration(service.uptime_seconds)))
    if its.received is not None and service.service in ("collector", "writer"):
        per_second = service.minute.received / service.minute.seconds if service.minute.seconds else 0.0
        rows.append(("received", f"{count(its.received)} ({rate(per_second)})"))
    named = [
        ("in JetStream" if service.service == "collector" else "committed", its.sent),
        ("uploaded" if service.service == "sync" else "segments", its.segments),
        ("open segments", its.open_segments),
        ("waiting", its.pending_segments),
        ("lost at the outbox", its.overflowed),
        ("gaps", its.gaps),
        ("reconnects", its.reconnects),
        ("errors", its.errors),
    ]
    rows += [(name, count(value)) for name, value in named if value is not None]
    if its.outbox_percent is not None:
        rows.append(("outbox", f"{its.outbox_percent:.1f} %"))
    if its.memory_bytes is not None:
        share = f" ({100 * its.memory_bytes / its.memory_limit_bytes:.0f} %)" if its.memory_limit_bytes else ""
        rows.append(("memory", megabytes(its.memory_bytes) + share))
    figures = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows)
    return (
        f'<article class="{state}"><h3>{escape(service.title)}</h3>'
        f'<p class="pill {state}">{escape(_STATES[service.state])}</p><dl>{figures}</dl></article>'
    )


def _streams(status: Status) -> str:
    shards = {shard_stream(one.shard): one for one in status.shards}
    rows = "".join(_stream(one, shards.get(one.name)) for one in status.streams)
    if status.disk is not None:
        disk = status.disk
        size = f"{megabytes(disk.used_bytes)} of {megabytes(disk.size_bytes)}"
        rows += (
            f"<tr><th>disk</th><td>{escape(disk.path)}</td><td>{escape(size)}</td>"
            f"<td>{_meter(disk.used_percent, 90)}</td><td></td></tr>"
        )
    head = "<tr><th>stream</th><th>messages</th><th>size</th><th>used</th><th>unread · uncommitted</th></tr>"
    return f'<section><h2>Storage</h2><div class="scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div></section>'


def _stream(stream: StreamStatus, shard: ShardStatus | None) -> str:
    size = megabytes(stream.size_bytes)
    lag = ""
    if shard is not None:
        unread = f"{count(shard.unread_messages)} ({duration(shard.unread_seconds)})"
        lag = f"{unread} · {count(shard.uncommitted_messages)} ({duration(shard.uncommitted_seconds)})"
    if stream.limit_bytes:
        size += f" of {megabytes(stream.limit_bytes)}"
    meter = _meter(stream.used_percent, 80) if stream.limit_bytes else ""
    return (
        f"<tr><th>{escape(stream.name)}</th><td>{count(stream.messages)}</td><td>{escape(size)}</td>"
        f"<td>{meter}</td><td>{escape(lag)}</td></tr>"
    )


def _meter(percent: float, high: int) -> str:
    label = f"{percent:.1f} %"
    return (
        f'<meter min="0" max="100" low="{high}" high="{high}" optimum="0" value="{percent:.1f}">{label}</meter> {label}'
    )


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
