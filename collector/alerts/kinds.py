"""What can be wrong, what a person does about it, and how patient a hall is with each unless it says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Weight = Literal["urgent", "warning", "notice"]
WEIGHTS: dict[Weight, str] = {
    "urgent": "紧急 / urgent",
    "warning": "要处理 / to be seen to",
    "notice": "留意 / to be noted",
}
"""From the heaviest on."""
_DAY = 24 * 60


@dataclass(frozen=True)
class Kind:
    """One kind of trouble. `after_minutes` it is told, every `repeat_minutes` again (0: never), in office hours only
    if `office`. An `event` has happened and does not last."""

    name: str
    cure: str
    weight: Weight
    after_minutes: int
    repeat_minutes: int
    office: bool = True
    event: bool = False
    page: str = "/"
    """Where somebody sees to it."""


BAD_RATING = "bad_rating"
KINDS: dict[str, Kind] = {
    BAD_RATING: Kind(
        "差评 / bad rating",
        "请到该窗口了解并回访, 15 日内整改 / go and see, speak to the citizen, mend it within 15 days",
        "urgent",
        0,
        0,
        office=False,
        event=True,
        page="/mending",
    ),
    "disk_full": Kind(
        "中心存储已满 / the centre's storage is full",
        "腾出磁盘空间; 各代理照常保留, 有空间后自动继续"
        " / make room: agents keep everything meanwhile, work goes on by itself",
        "urgent",
        0,
        60,
        office=False,
    ),
    "disk_low": Kind(
        "中心存储将满 / the centre's storage is nearly full",
        "请腾出磁盘空间 / make room on that disk",
        "warning",
        10,
        _DAY,
    ),
    "key_refused": Kind(
        "省平台拒绝我方密钥 / the province refuses our key",
        "核对 [province] 中的密钥和账号, 或联系省平台; 评价全部保留, 恢复后自动补发"
        " / check the keys in [province], or call the province: everything is kept and sent later",
        "urgent",
        1,
        4 * 60,
    ),
    "province_away": Kind(
        "省平台不可用 / the province is away",
        "检查到省平台的网络, 或问省平台; 评价全部保留, 恢复后自动补发"
        " / check the network to it, or ask there: everything is kept and sent later",
        "warning",
        10,
        4 * 60,
    ),
    "agent_away": Kind(
        "代理离线 / an agent is away",
        "检查这台窗口电脑是否开机、联网, 代理是否在运行 / is that PC on, in the network, and its agent running?",
        "warning",
        5,
        4 * 60,
        page="/?state=agent_away",
    ),
    "hall_away": Kind(
        "大厅离线 / a hall is away",
        "检查该厅的网络和电源, 以及消息服务器 / look at its network and power, and at the broker",
        "urgent",
        5,
        60,
    ),
    "window_bad": Kind(
        "窗口不能评价 / a window cannot take ratings",
        "到窗口检查评价器的线缆和电源, 或在该电脑运行 edge-agent doctor"
        " / look at its device's cable and power, or run edge-agent doctor on that PC",
        "warning",
        10,
        4 * 60,
    ),
    "outbox_full": Kind(
        "窗口电脑存储已满, 按键未收下 / a window PC is full, presses are not taken",
        "腾出该电脑的磁盘空间 / make room on that PC's disk",
        "urgent",
        1,
        60,
    ),
    "agent_alarm": Kind(
        "代理报警 / an agent's alarm",
        "按报警的话处理, 见看板 / do as it says, see the board",
        "urgent",
        1,
        _DAY,
        page="/?state=alarm",
    ),
    "backlog_old": Kind(
        "按键久未上交 / presses wait long on a window PC",
        "检查该电脑到中心的网络和消息服务器 / check that PC's way to the centre, and the broker",
        "warning",
        5,
        4 * 60,
        page="/?state=backlog",
    ),
    "keys_not_confirmed": Kind(
        "按键未确认 / keys not confirmed",
        "现场逐键核对, 写入 directory.toml, 见看板"
        " / press each key on the spot and put it into directory.toml: the board shows how",
        "warning",
        60,
        _DAY,
        page="/unratable",
    ),
    "rating_parked": Kind(
        "评价待处理 / ratings wait for a person",
        "在待处理台按原因处理: 更正办件、关联办件 (没有办件编号的) 或重发"
        " / at the desk, by their reason: put the case right, link those without a case number, or send again",
        "warning",
        60,
        _DAY,
        page="/parked",
    ),
    "work_overdue": Kind(
        "差评整改超期 / mending of bad ratings overdue",
        "今天就办结, 并写明结果 / finish it today, and write down how",
        "urgent",
        0,
        _DAY,
        page="/mending?tab=overdue",
    ),
    "work_due": Kind(
        "差评整改快到期 / mending of bad ratings due soon",
        "请在到期前办结 / finish it in time",
        "warning",
        0,
        _DAY,
        page="/mending?tab=soon",
    ),
    "no_rating": Kind(
        "久无评价 / cases closed, and nobody rates",
        "到窗口按一次试试, 看屏幕和提示是否正常 / go there and press once: is the screen on, and is anybody asked?",
        "warning",
        0,
        _DAY,
        page="/?state=no_rating",
    ),
    "clock_wrong": Kind(
        "窗口电脑时钟不对 / a window PC's clock is wrong",
        "在该电脑上启用自动对时 / let that PC set its clock by itself",
        "notice",
        30,
        _DAY,
        page="/?state=clock_wrong",
    ),
    "checkpoint_missing": Kind(
        "没有写成今天的检查点 / no checkpoint of today",
        "检查密钥文件和文件夹 / look at its key file and folder",
        "notice",
        60,
        _DAY,
    ),
    "quarantine_grows": Kind(
        "收到不是本系统的消息 / messages came that are not ours",
        "打开隔离消息页, 看是谁发的 / open the page of the quarantine: it says who sends them",
        "notice",
        5,
        _DAY,
        page="/quarantine",
    ),
    "count_unexplained": Kind(
        "对账有说不清的差数 / the counts have an unexplained difference",
        "打开对账页, 逐行查看 / open the page of the reconciliation",
        "warning",
        30,
        _DAY,
        page="/reconcile",
    ),
    "ledger_gap": Kind(
        "账本缺记录 / the ledger lacks records",
        "请查备份 / look for a backup",
        "urgent",
        1,
        _DAY,
        page="/reconcile",
    ),
}
