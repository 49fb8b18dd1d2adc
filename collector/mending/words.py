"""What mendings and draws are called, as `Chinese / English`."""

from __future__ import annotations

STATES = {
    "to_check": "待核查 / to be checked",
    "to_mend": "待整改 / to be mended",
    "to_answer": "待回复 / to be answered",
    "to_call_back": "待回访 / to be called back",
    "to_close": "待审批 / to be approved",
    "closed": "已办结 / closed",
}
STEPS = {
    "check": "核查 / check",
    "mend": "整改 / mend",
    "answer": "回复 / answer",
    "call_back": "回访 / call back",
    "close": "审批 / approve",
    "reopen": "重新打开 / open again",
    "spot_check": "抽查 / spot check",
}
OUTCOMES = {
    "founded": "属实且诉求合理, 应整改 / true and reasonable: to be mended",
    "unreasonable": "属实, 诉求缺乏依据, 应解释 / true, without ground in the rules: to be explained",
    "unfounded": "不属实, 应说明 / not true: to be explained",
    "mistaken": "误评 / given by mistake",
    "malicious": "恶意差评 / malicious",
    "done": "已整改 / mended",
    "told": "已告知办事人 / the citizen was told",
    "nobody": "无法联系, 无人可告知 / there is nobody who could be told",
    "satisfied": "已接通, 对整改满意 / reached, content with what was done",
    "not_satisfied": "已接通, 对整改不满意 / reached, not content with it",
    "not_reached": "未接通, 再试 / not reached, to be tried again",
    "unreachable": "多次联系不上 / could not be reached",
    "approved": "同意办结 / approved",
    "sent_back": "退回重办 / sent back",
    "reopened": "重新打开 / opened again",
    "sound": "与办事人所说一致 / as the citizen says",
    "doubtful": "存疑 / something is odd",
}
FINDINGS = {
    "founded": "属实 / true",
    "unreasonable": "无依据 / without ground",
    "unfounded": "不属实 / not true",
    "mistaken": "误评 / a mistake",
    "malicious": "恶意 / malicious",
}
TABS = {
    "open": "未办结 / Open",
    "soon": "即将到期 / Due soon",
    "overdue": "逾期 / Overdue",
    "to_close": "待审批 / To be approved",
    "closed": "已办结 / Closed",
}
KINDS = {"all": "全部 / all", "bad": "差评 / bad ones", "good": "好评 / good ones"}
LEVELS = {
    "very_satisfied": "非常满意 / very satisfied",
    "satisfied": "满意 / satisfied",
    "basically_satisfied": "基本满意 / basically satisfied",
    "dissatisfied": "不满意 / dissatisfied",
    "very_dissatisfied": "非常不满意 / very dissatisfied",
}
CHANNELS = {
    "window_keypad": "窗口评价器 / window keypad",
    "window_pad": "窗口平板 / window pad",
    "kiosk": "自助终端 / kiosk",
    "qr": "二维码 / QR code",
    "web": "网站 / web",
    "mobile": "移动端 / mobile",
    "phone": "电话 / phone",
    "sms": "短信 / SMS",
}
