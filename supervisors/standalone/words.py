"""What the commands about alerts say, in Korean and English, as their channel speaks (pure)."""

from collections.abc import Mapping

from actors.notifier.channel import Language
from actors.notifier.words import Words


def _both(ko: str, en: str) -> Words:
    return {Language.KO: ko, Language.EN: en}


SAID: Mapping[str, Words] = {
    "arrived": _both("{name}: 도착했습니다", "{name}: arrived"),
    "failed": _both("{name}: 도착하지 않았습니다: {trouble}", "{name}: did not arrive: {trouble}"),
    "muted": _both("{subject}: {until}까지 알림을 보내지 않습니다", "{subject} is muted until {until}"),
    "no_feed": _both(
        "{subject}: 이런 이름의 피드나 거래소가 없습니다", "there is no feed and no exchange named '{subject}'"
    ),
    "no_incidents": _both(
        'style = "incidents"인 채널만 멈출 수 있는데, 그런 채널이 없습니다',
        "only channels in style incidents can be muted, and there is none",
    ),
}
"""Every line, by name; the fields in braces are the same in both languages."""

UNKNOWN = _both(
    "알려진 해결 방법이 없습니다. 윗줄은 상대 서버가 한 말입니다.",
    "Nothing here is known to help; the line above is what the other side said.",
)

_NO_NAME = _both(
    "호스트 이름을 찾을 수 없습니다. 이 서버의 DNS와 URL의 철자를 확인하세요.",
    "The host's name cannot be found. Check this machine's DNS, and the spelling of the URL.",
)
ADVICE: Mapping[str, Words] = {
    "check the token": _both(
        "이 토큰의 봇을 텔레그램이 모릅니다. 텔레그램에서 @BotFather에게 /mybots를 보내 봇을 고르고 `API Token`을 "
        "누른 뒤, 123456789:AAF... 같은 전체 문자열을 설정의 token이 가리키는 곳에 넣으세요.",
        "Telegram knows no bot with this token. In Telegram open @BotFather, send /mybots, choose the bot and "
        "`API Token`; put the whole text, like 123456789:AAF..., where the configuration's token points to.",
    ),
    "check chat_id": _both(
        "봇이 이 대화를 만난 적이 없습니다. 텔레그램에서 봇을 열어 시작을 누르거나, 그룹에 봇을 추가하세요. 대화 "
        "번호는 web.telegram.org에서 대화를 열었을 때 주소 끝의 # 뒤에 있고, 그룹은 빼기 기호로 시작합니다.",
        "The bot has never met this chat. Open the bot in Telegram and press Start, or add it to the group. The "
        "chat's number stands at the end of the address, after #, when it is open at web.telegram.org; a group's "
        "begins with a minus.",
    ),
    "invite or unblock it": _both(
        "이 대화에 봇이 글을 쓸 수 없습니다. 봇 차단을 풀거나 그룹에 다시 추가하고, 채널이라면 관리자로 지정하세요.",
        "The chat does not let the bot write. Unblock it, or add it to the group again; in a channel make it an "
        "administrator.",
    ),
    "asks to wait": _both(
        "너무 많은 메시지를 보냈습니다. 안내된 시간만큼 기다렸다가 다시 시도하세요.",
        "Too many messages went there. Wait as long as it says and try again.",
    ),
    "Name or service not known": _NO_NAME,
    "No address associated": _NO_NAME,
    "Temporary failure in name resolution": _both(
        "이 서버의 DNS가 응답하지 않습니다. 네트워크 연결을 확인하세요.",
        "This machine's DNS does not answer. Check its network connection.",
    ),
    "CERTIFICATE_VERIFY_FAILED": _both(
        "서버 인증서를 신뢰할 수 없습니다. `ca-certificates`를 설치하거나 ca_file에 인증 기관을 지정하세요. TLS를 열어 "
        "보는 회사 프록시는 자체 인증 기관을 씁니다.",
        "The server's certificate is not trusted: install `ca-certificates`, or name the authority in ca_file; a "
        "company proxy that opens TLS has an authority of its own.",
    ),
    "cannot be reached: 407": _both(
        "프록시가 사용자와 비밀번호를 받아들이지 않습니다. proxy가 가리키는 URL의 사용자와 비밀번호를 확인하세요.",
        "The proxy does not accept us. Check the user and the password in the URL that proxy points to.",
    ),
    "refused": _both(
        "그 주소에서 받는 프로그램이 없습니다. 호스트와 포트, 프록시를 확인하세요.",
        "Nothing listens there. Check the host, the port, and any proxy.",
    ),
    "cannot be reached": _both(
        "네트워크가 막혀 있습니다. 텔레그램이 차단된 곳이라면 이 채널에 proxy를 설정하세요.",
        "The network does not let us through. Where Telegram is blocked, set proxy for this channel.",
    ),
    "check base_url": _both(
        "응답한 것이 텔레그램이 아닙니다. base_url을 지우거나 고치고, 프록시를 확인하세요.",
        "What answers is not Telegram. Remove base_url, or correct it, and check the proxy.",
    ),
    "check its url and key": _both(
        "받는 쪽이 거부합니다. URL과 키가 받는 쪽이 기대하는 것과 같은지 비교하세요.",
        "The receiver refuses us. Compare the URL and the key with what it expects.",
    ),
    "is out of order": _both(
        "받는 서버에 장애가 있습니다. 잠시 뒤에 다시 시도하세요.",
        "The server itself has a problem. Try again in a while.",
    ),
    "apprise could not": _both(
        "URL을 알 수 없거나 서비스가 거부합니다. apprise 문서의 형식과 비교하세요.",
        "The URL is not understood, or its service refuses: compare it with apprise's documentation.",
    ),
    "apprise has not": _both(
        "서비스가 제때 응답하지 않습니다. 이 서버의 네트워크를 확인하고 다시 시도하세요.",
        "The service does not answer in time. Check this machine's network and try again.",
    ),
}
"""What to do, by what stands in an error's text; the first that fits."""
