"""The simulated province holds to its description, and goes wrong exactly as its seed says."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import lru_cache

import pytest
import requests

from firmware_sim import province as sim
from firmware_sim import sm2
from firmware_sim.province import demands, process
from firmware_sim.province import misbehaviour as ways
from firmware_sim.province.door import BODY_MAX, serving
from firmware_sim.province.txnbody import CASE_PATH, RATED_ALREADY, RATING_PATH, Keys
from firmware_sim.province.txnbody import province as txnbody
from tests.firmware_sim.test_sim_sm2 import encrypt_with_openssl

PAIR = sm2.generate()
KEYS = Keys(PAIR.private_hex, PAIR.public_hex, "hallmark", "word0123")
HEADERS = {"C-Tenancy-Id": "370000000000", "Content-Type": "application/json;charset=UTF-8"}
NOW_MS = 1_750_000_000_000  # 2025-06-15 23:06:40 in China
TIME = "20250615230640"
CASE_NO = "37A0001"


def case(**changes) -> dict:
    """A case in order, closed, pushed from a hall; a change to None leaves the field out."""
    record = {
        "areaCode": "370102000000",
        "deptCode": "113701020041867210",
        "taskType": "01",
        "taskCode": "3701020000000001234567890123456",
        "proTaskCode": "3701020000000001234567890123456",
        "taskHandleItem": "370102000000000123456789012345601",
        "subMatter": "户籍办理",
        "taskName": "户口登记",
        "proTaskName": "户口登记",
        "projectNo": CASE_NO,
        "proProjectNo": CASE_NO,
        "projectName": "关于户口登记的业务",
        "proStatus": "3",
        "proDepart": "历下区公安分局",
        "mobile": "13800000000",
        "userName": "张三",
        "creditNum": "370102199001010011",
        "creditType": "111",
        "userProp": "1",
        "acceptDate": "2025-06-15 22:00:00",
        "promiseDay": "5",
        "promiseType": "1",
        "anticipateDay": "20",
        "anticipateType": "1",
        "deptName": "历下区公安分局",
        "proChannel": "2",
        "promiseTime": "1",
        "certkeyGOV": "370102199001010011",
        "orgcode": "370102000000_113701020041867210",
        "orgName": "历下区公安分局",
        "proManager": "李四",
        "userPageType": "111",
        "handleUserName": "",
        "handleUserPageType": "",
        "handleUserPageCode": "",
        "serviceName": "业务办结",
        "serviceTime": "2025-06-15 23:00:00",
        "dataSource": "165",
        "projectType": "1",
        "resultDate": "2025-06-15 23:00:00",
    }
    return {name: value for name, value in (record | changes).items() if value is not None}


def rating(**changes) -> dict:
    """A very satisfied citizen at a window; a change to None leaves the field out."""
    record = {
        "taskType": "01",
        "projectNo": CASE_NO,
        "satisfaction": "5",
        "pf": "4",
        "name": "张三",
        "evalDetail": "510,517",
        "writingEvaluation": "很好",
        "assessTime": "2025-06-15 23:05:00",
        "serviceNumber": "1",
    }
    return {name: value for name, value in (record | changes).items() if value is not None}


@pytest.fixture(scope="module")
def seal(tmp_path_factory):
    """Seal a text for the province's key, each text only once."""
    directory = tmp_path_factory.mktemp("keys")
    return lru_cache(None)(lambda text: encrypt_with_openssl(text, KEYS.public_hex, directory))


@pytest.fixture(scope="module")
def envelope(seal):
    """One sealed call; `signed` is what was encrypted as its sign."""

    def make(record, signed=f"{TIME}{KEYS.app_mark}{KEYS.app_word}", time=TIME, mark=KEYS.app_mark) -> bytes:
        text = record if isinstance(record, str) else json.dumps([record], ensure_ascii=False)
        call = {"appMark": mark, "time": time, "sign": seal(signed), "params": {"evaluate": [seal(text)]}}
        return json.dumps({"txnBodyCom": call, "txnCommCom": {}}).encode()

    return make


@pytest.fixture
def push(envelope):
    """Push a record to a province, and read the answer."""

    def push_to(province, path, record, now_ms=NOW_MS):
        return province.answer(path, HEADERS, envelope(record), now_ms)

    return push_to


@pytest.fixture
def says(push):
    """Push a record to a province; its C-Response-Desc."""
    return lambda province, path, record, now_ms=NOW_MS: desc(push(province, path, record, now_ms))


def desc(answer: sim.Answer) -> str:
    return json.loads(answer.body)["C-Response-Desc"]


def with_case(says, **settings) -> sim.Province:
    """A province that holds the case."""
    province = txnbody(KEYS, **settings)
    assert "success" == says(province, CASE_PATH, case())
    return province


# --- the rules ------------------------------------------------------------------------------------------------


def test_a_case_and_its_rating_are_taken_and_journaled_exactly(says, push):
    """The success answer is byte for byte the documented one, and the truth is what was sealed."""
    journal: list[dict] = []
    province = txnbody(KEYS, keep=journal.append)
    says(province, CASE_PATH, case())
    answer = push(province, RATING_PATH, rating())

    success = (
        b'{"C-API-Status":"00","C-Response-Code":"000000000000","C-Response-Desc":"success",'
        b'"C-Response-Body":{"success":"true","message":""}}'
    )

    assert success == answer.body
    assert [
        {"kind": "case", "at_ms": NOW_MS, **case()},
        {"kind": "rating", "at_ms": NOW_MS, **rating()},
    ] == journal
    assert journal[1:] == province.ratings()


def test_a_rating_without_its_case_is_refused_and_taken_after_the_case(says):
    """The case comes first; a refusal keeps nothing."""
    province = txnbody(KEYS)

    assert "没有对应的服务数据" == says(province, RATING_PATH, rating())
    assert "success" == says(province, CASE_PATH, case())
    assert "success" == says(province, RATING_PATH, rating())


def test_a_second_rating_of_one_service_is_refused_and_not_kept(says):
    """One service, one rating; another service of the same case is another rating."""
    province = with_case(says)
    says(province, RATING_PATH, rating())

    assert "评价数据不可重复" in says(province, RATING_PATH, rating(satisfaction="4", evalDetail=""))
    assert "success" == says(province, RATING_PATH, rating(serviceNumber="2"))
    assert ["5", "5"] == [row["satisfaction"] for row in province.ratings()]
    assert 1 == province.state()["duplicates_refused"]


def test_a_case_with_a_service_number_serves_only_that_service(says):
    """When the client does send it, (projectNo, serviceNumber) is the key."""
    province = txnbody(KEYS)
    says(province, CASE_PATH, case(serviceNumber="2"))

    assert "没有对应的服务数据" == says(province, RATING_PATH, rating(serviceNumber="1"))
    assert "success" == says(province, RATING_PATH, rating(serviceNumber="2"))


def test_an_identical_case_again_is_welcome_unless_the_rules_say_no(says):
    """Idempotent by default, and one journal line; with the switch, the documented refusal."""
    journal: list[dict] = []
    province = with_case(says, keep=journal.append)
    strict = with_case(says, rules=demands.Rules(refuses_repeated_case=True))

    assert "success" == says(province, CASE_PATH, case())
    assert 1 == len(journal)
    assert "已存在该条服务信息，请勿重复提交！" == says(strict, CASE_PATH, case())
    assert "success" == says(strict, CASE_PATH, case(serviceName="补正"))


REQUIRED_OF_A_CASE = [
    *("areaCode", "taskCode", "proTaskCode", "taskName", "proTaskName", "projectNo", "proProjectNo", "proStatus"),
    *("orgcode", "orgName", "proDepart", "deptName", "mobile", "userName", "userProp", "userPageType", "creditType"),
    *("certkeyGOV", "serviceName", "serviceTime", "projectType", "resultDate"),
]


@pytest.mark.parametrize("name", REQUIRED_OF_A_CASE)
def test_a_case_needs_each_required_field(says, name):
    """Left out or empty, the field is named in the refusal, and the case is not kept."""
    province = txnbody(KEYS)

    assert f"参数结构不正确，请检查参数结构：缺少{name}" == says(province, CASE_PATH, case(**{name: None}))
    assert f"参数结构不正确，请检查参数结构：缺少{name}" == says(province, CASE_PATH, case(**{name: ""}))
    assert 0 == province.state()["cases"]


@pytest.mark.parametrize(
    "change",
    [
        {"areaCode": "370102"},
        {"areaCode": "370102001000"},
        {"areaCode": "３７０１０２000000"},
        {"deptCode": "11370102004186721"},
        {"taskType": "02"},
        {"taskCode": "3701020000000001234567890123456789"},
        {"taskHandleItem": "370102000000000999999999012345601"},
        {"taskHandleItem": "37010200000000012345678901234560"},
        {"projectNo": "3" * 51},
        {"projectNo": "37 0001"},
        {"proStatus": "4"},
        {"mobile": "1380000000"},
        {"userProp": "7"},
        {"userPageType": "10"},
        {"creditType": "31"},
        {"orgcode": "113701020041867210"},
        {"promiseType": "4"},
        {"promiseDay": "五"},
        {"proChannel": "3"},
        {"projectType": "3"},
        {"promiseTime": "0"},
        {"serviceNumber": "0"},
        {"dataSource": "1650"},
        {"serviceTime": "2025-06-15T23:00:00"},
        {"serviceTime": "2025-6-15 23:00:00"},
        {"serviceTime": "2025-02-30 23:00:00"},
        {"serviceTime": "20250615230000"},
        {"acceptDate": "2025-06-15"},
        {"mobile": 13800000000},
        {"taskName": ["户口登记"]},
        {"satisfaction": "5"},
        {"certKeyGOV": "370102199001010011"},
        {"certKey": "370102199001010011"},
    ],
    ids=str,
)
def test_a_case_with_a_wrong_field_is_refused_by_name(says, change):
    """Type, length, code, shape of a moment, and fields that nobody agreed on."""
    province = txnbody(KEYS)
    refusal = says(province, CASE_PATH, case(**change))

    assert refusal.startswith("参数结构不正确")
    assert next(iter(change)) in refusal
    assert 0 == province.state()["cases"]


@pytest.mark.parametrize(
    "change",
    [
        {"proStatus": "2", "resultDate": None},
        {"taskHandleItem": ""},
        {"proChannel": "1", "certkeyGOV": None, "certKey": "370102199001010011"},
        {"proChannel": None},
        {"serviceNumber": "3"},
        {"deptCode": "", "subMatter": "", "projectName": "", "promiseDay": ""},
    ],
    ids=str,
)
def test_what_the_tables_allow_is_taken(says, change):
    """Strict is not narrow: each of these is in order."""
    assert "success" == says(txnbody(KEYS), CASE_PATH, case(**change))


def test_a_main_item_may_say_null_for_its_handle_item(envelope):
    """The one field for which the description itself says null."""
    record = {**case(), "taskHandleItem": None}

    assert "success" == desc(txnbody(KEYS).answer(CASE_PATH, HEADERS, envelope(record), NOW_MS))


@pytest.mark.parametrize("name", list(rating()))
def test_a_rating_has_exactly_nine_fields(says, name):
    """One missing, whichever it is, or one more, is refused."""
    province = with_case(says)

    assert f"参数结构不正确，请检查参数结构：缺少{name}" == says(province, RATING_PATH, rating(**{name: None}))
    assert "未知参数deptCode" in says(province, RATING_PATH, rating(deptCode="113701020041867210"))
    assert [] == province.ratings()


@pytest.mark.parametrize(
    "change",
    [
        {"satisfaction": "0"},
        {"satisfaction": "6"},
        {"satisfaction": 5},
        {"satisfaction": ""},
        {"pf": "6"},
        {"pf": "0"},
        {"pf": "04"},
        {"taskType": "11"},
        {"assessTime": "2025-06-15 24:00:00"},
        {"assessTime": "1750000000000"},
        {"serviceNumber": "first"},
        {"serviceNumber": 1},
        {"evalDetail": "510，517"},
        {"evalDetail": "510,"},
        {"evalDetail": "599"},
        {"evalDetail": "510,406"},
        {"projectNo": ""},
    ],
    ids=str,
)
def test_a_rating_with_a_wrong_field_is_refused_by_name(says, change):
    """Levels 1 to 5, channels 1 to 5, tags of that level with English commas, strings only."""
    province = with_case(says)
    refusal = says(province, RATING_PATH, rating(**change))

    assert refusal.startswith("参数结构不正确")
    assert next(iter(change)) in refusal
    assert [] == province.ratings()


def test_old_tags_and_no_tags_are_taken(says):
    """Tags of the list before the current one are still in order, and so is an empty field."""
    province = with_case(says)

    for number, tags in enumerate(("501,509", "", "513"), start=1):
        assert "success" == says(province, RATING_PATH, rating(evalDetail=tags, serviceNumber=f"{number}"))


def test_a_bad_rating_needs_a_reason_only_where_the_switch_is_on(says):
    """Off: taken as it is. On: tags or text, either will do; good ratings need neither."""
    bare = rating(satisfaction="1", evalDetail="", writingEvaluation="")
    strict = with_case(says, rules=demands.Rules(requires_reason=True))

    assert "success" == says(with_case(says), RATING_PATH, bare)
    assert "差评必须勾选详情或填写文字评价" == says(strict, RATING_PATH, bare)
    assert "success" == says(strict, RATING_PATH, bare | {"evalDetail": "108"})
    assert "success" == says(strict, RATING_PATH, bare | {"writingEvaluation": "等了很久", "serviceNumber": "2"})
    assert "success" == says(strict, RATING_PATH, bare | {"satisfaction": "3", "serviceNumber": "3"})


def test_a_rating_before_its_service_is_refused_only_where_the_switch_is_on(says):
    """23:00:00 was the service; one second earlier is too early, the same second is not."""
    early = rating(assessTime="2025-06-15 22:59:59")
    strict = with_case(says, rules=demands.Rules(refuses_early=True))

    assert "success" == says(with_case(says), RATING_PATH, early)
    assert "评价时间不能早于服务时间" == says(strict, RATING_PATH, early)
    assert "success" == says(strict, RATING_PATH, rating(assessTime="2025-06-15 23:00:00"))


def test_a_rating_from_the_future_is_refused_only_where_the_switch_is_on(says):
    """The province's clock says 23:06:40 in China; 23:11:40 is five minutes ahead, 23:11:41 is more."""
    ahead = rating(assessTime="2025-06-15 23:11:41")
    strict = with_case(says, rules=demands.Rules(refuses_future=True))

    assert "success" == says(with_case(says), RATING_PATH, ahead)
    assert "评价时间不能晚于当前时间" == says(strict, RATING_PATH, ahead)
    assert "success" == says(strict, RATING_PATH, rating(assessTime="2025-06-15 23:11:40"))


# --- the envelope ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"signed": f"{TIME}{KEYS.app_word}{KEYS.app_mark}"},
        {"signed": f"{TIME}{KEYS.app_mark}guessed"},
        {"time": "20250615230641"},
        {"mark": "another"},
    ],
    ids=str,
)
def test_a_wrong_sign_is_refused_in_a_configurable_text(envelope, wrong):
    """Another order, another word, another moment than the one that was sealed, another client."""
    province = txnbody(KEYS, demands.Rules(bad_sign="验签不通过"))

    assert "验签不通过" == desc(province.answer(CASE_PATH, HEADERS, envelope(case(), **wrong), NOW_MS))


def test_the_tenancy_header_is_required(envelope):
    """Missing or another province's; the spelling of the name does not matter."""
    province, body = txnbody(KEYS), envelope(case())

    assert "C-Tenancy-Id" in desc(province.answer(CASE_PATH, {}, body, NOW_MS))
    assert "C-Tenancy-Id" in desc(province.answer(CASE_PATH, {"C-Tenancy-Id": "360000000000"}, body, NOW_MS))
    assert "success" == desc(province.answer(CASE_PATH, {"c-tenancy-id": "370000000000"}, body, NOW_MS))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda call: b"",
        lambda call: b"\xff{",
        lambda call: b"[]",
        lambda call: json.dumps(call["txnBodyCom"]).encode(),
        lambda call: json.dumps({"txnBodyCom": call["txnBodyCom"]}).encode(),
        lambda call: json.dumps(call | {"txnBodyCom": {**call["txnBodyCom"], "time": 20250615230640}}).encode(),
        lambda call: json.dumps(call | {"txnBodyCom": {**call["txnBodyCom"], "time": "2025-06-15"}}).encode(),
        lambda call: json.dumps(call | {"txnBodyCom": {**call["txnBodyCom"], "params": {"evaluate": []}}}).encode(),
        lambda call: json.dumps(
            call | {"txnBodyCom": {**call["txnBodyCom"], "params": {"evaluate": ["04AB"]}}}
        ).encode(),
        lambda call: json.dumps(
            call | {"txnBodyCom": {**call["txnBodyCom"], "params": call["txnBodyCom"]["params"]["evaluate"]}}
        ).encode(),
    ],
)
def test_a_broken_envelope_is_refused_for_its_structure(envelope, spoil):
    """Nothing, no JSON, no object, parts missing, of another type, or not sealed."""
    body = spoil(json.loads(envelope(case())))

    assert desc(txnbody(KEYS).answer(CASE_PATH, HEADERS, body, NOW_MS)).startswith("参数结构不正确")


@pytest.mark.parametrize("text", ["{}", "[]", "[1]", json.dumps([case(), case()]), "not json"])
def test_the_sealed_text_is_a_list_of_one_record(envelope, text):
    """Real clients always send one."""
    answer = txnbody(KEYS).answer(CASE_PATH, HEADERS, envelope(text), NOW_MS)

    assert "参数结构不正确，请检查参数结构：evaluate" == desc(answer)


def test_a_refusal_is_counted_and_another_path_is_not_ours(says):
    """404 is no call; refusals and duplicates are counted apart."""
    province = with_case(says)
    says(province, RATING_PATH, rating(pf="9"))
    says(province, RATING_PATH, rating())
    says(province, RATING_PATH, rating())

    assert 404 == province.answer("/hcp/temp", HEADERS, b"", NOW_MS).status
    assert {
        "cases": 1,
        "ratings": 1,
        "duplicates_refused": 1,
        "refused": 1,
        "calls": 4,
        "misbehaved": {},
    } == province.state()


# --- misbehaviour ---------------------------------------------------------------------------------------------


def sure(**kinds) -> ways.Misbehaviour:
    """A province that always does this."""
    return ways.Misbehaviour(**{name: 1.0 for name in kinds})


def spoilt(says, kind: str) -> sim.Province:
    """A province that holds the case and from now on always does this."""
    province = with_case(says)
    province.misbehaviour = sure(**{kind: True})
    return province


def test_a_slow_province_answers_right_but_late(says, push):
    """The answer is the honest one, with a delay."""
    province = spoilt(says, "slow")
    answer = push(province, RATING_PATH, rating())

    assert ("success", province.slow_ms, False) == (desc(answer), answer.delay_ms, answer.drop)
    assert 1 == len(province.ratings())


@pytest.mark.parametrize(
    ("kind", "delayed", "kept"),
    [("drop_before", False, 0), ("stall_before", True, 0), ("timeout_after", True, 1)],
)
def test_a_cut_line_says_nothing_and_only_after_commit_is_the_rating_kept(says, push, kind, delayed, kept):
    """No byte of an answer comes, whether the rating was kept or not."""
    province = spoilt(says, kind)
    answer = push(province, RATING_PATH, rating())

    assert (b"", True, delayed) == (answer.body, answer.drop, answer.delay_ms == province.stall_ms)
    assert kept == len(province.ratings())
    assert {kind: 1} == province.state()["misbehaved"]


def test_a_retry_after_a_commit_that_timed_out_meets_the_duplicate_answer(says, push):
    """It was kept, once; the client learns so only from the refusal of its second try."""
    province = spoilt(says, "timeout_after")
    push(province, RATING_PATH, rating())
    province.misbehaviour = ways.Misbehaviour()

    assert "评价数据不可重复" in says(province, RATING_PATH, rating())
    assert 1 == len(province.ratings())


@pytest.mark.parametrize("kind", ["empty", "rubbish", "http_5xx"])
def test_a_failing_gateway_hides_whether_the_rating_was_kept(says, push, kind):
    """Over many ratings some were kept and some were not, and the answers look alike."""
    province = spoilt(says, kind)
    answers = [push(province, RATING_PATH, rating(serviceNumber=f"{number}")) for number in range(1, 21)]

    assert 0 < len(province.ratings()) < 20
    assert all(b"C-Response-Desc" not in answer.body for answer in answers)
    assert {"http_5xx": {500, 502, 503, 504}}.get(kind, {200}) >= {answer.status for answer in answers}
    assert (kind == "rubbish") == (b"<html>" in answers[0].body)


@pytest.mark.parametrize(("kind", "status"), [("http_429", 429), ("http_401", 401)])
def test_a_door_kept_shut_keeps_nothing(says, push, kind, status):
    """Too many calls, or a key it does not like today."""
    province = spoilt(says, kind)

    assert status == push(province, RATING_PATH, rating()).status
    assert [] == province.ratings()


@pytest.mark.parametrize(
    ("kind", "text"), [("missing_parameter", "参数结构不正确，请检查参数结构"), ("bad_sign", "签名验证失败")]
)
def test_a_refusal_without_cause_stays_the_same_however_often_it_is_tried(says, kind, text):
    """A business refusal belongs to the record: retrying it is no cure."""
    province = spoilt(says, kind)

    assert [text] * 3 == [says(province, RATING_PATH, rating()) for _ in range(3)]
    assert ([], 3) == (province.ratings(), province.state()["refused"])


def test_success_with_a_false_body_keeps_nothing(says, push):
    """The description says success, the body says no, and the body is right."""
    province = spoilt(says, "body_false")
    words = [json.loads(push(province, RATING_PATH, rating()).body) for _ in range(2)]

    assert ["success", "success"] == [word["C-Response-Desc"] for word in words]
    assert ["false", "false"] == [word["C-Response-Body"]["success"] for word in words]
    assert [] == province.ratings()


def test_a_forgotten_case_is_cured_by_sending_it_again(says):
    """It goes once, when the first rating comes; sent again, it stays."""
    province = spoilt(says, "forget")

    assert "没有对应的服务数据" == says(province, RATING_PATH, rating())
    assert "没有对应的服务数据" == says(province, RATING_PATH, rating())
    assert "success" == says(province, CASE_PATH, case())
    assert "success" == says(province, RATING_PATH, rating())
    assert {"forget": 1} == province.state()["misbehaved"]


def test_away_between_two_moments_refuses_everything_with_503(push):
    """From the call until the moment named, and not a millisecond longer."""
    province = txnbody(KEYS)
    province.go_away(NOW_MS + 1_000)

    assert 503 == push(province, CASE_PATH, case(), NOW_MS + 999).status
    assert 200 == push(province, CASE_PATH, case(), NOW_MS + 1_000).status
    assert {"away": 1} == province.state()["misbehaved"]


LIVELY = {"slow": 0.1, "drop_before": 0.2, "timeout_after": 0.2, "http_5xx": 0.2, "body_false": 0.1, "forget": 0.3}
FEW = [f"37A{number:04}" for number in range(8)]


def morning(push, seed: int, case_nos: list[str]) -> dict:
    """Push case and rating of each number four times, whatever comes; what was answered, by record."""
    province = txnbody(KEYS, misbehaviour=ways.Misbehaviour(seed, **LIVELY))
    seen: dict = {}
    for case_no in case_nos:
        for _ in range(4):
            for path, record in (
                (CASE_PATH, case(projectNo=case_no)),
                (RATING_PATH, rating(projectNo=case_no)),
            ):
                answer = push(province, path, record)
                seen.setdefault(case_no, []).append((answer.status, answer.body, answer.drop, answer.delay_ms))
    return {"seen": seen, "held": {row["projectNo"] for row in province.ratings()}}


@pytest.mark.parametrize("seed", range(10))
def test_one_seed_is_one_behaviour_in_whatever_order_the_records_come(push, seed):
    """Each record meets the same fate when the others come in another order."""
    assert morning(push, seed, FEW) == morning(push, seed, FEW[::-1])


def test_another_seed_is_another_behaviour(push):
    """Ten seeds, ten different mornings."""
    assert 10 == len({repr(morning(push, seed, FEW)["seen"]) for seed in range(10)})


@pytest.mark.parametrize("seed", range(10))
def test_tried_often_enough_every_record_is_held_once_or_refused_for_good(says, push, seed):
    """Faults per call cost time, never a record; only those marked by the seed stay refused."""
    wrongs = ways.Misbehaviour(seed, **LIVELY)
    province = txnbody(KEYS, misbehaviour=wrongs)
    for case_no in FEW:
        for _ in range(15):
            push(province, CASE_PATH, case(projectNo=case_no))
            push(province, RATING_PATH, rating(projectNo=case_no))
    marked = {
        case_no
        for case_no in FEW
        for path in (CASE_PATH, RATING_PATH)
        if wrongs.pick(ways.PER_RECORD, f"{path} {case_no}")[0]
    }

    assert sorted(set(FEW) - marked) == sorted(row["projectNo"] for row in province.ratings())


@pytest.mark.parametrize("kind", ways.MISBEHAVIOURS)
def test_chances_come_out_as_often_as_asked_for(kind):
    """A fifth of 2,000 records, give or take five standard deviations."""
    wrongs = ways.Misbehaviour(7, **{kind: 0.2})
    names = next(names for names in (ways.PER_CALL, ways.PER_RECORD, ways.FORGET) if kind in names)
    hits = sum(wrongs.pick(names, f"{number}")[0] == kind for number in range(2_000))

    assert 310 < hits < 490


def test_wishes_are_read_and_wrong_ones_are_named():
    """NAME:PROB, and a ValueError for a name nobody knows, a chance that is none, or too many of them."""
    assert ways.Misbehaviour(3, slow=0.25, forget=1.0) == ways.misbehaviour(3, ("slow:0.25", "forget:1"))
    for wish in ("lazy:0.1", "slow", "slow:often", "slow:-1", "slow:1.1", "slow:nan", "seed:1"):
        with pytest.raises(ValueError):
            ways.misbehaviour(0, (wish,))
    with pytest.raises(ValueError, match="together"):
        ways.misbehaviour(0, ("slow:0.6", "empty:0.6"))


def test_many_threads_with_one_rating_get_one_success(says, envelope):
    """However many calls meet, one is taken and the others are duplicates."""
    province, body, seen = with_case(says), envelope(rating()), []
    threads = [
        threading.Thread(target=lambda: seen.append(desc(province.answer(RATING_PATH, HEADERS, body, NOW_MS))))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (1, 15) == (seen.count("success"), seen.count(RATED_ALREADY))
    assert 1 == len(province.ratings())


# --- over HTTP ------------------------------------------------------------------------------------------------


@pytest.fixture
def session():
    with requests.Session() as one:
        yield one


def test_one_connection_carries_many_calls(session, envelope):
    """Keep-alive: the case, the rating, its duplicate and the state, over a single connection."""
    callers = []
    with serving(txnbody(KEYS)) as door:
        accept = door.process_request
        door.process_request = lambda request, address: (callers.append(address), accept(request, address))
        said = [
            session.post(door.url + path, data=envelope(record), headers=HEADERS, timeout=5).json()["C-Response-Desc"]
            for path, record in (
                (CASE_PATH, case()),
                (RATING_PATH, rating()),
                (RATING_PATH, rating()),
            )
        ]
        state = session.get(f"{door.url}/_sim/state", timeout=5).json()
        held = session.get(f"{door.url}/_sim/ratings", timeout=5).json()

    assert ["success", "success", RATED_ALREADY] == said
    assert (1, 1, 1, 3) == (state["cases"], state["ratings"], state["duplicates_refused"], state["calls"])
    assert [rating()] == [{name: row[name] for name in rating()} for row in held]
    assert 1 == len(callers)


def test_after_commit_the_client_times_out_and_its_retry_is_a_duplicate(session, says, envelope):
    """The whole story over a real connection, with a client that waits 0.2 s."""
    province = spoilt(says, "timeout_after")
    with serving(province) as door:
        url = door.url + RATING_PATH
        with pytest.raises(requests.Timeout):
            session.post(url, data=envelope(rating()), headers=HEADERS, timeout=0.2)
        province.misbehaviour = ways.Misbehaviour()
        retry = session.post(url, data=envelope(rating()), headers=HEADERS, timeout=5).json()

    assert "评价数据不可重复" in retry["C-Response-Desc"]
    assert 1 == len(province.ratings())


@pytest.mark.parametrize("kind", ["drop_before", "stall_before"])
def test_a_line_that_is_cut_is_a_connection_error(session, says, envelope, kind):
    """No status, no body: the connection just ends, at once or after the stall; nothing was kept."""
    province = spoilt(says, kind)
    province.stall_ms = 50
    with serving(province) as door, pytest.raises(requests.ConnectionError):
        session.post(door.url + RATING_PATH, data=envelope(rating()), headers=HEADERS, timeout=5)

    assert [] == province.ratings()


def test_closing_the_door_ends_a_stall_and_hangs_up(says, session, envelope):
    """A province that is stopped keeps nobody waiting for half a minute."""
    province = spoilt(says, "stall_before")
    before, ended = threading.active_count(), []

    def wait_for_an_answer(url):
        with pytest.raises(requests.ConnectionError):
            session.post(url, data=envelope(rating()), headers=HEADERS, timeout=20)
        ended.append(True)

    with serving(province) as door:
        thread = threading.Thread(target=wait_for_an_answer, args=(door.url + RATING_PATH,))
        thread.start()
        while not province.state()["misbehaved"]:
            thread.join(0.01)
    thread.join(5)
    deadline_s = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline_s:
        time.sleep(0.01)

    assert [True] == ended
    assert before == threading.active_count()


def test_away_is_a_call_that_zero_seconds_ends(session, envelope):
    """The demo sends the province away and fetches it back."""
    with serving(txnbody(KEYS)) as door:

        def status() -> int:
            return session.post(door.url + CASE_PATH, data=envelope(case()), headers=HEADERS, timeout=5).status_code

        def send_away(seconds) -> int:
            return session.post(f"{door.url}/_sim/away", json={"seconds": seconds}, timeout=5).status_code

        assert (200, 503) == (send_away(60), status())
        assert (200, 200) == (send_away(0), status())
        assert 400 == send_away("long")


def test_what_is_no_call_is_told_so(session):
    """Other paths, a body without a length, a body that is too long."""
    with serving(txnbody(KEYS)) as door:
        other = session.post(f"{door.url}/else", data=b"", timeout=5).status_code
        endless = session.post(door.url + CASE_PATH, data=iter([b"x"]), timeout=5).status_code
        huge = requests.post(door.url + CASE_PATH, headers={"Content-Length": str(BODY_MAX + 1)}, timeout=5).status_code
        page = session.get(door.url + "/", timeout=5).status_code

    assert (404, 411, 413, 404) == (other, endless, huge, page)


# --- as a process ---------------------------------------------------------------------------------------------


def started(directory, *options: str) -> subprocess.Popen:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "firmware_sim.province"),
            *("--port-file", str(directory / "port"), "--key-file", str(directory / "keys.json"), *options),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"},
    )


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_process_makes_its_keys_keeps_its_journal_and_stops_cleanly(tmp_path, session, stop):
    """A client with nothing but the key file, the port file and the printed line gets its rating in."""
    process = started(tmp_path, "--journal", str(tmp_path / "truth.jsonl"), "--seed", "5", "--misbehave", "slow:0.01")
    line = process.stdout.readline()
    url = f"http://127.0.0.1:{int((tmp_path / 'port').read_text())}"
    keys = json.loads((tmp_path / "keys.json").read_text())
    sign = encrypt_with_openssl(f"{TIME}{keys['app_mark']}{keys['app_word']}", keys["public_hex"], tmp_path)
    for path, record in ((CASE_PATH, case()), (RATING_PATH, rating())):
        sealed = encrypt_with_openssl(json.dumps([record]), keys["public_hex"], tmp_path)
        call = {"appMark": keys["app_mark"], "time": TIME, "sign": sign, "params": {"evaluate": [sealed]}}
        envelope = {"txnBodyCom": call, "txnCommCom": {}}
        assert "success" in session.post(url + path, json=envelope, headers=HEADERS, timeout=5).text
    process.send_signal(stop)
    _, complaints = process.communicate(timeout=30)
    rows = [json.loads(row) for row in (tmp_path / "truth.jsonl").read_text(encoding="utf-8").splitlines()]

    assert line.startswith(f"省平台模拟器 province: {url} ")
    assert (0, "") == (process.returncode, complaints)
    assert ["case", "rating"] == [row["kind"] for row in rows]
    assert rating() == {name: row for name, row in rows[1].items() if name not in ("kind", "at_ms")}
    assert 0o600 == (tmp_path / "keys.json").stat().st_mode & 0o777


def test_a_restart_goes_on_from_its_journal(tmp_path, says):
    """A province does not forget; whoever was killed within a line has not answered for it. Red: rated twice."""
    journal = tmp_path / "journal.jsonl"
    rows = [{"kind": "case", "at_ms": 1, **case()}, {"kind": "rating", "at_ms": 2, **rating()}]
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"kind": "rating", "proj', encoding="utf-8")
    province = txnbody(KEYS)
    process._go_on(province, journal)

    assert {"cases": 1, "ratings": 1} == {name: province.state()[name] for name in ("cases", "ratings")}
    assert RATED_ALREADY in says(province, RATING_PATH, rating())
    assert rows == [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]


def test_keys_are_made_once_and_read_ever_after(tmp_path):
    """A second start has the same keys; a spoilt file is refused, not replaced."""
    file = tmp_path / "keys.json"
    first = process.keys_from(file)

    assert first == process.keys_from(file)
    file.write_text(json.dumps({"private_hex": first.private_hex}))
    with pytest.raises(ValueError, match=r"keys\.json"):
        process.keys_from(file)


def test_a_wish_that_cannot_be_read_ends_the_process_with_the_names(tmp_path):
    """Whoever mistypes a misbehaviour sees which there are."""
    process = started(tmp_path, "--misbehave", "lazy:0.5")
    _, complaints = process.communicate(timeout=30)

    assert 2 == process.returncode
    assert "timeout_after" in complaints
