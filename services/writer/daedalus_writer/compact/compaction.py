"""One run: the lease, what an earlier run left undone, and then one merge after the other."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import socket
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pyarrow as pa
from nats.aio.client import Client

from daedalus.catalog import Entry
from daedalus.config import Config
from daedalus.errors import TransientError
from daedalus.lease import RENEWALS_PER_TTL, Lease
from daedalus.naming import COMPACTED, staged_name
from daedalus_writer.commit_log import CommitLog
from daedalus_writer.compact.choice import Known, Limits, choose
from daedalus_writer.compact.merged_file import MergeError, merge
from daedalus_writer.compact.records import Records
from daedalus_writer.compact.replacement import build, check_exchange, discard, finish, replace
from daedalus_writer.compact.tree import Folder, series
from daedalus_writer.layout import Folders
from daedalus_writer.steps import passed

LEASE = "compact"
LINGER_SECONDS = 5.0
"""How long a directory stays after it was replaced, for those who are listing it: they would take what is left of it for all."""


class BusyError(TransientError):
    """Not now."""


class Merged(msgspec.Struct, frozen=True):
    """What became, or would become, of some segments."""

    before: list[Entry]
    after: Entry | None
    """None: nothing was done yet."""


class Compaction:
    def __init__(
        self, client: Client, config: Config, limits: Limits, *, merge_uploaded: bool, tell: Callable[[Merged], None]
    ) -> None:
        self._client = client
        self._config = config
        self._limits = limits
        self._merge_uploaded = merge_uploaded
        self._tell = tell
        boot = secrets.token_hex(4)
        self._writer = f"compact-{socket.gethostname()}.{boot}"
        self._records = Records(client)
        self._folders = Folders(Path(config.storage.root), COMPACTED, boot)
        self._replaced: deque[tuple[float, Callable[[], None]]] = deque()
        """When, and what deletes the directory after a moment."""
        self.left: Counter[str] = Counter()
        """Why → how many files were left alone."""
        self.errors: list[str] = []
        self._committed_until_ns: dict[int, int] = {}

    async def look(self, paths: Sequence[Path]) -> None:
        """Tell what would be merged; change nothing."""
        await self._each(paths, self._would)

    async def run(self, paths: Sequence[Path]) -> None:
        """Finish what an earlier run left, then merge. Raises BusyError, ExchangeError, FencedError, OSError; what was merged until then stays."""
        ttl = float(self._config.nats.lease_seconds)
        lease = await Lease.of(self._client.jetstream(), LEASE, self._writer, ttl)
        if not await lease.acquire():
            raise BusyError(f"another compact runs, or was killed in the last {ttl:.0f} s: try again then")
        keeper = asyncio.create_task(_keep(lease, ttl))
        work = asyncio.create_task(self._work(paths))
        try:
            await asyncio.wait((keeper, work), return_when=asyncio.FIRST_COMPLETED)
            if keeper.done():
                keeper.result()
            await work
        finally:
            keeper.cancel()
            work.cancel()
            await asyncio.wait((keeper, work))
            await lease.release()

    async def _work(self, paths: Sequence[Path]) -> None:
        log = await CommitLog.open(self._client.jetstream(), COMPACTED, self._writer)
        self._folders.create()
        await asyncio.to_thread(check_exchange, self._folders.room)
        last = await self._records.last_merge()
        await asyncio.to_thread(self._finish, None if last is None else last[1])
        if self._merge_uploaded and last is not None and not await self._records.sync_has_done(last[0]):
            raise BusyError("sync is not done with the last compact: try again when it has caught up")
        await self._each(paths, lambda group: self._merge(log, group))
        while self._replaced:
            await asyncio.sleep(max(0.0, self._replaced[0][0] + LINGER_SECONDS - time.monotonic()))
            await asyncio.to_thread(self._sweep)
        await asyncio.to_thread(shutil.rmtree, self._folders.room)

    def _finish(self, last: Entry | None) -> None:
        """Only the last commit of a run that was killed can have its directories unchanged. The room is moved first: a
        run that was only asleep finds it gone.
        """
        for room in self._folders.earlier_rooms():
            ours = room.rename(self._folders.active / f"{self._folders.room.name}-{room.name.rpartition('.')[2]}")
            if last is not None and (ours / staged_name(last.path)).exists():
                known = finish(last, ours, self._folders.ready)
                self._replaced.append((time.monotonic(), partial(self._forget, last, ours, known)))
            else:
                shutil.rmtree(ours)

    async def _each(self, paths: Sequence[Path], act: Callable[[list[Entry]], Awaitable[None]]) -> None:
        found = series(paths, self._folders.ready, self._limits, self.left)
        while (one := await asyncio.to_thread(next, found, None)) is not None:
            subject, folders = one
            for group in await self._groups(subject, folders):
                await act(group)

    async def _groups(self, subject: str, folders: list[Folder]) -> list[list[Entry]]:
        present = {path for folder in folders for path in folder.paths}
        entries = await self._records.entries(subject, {folder.path for folder in folders})
        self.left["have no entry in the catalog"] += len(present - entries.keys())
        storage = self._config.storage
        s3 = storage.backend == "s3"
        uploaded = await self._records.uploaded(subject, present, storage.bucket if s3 else None)
        for shard in {entry.shard for entry in entries.values()} - self._committed_until_ns.keys():
            self._committed_until_ns[shard] = await self._records.committed_until_ns(shard, time.time_ns())
        known = Known(present, uploaded, self._committed_until_ns, s3, self._merge_uploaded)
        by_folder: dict[str, list[Entry]] = {}
        for path, entry in entries.items():
            by_folder.setdefault(path.rpartition("/")[0], []).append(entry)
        return [group for own in by_folder.values() for group in choose(own, self._limits, known, self.left)]

    async def _would(self, group: list[Entry]) -> None:
        self._tell(Merged(group, None))

    async def _merge(self, log: CommitLog, group: list[Entry]) -> None:
        room, ready = self._folders.room, self._folders.ready
        try:
            entry = await asyncio.to_thread(merge, group, ready, room, self._config.ingestion, self._writer)
        except MergeError as error:
            self.errors.append(str(error))
            return
        except FileNotFoundError:
            self.left["were deleted meanwhile"] += len(group)
            return
        await asyncio.to_thread(build, entry, room, ready)
        passed("merged")
        await log.append(entry)
        passed("replaced")
        known = await asyncio.to_thread(replace, entry, room, ready)
        self._replaced.append((time.monotonic(), partial(discard, entry, room, ready, known)))
        pa.default_memory_pool().release_unused()
        self._tell(Merged(group, entry))
        await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        while self._replaced and self._replaced[0][0] + LINGER_SECONDS <= time.monotonic():
            self._replaced.popleft()[1]()

    def _forget(self, entry: Entry, room: Path, known: set[str]) -> None:
        discard(entry, room, self._folders.ready, known)
        shutil.rmtree(room)


async def _keep(lease: Lease, ttl_seconds: float) -> None:
    while True:
        await asyncio.sleep(ttl_seconds / RENEWALS_PER_TTL)
        if not await lease.acquire():
            raise BusyError("the lease was lost: NATS did not answer in time, or another compact has it")
