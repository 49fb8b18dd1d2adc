"""Dialect A: what a province gets from us, opened with its own key, and what we make of its answers."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime

import pytest

from protocols.dialects import Dialect, quoted, without_details
from protocols.dialects.txnbody import TxnBody, TxnBodySettings
from protocols.errors import BadSettings
from protocols.ratings import (
    Accepted,
    Answer,
    Case,
    Held,
    Level,
    PressId,
    Rating,
    Refused,
    Request,
    Unavailable,
)

EXAMPLE_KEY = (
    "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)


def china_ms(text: str) -> int:
    return int(datetime.fromisoformat(text + "+08:00").timestamp() * 1000)


NOW_MS = china_ms("2026-11-02 09:30:05")

CASE = Case(
    case_no="011121202611020017",
    service_number=1,
    service_name="业务办结",
    service_ms=china_ms("2026-11-02 09:28:40"),
    case_name="关于张建国申请社会保障卡补领的业务",
    status="finished",
    case_type="immediate",
    item_code="1137010000418859XL4370114017000",
    item_handle_code="1137010000418859XL437011401700002",
    item_name="社会保障卡补领",
    item_type="20",
    item_theme="社会保障",
    area_code="370102",
    dept_code="1137010000418859XL",
    dept_name="济南市历下区人力资源和社会保障局",
    channel="offline",
    accepted_ms=china_ms("2026-11-02 09:10:00"),
    finished_ms=china_ms("2026-11-02 09:28:00"),
    clerk_name="李敏",
    applicant_type="person",
    applicant_name="张建国",
    certificate_type="id_card",
    certificate_no="370102198001011234",
    mobile="13812345678",
    handler_name="王芳",
    handler_certificate_type="passport",
    handler_certificate_no="E12345678",
)

# Written down from the description of the province's interface (order as sent), not from our tables.
CASE_ON_THE_WIRE = [
    ("areaCode", "370102000000"),
    ("deptCode", "1137010000418859XL"),
    ("taskType", "20"),
    ("taskCode", "1137010000418859XL4370114017000"),
    ("proTaskCode", "1137010000418859XL4370114017000"),
    ("taskHandleItem", "1137010000418859XL437011401700002"),
    ("subMatter", "社会保障"),
    ("taskName", "社会保障卡补领"),
    ("proTaskName", "社会保障卡补领"),
    ("projectNo", "37011121202611020017"),
    ("proProjectNo", "37011121202611020017"),
    ("projectName", "关于张建国申请社会保障卡补领的业务"),
    ("proStatus", "3"),
    ("proDepart", "济南市历下区人力资源和社会保障局"),
    ("mobile", "13812345678"),
    ("userName", "张建国"),
    ("creditNum", "370102198001011234"),
    ("creditType", "111"),
    ("userProp", "1"),
    ("acceptDate", "2026-11-02 09:10:00"),
    ("promiseDay", ""),
    ("promiseType", ""),
    ("anticipateDay", ""),
    ("anticipateType", ""),
    ("deptName", "济南市历下区人力资源和社会保障局"),
    ("proChannel", "2"),
    ("promiseTime", "1"),
    ("certkeyGOV", "370102198001011234"),
    ("orgcode", "370102000000_1137010000418859XL"),
    ("orgName", "济南市历下区人力资源和社会保障局"),
    ("proManager", "李敏"),
    ("userPageType", "111"),
    ("handleUserName", "王芳"),
    ("handleUserPageType", "414"),
    ("handleUserPageCode", "E12345678"),
    ("serviceName", "业务办结"),
    ("serviceNumber", "1"),
    ("serviceTime", "2026-11-02 09:28:40"),
    ("dataSource", "165"),
    ("projectType", "1"),
    ("resultDate", "2026-11-02 09:28:00"),
]

RATING = Rating(
    press=PressId("D0217", 12, 7),
    level=Level.DISSATISFIED,
    hall="JN-LX",
    window="A07",
    pressed_ms=china_ms("2026-11-02 09:29:31") + 987,
    channel="window_pad",
    case_no="011121202611020017",
    tags=("213", "214"),
    text='材料要了"两次"\\，还是不行',
)

RATING_ON_THE_WIRE = [
    ("taskType", "20"),
    ("projectNo", "37011121202611020017"),
    ("satisfaction", "2"),
    ("pf", "4"),
    ("name", "张建国"),
    ("evalDetail", "213,214"),
    ("writingEvaluation", '材料要了"两次"\\，还是不行'),
    ("assessTime", "2026-11-02 09:29:31"),
    ("serviceNumber", "1"),
]

RATED = [(RATING, CASE)]


def settings(**changes) -> TxnBodySettings:
    return TxnBodySettings(
        **{
            "case_url": "https://province.example/case",
            "offline_rating_url": "https://province.example/rating",
            "app_mark": "JNLX",
            "app_word": "s3cret",
            "public_key": EXAMPLE_KEY,
            "data_source": "165",
            "province_prefix": "37",
            **changes,
        }
    )


@pytest.fixture
def speaks(province_key):
    """A dialect whose province is openssl."""
    return lambda **changes: TxnBody(settings(public_key=province_key.public_hex, **changes))


@pytest.fixture
def opened(province_key):
    """The one record of a request, its fields in the order in which they were sent."""

    def open_record(request, order="C1C3C2"):
        assert isinstance(request, Request), request
        (hidden,) = json.loads(request.body)["txnBodyCom"]["params"]["evaluate"]
        text = province_key.open(bytes.fromhex(hidden), order).decode()
        (record,) = json.loads(text, object_pairs_hook=list)
        return record

    return open_record


# ---- what is sent


def test_a_case_reaches_the_province_field_by_field(speaks, opened):
    """All 41 fields, in the province's order, under its names and in its codes.

    Turns red if any table row, name or place is changed, and if the services' number is left out."""
    request = speaks().case_request(CASE, NOW_MS)

    assert CASE_ON_THE_WIRE == opened(request)
    assert "https://province.example/case" == request.url


def test_a_rating_reaches_the_province_field_by_field(speaks, opened):
    """Exactly the nine fields of an offline rating, the citizen's own words untouched."""
    request = speaks().rating_request([(RATING, CASE)], NOW_MS)

    assert RATING_ON_THE_WIRE == opened(request)
    assert "https://province.example/rating" == request.url


def test_the_envelope_is_the_provinces(speaks, province_key):
    """Names, nesting, tenancy, one ciphertext in the array, and a sign of time + mark + word that the province opens.

    Turns red if the three parts of the sign change places, and if the hex is lower-case."""
    request = speaks().case_request(CASE, NOW_MS)
    envelope = json.loads(request.body)
    body = envelope["txnBodyCom"]
    (hidden,) = body["params"]["evaluate"]

    assert {"C-Tenancy-Id": "370000000000", "Content-Type": "application/json;charset=UTF-8"} == request.headers
    assert ["txnBodyCom", "txnCommCom"] == list(envelope)
    assert {} == envelope["txnCommCom"]
    assert ["appMark", "time", "sign", "params"] == list(body)
    assert ["evaluate"] == list(body["params"])
    assert ("JNLX", "20261102093005") == (body["appMark"], body["time"])
    assert b"20261102093005JNLXs3cret" == province_key.open(bytes.fromhex(body["sign"]))
    for ciphertext in (hidden, body["sign"]):
        assert ciphertext.startswith("04")
        assert ciphertext.upper() == ciphertext


def test_the_plaintext_is_compact_and_readable(speaks, province_key):
    """No blanks and no \\u escapes: the field lengths of the province count characters."""
    request = speaks().rating_request([(RATING, CASE)], NOW_MS)
    (hidden,) = json.loads(request.body)["txnBodyCom"]["params"]["evaluate"]
    text = province_key.open(bytes.fromhex(hidden)).decode()

    assert text.startswith('[{"taskType":"20","projectNo":"37011121202611020017","satisfaction":"2",')
    assert '"name":"张建国"' in text


def test_nothing_personal_travels_in_the_open(speaks):
    """Names and numbers are in the ciphertext only, and the password of the application is nowhere."""
    for request in (speaks().case_request(CASE, NOW_MS), speaks().rating_request([(RATING, CASE)], NOW_MS)):
        everything = request.url + repr(request.headers) + request.body.decode()

        for detail in ("张建国", "370102198001011234", "13812345678", "王芳", "E12345678", "s3cret", "两次"):
            assert detail not in everything


def test_the_other_order_and_case_are_settings(speaks, opened):
    """Provinces with older SM2 software want C1C2C3, and some want lower case."""
    request = speaks(order="C1C2C3", upper_hex=False).rating_request([(RATING, CASE)], NOW_MS)
    (hidden,) = json.loads(request.body)["txnBodyCom"]["params"]["evaluate"]

    assert RATING_ON_THE_WIRE == opened(request, "C1C2C3")
    assert hidden.lower() == hidden


@pytest.mark.parametrize(
    ("level", "digit"),
    [
        (Level.VERY_SATISFIED, "5"),
        (Level.SATISFIED, "4"),
        (Level.BASICALLY_SATISFIED, "3"),
        (Level.DISSATISFIED, "2"),
        (Level.VERY_DISSATISFIED, "1"),
    ],
)
def test_five_is_best_at_the_province(speaks, opened, level, digit):
    """The trap: GB/T 39046 says 1 for very satisfied, the interface says 5. Turns red if the table is turned round."""
    request = speaks().rating_request([(replace(RATING, level=level), CASE)], NOW_MS)

    assert digit == dict(opened(request))["satisfaction"]


@pytest.mark.parametrize(
    ("channel", "code"),
    [("window_keypad", "4"), ("window_pad", "4"), ("kiosk", "5"), ("qr", "3"), ("web", "1"), ("mobile", "2")],
)
def test_the_channel_has_the_provinces_code(speaks, opened, channel, code):
    """评价渠道 as every province numbers the first five."""
    request = speaks().rating_request([(replace(RATING, channel=channel), CASE)], NOW_MS)

    assert code == dict(opened(request))["pf"]


def test_a_province_may_number_a_channel_differently(speaks, opened):
    """One line in its settings; the other channels stay as they are."""
    dialect = speaks(tables={"pf": {"window_keypad": "5"}})
    keypad = dialect.rating_request([(replace(RATING, channel="window_keypad"), CASE)], NOW_MS)
    pad = dialect.rating_request([(replace(RATING, channel="window_pad"), CASE)], NOW_MS)

    assert ("5", "4") == (dict(opened(keypad))["pf"], dict(opened(pad))["pf"])


def test_the_levels_cannot_be_renumbered():
    """Nobody turns all ratings of a province round with a line of configuration."""
    with pytest.raises(BadSettings) as wrong:
        TxnBody(settings(tables={"levels": {"satisfied": "2"}, "pff": {"kiosk": "4"}}))

    assert ["tables.levels", "tables.pff"] == [mistake.partition(":")[0] for mistake in wrong.value.mistakes]


def test_a_channel_without_a_code_is_held_back(speaks):
    """This interface has no number for SMS, and we do not lend it another channel's."""
    held = speaks().held(replace(RATING, channel="sms"), CASE)

    assert Held("lacking", "rating_channel") == held


@pytest.fixture(params=["America/New_York", "Asia/Shanghai", "UTC"])
def a_machine_anywhere(request, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("a_machine_anywhere")
def test_no_time_is_shifted_wherever_the_collector_runs(speaks, opened):
    """The second of the press in China time, though it lies before the service and long before now.

    Turns red if the machine's zone is used, if a press is moved behind its service, or if now is sent instead."""
    pressed = replace(RATING, pressed_ms=china_ms("2026-10-31 23:59:59") + 999)
    request = speaks().rating_request([(pressed, CASE)], NOW_MS)

    assert "2026-10-31 23:59:59" == dict(opened(request))["assessTime"]
    assert "20261102093005" == json.loads(request.body)["txnBodyCom"]["time"]


def test_one_sign_serves_a_second(speaks, province_key):
    """The same sign within the second of its time, another one in the next.

    Turns red if the sign is made anew each time, and if it is kept for longer."""
    dialect = speaks()
    moments = [NOW_MS, NOW_MS + 999, NOW_MS + 1000]
    first, same, next_second = (
        json.loads(dialect.rating_request([(RATING, CASE)], now_ms).body)["txnBodyCom"] for now_ms in moments
    )

    assert first["sign"] == same["sign"]
    assert first["params"] != same["params"]
    assert b"20261102093006JNLXs3cret" == province_key.open(bytes.fromhex(next_second["sign"]))


def test_an_online_case_names_the_certificate_differently(speaks, opened):
    """certKey for an online case, certkeyGOV for one at a window; never both."""
    online = dict(opened(speaks().case_request(replace(CASE, channel="online"), NOW_MS)))

    assert ("370102198001011234", "1") == (online["certKey"], online["proChannel"])
    assert "certkeyGOV" not in online


def test_the_service_number_can_be_left_out_of_a_case(speaks, opened):
    """Some clients of this interface do not send it; the rating always carries it."""
    dialect = speaks(case_sends_service_number=False)
    case = opened(dialect.case_request(CASE, NOW_MS))
    rating = opened(dialect.rating_request([(RATING, CASE)], NOW_MS))

    assert [field for field in CASE_ON_THE_WIRE if field[0] != "serviceNumber"] == case
    assert ("serviceNumber", "1") in rating


def test_a_rating_is_of_the_service_it_was_pressed_for(speaks, opened):
    """The second service of a case is rated under its own number."""
    request = speaks().rating_request([(replace(RATING, service_number=2), CASE)], NOW_MS)

    assert "2" == dict(opened(request))["serviceNumber"]


@pytest.mark.parametrize(
    ("item_code", "handle_code", "task_code", "task_handle_item"),
    [
        ("A" * 31, "", "A" * 31, ""),
        ("A" * 31, "A" * 31 + "01", "A" * 31, "A" * 31 + "01"),
        ("A" * 31 + "01", "", "A" * 31, "A" * 31 + "01"),
        ("", "A" * 31 + "01", "A" * 31, "A" * 31 + "01"),
    ],
)
def test_an_item_is_the_first_31_characters(speaks, opened, item_code, handle_code, task_code, task_handle_item):
    """A main item has 31, a 业务办理项 33 of which the first 31 are its main item."""
    case = replace(CASE, item_code=item_code, item_handle_code=handle_code)
    sent = dict(opened(speaks().case_request(case, NOW_MS)))

    assert (task_code, task_code) == (sent["taskCode"], sent["proTaskCode"])
    assert task_handle_item == sent["taskHandleItem"]


@pytest.mark.parametrize(
    ("item_type", "code"), [("01", "01"), ("20", "20"), ("11", "20"), ("06", "99"), ("行政许可", "99"), ("", "")]
)
def test_an_item_type_the_interface_does_not_know_is_other(speaks, opened, item_type, code):
    """01, 05, 07, 08, 09, 10, 20, otherwise 99; unknown to us stays empty."""
    sent = dict(opened(speaks().case_request(replace(CASE, item_type=item_type), NOW_MS)))

    assert code == sent["taskType"]


@pytest.mark.parametrize(
    ("area_code", "sent_area"),
    [("370102", "370102000000"), ("370102001000", "370102000000"), ("370882", "370812000000")],
)
def test_an_area_has_twelve_digits(speaks, opened, area_code, sent_area):
    """Six and six zeros, also for a township's window; an area that was renumbered goes under its new number."""
    dialect = speaks(area_rewrite={"370882": "370812"})
    sent = dict(opened(dialect.case_request(replace(CASE, area_code=area_code), NOW_MS)))

    assert (sent_area, f"{sent_area}_1137010000418859XL") == (sent["areaCode"], sent["orgcode"])


@pytest.mark.parametrize(
    ("ours", "word", "theirs", "code"),
    [
        ("status", "pending", "proStatus", "1"),
        ("status", "accepted", "proStatus", "2"),
        ("case_type", "promised", "projectType", "2"),
        ("case_type", "promised", "promiseTime", "2"),
        ("applicant_type", "enterprise", "userProp", "2"),
        ("applicant_type", "institution", "userProp", "3"),
        ("applicant_type", "social_organisation", "userProp", "4"),
        ("applicant_type", "unincorporated", "userProp", "5"),
        ("applicant_type", "government", "userProp", "6"),
        ("applicant_type", "other", "userProp", "9"),
        ("certificate_type", "uscc", "userPageType", "001"),
        ("certificate_type", "business_licence", "userPageType", "821"),
        ("certificate_type", "officer", "creditType", "114"),
        ("certificate_type", "passport", "userPageType", "414"),
        ("certificate_type", "taiwan", "userPageType", "511"),
        ("certificate_type", "hk_macau", "userPageType", "516"),
        ("certificate_type", "other", "userPageType", "999"),
    ],
)
def test_words_become_the_provinces_codes(speaks, opened, ours, word, theirs, code):
    """The code lists, row by row as they are published."""
    sent = dict(opened(speaks().case_request(replace(CASE, **{ours: word}), NOW_MS)))

    assert code == sent[theirs]


# ---- what is missing

REQUIRED = {
    "case_no": "",
    "area_code": "",
    "item_code": "",
    "item_name": "",
    "status": "",
    "case_type": "",
    "dept_code": "",
    "dept_name": "",
    "mobile": " ",
    "applicant_name": "",
    "applicant_type": "",
    "certificate_type": "",
    "certificate_no": "",
    "service_name": "",
    "service_ms": None,
    "finished_ms": None,
}


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_detail_is_named(field):
    """By the name under which a person fills it in. Turns red if one required field is no longer looked at."""
    case = replace(CASE, item_handle_code="", **{field: REQUIRED[field]})

    assert Held("lacking", field) == TxnBody(settings()).held(RATING, case)


def test_all_missing_details_are_named_at_once():
    """A person is asked once, not field by field."""
    lacks = TxnBody(settings()).case_lacks(Case(case_no="1"))

    assert set(REQUIRED) - {"case_no", "finished_ms"} == set(lacks)


def test_an_unfinished_case_needs_no_end():
    """resultDate is required of a finished case only."""
    case = replace(CASE, status="accepted", finished_ms=None)

    assert () == TxnBody(settings()).case_lacks(case)


def test_optional_details_are_sent_empty(speaks, opened):
    """Nothing is made up for what we do not know, and every value is text."""
    required = {name: getattr(CASE, name) for name in REQUIRED}
    sent = opened(speaks().case_request(Case(**required), NOW_MS))

    assert [name for name, _ in CASE_ON_THE_WIRE] == [name for name, _ in sent]
    assert all(isinstance(value, str) for _, value in sent)
    assert {
        "taskType", "taskHandleItem", "subMatter", "projectName", "acceptDate", "promiseDay", "promiseType",
        "anticipateDay", "anticipateType", "proManager", "handleUserName", "handleUserPageType", "handleUserPageCode",
    } == {name for name, value in sent if value == ""}  # fmt: skip


@pytest.mark.parametrize("area_code", ["37", "3701020", "37010a", "三七零一零二"])
def test_an_area_that_is_none_is_not_guessed(area_code):
    """Neither cut nor filled up to something that exists elsewhere."""
    assert ("area_code",) == TxnBody(settings()).case_lacks(replace(CASE, area_code=area_code))


@pytest.mark.parametrize("moment_ms", [-1, 1_793_583_005, 1_793_583_005_000_000, 2**80])
def test_a_time_that_no_calendar_has_is_missing(moment_ms):
    """A business system that counts seconds or microseconds stops one case, not the whole forwarding.

    Turns red (OverflowError, ValueError, or a rating of 1970) if the bounds are taken away."""
    dialect = TxnBody(settings())

    assert ("service_ms",) == dialect.case_lacks(replace(CASE, service_ms=moment_ms))
    assert Held("lacking", "pressed_ms") == dialect.held(replace(RATING, pressed_ms=moment_ms), CASE)


def test_a_bad_rating_without_a_reason_is_held_back_where_the_province_wants_one():
    """A keypad has no tags. Turns red if a reason is made up, or if the setting is not looked at."""
    keypad = replace(RATING, tags=(), text="")
    strict, usual = TxnBody(settings(bad_needs_reason=True)), TxnBody(settings())

    assert Held("bad_without_reason") == strict.held(keypad, CASE)
    assert strict.held(replace(keypad, tags=("213",)), CASE) is None
    assert strict.held(replace(keypad, text="态度差"), CASE) is None
    assert strict.held(replace(keypad, level=Level.SATISFIED), CASE) is None
    assert usual.held(keypad, CASE) is None


def test_a_rating_never_goes_out_under_another_case():
    """Whoever mixes them up has a bug, and it does not reach the province."""
    with pytest.raises(ValueError, match="another case"):
        TxnBody(settings()).rating_request([(replace(RATING, case_no="2"), CASE)], NOW_MS)


def test_a_wrong_public_key_is_found_at_start():
    """Before the first rating, not at it."""
    with pytest.raises(BadSettings, match="公钥"):
        TxnBody(settings(public_key="04AB"))


# ---- what the province says

OK = {"C-API-Status": "00", "C-Response-Code": "000000000000", "C-Response-Desc": "success"}


def answer(desc="success", success=None, message="") -> bytes:
    body = {} if success is None else {"success": success, "message": message}
    return json.dumps({**OK, "C-Response-Desc": desc, "C-Response-Body": body}, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (answer(success="true"), Accepted()),
        (answer(success=True), Accepted()),
        (answer(success="true", message="成功"), Accepted(words="成功")),
        # "success" of the gateway, and a no in the body: the row that real clients overlook
        (answer(success="false", message="评价时间早于服务时间"), Refused("评价时间早于服务时间")),
        (answer(success=False, message="评价时间早于服务时间"), Refused("评价时间早于服务时间")),
        (answer(success="false"), Refused("省平台未说明原因 / no reason given")),
        # it has it already
        (answer("该办件评价数据不可重复"), Accepted(duplicate=True, words="该办件评价数据不可重复")),
        (
            answer("本次服务已存在评价，请勿重复评价！"),
            Accepted(duplicate=True, words="本次服务已存在评价，请勿重复评价！"),
        ),
        (
            answer("已存在该条服务信息，请勿重复提交！"),
            Accepted(duplicate=True, words="已存在该条服务信息，请勿重复提交！"),
        ),
        (answer(success="false", message="评价数据不可重复"), Accepted(duplicate=True, words="评价数据不可重复")),
        (answer("fail", "false", "评价数据不可重复"), Accepted(duplicate=True, words="fail；评价数据不可重复")),
        # it does not have the case
        (answer("没有对应的服务数据"), Refused("没有对应的服务数据", case_unknown=True)),
        (
            answer(success="false", message="没有对应的服务数据"),
            Refused("没有对应的服务数据", case_unknown=True),
        ),
        # any other text is a no
        (answer("参数结构不正确，请检查参数结构"), Refused("参数结构不正确，请检查参数结构")),
        (answer("评价时间有误", "false", "评价时间有误"), Refused("评价时间有误")),
        (answer("超过评价时限，评价超时"), Refused("超过评价时限，评价超时")),
        # our key, our sign, our pace: nothing is said about this rating
        (answer("签名错误"), Unavailable("签名错误")),
        (answer("sign验签不通过"), Unavailable("sign验签不通过")),
        (answer("数据解密失败，请检查"), Unavailable("数据解密失败，请检查")),
        (answer("APPMARK无效"), Unavailable("APPMARK无效")),
        (answer("应用未授权"), Unavailable("应用未授权")),
        (answer("Token expired"), Unavailable("Token expired")),
        (answer(success="false", message="验签失败"), Unavailable("验签失败")),
        (answer("操作过于频繁，请勿重复提交"), Unavailable("操作过于频繁，请勿重复提交")),
    ],
)
def test_every_answer_of_the_table_has_its_verdict(body, verdict):
    """Turns red if the body behind "success" is not read, and if a throttled call counts as "has it already"."""
    assert verdict == TxnBody(settings()).verdicts(Answer(200, body), RATED)[0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"<html><title>502 Bad Gateway</title></html>",
        b'{"C-Response-Desc":"succ',
        b"null",
        b"[]",
        b'"success"',
        b"{}",
        b"[" * 100_000,
        b"\xff\xfe\x00",
        '{"C-Response-Desc":"签名"}'.encode("gbk"),
        b'{"success":false,"message":"other gateway"}',
        b'{"C-Response-Desc":null}',
        b'{"C-Response-Desc":1,"C-Response-Body":{"success":"true"}}',
        b'{"C-Response-Body":{"success":"true"}}',
        b'{"C-Response-Desc":"","C-Response-Body":{"success":"true"}}',
        b'{"C-Response-Desc":"success"}',
        b'{"C-Response-Desc":"success","C-Response-Body":null}',
        b'{"C-Response-Desc":"success","C-Response-Body":"{}"}',
        b'{"C-Response-Desc":"success","C-Response-Body":{}}',
        b'{"C-Response-Desc":"success","C-Response-Body":{"success":1}}',
        b'{"C-Response-Desc":"success","C-Response-Body":{"success":"maybe"}}',
        b'{"C-Response-Desc":"success","C-Response-Body":{"success":null,"message":"ok"}}',
    ],
)
def test_an_answer_that_says_nothing_burns_no_rating(body):
    """Neither accepted nor refused: it is asked again. Turns red if one of them counts as a yes or a no."""
    verdict = TxnBody(settings()).verdicts(Answer(200, body), RATED)[0]

    assert isinstance(verdict, Unavailable), verdict
    assert verdict.words.strip()


@pytest.mark.parametrize("status", [201, 204, 301, 302, 400, 401, 403, 404, 405, 429, 500, 502, 503, 504])
def test_another_status_than_200_says_nothing_about_a_rating(status):
    """Whatever the body claims. Turns red if the body of a 401 is read as a refusal."""
    dialect = TxnBody(settings())

    assert isinstance(dialect.verdicts(Answer(status, answer(success="true")), RATED)[0], Unavailable)
    assert isinstance(dialect.verdicts(Answer(status, answer("参数结构不正确")), RATED)[0], Unavailable)
    assert f"HTTP {status}" == dialect.verdicts(Answer(status, b""), RATED)[0].words


def test_a_provinces_own_words_can_be_added():
    """How it says that our sign is wrong is learnt at its test desk, and goes into the settings."""
    dialect = TxnBody(
        settings(unavailable_words=("E9001",), duplicate_words=("评过了",), case_unknown_words=("查无此件",))
    )

    assert Unavailable("错误 E9001") == dialect.verdicts(Answer(200, answer("错误 E9001")), RATED)[0]
    assert Accepted(duplicate=True, words="这件评过了") == dialect.verdicts(Answer(200, answer("这件评过了")), RATED)[0]
    assert Refused("查无此件", case_unknown=True) == dialect.verdicts(Answer(200, answer("查无此件")), RATED)[0]
    assert Refused("错误 E9001") == TxnBody(settings()).verdicts(Answer(200, answer("错误 E9001")), RATED)[0]


def test_words_are_cut_to_what_a_page_can_show():
    """200 characters, not bytes, and not the megabytes of an error page."""
    dialect = TxnBody(settings())

    assert Refused("很" * 200) == dialect.verdicts(Answer(200, answer("很" * 100_000)), RATED)[0]
    assert 200 == len(dialect.verdicts(Answer(502, b"x" * 1_000_000), RATED)[0].words)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("身份证号370102198001011234校验不通过", "身份证号***校验不通过"),
        ("身份证37010219800101123x有误", "身份证***有误"),
        ("手机号13812345678格式不正确", "手机号***格式不正确"),
        ("护照E12345678无效", "护照***无效"),
        ('参数{"mobile":"138","userName":"张建国"}错误', '参数{"mobile":"***","userName":"***"}错误'),
        ("certkeyGOV: 3701 不合法", "certkeyGOV: *** 不合法"),
        ("缺少必要参数:mobile", "缺少必要参数:mobile"),
        ("办件编号37011121202611020017不存在", "办件编号37011121202611020017不存在"),
        ("serviceTime不能大于assessTime 2026-11-02 09:29:31", "serviceTime不能大于assessTime 2026-11-02 09:29:31"),
    ],
)
def test_a_provinces_words_are_kept_without_peoples_numbers(said, kept):
    """What it repeats of a person goes, everything else stays. Turns red if the words are stored as they came."""
    assert Refused(kept) == TxnBody(settings()).verdicts(Answer(200, answer(said)), RATED)[0]
    assert Unavailable(f"HTTP 500 {kept}") == TxnBody(settings()).verdicts(Answer(500, said.encode()), RATED)[0]


def test_a_number_is_not_saved_by_being_cut():
    """Blotted out first, cut afterwards: no first half of a certificate is left at the end."""
    assert "很" * 190 + "***" + "很" * 7 == quoted("很" * 190 + "370102198001011234" + "很" * 100)


def test_a_name_in_running_text_is_taken_out_by_who_knows_it():
    """No pattern knows a name; the case does."""
    assert "申请人***与证件***不符" == without_details("申请人张建国与证件370102198001011234不符", CASE)


def test_it_is_a_dialect():
    """One that wants the case first, and says which edition of the code tables it speaks."""
    dialect: Dialect = TxnBody(settings())

    assert dialect.case_first
    assert TxnBody.tables_version
