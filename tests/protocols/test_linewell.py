"""Dialect B: what a province gets from us, opened with its own secret, and what we make of its answers."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import ECB

from protocols import sm4
from protocols.dialects.codes import Item
from protocols.dialects.linewell import Linewell, LinewellSettings
from protocols.ratings import Accepted, Answer, Held, Level, Refused, Token, Unavailable
from tests.protocols.test_txnbody import CASE, NOW_MS, RATING

SECRET = "s3cret"
RATED = [(RATING, CASE)]

# Written down from the description of the province's interface, in its order.
ON_THE_WIRE = [
    ("sysNO", "FJ0042"),
    ("businessCode", "1137010000418859XL437011401700002"),
    ("businessName", "社会保障卡补领"),
    ("projectNo", "35" + RATING.case_no),
    ("proStatus", "3"),
    ("projectName", "关于张建国申请社会保障卡补领的业务"),
    ("nodeName", "业务办结"),
    ("regionCode", "370102"),
    ("acceptDate", "2026-11-02 09:10:00"),
    ("userProp", "1"),
    ("userName", "张建国"),
    ("userPageType", "111"),
    ("certKey", "370102198001011234"),
    ("handleUserName", "王芳"),
    ("handleUserPageType", "414"),
    ("handleUserPageCode", "E12345678"),
    ("resultDate", "2026-11-02 09:28:00"),
    ("serviceTime", "2026-11-02 09:28:40"),
    ("evaluateType", "1"),
    ("pf", "4"),
    ("type", "2"),
    ("contactMobile", "13812345678"),
    ("backUrl", ""),
    ("customFields", "JN-LXA07,011121202611020017-1,351001"),
    ("pf5urltype", ""),
    ("alternate", "2"),
    ("appraisald", "213,214"),
    ("appraisaldnum", "2"),
    ("writingevalua", '材料要了"两次"\\，还是不行'),
    ("assessTime", "2026-11-02 09:29:31"),
]


def speaks(**other) -> Linewell:
    usual = {
        "token_url": "https://p/api-gateway/gateway/get-token",
        "rating_url": "https://p/wailian/webservice/getSaveEvaluation",
        "app_key": "hall-1",
        "app_secret": SECRET,
        "system_no": "FJ0042",
    }
    return Linewell(LinewellSettings(**(usual | other)))


def envelope(request) -> ElementTree.Element:
    return ElementTree.fromstring(request.body)


def xml_of(request) -> str:
    """The hidden text, as the province's own program opens it: the first sixteen letters of the digest are the key."""
    sealed = envelope(request).findtext(".//xmlStr")
    key = hashlib.md5(SECRET.encode()).hexdigest()[:16].encode()
    decryptor = Cipher(SM4(key), ECB()).decryptor()
    return (decryptor.update(base64.b64decode(sealed, validate=True)) + decryptor.finalize()).rstrip(b"\0").decode()


def record_of(request) -> list[tuple[str, str]]:
    text = xml_of(request)
    prolog = '<?xml version="1.0" encoding="GB2312"?>'
    assert text.startswith(prolog)
    return [(element.tag, element.text or "") for element in ElementTree.fromstring(text.removeprefix(prolog))]


def returned(case: str) -> Answer:
    escaped = case.replace("&", "&amp;").replace("<", "&lt;")
    body = (
        '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body><r xmlns="urn:x">'
        f"<return>{escaped}</return></r></S:Body></S:Envelope>"
    )
    return Answer(200, body.encode())


def test_the_cipher_is_the_national_one():
    """GM/T 0002, appendix A.1."""
    example = bytes.fromhex("0123456789abcdeffedcba9876543210")

    assert "681edf34d206965e86b3e94f536e4246" == sm4.encrypt_blocks(example, example).hex()


def test_a_rating_travels_with_its_case_as_the_province_describes_it():
    """Each element, in order. Red if one is left out, renamed or filled from another field."""
    request = speaks(province_prefix="35").rating_request(RATED, NOW_MS, "t")

    assert ON_THE_WIRE == record_of(request)
    assert "https://p/wailian/webservice/getSaveEvaluation" == request.url


def test_the_envelope_shows_the_token_and_who_calls():
    """SOAP 1.1, the operation in the gateway's namespace."""
    found = envelope(speaks().rating_request(RATED, NOW_MS, "tok<en"))
    soap = "{http://schemas.xmlsoap.org/soap/envelope/}"

    assert "Basic tok<en" == found.findtext(f"{soap}Header/Authorization")
    operation = found.find(f"{soap}Body/{{http://webServiceInterface.cms.linewell.com}}getSaveEvaluation")
    assert ["appKey", "xmlStr"] == [each.tag for each in operation]
    assert "hall-1" == operation.findtext("appKey")
    assert not set(" \r\n") & set(operation.findtext("xmlStr"))


@pytest.mark.parametrize("text", ["<b>1 & 2</b>", "]]>", "&lt;", "\x00\x0b坏\ufffe字符", "😀" * 10, "a" * 150])
def test_whatever_a_citizen_writes_arrives(text):
    """Markup is text; a character that XML has no place for would make the whole record unreadable, and goes."""
    record = dict(record_of(speaks().rating_request([(replace(RATING, text=text), CASE)], NOW_MS)))

    assert "".join(each for each in text if each not in "\x00\x0b\ufffe") == record["writingevalua"]


def test_nobody_is_one_blank():
    """As its own clients say that there is no agent."""
    alone = replace(CASE, handler_name="", handler_certificate_type="", handler_certificate_no="")
    record = dict(record_of(speaks().rating_request([(RATING, alone)], NOW_MS)))

    assert [" "] * 3 == [record[name] for name in ("handleUserName", "handleUserPageType", "handleUserPageCode")]


def test_a_rating_without_tags_counts_none():
    record = dict(record_of(speaks().rating_request([(replace(RATING, tags=()), CASE)], NOW_MS)))

    assert ("", "0") == (record["appraisald"], record["appraisaldnum"])


def test_the_item_is_the_provinces_own():
    """businessCode and businessName are mapped; an item that is not is held back, and named."""
    dialect = speaks(items={CASE.item_handle_code: Item("FJ" + "1" * 29, "社保卡")})
    record = dict(record_of(dialect.rating_request(RATED, NOW_MS)))

    assert ("FJ" + "1" * 29, "社保卡") == (record["businessCode"], record["businessName"])
    assert dialect.held(RATING, CASE) is None
    other = replace(CASE, item_handle_code="", item_code="9" * 31)
    assert Held("item_not_mapped", "9" * 31) == dialect.held(RATING, other)


# ---- the token


@pytest.mark.parametrize("upper", [False, True])
def test_a_token_is_asked_for_with_a_digest_of_secret_and_time(upper):
    """MD5(secret + timestamp), and the secret itself nowhere."""
    request = speaks(upper_sign=upper).token_request(NOW_MS)
    asked = parse_qs(urlsplit(request.url).query)
    digest = hashlib.md5(f"{SECRET}{NOW_MS}".encode()).hexdigest()

    assert request.body is None
    assert {"app_key": ["hall-1"], "timestamp": [str(NOW_MS)], "sign": [digest.upper() if upper else digest]} == asked
    assert SECRET not in request.url


def test_a_token_ends_half_a_minute_before_the_gateway_says():
    answer = Answer(200, b'{"access_token": "abc", "refresh_token": "x", "expires_in": "120"}')

    assert Token("abc", NOW_MS + 90_000) == speaks().token(answer, NOW_MS)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(401, b'{"code": 401}'),
        Answer(200, b""),
        Answer(200, b"[]"),
        Answer(200, b'{"access_token": ""}'),
        Answer(502, b'{"access_token": "abc"}'),
    ],
    ids=str,
)
def test_no_token_is_nobodys_fault(answer):
    assert isinstance(speaks().token(answer, NOW_MS), Unavailable)


def test_a_stale_token_is_told_from_all_else():
    """HTTP 400 with x-error-code: another token is asked for, and nothing is marked bad."""
    stale = Answer(400, b"", {"x-error-code": "access_token_invalid"})
    [verdict] = speaks().verdicts(stale, RATED)
    [other] = speaks().verdicts(Answer(400, b"x"), RATED)

    assert isinstance(verdict, Unavailable) and verdict.token_stale
    assert isinstance(other, Unavailable) and not other.token_stale


# ---- the answer


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        (
            "<Case><code>200</code><data><evaluateUnid>35PJ01</evaluateUnid></data></Case>",
            Accepted(receipt="35PJ01"),
        ),
        ("<Case><code>200</code></Case>", Accepted()),
        ("<Case><code>3</code><msg>重复值错误</msg></Case>", Accepted(duplicate=True, words="重复值错误 [3]")),
        ("<Case><code>3</code></Case>", Accepted(duplicate=True, words="[3]")),
        ("<Case><code>400</code><msg>缺少必要参数:EXE_ID</msg></Case>", Refused("缺少必要参数:EXE_ID [400]")),
        ("<Case><code>300</code></Case>", Refused("[300]")),
        ("<Case><code>401</code><msg>未登录</msg></Case>", Unavailable("未登录 [401]")),
        ("<Case><code>500</code><msg>系统内部错误</msg></Case>", Unavailable("系统内部错误 [500]")),
    ],
)
def test_what_the_province_says(case, verdict):
    assert (verdict,) == speaks().verdicts(returned(case), RATED)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"<a/>",
        b"\xff\xfe",
        returned("").body,
        returned("<Case></Case>").body,
        returned("<Other><code>200</code></Other>").body,
        returned("not xml").body,
        b'<!DOCTYPE a [<!ENTITY b "' + b"b" * 100 + b'">]><a>&b;</a>',
        b'<?xml version="1.0" encoding="no-such"?><a/>',
    ],
)
def test_rubbish_is_no_answer(body):
    """Never a yes, never a no. Red if a page of the gateway's burns a rating."""
    [verdict] = speaks().verdicts(Answer(200, body), RATED)

    assert isinstance(verdict, Unavailable)


@pytest.mark.parametrize("status", [301, 401, 403, 404, 429, 500, 502, 503])
def test_another_status_is_no_answer(status):
    body = returned("<Case><code>200</code></Case>").body
    [verdict] = speaks().verdicts(Answer(status, body, {"retry-after": "7"}), RATED)

    assert isinstance(verdict, Unavailable)
    assert 7 == verdict.wait_s


def test_an_echoed_record_tells_nobody_who_it_was():
    """Gateways repeat what they were sent."""
    echo = "<Case><code>400</code><msg>参数有误: &lt;userName&gt;张建国&lt;/userName&gt; 13812345678</msg></Case>"
    [verdict] = speaks().verdicts(returned(echo), RATED)

    assert "张建国" not in verdict.words and "13812345678" not in verdict.words


@pytest.mark.parametrize(
    "field", ["case_name", "item_name", "accepted_ms", "mobile", "certificate_no", "service_name", "area_code"]
)
def test_a_missing_detail_is_named(field):
    empty = None if field.endswith("_ms") else ""

    assert Held("lacking", field) == speaks().held(RATING, replace(CASE, **{field: empty}))


def test_a_rating_from_before_its_service_waits_for_a_person():
    """No time is shifted to please a province; how far it is off is said."""
    early = replace(RATING, pressed_ms=CASE.service_ms - 61_000, level=Level.SATISFIED, tags=())

    assert Held("before_service", "61 s") == speaks().held(early, CASE)
    assert speaks(holds_early=False).held(early, CASE) is None
    assert speaks().held(replace(early, pressed_ms=CASE.service_ms), CASE) is None
