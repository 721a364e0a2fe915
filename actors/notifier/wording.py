"""The words of every notification, in Korean and English, from one table (pure).

The first line is the connector guide's own, to the letter; then short lines: which feed, the cause, what happens
next, and what the reader should do where retrying alone will not help.
"""

from collections.abc import Mapping

from actors.errors import Reason, Way, clean
from actors.events import (
    Connected,
    Disconnected,
    Failed,
    Overflowed,
    Quiet,
    Reconnecting,
    Unconfirmed,
)
from actors.notifier.channel import Language
from actors.notifier.notification import Notification

Words = Mapping[Language, str]


def _words(ko: str, en: str) -> Words:
    return {Language.KO: ko, Language.EN: en}


LINES: Mapping[str, Words] = {
    # first lines; those in Korean that the guide has are the guide's
    "connect": _words("{name} 웹소켓 연결 성공", "{name} WebSocket connected"),
    "reconnect": _words("{name} 웹소켓 재연결 시도", "{name} WebSocket reconnecting"),
    "disconnect": _words("{name} 웹소켓 연결 종료", "{name} WebSocket closed"),
    "timeout": _words("{name} 웹소켓 메시지 타임아웃", "{name} WebSocket message timeout"),
    "lost": _words("{name} 웹소켓 연결 끊김", "{name} WebSocket connection lost"),
    "error": _words("{name} 웹소켓 연결 오류: {cause}", "{name} WebSocket connection error: {cause}"),
    "gave_up": _words("{name} 웹소켓 재연결 포기", "{name} WebSocket given up"),
    "overflowed": _words("{name} 웹소켓 수신 버퍼 초과", "{name} WebSocket buffer overflow"),
    "unconfirmed": _words("{name} 웹소켓 구독 미확인", "{name} WebSocket subscription not confirmed"),
    "quiet": _words("{name} 웹소켓 데이터 없음", "{name} WebSocket no data"),
    # the lines below it
    "feed": _words("피드: {feed} ({host})", "feed: {feed} ({host})"),
    "cause": _words("원인: {cause}", "cause: {cause}"),
    "detail": _words("상세: {detail}", "detail: {detail}"),
    "took": _words("연결까지 {seconds}", "connected after {seconds}"),
    "outage": _words("{session}번째 연결, 중단 {seconds}", "connection no. {session}, interrupted for {seconds}"),
    "lasted": _words("연결 유지 {seconds}", "was open for {seconds}"),
    "next": _words("다음 시도: {seconds} 후 ({attempt}번째)", "next attempt in {seconds} (no. {attempt})"),
    "now": _words("다음 시도: 지금 ({attempt}번째)", "next attempt now (no. {attempt})"),
    "slow": _words(
        "재시도만으로는 풀리지 않을 수 있어 천천히 다시 시도합니다",
        "retrying alone may not help, so retries are slow",
    ),
    "action": _words("할 일: {action}", "to do: {action}"),
    "no_more": _words("더 이상 시도하지 않습니다", "no further attempt will be made"),
    "kept": _words("연결은 유지됩니다", "the connection is kept"),
    "buffer": _words("대기 중인 메시지 {depth}건, 정책 {policy}", "{depth} messages are waiting, policy {policy}"),
    "channels": _words("채널: {channels}", "channels: {channels}"),
    "code": _words("{channel} {code}: {seconds} 동안 데이터 없음", "{channel} {code}: no data for {seconds}"),
    "missed": _words("(전송되지 못한 알림 {count}건)", "({count} notifications before this one were lost)"),
}
"""Every line, by name; the fields in braces are the same in both languages."""

CAUSES: Mapping[Reason, Words] = {
    Reason.DNS_NXDOMAIN: _words("호스트 이름이 존재하지 않음", "the host name does not exist"),
    Reason.DNS_TIMEOUT: _words("DNS 응답 시간 초과", "name resolution timed out"),
    Reason.DNS_TEMP: _words("DNS 일시 오류", "name resolution failed for the moment"),
    Reason.NET_UNREACHABLE: _words("네트워크에 연결할 수 없음", "the network is unreachable"),
    Reason.LOCAL_PORTS: _words("이 서버의 로컬 포트 부족", "this machine has no local port left"),
    Reason.FD_LIMIT: _words("이 프로세스의 파일 디스크립터 부족", "this process has no file descriptor left"),
    Reason.CONNECT_TIMEOUT: _words("TCP 연결 시간 초과", "the TCP connection timed out"),
    Reason.REFUSED: _words("서버가 연결을 거부함", "the server refused the connection"),
    Reason.RESET: _words("서버가 연결을 강제로 끊음", "the server reset the connection"),
    Reason.EOF: _words("서버가 예고 없이 연결을 끊음", "the server cut the connection without a close frame"),
    Reason.SEND_TIMEOUT: _words("전송 시간 초과", "sending timed out"),
    Reason.TLS_EXPIRED: _words(
        "TLS 인증서의 유효 기간이 지났거나 아직 아님", "the TLS certificate is expired or not yet valid"
    ),
    Reason.TLS_HOSTNAME: _words("TLS 인증서의 호스트 이름 불일치", "the TLS certificate is for another host"),
    Reason.TLS_UNTRUSTED: _words("신뢰할 수 없는 TLS 인증서", "the TLS certificate is not trusted"),
    Reason.TLS_TIMEOUT: _words("TLS 협상 시간 초과", "the TLS handshake timed out"),
    Reason.TLS_EOF: _words("TLS 협상 중 연결 끊김", "the connection was cut in the TLS handshake"),
    Reason.TLS_PROTOCOL: _words("TLS 버전 또는 암호 방식 불일치", "no common TLS version or cipher"),
    Reason.TLS_ERROR: _words("TLS 데이터 오류", "broken TLS data"),
    Reason.UPGRADE_TIMEOUT: _words("웹소켓 업그레이드 응답 시간 초과", "the WebSocket upgrade timed out"),
    Reason.HTTP_REDIRECT: _words("다른 주소로 이동 응답 (HTTP 3xx)", "redirected to another address (HTTP 3xx)"),
    Reason.HTTP_CLIENT: _words("요청이 거부됨 (HTTP 4xx)", "the request was refused (HTTP 4xx)"),
    Reason.HTTP_FORBIDDEN: _words("접근 금지 (HTTP 401/403)", "access denied (HTTP 401/403)"),
    Reason.HTTP_BANNED: _words("IP 차단 (HTTP 418)", "this address is banned (HTTP 418)"),
    Reason.HTTP_429: _words("요청 한도 초과 (HTTP 429)", "too many requests (HTTP 429)"),
    Reason.HTTP_5XX: _words("거래소 서버 오류 (HTTP 5xx)", "exchange server error (HTTP 5xx)"),
    Reason.HTTP_NOT_101: _words("웹소켓이 아닌 응답 (점검 페이지일 수 있음)", "not a WebSocket (maintenance page?)"),
    Reason.HTTP_GARBAGE: _words("HTTP가 아닌 응답", "the answer is not HTTP"),
    Reason.WS_HANDSHAKE: _words("잘못된 웹소켓 핸드셰이크", "invalid WebSocket handshake"),
    Reason.WS_UTF8: _words("UTF-8이 아닌 텍스트 수신", "received text that is not UTF-8"),
    Reason.WS_PROTOCOL: _words("웹소켓 규약 위반", "WebSocket protocol violation"),
    Reason.WS_TOO_BIG: _words("메시지 크기 한도 초과", "a message over the size limit"),
    Reason.CLOSE_1000: _words("서버가 연결을 종료함 (1000)", "the server closed the connection (1000)"),
    Reason.CLOSE_1001: _words("서버가 내려감 (1001)", "the server is going away (1001)"),
    Reason.CLOSE_1008: _words("서버 정책 위반으로 종료됨 (1008)", "closed for a policy violation (1008)"),
    Reason.CLOSE_1011: _words("서버 내부 오류로 종료됨 (1011)", "closed for a server error (1011)"),
    Reason.CLOSE_1012: _words("서버 재시작 (1012)", "the server restarts (1012)"),
    Reason.CLOSE_1013: _words("서버가 나중에 다시 시도하라고 함 (1013)", "the server says to try later (1013)"),
    Reason.CLOSE_4XXX: _words("거래소 고유 코드로 종료됨 (4xxx)", "closed with a code of the exchange's own (4xxx)"),
    Reason.CLOSE_OTHER: _words("서버가 연결을 종료함", "the server closed the connection"),
    Reason.PING_TIMEOUT: _words("핑 응답 시간 초과", "a ping was not answered in time"),
    Reason.LINK_TIMEOUT: _words("아무 프레임도 오지 않음", "no frame of any kind arrives"),
    Reason.MESSAGE_TIMEOUT: _words("데이터가 오지 않음", "no data arrives"),
    Reason.SUB_TIMEOUT: _words("구독 확인 시간 초과", "the subscription was not confirmed in time"),
    Reason.SUB_REJECTED: _words("구독이 거부됨", "the subscription was rejected"),
    Reason.APP_ERROR: _words("거래소가 오류를 알림", "the exchange reports an error"),
    Reason.ENDPOINT: _words("접속 주소를 받아오지 못함", "the address to connect to could not be fetched"),
    Reason.REQUESTED: _words("재연결 요청", "a reconnect was requested"),
    Reason.OVERFLOW: _words("수신 처리가 너무 느림", "the consumer is too slow"),
    Reason.CRASH: _words("프로그램 오류", "a bug in this program"),
    Reason.STOPPED: _words("정상 종료", "stopped as asked"),
}
"""Every reason in words."""

ACTIONS: Mapping[Reason, Words] = {
    Reason.DNS_NXDOMAIN: _words("주소와 DNS 설정을 확인하세요", "check the address and the DNS settings"),
    Reason.LOCAL_PORTS: _words(
        "이 서버에서 열린 연결 수를 줄이세요", "reduce the number of open connections on this machine"
    ),
    Reason.FD_LIMIT: _words(
        "파일 디스크립터 한도(ulimit -n)를 늘리세요", "raise the file descriptor limit (ulimit -n)"
    ),
    Reason.TLS_EXPIRED: _words(
        "이 서버의 시계를 확인하세요. 맞다면 거래소 인증서 문제입니다",
        "check this machine's clock; if it is right, the exchange's certificate is at fault",
    ),
    Reason.TLS_HOSTNAME: _words("주소, DNS, 프록시를 확인하세요", "check the address, DNS and any proxy"),
    Reason.TLS_UNTRUSTED: _words(
        "CA 인증서(ca_file)를 확인하고, 중간 프록시나 인증 포털이 있는지 보세요",
        "check the CA certificates (ca_file), and look for a proxy or captive portal in between",
    ),
    Reason.TLS_PROTOCOL: _words("이 서버의 OpenSSL을 업데이트하세요", "update OpenSSL on this machine"),
    Reason.HTTP_REDIRECT: _words(
        "거래소 공지에서 새 주소를 찾아 ws_url을 고치세요", "look up the new address and set ws_url"
    ),
    Reason.HTTP_CLIENT: _words(
        "ws_url과 거래소 문서를 확인하세요", "check ws_url against the exchange's documentation"
    ),
    Reason.HTTP_FORBIDDEN: _words(
        "이 IP나 지역이 허용되는지 거래소에서 확인하세요", "ask the exchange whether this address or region is allowed"
    ),
    Reason.HTTP_BANNED: _words(
        "같은 IP의 다른 프로그램까지 연결 수를 줄이세요",
        "reduce the connections of every program behind this address",
    ),
    Reason.WS_HANDSHAKE: _words("ws_url과 중간 프록시를 확인하세요", "check ws_url and any proxy in between"),
    Reason.WS_TOO_BIG: _words(
        "max_message_size를 늘리거나 구독을 나누세요", "raise max_message_size or split the subscription"
    ),
    Reason.CLOSE_1008: _words(
        "거래소의 이용 규칙과 구독 내용을 확인하세요", "check the exchange's rules and the subscription"
    ),
    Reason.SUB_REJECTED: _words("채널과 종목 코드를 확인하세요", "check the channel and the codes"),
    Reason.CRASH: _words("로그의 오류 내용을 개발자에게 알리세요", "report the error in the log to the developers"),
    Reason.OVERFLOW: _words(
        "메시지를 받는 쪽을 빠르게 하거나 구독을 나누세요", "make the consumer faster or split the subscription"
    ),
}
"""What the reader should do, for the failures that do not go away by themselves."""

_CUTS = frozenset(
    {Reason.RESET, Reason.EOF, Reason.SEND_TIMEOUT, Reason.TLS_ERROR, Reason.PING_TIMEOUT, Reason.LINK_TIMEOUT}
    | {reason for reason in Reason if reason.value.startswith("close_")}
)
"""Ends of an open session that a person calls "the connection was lost"."""


def render(notification: Notification, language: Language) -> str:
    """The whole text of a notification, lines separated by newlines; foreign text in it is cleaned."""
    return "\n".join(_Writer(notification, language).lines())


def missed(count: int, language: Language) -> str:
    """The line that says how many notifications did not get through before this one."""
    return LINES["missed"][language].format(count=count)


def duration(seconds: float, language: Language) -> str:
    """A length of time in words: ``1.4초`` or ``1.4 s``, ``3분 12초`` or ``3 min 12 s``, ``2시간`` or ``2 h``."""
    second, minute, hour, day = ("초", "분", "시간", "일") if language is Language.KO else (" s", " min", " h", " d")
    if seconds < 10:
        return f"{max(seconds, 0):.1f}{second}"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}{second}"
    if whole < 3600:
        return _two(whole // 60, minute, whole % 60, second)
    if whole < 86_400:
        return _two(whole // 3600, hour, whole % 3600 // 60, minute)
    return _two(whole // 86_400, day, whole % 86_400 // 3600, hour)


def _two(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit} {small}{small_unit}" if small else f"{big}{big_unit}"


class _Writer:
    def __init__(self, notification: Notification, language: Language) -> None:
        self.notification = notification
        self.language = language
        origin = notification.origin
        self.name = origin.name_ko if language is Language.KO else origin.name_en

    def lines(self) -> list[str]:
        event = self.notification.cause
        match event:
            case Connected():
                first, more = self.line("connect"), [self._since_when(event)]
            case Disconnected():
                first = self.line("disconnect")
                more = [self.cause(event.reason), self.line("lasted", seconds=self.seconds(event.seconds))]
            case Reconnecting():
                first, more = self.line("reconnect"), self._what_next(event)
            case Failed():
                first, more = self._what_failed(event)
            case Overflowed():
                first = self.line("overflowed")
                more = [self.line("buffer", depth=event.depth, policy=event.policy), *self.action(Reason.OVERFLOW)]
            case Unconfirmed():
                first = self.line("unconfirmed")
                more = [self.line("channels", channels=clean(", ".join(event.channels))), self.line("kept")]
            case Quiet():
                first, more = self.line("quiet"), [self._which_code(event), self.line("kept")]
            case _:
                first, more = self.line("gave_up"), [self.line("no_more")]
        origin = self.notification.origin
        return [first, self.line("feed", feed=clean(origin.feed), host=clean(origin.host)), *more]

    def line(self, key: str, **fields: object) -> str:
        return LINES[key][self.language].format(name=self.name, **fields)

    def seconds(self, seconds: float) -> str:
        return duration(seconds, self.language)

    def cause(self, reason: Reason) -> str:
        return self.line("cause", cause=CAUSES[reason][self.language])

    def action(self, reason: Reason | None) -> list[str]:
        words = ACTIONS.get(reason) if reason else None
        return [self.line("action", action=words[self.language])] if words else []

    def _since_when(self, event: Connected) -> str:
        seconds = self.seconds(event.seconds)
        if event.session > 1:
            return self.line("outage", session=event.session, seconds=seconds)
        return self.line("took", seconds=seconds)

    def _what_failed(self, event: Failed) -> tuple[str, list[str]]:
        more = [self.line("detail", detail=clean(event.detail))] if event.detail else []
        more += self.action(event.reason)
        if event.reason is Reason.MESSAGE_TIMEOUT:
            return self.line("timeout"), [self.cause(event.reason), *more]
        if event.connected and event.reason in _CUTS:
            return self.line("lost"), [self.cause(event.reason), *more]
        return self.line("error", cause=CAUSES[event.reason][self.language]), more

    def _what_next(self, event: Reconnecting) -> list[str]:
        if event.delay > 0:
            lines = [self.line("next", seconds=self.seconds(event.delay), attempt=event.attempt)]
        else:
            lines = [self.line("now", attempt=event.attempt)]
        if event.reason:
            lines.insert(0, self.cause(event.reason))
        if event.way is Way.QUARANTINE:
            lines += [self.line("slow"), *self.action(event.reason)]
        return lines

    def _which_code(self, event: Quiet) -> str:
        seconds = self.seconds(event.seconds)
        return self.line("code", channel=clean(event.channel), code=clean(event.code), seconds=seconds)
