"""The words of every notification, in Korean and English: lines, causes and remedies (pure)."""

from collections.abc import Mapping

from actors.errors import Reason
from actors.notifier.channel import Language

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
    "rejected": _words("{name} 웹소켓 종목 구독 거부됨", "{name} WebSocket code rejected"),
    "rejected_code": _words("{channel} {code}: 거래소가 거부함: {detail}", "{channel} {code}: rejected: {detail}"),
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
    # -- style "incidents": first lines
    "one_lost": _words("{name} 웹소켓 연결 끊김", "{name} WebSocket connection lost"),
    "many_lost": _words("{name} 웹소켓 연결 끊김: 피드 {count}개", "{name} WebSocket connections lost: {count} feeds"),
    "host_lost": _words(
        "{name} 웹소켓 전체 장애: 피드 {total}개 중 {count}개 끊김",
        "{name} WebSocket outage of the whole host: {count} of {total} feeds lost",
    ),
    "hosts_lost": _words(
        "{name} 웹소켓 연결 끊김: 거래소 {hosts}곳 중 {hurt}곳, 피드 {total}개 중 {count}개",
        "{name} WebSocket connections lost: {hurt} of {hosts} hosts, {count} of {total} feeds",
    ),
    "network_lost": _words(
        "[네트워크] 웹소켓 전체 장애: 거래소 {hosts}곳 중 {hurt}곳, 피드 {total}개 중 {count}개 끊김",
        "[Network] WebSocket outage: {hurt} of {hosts} hosts, {count} of {total} feeds lost",
    ),
    "still": _words("{first} (계속, {seconds}째)", "{first} (still, for {seconds})"),
    "recovered": _words("{name} 웹소켓 연결 복구", "{name} WebSocket recovered"),
    "many_recovered": _words("{name} 웹소켓 연결 복구: 피드 {count}개", "{name} WebSocket recovered: {count} feeds"),
    "network_recovered": _words(
        "[네트워크] 웹소켓 연결 복구: 피드 {count}개", "[Network] WebSocket recovered: {count} feeds"
    ),
    "flapping": _words("{name} 웹소켓 연결 불안정: 피드 {count}개", "{name} WebSocket unstable: {count} feeds"),
    "calm": _words("{name} 웹소켓 연결 안정: 피드 {count}개", "{name} WebSocket stable again: {count} feeds"),
    "leg_lost": _words("연결 하나 끊김({cause}), 나머지 {left}개로 계속", "lost a socket ({cause}), {left} carry on"),
    "no_overlap": _words(
        "연결 수 제한 때문에 겹쳐서 갱신할 수 없음, 갱신마다 짧은 공백",
        "no room for a second socket, so each renewal is a short gap",
    ),
    "concerns": _words("{name} 웹소켓 주의: 알림 {count}건", "{name} WebSocket: {count} warnings"),
    "started": _words("{total}개 피드 모두 연결 성공", "{total} of {total} feeds are live"),
    "started_without": _words(
        "{total}개 피드 중 {live}개 연결 성공, {waiting}", "{live} of {total} feeds are live, {waiting}"
    ),
    "stopped": _words("피드 {total}개 감시 종료", "stopped watching {total} feeds"),
    "muted": _words("{subject} 알림 중지 ({until}까지)", "{subject} muted (until {until})"),
    "unmuted": _words("{subject} 알림 재개", "{subject} no longer muted"),
    "beat": _words("정상 동작 중: {total}개 피드 중 {live}개 연결", "alive: {live} of {total} feeds are live"),
    "kept_again": _words("알림을 다시 디스크에 보관함", "alerts are kept on disk again"),
    "storage": _words("알림을 디스크에 보관할 수 없음", "alerts cannot be kept on disk"),
    "test": _words("시험 메시지입니다", "this is a test message"),
    # -- and the lines below them
    "feeds": _words("피드: {feeds}", "feeds: {feeds}"),
    "others": _words("{feeds} 외 {count}개", "{feeds} and {count} more"),
    "since": _words("시작: {at}", "since: {at}"),
    "causes": _words("원인: {causes}", "causes: {causes}"),
    "lasted_out": _words("중단: {seconds} ({since} ~ {until})", "interrupted: {seconds} ({since} to {until})"),
    "data_lost": _words("데이터 공백: {seconds}", "missing data: {seconds}"),
    "data_lost_most": _words("데이터 공백: 가장 긴 피드 {seconds}", "missing data: at most {seconds} of a feed"),
    "nothing_lost": _words("데이터 공백: 아직 알려지지 않음", "missing data: not known yet"),
    "changes": _words("끊김과 복구 {count}회", "{count} cuts and recoveries"),
    "retrying": _words("자동으로 다시 연결합니다", "reconnecting by itself"),
    "held": _words(
        "10분 동안 안정될 때까지 이 피드의 알림을 멈춥니다",
        "nothing more is told of these until they have been stable for 10 minutes",
    ),
    "held_windows": _words("이 동안 알림을 보내지 않습니다", "no alert is sent meanwhile"),
    "back_meanwhile": _words("그사이 복구: {feeds}", "back meanwhile: {feeds}"),
    "back": _words("모두 정상입니다", "all is well"),
    "still_down": _words("아직 끊긴 피드: {feeds}", "still down: {feeds}"),
    "waiting": _words("{feeds} 대기", "waiting for {feeds}"),
    "waiting_cause": _words("{feed} 대기: {cause}", "{feed} waits: {cause}"),
    "connecting": _words("연결 중", "still connecting"),
    "unclean": _words(
        "이전 실행이 비정상 종료됨: {since} ~ {until} 사이 데이터 없음",
        "the previous run ended without a stop: no data between {since} and {until}",
    ),
    "unclean_often": _words(
        "이전 실행이 {count}번 비정상 종료됨: {since} ~ {until}",
        "{count} runs before this one ended without a stop: {since} to {until}",
    ),
    "uptime": _words("가동 시간: {seconds}", "was up for {seconds}"),
    "down_then": _words("종료 시 끊겨 있던 피드 {count}개", "{count} feeds were down when it stopped"),
    "goes_on": _words(
        "15분 안에 다시 시작하면 따로 알리지 않고 이 피드들의 다음 알림에 함께 알립니다 (늦어도 시작 15분 뒤)",
        "if it starts again within 15 minutes, the next message about these tells of it, 15 minutes later at most",
    ),
    "again": _words(
        "다시 시작함: {at}, {total}개 피드 중 {live}개 연결",
        "running again since {at}: {live} of {total} feeds are live",
    ),
    "more": _words("그 외 {count}건", "and {count} more"),
    "memory": _words(
        "메모리에 보관하며 계속합니다. 그동안 강제 종료되면 알림이 사라집니다",
        "they are kept in memory: a kill would lose them",
    ),
    "check_network": _words(
        "할 일: 이 서버의 네트워크와 DNS를 확인하세요", "to do: check this machine's network and DNS"
    ),
    "check_disk": _words(
        "할 일: 디스크 공간과 상태 디렉터리의 권한을 확인하세요",
        "to do: check the disk's space and the permissions of the state directory",
    ),
    "test_more": _words("알림이 이 채널로 도착합니다", "alerts arrive by this channel"),
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
    Reason.PROXY_UNREACHABLE: _words("프록시에 연결할 수 없음", "the proxy cannot be reached"),
    Reason.PROXY_TIMEOUT: _words("프록시 응답 시간 초과", "the proxy did not answer in time"),
    Reason.PROXY_AUTH: _words("프록시 인증 실패", "the proxy does not accept our credentials"),
    Reason.PROXY_REFUSED: _words("프록시가 연결을 거부함", "the proxy refused the connection"),
    Reason.PROXY_GARBAGE: _words("프록시가 아닌 응답", "the proxy's answer is none of a proxy"),
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
    Reason.WS_FRAGMENTS: _words("메시지가 너무 많은 조각으로 옴", "a message in too many fragments"),
    Reason.PING_FLOOD: _words("핑이 지나치게 많이 옴", "a flood of pings"),
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
    Reason.SEQ_GAP: _words("메시지 일련번호가 건너뜀", "sequence numbers are missing"),
    Reason.RESUBSCRIBED: _words("구독 변경 중 누락 가능", "messages may be missing around a change of subscriptions"),
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
    Reason.PROXY_UNREACHABLE: _words("프록시가 켜져 있는지 확인하세요", "check whether the proxy is up"),
    Reason.PROXY_AUTH: _words("프록시의 사용자와 비밀번호를 확인하세요", "check the proxy's user and password"),
    Reason.PROXY_REFUSED: _words(
        "프록시가 이 호스트와 포트를 허용하는지 확인하세요", "check whether the proxy allows this host and port"
    ),
    Reason.PROXY_GARBAGE: _words("프록시의 종류와 포트를 확인하세요", "check the kind and the port of the proxy"),
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

CUTS = frozenset(
    {Reason.RESET, Reason.EOF, Reason.SEND_TIMEOUT, Reason.TLS_ERROR, Reason.PING_TIMEOUT, Reason.LINK_TIMEOUT}
    | {reason for reason in Reason if reason.value.startswith("close_")}
)
"""Ends of an open session that a person calls "the connection was lost"."""
