"""The door of an agent, for the hall's business system and its pages."""

from __future__ import annotations

from edge_agent.clerks import Seat
from edge_agent.door import Ask, Pressed
from protocols.cases import TIME_MAX_MS
from protocols.ratings import Case

from .words import (
    FIELD_WRONG,
    LONG,
    MAYBE_TEXT,
    MAYBE_TIME,
    NO_TOKEN,
    TEXT,
    TIME,
    Schema,
    answers,
    behind,
    document,
    error,
    one_of,
    ref,
    shaped,
    takes,
    types,
    within,
    wrong,
)

_UUID = {"type": "string", "pattern": r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
_STATES = ("open", "answered", "expired", "declined", "withdrawn", "device_failed")
_FULL = "存储已满或只读, 没有做 / storage is full or read-only, nothing was done"
_STOPPING = "代理正在停止, 稍后再试 / the agent is stopping, try again in a moment"
_NOT_THERE = "没有这个邀请 / no such invitation"


def agent() -> Schema:
    """Of 127.0.0.1:8610."""
    invitation = shaped(
        id=TEXT,
        window=TEXT,
        state=one_of(*_STATES),
        case_no=MAYBE_TEXT,
        service_number={"type": "integer"},
        opened_ms=TIME,
        deadline_ms=TIME,
        closed_ms=MAYBE_TIME,
        storage=one_of("ok", "storage_full"),
        page=MAYBE_TEXT,
    )
    schemas = types(Ask, Pressed, Case, Seat) | {"Invitation": invitation, "Error": error("code", "open")}
    ask = schemas["Ask"]["properties"]
    ask["id"] = {"anyOf": [_UUID, {"type": "null"}], "default": None}
    ask["case"] = {"anyOf": [ref("Case"), {"type": "null"}], "default": None}
    # The case number may stand beside the case instead of in it.
    schemas["Case"] = schemas["Case"] | {"required": [], "additionalProperties": False}
    case = schemas["Case"]["properties"]
    case |= {"case_no": ask["case_no"]["anyOf"][0], "service_number": ask["service_number"]}
    for name in [each for each in case if each.endswith("_ms")]:
        case[name] = {"type": ["integer", "null"], "minimum": 0, "maximum": TIME_MAX_MS, "default": None}
    # A case needs a number, in one of the two places.
    schemas["Ask"]["anyOf"] = [
        {"properties": {"case": {"type": "null"}}},
        {"required": ["case_no"], "properties": {"case_no": {"type": "string"}}},
        {"required": ["case"], "properties": {"case": {"type": "object", "required": ["case_no"]}}},
    ]
    which = within("id", "邀请的 id / the invitation's id", TEXT, "0198f1c2-7a54-7f5e-9d0a-3f6f6a1c2b7d")
    paths = {
        "/v1/invitations": {
            "post": {
                "operationId": "invite",
                "summary": "邀请评价 / open an invitation",
                "description": "`case` 中的办件信息立即密封, 本机谁也读不了 / the details in `case` are sealed at once:"
                " nobody on this PC can read them.",
                "requestBody": takes(
                    ref("Ask"),
                    {"id": "0198f1c2-7a54-7f5e-9d0a-3f6f6a1c2b7d", "window": "1", "case_no": "BJ20260001"},
                ),
                "responses": {
                    "201": answers("新开 / opened", ref("Invitation")),
                    "200": answers("此 id 已有 / this id is known", ref("Invitation")),
                    **wrong(
                        _400=FIELD_WRONG,
                        _401=NO_TOKEN,
                        _404="没有这个窗口 / no such window",
                        _409="窗口正在评价 (`open`), id 属于另一办件, `case` 是另一办件, 或没有密封用的公钥 (`code`) /"
                        " the window is busy, the id is another case's, `case` is of another one than the invitation,"
                        " or there is no key to seal with",
                        _413=LONG,
                        _503=_STOPPING,
                        _507=_FULL,
                    ),
                },
            }
        },
        "/v1/invitations/{id}": {
            "parameters": [which],
            "get": {
                "operationId": "look",
                "summary": "查看 / look at it",
                "responses": {
                    "200": answers("此刻的状态 / as it is now", ref("Invitation")),
                    **wrong(_401=NO_TOKEN, _404=_NOT_THERE, _503=_STOPPING),
                },
            },
            "delete": {
                "operationId": "end",
                "summary": "撤回, 或办事人不评 / withdraw it, or the citizen declines",
                "parameters": [
                    behind("outcome", "缺省 withdrawn / withdrawn if left out", one_of("withdrawn", "declined"))
                ],
                "responses": {
                    "200": answers("此刻的状态 / as it is now", ref("Invitation")),
                    **wrong(
                        _400="outcome 不对 / wrong outcome",
                        _401=NO_TOKEN,
                        _404=_NOT_THERE,
                        _503=_STOPPING,
                        _507=_FULL,
                    ),
                },
            },
        },
        "/v1/invitations/{id}/events": {
            "parameters": [which],
            "get": {
                "operationId": "follow",
                "summary": "每次变化一条, 结束后关闭 / one event for each change, until it has ended",
                "responses": {
                    "200": {
                        "description": "`event: state`, `data:` 一个 Invitation / an Invitation",
                        "content": {"text/event-stream": {"schema": TEXT}},
                    },
                    **wrong(_401=NO_TOKEN, _404=_NOT_THERE, _503="同时打开的流太多 / too many streams"),
                },
            },
        },
        "/v1/windows/{window}/seat": {
            "parameters": [within("window", "窗口 / the window", TEXT, "6")],
            "get": {
                "operationId": "seat",
                "summary": "谁在窗口, 是否暂停 / who sits there, and whether it is paused",
                "responses": {
                    "200": answers("此刻的情形 / as it is now", ref("Seat")),
                    **wrong(_401=NO_TOKEN, _404="没有这个窗口 / no such window"),
                },
            },
            "put": {
                "operationId": "sit",
                "summary": "登录或暂停 / somebody signs in, or the window is paused",
                "requestBody": takes(ref("Seat"), {"clerk": "018", "paused": False}),
                "responses": {
                    "200": answers("此刻的情形 / as it is now", ref("Seat")),
                    **wrong(
                        _400=FIELD_WRONG, _401=NO_TOKEN, _404="没有这个窗口 / no such window", _413=LONG, _507=_FULL
                    ),
                },
            },
        },
        "/v1/windows/{window}/presses": {
            "parameters": [within("window", "窗口 / the window", TEXT, "6")],
            "post": {
                "operationId": "press",
                "summary": "评价页面上的一次按键 / a press on a rating page",
                "requestBody": takes(
                    ref("Pressed"), {"device": "SCREEN-6", "boot": 3, "count": 12, "button": 1, "age_ms": 0}
                ),
                "responses": {
                    "200": answers(
                        "已存盘 / on disk",
                        shaped(kept={"const": True}, boot={"type": "integer"}, count={"type": "integer"}),
                    ),
                    **wrong(
                        _400=FIELD_WRONG,
                        _401=NO_TOKEN,
                        _404="此窗口的评价器不是页面 / this window's device is no page",
                        _413=LONG,
                        _503="尚未存盘, 重发同一次 / not on disk yet: send the same press again",
                        _507=_FULL,
                    ),
                },
            },
        },
    }
    for path in paths.values():
        for method, operation in path.items():
            if method != "parameters":
                operation["security"] = [{"token": []}]
    return document(
        "边缘代理 / the agent's door",
        "窗口电脑上, 供业务系统邀请评价; 从不告知等级。On a window's PC: a business system invites citizens to rate,"
        " and is never told how they did. docs/integrate.md",
        paths,
        schemas,
        {"token": {"type": "http", "scheme": "bearer", "description": "door.token"}},
    )
