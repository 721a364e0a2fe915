"""Texts of style ``incidents``: one report becomes one text, in Korean or English (pure).

The first line says it all; below it stand which feeds, since when, the cause, what the system does about it, and what
the reader should do where there is something to do.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from actors.errors import Reason, clean
from actors.events import CodeRejected, FeedEvent, LegLost, NoOverlap, Overflowed, Quiet, Unconfirmed
from actors.notifier.channel import Language
from actors.notifier.notification import ALONE, PAGES
from actors.notifier.reports import (
    Beat,
    Concerns,
    Incident,
    Kind,
    Maintenance,
    Phase,
    Report,
    Scope,
    Started,
    Stopped,
    Storage,
    Trouble,
)
from actors.notifier.wording import duration
from actors.notifier.words import ACTIONS, CAUSES, CUTS, LINES

SHOWN = 10
"""The most feeds that a text names."""
CAUSES_SHOWN = 3

Moment = Callable[[float], str]
"""Writes a trio time as the reader's clock shows it."""


def tell(report: Report, language: Language, moment: Moment, now: float) -> str:
    """The whole text of a report, lines separated by newlines; foreign text in it is cleaned."""
    return "\n".join(_Writer(language, moment, now).lines(report))


class _Writer:
    def __init__(self, language: Language, moment: Moment, now: float) -> None:
        self.language = language
        self.moment = moment
        self.now = now

    def lines(self, report: Report) -> list[str]:
        match report:
            case Incident():
                lines = self._resolved(report) if report.phase is Phase.RESOLVED else self._incident(report)
                return [*lines, *self._restarted(report.started)]
            case Concerns():
                return self._concerns(report)
            case Started():
                return self._started(report)
            case Stopped():
                return self._stopped(report)
            case Maintenance():
                return self._maintenance(report)
            case Beat():
                return [self.line("beat", total=report.total, live=report.live)]
            case Storage(detail=""):
                return [self.line("kept_again")]
            case Storage():
                more = [self.line("detail", detail=clean(report.detail)), self.line("memory"), self.line("check_disk")]
                return [self.line("storage"), *more]
            case _:
                return [self.line("test"), self.line("test_more")]

    def line(self, key: str, **fields: object) -> str:
        return LINES[key][self.language].format(**fields)

    # -- incidents

    def _incident(self, report: Incident) -> list[str]:
        hurt = [each for each in report.troubles if each.until is None]
        since = min(each.since for each in hurt)
        first = self._what(report, hurt)
        if report.phase is Phase.REPEATED:
            first = self.line("still", first=first, seconds=self.seconds(self.now - since))
        lines = [first, self._which(hurt), self.line("since", at=self.moment(since)), self._why(hurt)]
        well = [each for each in report.troubles if each.until is not None]
        if well:
            lines.append(self.line("back_meanwhile", feeds=self.feeds(well)))
        if report.kind is Kind.FLAPPING:
            return [*lines, self.line("changes", count=sum(each.edges for each in hurt)), self.line("held")]
        return [*lines, *self._what_next(report, hurt)]

    def _what(self, report: Incident, hurt: Sequence[Trouble]) -> str:
        name, count = self.names(hurt), len(hurt)
        if report.kind is Kind.FLAPPING:
            return self.line("flapping", name=name, count=count)
        hosts = len({each.origin.host for each in hurt})
        # as far as it reaches now: some may be back
        if report.scope is Scope.NETWORK and 2 * hosts > report.hosts:
            return self.line("network_lost", hosts=report.hosts, hurt=hosts, total=report.total, count=count)
        if report.scope > Scope.HOST and hosts > 1:
            return self.line("hosts_lost", name=name, hosts=report.hosts, hurt=hosts, total=report.total, count=count)
        if report.scope is Scope.HOST and 2 * count >= report.total:
            return self.line("host_lost", name=name, total=report.total, count=count)
        if count > 1:
            return self.line("many_lost", name=name, count=count)
        reason = hurt[0].reason
        if reason is Reason.MESSAGE_TIMEOUT:
            return self.line("timeout", name=name)
        if reason in CUTS:
            return self.line("one_lost", name=name)
        return self.line("error", name=name, cause=CAUSES[reason][self.language])

    def _which(self, troubles: Sequence[Trouble]) -> str:
        if len(troubles) == 1:
            origin = troubles[0].origin
            return self.line("feed", feed=clean(origin.feed), host=clean(origin.host))
        return self.line("feeds", feeds=self.feeds(troubles))

    def _why(self, hurt: Sequence[Trouble]) -> str:
        counts = Counter(each.reason for each in hurt).most_common(CAUSES_SHOWN)
        if len(counts) == 1:
            return self.line("cause", cause=CAUSES[counts[0][0]][self.language])
        return self.line("causes", causes=", ".join(f"{CAUSES[why][self.language]} ({n})" for why, n in counts))

    def _what_next(self, report: Incident, hurt: Sequence[Trouble]) -> list[str]:
        if all(each.gave_up for each in hurt):
            lines = [self.line("no_more")]
        else:
            lines = [self.line("slow" if any(each.reason in PAGES for each in hurt) else "retrying")]
        if report.scope is Scope.NETWORK or (
            report.scope is Scope.HOSTS and not any(each.reason in ALONE for each in hurt)
        ):
            return [*lines, self.line("check_network")]
        wanted = [
            ACTIONS[reason][self.language]
            for reason in dict.fromkeys(each.reason for each in hurt)
            if reason in ACTIONS
        ]
        return [*lines, *(self.line("action", action=action) for action in wanted[:CAUSES_SHOWN])]

    def _resolved(self, report: Incident) -> list[str]:
        troubles = report.troubles
        since, until = min(each.since for each in troubles), max(each.until or 0.0 for each in troubles)
        name, count = self.names(troubles), len(troubles)
        if report.kind is Kind.FLAPPING:
            first = self.line("calm", name=name, count=count)
        elif report.scope is Scope.NETWORK:
            first = self.line("network_recovered", count=count)
        elif count > 1:
            first = self.line("many_recovered", name=name, count=count)
        else:
            first = self.line("recovered", name=name)
        span = self.line(
            "lasted_out", seconds=self.seconds(until - since), since=self.moment(since), until=self.moment(until)
        )
        lines = [first, self._which(troubles), span, self._what_is_missing(troubles)]
        if report.kind is Kind.FLAPPING:
            lines.append(self.line("changes", count=sum(each.edges for each in troubles)))
        return lines

    def _what_is_missing(self, troubles: Sequence[Trouble]) -> str:
        most = max(each.lost for each in troubles)
        if not most:
            return self.line("nothing_lost")
        return self.line("data_lost" if len(troubles) == 1 else "data_lost_most", seconds=self.seconds(most))

    # -- the rest

    def _concerns(self, report: Concerns) -> list[str]:
        origins = [event.origin for event in report.events]
        name = self.brackets((origin.name_ko, origin.name_en) for origin in origins)
        lines = [self.line("concerns", name=name, count=len(report.events) + report.more)]
        lines += [self._concern(event) for event in report.events]
        if report.more:
            lines.append(self.line("more", count=report.more))
        if any(isinstance(event, Overflowed) for event in report.events):
            lines.append(self.line("action", action=ACTIONS[Reason.OVERFLOW][self.language]))
        return [*lines, self.line("kept")]

    def _concern(self, event: FeedEvent) -> str:
        match event:
            case Overflowed():
                what = self.line("buffer", depth=event.depth, policy=event.policy)
            case Quiet():
                seconds = self.seconds(event.seconds)
                what = self.line("code", channel=clean(event.channel), code=clean(event.code), seconds=seconds)
            case CodeRejected():
                detail = clean(event.detail)
                what = self.line("rejected_code", channel=clean(event.channel), code=clean(event.code), detail=detail)
            case Unconfirmed():
                what = self.line("unconfirmed", name=clean(", ".join(event.channels)))
            case LegLost():
                what = self.line("leg_lost", cause=CAUSES[event.reason][self.language], left=event.left)
            case NoOverlap():
                what = self.line("no_overlap")
            case _:
                what = ""
        return f"{clean(event.origin.feed)}: {what}"

    def _started(self, report: Started) -> list[str]:
        waiting = report.waiting
        if not waiting:
            lines = [self.line("started", total=report.total)]
        else:
            live = report.total - len(waiting)
            shown = self._waits(waiting)
            lines = [self.line("started_without", total=report.total, live=live, waiting=shown)]
            failed = [each for each in waiting if each.reason is not Reason.STOPPED]
            if len(waiting) > 1:
                lines += [self._why(failed)] if failed else []
            for reason in dict.fromkeys(each.reason for each in failed if each.reason in ACTIONS):
                lines.append(self.line("action", action=ACTIONS[reason][self.language]))
        return [*lines, *self._unclean(report)]

    def _restarted(self, report: Started | None) -> list[str]:
        if report is None:
            return []
        live = report.total - len(report.waiting)
        again = self.line("again", at=self.moment(report.at), total=report.total, live=live)
        return [again, *self._unclean(report)]

    def _unclean(self, report: Started) -> list[str]:
        if report.unclean is None:
            return []
        since, until = map(self.moment, report.unclean)
        if report.crashes > 1:
            return [self.line("unclean_often", count=report.crashes, since=since, until=until)]
        return [self.line("unclean", since=since, until=until)]

    def _waits(self, waiting: Sequence[Trouble]) -> str:
        if len(waiting) > 1:
            return self.line("waiting", feeds=self.feeds(waiting))
        reason = waiting[0].reason
        cause = self.line("connecting") if reason is Reason.STOPPED else CAUSES[reason][self.language]
        return self.line("waiting_cause", feed=clean(waiting[0].origin.feed), cause=cause)

    def _stopped(self, report: Stopped) -> list[str]:
        lines = [self.line("stopped", total=report.total), self.line("uptime", seconds=self.seconds(report.seconds))]
        if report.down:
            lines.append(self.line("down_then", count=report.down))
        if report.started is not None:
            lines += self._unclean(report.started)
        return [*lines, self.line("goes_on")] if report.goes_on else lines

    def _maintenance(self, report: Maintenance) -> list[str]:
        subject = clean(report.subject)
        if report.begins:
            return [self.line("muted", subject=subject, until=self.moment(report.until)), self.line("held_windows")]
        down = report.troubles
        state = self.line("still_down", feeds=self.feeds(down)) if down else self.line("back")
        return [self.line("unmuted", subject=subject), state]

    # -- words

    def seconds(self, seconds: float) -> str:
        return duration(seconds, self.language)

    def names(self, troubles: Iterable[Trouble]) -> str:
        return self.brackets((each.origin.name_ko, each.origin.name_en) for each in troubles)

    def brackets(self, names: Iterable[tuple[str, str]]) -> str:
        own = list(dict.fromkeys(ko if self.language is Language.KO else en for ko, en in names))
        return "".join(own[:3]) + ("…" if len(own) > 3 else "")

    def feeds(self, troubles: Sequence[Trouble]) -> str:
        shown = ", ".join(clean(each.origin.feed) for each in troubles[:SHOWN])
        more = len(troubles) - SHOWN
        return self.line("others", feeds=shown, count=more) if more > 0 else shown
