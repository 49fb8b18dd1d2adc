"""What the reasons for a difference are called, and what a person does about each."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """A name and what to do, each Chinese first."""

    name: str
    cure: str


REASONS = {
    # more presses at the device than records here
    "in_flight": Words(
        "在途 / in flight",
        "代理已存盘, 等它上交; 久不减少则查网络 / on the agent's disk and on its way; if it stays, look at the network",
    ),
    "in_device": Words(
        "尚在评价器 / still in the device",
        "评价器会继续重发; 久不减少则查线缆和代理 / it goes on repeating; if it stays, look at cable and agent",
    ),
    "device_rebooted": Words(
        "评价器断电 / device rebooted",
        "断电前未致谢, 按键随之消失; 查评价器电源 / gone before it was thanked for; look at the device's power",
    ),
    "before_first": Words(
        "首次听到之前 / before first heard",
        "接入本账本之前按的, 无须处理 / pressed before this ledger knew the device: nothing to do",
    ),
    "gap": Words(
        "账本缺口 / gap", "账本恢复过旧备份; 查更新的备份 / an older ledger was restored: look for a newer backup"
    ),
    "loss": Words(
        "存档损坏 / lost to a damaged disk",
        "代理逐条写明了读不出的记录; 换磁盘, 留存原件 / named by the agent: replace the disk, keep the damaged file",
    ),
    "epoch_lost": Words(
        "纪元未交完 / epoch lost",
        "代理换了新存档而旧的没有交完; 在该电脑上找旧文件 / the agent began a new outbox: look for the old file there",
    ),
    "unreadable": Words(
        "看不懂的记录 / not understood",
        "存着, 见隔离消息; 升级汇聚器 / kept, see quarantined messages: update the collector",
    ),
    # fewer
    "not_counting": Words(
        "评价器不计数 / device not counting",
        "无法与评价器核对, 数目不编造 / nothing to compare with, and no number is made up",
    ),
    "reused": Words(
        "计数归零 / numbers used again",
        "评价器丢了自己的计数; 按键都在, 查其电池 / all presses are here: the device lost its counters",
    ),
    "duplicate": Words(
        "重复上报 / duplicate report", "同一次按键又来一次, 只算一次 / the same press again, counted once"
    ),
    # presses without a rating
    "unsolicited": Words("邀请外 / unsolicited", "没有邀请时按的, 只保存 / pressed without an invitation: kept"),
    "repeat": Words("重复评价 / repeat", "同一服务再按, 只保存 / another press for the same service: kept"),
    "undatable": Words(
        "时间不明 / undatable", "可能早于邀请, 只保存 / may be from before the invitation: kept, never rated"
    ),
    "window_not_placed": Words("窗口未登记 / window not placed", "写入 directory.toml / put it into directory.toml"),
    "keys_not_confirmed": Words("按键未确认 / keys not confirmed", "现场核对按键 / confirm the keys on the spot"),
    "button_not_mapped": Words("按键无含义 / button not mapped", "补全 directory.toml 的 keys / complete its keys"),
    "awaiting_closing": Words(
        "等待邀请终结 / awaiting closing", "随代理下一批到达 / comes with the agent's next batch"
    ),
    # ratings that the province does not have
    "due": Words("待发送 / due", "自动补发; 省平台可用时不应久留 / sent by itself as soon as the province answers"),
    "awaiting_case": Words(
        "等待办件信息 / awaiting its case",
        "请业务系统提交该办件; 若已随邀请交给代理, 看该代理的告警 / the business system has to post the case; where an"
        " agent was given it, see that agent's alarm",
    ),
    "refused": Words("省平台拒收 / refused", "按省平台原话处理 / see the province's own words"),
    "case_refused": Words("办件被拒收 / case refused", "更正办件后重新提交 / put the case right and post it again"),
    "case_unknown": Words("省平台无此办件 / case unknown", "与省平台核对该办件 / clear it up with the province"),
    "lacking": Words(
        "缺少字段或不合格式 / fields lacking or not in their form",
        "补全办件或改正后重新提交 / complete the case or put it right, and post it again",
    ),
    "no_case": Words(
        "无办件编号 / no case number",
        "在待处理台查到办件后关联; 今后请业务系统在邀请评价时给出办件编号"
        " / link it to its case at the desk; the business system has to give the case number when it invites",
    ),
    "item_not_mapped": Words(
        "事项未对应 / item not mapped",
        "补入 items_file, 或更正办件的事项 / put it into items_file, or put the case right",
    ),
    "own_item": Words(
        "自建事项 / the county's own item",
        "省平台不收; 核实后可照发 / not taken there: clear it up, or send it as it is",
    ),
    "bad_without_reason": Words(
        "差评没有原因 / bad rating without a reason",
        "不得代填; 与省平台商定, 可照发 / none is made up: agree with the province, or send it as it is",
    ),
    "before_service": Words(
        "早于服务时间 / before its service",
        "校准时钟, 更正服务时间, 或照发 / set the clocks, put the service's time right, or send it as it is",
    ),
    "locked": Words(
        "缺少办件密钥 / key missing", "放回密钥文件, 或重新提交办件 / put the key back, or post the case again"
    ),
    "given_up": Words("不再上报 / given up", "已有人决定并写明原因 / somebody decided so, and wrote down why"),
    # among the accepted
    "said_duplicate": Words(
        "省平台称已有 / it had it already", "我们重发所致, 正常 / a call of ours whose answer was lost"
    ),
    "flagged": Words(
        "称已有而我们未发送过 / had before us", "与省平台核对: 谁评过这次服务 / ask the province who rated this service"
    ),
    "clock_wrong": Words(
        "时钟不对 / clock wrong", "按原样列在那一天, 不挪动; 校准该电脑时钟 / never moved: set that PC's clock"
    ),
    "unexplained": Words(
        "无法解释 / unexplained",
        "运行 collector verify, 并保留账本 / run collector verify, and keep the ledger as it is",
    ),
}

UNEXPLAINED = {
    "device": "已致谢却没有记录的按键 / thanked for and no record",
    "presses": "按键: 收下的记录与账本行之差 / presses: records taken, less rows",
    "duplicates": "重复上报: 收下的与账本行之差 / duplicate reports: taken, less rows",
    "ratings": "标为已评价的按键与评价之差 / presses called rated, less ratings",
    "accepted": "已接收: 记下的与账本行之差 / accepted: counted, less rows",
    "parked": "待处理: 记下的与账本行之差 / parked: counted, less rows",
    "due": "待发送: 记下的与账本行之差 / due: counted, less rows",
    "awaiting_case": "等待办件: 记下的与账本行之差 / awaiting its case: counted, less rows",
    "records": "链上记录与收下的记录之差 / records in the chain, less records taken",
}
"""Where something does not add up; with `bad_` before it, of bad ratings."""


def name_of(reason: str) -> str:
    """A reason in words; as it stands where nobody has put it into words."""
    return REASONS[reason].name if reason in REASONS else reason


def place_of(place: str) -> str:
    """Where something does not add up, in words."""
    words = UNEXPLAINED.get(place.removeprefix("bad_"), place)
    return f"差评 bad: {words}" if place.startswith("bad_") else words
