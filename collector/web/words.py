"""What the pages and the API call things, in the words of the hall."""

from __future__ import annotations

WORDS = {
    "very_satisfied": "非常满意 / very satisfied",
    "satisfied": "满意 / satisfied",
    "basically_satisfied": "基本满意 / basically satisfied",
    "dissatisfied": "不满意 / dissatisfied",
    "very_dissatisfied": "非常不满意 / very dissatisfied",
    "due": "待发送 / to be sent",
    "awaiting_case": "等待办件信息 / waits for its case",
    "accepted": "省平台已接收 / accepted",
    "parked": "待处理 / parked",
    "ready": "就绪 / ready",
    "inviting": "正在评价 / being rated",
    "cable_out": "线缆断开 / cable out",
    "device_silent": "设备无应答 / device silent",
    "refusing": "无法保存 / refuses presses",
    "agent_away": "代理离线 / agent away",
    "unknown": "尚无消息 / not heard of",
    "refused": "省平台拒收 / refused by the province",
    "case_refused": "办件被拒收 / case refused",
    "case_unknown": "省平台无此办件 / case unknown to the province",
    "lacking": "缺少字段或不合格式 / fields lacking or not in their form",
    "item_not_mapped": "事项未对应 / item not mapped",
    "own_item": "自建事项 / item of the hall's own",
    "bad_without_reason": "差评没有原因 / bad without a reason",
    "before_service": "早于服务时间 / before the service",
    "locked": "缺少办件密钥 / key of the case missing",
    "given_up": "不再上报 / given up",
    "damaged": "评价已损坏 / rating damaged",
    "case_damaged": "办件信息已损坏, 请重新提交 / case damaged, post it again",
    "no_case": "无办件编号 / no case number",
    "": "",
}

LEVELS = {
    "very_satisfied": "非常满意 / very satisfied",
    "satisfied": "满意 / satisfied",
    "basically_satisfied": "基本满意 / basically satisfied",
    "dissatisfied": "不满意 / dissatisfied",
    "very_dissatisfied": "非常不满意 / very dissatisfied",
}
"""The levels, for pages in one language."""

STATES = {
    "due": "待发送 / due",
    "awaiting_case": "等待办件信息 / awaiting its case",
    "accepted": "省平台已接收 / accepted",
    "parked": "待处理 / parked",
}
"""Where a rating is, for pages in one language."""

REASONS = {
    "undatable": "可能按在邀请之前, 只保存, 不评价 / may be from before the invitation: kept, never rated",
    "window_not_placed": "窗口未登记 / the directory does not have this window",
    "keys_not_confirmed": "按键未确认 / keys not confirmed",
    "button_not_mapped": "按键无含义 / the key map gives this button no level",
    "awaiting_closing": "等待邀请终结 / the invitation's closing has not arrived yet",
}
"""Why a press has no meaning."""

FATE_WORDS = {
    **REASONS,
    "rated": "已评价 / rated",
    "repeat": "重复评价, 不计第二次 / repeat: not counted twice",
    "duplicate": "重发, 同一次按键 / duplicate: the same press again",
    "unsolicited": "邀请外 / unsolicited: no invitation was open",
}
"""What became of a press."""

OUTCOMES = {
    "answered": "已评价 / answered",
    "expired": "到时未评 / expired",
    "declined": "不评 / declined",
    "withdrawn": "撤回 / withdrawn",
    "device_failed": "评价器故障 / device failed",
}
"""How an invitation ended."""

EVIDENCE = {
    "own": "自有协议 / our own",
    "vendor-doc": "厂商文档 / vendor's document",
    "field-observed": "现场观察 / seen in a hall",
    "generic": "通用方式 / a common way",
    "learnt": "现场学习 / learnt at the desk",
    "unverified": "未经核实 / not verified",
}
"""How far what a device is taken for is to be trusted."""


def said(words: dict[str, str], word: str) -> str:
    """In words; as it stands where a newer program says what this one does not know."""
    return words.get(word, word)
