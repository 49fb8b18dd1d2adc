"""The API of the collector, for business systems, other channels, operators and auditors."""

from __future__ import annotations

from typing import Any, get_args

from collector.ledger.desk import FIELDS
from collector.reconcile.words import REASONS
from collector.statistics.figures import BYS
from collector.web.channels import RatingGiven
from collector.web.desk import Corrects, GivesUp, Links, SendsAgain
from collector.web.draws import Announces, Nothing
from protocols.cases import TIME_MAX_MS
from protocols.messages import SEQ_MAX
from protocols.ratings import Case, Level, ParkReason

from .words import (
    COUNT,
    FIELD_WRONG,
    LONG,
    MAYBE_TEXT,
    MAYBE_TIME,
    NO_TOKEN,
    TEXT,
    TIME,
    YES_NO,
    Schema,
    answers,
    behind,
    document,
    error,
    listed,
    one_of,
    ref,
    shaped,
    takes,
    types,
    within,
    wrong,
)

_TOKEN = [{"token": []}]
_ORDER = "开始日期晚于结束日期 / the first day is after the last"
_FULL = "存储已满或只读, 没有收下 / storage is full or read-only, not taken"
_STATES = ("due", "awaiting_case", "accepted", "parked")
_PARKED = {"who": "李敏", "why": "业务系统漏传手机号"}
_MOST = behind("most", "最多几条 / at most so many", {"type": "integer", "minimum": 1, "maximum": 999, "default": 20})
_DAY = {"anyOf": [{"type": "string", "format": "date"}, {"const": ""}]}
_ID = {"type": "integer", "minimum": 0, "maximum": SEQ_MAX}
_RATING = within("rating", "评价的编号 / its number", _ID, 1)


def _all() -> dict[str, Schema]:
    level = one_of(*(each.value for each in Level))
    rating = {
        "id": {"type": "integer"},
        "hall": TEXT,
        "number": TEXT,
        "level": level,
        "pressed_ms": TIME,
        "state": one_of(*_STATES),
        "reason": TEXT,
        "words": TEXT,
        "made_ms": TIME,
        "settled_ms": MAYBE_TIME,
    }
    parked = rating | {
        "channel": TEXT,
        "case_no": MAYBE_TEXT,
        "service_number": {"type": "integer"},
        "clerk": MAYBE_TEXT,
        "tags": listed(TEXT),
        "text": TEXT,
        "tries": COUNT,
        "as_is": YES_NO,
        "receipt": TEXT,
        "duplicate": YES_NO,
        "flagged": YES_NO,
    }
    call = shaped(what=TEXT, at_ms=TIME, verdict=MAYBE_TEXT, words=TEXT)
    done = shaped(at_ms=TIME, who=TEXT, what=TEXT, reason=TEXT, changes={"type": "object"})
    counts = shaped(received=COUNT, accepted=COUNT, parked=COUNT, waiting=COUNT)
    case = types(Case)["Case"]
    properties = case["properties"]
    bounds = types(Links)["Links"]["properties"]
    properties |= {name: bounds[name] for name in ("case_no", "service_number")}
    for name in [each for each in properties if each.endswith("_ms")]:
        properties[name] = {"type": ["integer", "null"], "minimum": 0, "maximum": TIME_MAX_MS, "default": None}
    reasons = ", ".join(("awaiting_case", *get_args(ParkReason)))
    bodies = types(GivesUp, Corrects, Links, SendsAgain)
    bodies["Corrects"]["properties"]["fields"] = ref("Fields")
    draws = types(Announces, Nothing)
    draws["Announces"]["properties"] |= {name: {"type": "string", "format": "date"} for name in ("from", "to")}
    return {
        **bodies,
        **types(RatingGiven),
        **draws,
        "Case": case | {"additionalProperties": False},
        # Of Case those fields that can be put right; which case it is stays.
        "Fields": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {name: each for name, each in properties.items() if name in FIELDS},
        },
        "Rating": shaped(**rating, agent=TEXT, window=TEXT),
        "Parked": shaped(**parked)
        | {"description": f"reason: {reasons}; reason_words, cure: 名称与做法 / its name and what to do"},
        "ParkedWhole": shaped(
            **parked, case={"type": ["object", "null"]}, attempts=listed(call), corrections=listed(done)
        ),
        "Summary": shaped(
            at_ms=TIME,
            ratings=counts,
            bad=counts,
            presses=COUNT,
            records=COUNT,
            province=shaped(away_since_ms=MAYBE_TIME, words=TEXT),
            backlog=shaped(records=COUNT, oldest_ms=MAYBE_TIME, alarms=listed(TEXT)),
            checkpoint={"type": ["object", "null"]},
        ),
        "Window": shaped(agent=TEXT, window=TEXT, hall=TEXT, number=TEXT, state=TEXT, detail=TEXT, ratings=COUNT),
        "Draw": shaped(
            id=COUNT,
            at_ms=TIME,
            who=TEXT,
            reason=TEXT,
            kind=one_of("all", "bad", "good"),
            hall=TEXT,
            wanted=COUNT,
            upto=COUNT,
            size=COUNT,
            stretch=COUNT,
            drawn_ms=MAYBE_TIME,
            to=TEXT,
            frame=TEXT,
            hash=TEXT,
            came=TEXT,
            seed=TEXT,
            ratings=listed(COUNT),
        ),
        "Error": error("code"),
    }


def _read(operation: str, said: str, shape: Schema, *parameters: Schema, **whys: str) -> dict[str, Any]:
    return {
        "get": {
            "operationId": operation,
            "summary": said,
            "security": _TOKEN,
            "parameters": list(parameters),
            "responses": {"200": answers(said, shape), **wrong(_401=NO_TOKEN, **whys)},
        }
    }


def _desk(operation: str, said: str, body: str, example: dict[str, Any]) -> dict[str, Any]:
    """Something that a person does about one parked rating."""
    return {
        "parameters": [_RATING],
        "post": {
            "operationId": operation,
            "summary": said,
            "security": _TOKEN,
            "requestBody": takes(ref(body), _PARKED | example),
            "responses": {
                "200": answers("处理后的样子 / as it is now", ref("ParkedWhole")),
                **wrong(
                    _400=FIELD_WRONG,
                    _401=NO_TOKEN,
                    _404="没有这条 / no such rating",
                    _409="它不在待处理中 / it does not wait",
                    _413=LONG,
                    _507=_FULL,
                ),
            },
        },
    }


def _figures() -> Schema:
    found = answers(
        "",
        shaped(
            lines=listed({"type": "object"}),
            total={"type": "object"},
            heads={"type": "object"},
            zone=TEXT,
            by=one_of(*BYS),
            to=TEXT,
            at_ms=TIME,
        ),
    )
    found["content"]["text/csv"] = {"schema": TEXT}
    return found


def collector() -> Schema:
    """Of 127.0.0.1:8620."""
    schemas = _all()
    taken = shaped(
        taken=COUNT,
        changed=COUNT,
        lacking=listed(shaped(case_no=TEXT, service_number={"type": "integer"}, fields=listed(TEXT))),
    )
    given = shaped(id=TEXT, invitation=TEXT, fate=one_of("rated", "repeat"), state=MAYBE_TEXT, tags={"type": "object"})
    days = (
        behind("from", "从哪天, 北京时间 / from this day, UTC+8", _DAY),
        behind("to", "到哪天 / to this day", _DAY),
        behind("window", "窗口, 或 代理/窗口 / a window, or agent/window", TEXT),
    )
    reasons = sorted(REASONS)
    paths = {
        "/api/v1/cases": {
            "post": {
                "operationId": "takeCases",
                "summary": "办件信息 / case details",
                "security": _TOKEN,
                "requestBody": takes(
                    {"anyOf": [ref("Case"), listed(ref("Case")) | {"minItems": 1, "maxItems": 500}]},
                    {"case_no": "BJ20260001", "service_number": 1},
                ),
                "responses": {
                    "200": answers(
                        "收下; `lacking` 为省里还缺的 / taken; `lacking` is what the province will miss", taken
                    ),
                    **wrong(_400=FIELD_WRONG, _401=NO_TOKEN, _413=LONG, _507=_FULL),
                },
            }
        },
        "/api/v1/ratings": {
            **_read(
                "lastRatings", "最近评价 / last ratings", shaped(ratings=listed(ref("Rating"))), _MOST, _400="most"
            ),
            "post": {
                "operationId": "takeRating",
                "summary": "其他渠道的一条评价 / a rating of another channel",
                "security": [{"client": []}],
                "requestBody": takes(
                    ref("RatingGiven"),
                    {
                        "id": "R-20261128-000017",
                        "level": "dissatisfied",
                        "channel": "web",
                        "case_no": "BJ20260002",
                        "given_ms": 1795420800000,
                        "tags": ["213"],
                        "text": "等了很久",
                    },
                ),
                "responses": {
                    "201": answers("新收 / new", given),
                    "200": answers("已收过 / known", given),
                    **wrong(
                        _400=FIELD_WRONG,
                        _401="名称或密钥不对 / wrong name or secret",
                        _403="不是它的渠道 / not its channel",
                        _409="此 id 是另一条评价的 / this id is another rating's",
                        _413=LONG,
                        _507=_FULL,
                    ),
                },
            },
        },
        "/api/v1/parked": {
            "get": {
                "operationId": "parked",
                "summary": "待处理, 差评在前 / what waits for a person, bad ones first",
                "security": _TOKEN,
                "parameters": [
                    _MOST,
                    behind("reason", f"只看这种 / of this reason only: {', '.join(reasons)}", TEXT),
                    behind("after", "上一页最后一条的 id / the last id seen", _ID),
                ],
                "responses": {
                    "200": answers("", shaped(parked=listed(ref("Parked")))),
                    **wrong(_400="参数有误 / a parameter is wrong", _401=NO_TOKEN),
                },
            }
        },
        "/api/v1/parked/{rating}": {
            "parameters": [_RATING],
            "get": {
                "operationId": "parkedOne",
                "summary": "一条的全部, 个人信息遮盖 / all about one, personal details masked",
                "security": _TOKEN,
                "responses": {
                    "200": answers("", ref("ParkedWhole")),
                    **wrong(_401=NO_TOKEN, _404="没有这条 / no such rating"),
                },
            },
        },
        "/api/v1/parked/{rating}/correct": _desk(
            "correct",
            "更正办件, 随即重发 / put its case right; it is sent again",
            "Corrects",
            {"fields": {"mobile": "19900000001"}},
        ),
        "/api/v1/parked/{rating}/link": _desk(
            "link",
            "没有办件编号的, 关联到办件, 只能一次 / one without a case number, to its case: once",
            "Links",
            {"case_no": "BJ20260003"},
        ),
        "/api/v1/parked/{rating}/send-again": _desk(
            "sendAgain",
            "再发; as_is: 连我方扣下的也照发 / send it again; as_is: also what we hold back",
            "SendsAgain",
            {"as_is": False},
        ),
        "/api/v1/parked/{rating}/give-up": _desk(
            "giveUp", "不再上报, 仍在各项计数中 / not to be sent; it stays in every count", "GivesUp", {}
        ),
        "/api/v1/draws": {
            "get": {
                "operationId": "draws",
                "summary": "抽查, 新的在前 / draws for spot checks, the newest first",
                "security": _TOKEN,
                "responses": {"200": answers("", shaped(draws=listed(ref("Draw")))), **wrong(_401=NO_TOKEN)},
            },
            "post": {
                "operationId": "announceDraw",
                "summary": "公告一次抽查 / announce a draw",
                "security": _TOKEN,
                "requestBody": takes(
                    ref("Announces"),
                    {"from": "2026-11-01", "to": "2026-11-30", "number": 20, "who": "周审", "why": "十一月监督查评"},
                ),
                "responses": {
                    "201": answers("已公告 / announced", ref("Draw")),
                    **wrong(
                        _400=FIELD_WRONG,
                        _401=NO_TOKEN,
                        _409="没有这样的评价, 或截止日期还没有到 / no such ratings, or the last day is still to come",
                        _413=LONG,
                        _507=_FULL,
                    ),
                },
            },
        },
        "/api/v1/draws/make": {
            "post": {
                "operationId": "makeDraws",
                "summary": "抽取已公告的 / make the draws that were announced",
                "security": _TOKEN,
                "requestBody": takes(ref("Nothing"), {}),
                "responses": {
                    "200": answers("抽取了几次 / how many were made", shaped(made=COUNT)),
                    **wrong(_400=FIELD_WRONG, _401=NO_TOKEN, _413=LONG, _507=_FULL),
                },
            }
        },
        "/api/v1/statistics": {
            "get": {
                "operationId": "statistics",
                "summary": "统计 / statistics of a period",
                "security": _TOKEN,
                "parameters": [
                    *days[:2],
                    behind("by", "按什么分 / a line for each", one_of(*BYS)),
                    behind("hall", "只看这个大厅 / of this hall only", TEXT),
                    behind("format", "csv, 或 json (缺省) / csv, or json", {"enum": ["", "csv", "json"]}),
                ],
                "responses": {
                    "200": _figures(),
                    **wrong(_400="参数有误 / a parameter is wrong", _401=NO_TOKEN, _409=_ORDER),
                },
            }
        },
        "/api/v1/summary": _read("summary", "总数 / counts", ref("Summary")),
        "/api/v1/windows": _read("windows", "每个窗口 / each window", shaped(windows=listed(ref("Window")))),
        "/api/v1/agents": _read("agents", "每个代理 / each agent", shaped(agents=listed(shaped(agent=TEXT)))),
        "/api/v1/unratable": _read(
            "unratable",
            "没有含义的按键和原因 / presses without a meaning, and why",
            shaped(unratable=listed(shaped(reason=TEXT, words=TEXT))),
        ),
        "/api/v1/quarantine": _read(
            "quarantine",
            "隔离的消息 / messages that were not ours",
            shaped(quarantine=listed(shaped(topic=TEXT, reason=TEXT))),
            _MOST,
            _400="most",
        ),
        "/api/v1/reconcile": _read(
            "reconcile",
            "对账 / the counts that must agree",
            shaped(unexplained=COUNT, days=listed({"type": "object"}), agents=listed({"type": "object"})),
            *days,
            _400="日期有误 / a day is wrong",
            _409=_ORDER,
        ),
    }
    return document(
        "汇聚器 / the collector",
        "办件, 其他渠道的评价, 待处理台, 各项计数。Cases, ratings of other channels, the desk of parked ratings,"
        " counts. docs/integrate.md, docs/api.md",
        paths,
        schemas,
        {
            "token": {"type": "http", "scheme": "bearer", "description": "web.token"},
            "client": {"type": "http", "scheme": "basic", "description": "[[web.clients]]"},
        },
    )
