"""``feedwarden run``: the feeds of a configuration, or the demo, with everything that a process has around them."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

import attrs
import trio

from actors.feed import Feed
from actors.items import FeedFailed
from supervisors.feeds import Feeds, open_feeds
from supervisors.standalone.config import Config
from supervisors.standalone.control import Control
from supervisors.standalone.demo import NOTICE, demo
from supervisors.standalone.lines import Lines
from supervisors.standalone.logs import Journal
from supervisors.standalone.mistakes import BadInput
from supervisors.standalone.mute import muting
from supervisors.standalone.process import BoundedStop, obey_signals
from supervisors.standalone.sinks import Sink
from supervisors.standalone.status import Page, Status
from supervisors.standalone.table import SHOW_CURSOR, LiveTable, is_terminal

SPOOL = "alerts.sqlite3"
"""The file in the state directory that keeps alerts until they have arrived."""
BANS = "bans.json"
"""The file there that knows until when hosts have shut us out."""
FLUSH = 1.0
"""Seconds in which standard output and error may take what is still to be said at the end."""
ALL_GAVE_UP = 1
"""The exit code when no feed is left that anybody tries to keep alive."""


@attrs.frozen(kw_only=True)
class Plan:
    """What to run: a configuration, or the demo if there is none."""

    config: Config | None
    state_dir: Path
    seconds: float = math.inf


async def run(plan: Plan, *, out: Sink, err: Sink, environment: Mapping[str, str] = os.environ) -> int:
    """Run until the time is up or a signal comes; returns the exit code.

    Raises:
        BadInput: the state directory or the port cannot be had.
    """
    refused: BadInput | None = None
    runner = _Runner(plan, out, err, environment)
    async with trio.open_nursery() as nursery:
        await nursery.start(out.run)
        await nursery.start(err.run)
        try:
            await runner.run(nursery)
        except BadInput as error:
            refused = error
        await out.flush(FLUSH)
        await err.flush(FLUSH)
        nursery.cancel_scope.cancel("the run has ended")
    if refused is not None:
        raise refused
    return runner.exit_code


class _Runner:
    def __init__(self, plan: Plan, out: Sink, err: Sink, environment: Mapping[str, str]) -> None:
        self.plan = plan
        self.out = out
        self.err = err
        self.exit_code = 0
        self.until = trio.CancelScope(deadline=trio.current_time() + plan.seconds)
        self.terminal = is_terminal(environment, os.isatty(out.fd))
        self.journal = Journal(self._write_log, terminal=os.isatty(err.fd))
        self.table: LiveTable | None = None
        self.consumed = 0

    async def run(self, nursery: trio.Nursery) -> None:
        config = self.plan.config
        with BoundedStop() as stopping, self.journal.bridged():
            await nursery.start(obey_signals, stopping, self._stop, self._hung_up)
            async with Control(self.plan.state_dir) as control:
                page = None if config is None or config.web is None else Page(config.web)
                if config is not None:
                    await self._keep(config, control, page, stopping)
                else:
                    async with demo() as config:
                        self.journal.log.warning(NOTICE)
                        await self._keep(config, control, page, stopping)

    async def _keep(self, config: Config, control: Control, page: Page | None, stopping: BoundedStop) -> None:
        log = self.journal.log
        config = attrs.evolve(config, console=self.journal.alert, spool=self._kept(SPOOL), bans=self._kept(BANS))
        async with open_feeds(config, on_event=self.journal.hook) as feeds:
            stopping.running = feeds.running
            self.journal.stats = {feed.name: feed.stats for feed in feeds}
            for warning in config.alerts.warnings:
                log.warning(warning)
            log.info("started", feeds=len(feeds), control=str(control.path), **({"page": page.url} if page else {}))
            await self._serve(config, feeds, control, page, stopping)
            log.info("stopping")
        log.info("stopped")

    def _kept(self, name: str) -> Path | None:
        """The file of that name in the state directory; what the demo does is worth no disk."""
        return None if self.plan.config is None else self.plan.state_dir / name

    async def _serve(
        self, config: Config, feeds: Feeds, control: Control, page: Page | None, stopping: BoundedStop
    ) -> None:
        """Everything beside the feeds, until we are to stop."""
        status = Status(feeds, demo=self.plan.config is None)
        feeds.metrics.demo = status.demo
        async with trio.open_nursery() as nursery:
            await nursery.start(control.run, {"status": status.document, **muting(feeds)})
            if page is not None:
                await nursery.start(page.run, status)
            for feed in feeds:
                nursery.start_soon(self._consume, feed, config.messages)
            if config.messages:
                nursery.start_soon(self._until_gone)
            elif self.terminal:
                self.table = LiveTable([feed.stats for feed in feeds], self.out, title=NOTICE if status.demo else "")
                stopping.farewell = lambda: SHOW_CURSOR
                await nursery.start(self.table.run)
            with self.until:
                await trio.sleep_forever()
            stopping.begin()
            status.stopping = True
            nursery.cancel_scope.cancel("we stop")
        self.table = None

    async def _consume(self, feed: Feed, write: bool) -> None:
        lines = Lines(feed.name, feed.exchange.code)
        try:
            while True:
                if write:
                    await self.out.has_room()
                item = await feed.next_batch()
                if write:
                    self.out.put(lines.lines(item))
        except FeedFailed as failed:
            why = str(failed)
        self.journal.log.error("feed ended", feed=feed.name, detail=why)
        self.consumed += 1
        if self.consumed == len(self.journal.stats):
            self.exit_code = ALL_GAVE_UP
            self.until.cancel("every feed has ended")

    async def _until_gone(self) -> None:
        await self.out.gone.wait()
        self.journal.log.warning("nobody reads standard output")
        self.until.cancel("nobody reads standard output")

    def _stop(self, signal_name: str) -> None:
        self.journal.log.info("asked to stop", signal=signal_name)
        self.until.cancel(signal_name)

    def _hung_up(self) -> None:
        self.journal.log.info("SIGHUP: the configuration is read at the start only, nothing is changed")

    def _write_log(self, line: bytes) -> None:
        if self.table is not None and os.isatty(self.err.fd):
            self.table.print(line)
        else:
            self.err.tell(line)
