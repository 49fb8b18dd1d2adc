"""Which faults there are, in their fourteen groups, how often each happens, and all of that as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any

GROUPS = {
    1: "手指与触点 / the finger and the contact",
    2: "按键与邀请的先后 / a press and its invitation",
    3: "字节的到达 / how bytes arrive",
    4: "杂讯 / noise",
    5: "损坏的帧 / damaged frames",
    6: "回声 / echo",
    7: "波特率不符 / the wrong baud rate",
    8: "应答 / answers",
    9: "线缆与端口名 / the cable and the port's name",
    10: "端口被占 / the port in other hands",
    11: "RS-485 与 Modbus / RS-485 and Modbus",
    12: "键盘 / keypads",
    13: "平板 / tablets",
    14: "主机时钟 / the host's clock",
}


def _fault(group: int, usual: float, words: str) -> Any:
    return field(default=0.0, metadata={"group": group, "usual": usual, "words": words})


@dataclass(frozen=True)
class Faults:
    """What goes wrong and how often; each is a probability from 0 to 1 of the thing it says.

    A fault that makes no sense for a device never happens to it: a keypad has no line whose bytes could be damaged,
    a panel without numbers has none that could wrap.
    """

    # 1: per press of a finger
    bounce: float = _fault(1, 0.3, "触点在 1-20 ms 内再闭合 1-4 次 / the contact closes 1-4 more times within 1-20 ms")
    double: float = _fault(1, 0.1, "80-400 ms 后再按同一或另一键 / the same or another button again 80-400 ms later")
    held: float = _fault(1, 0.1, "按住 0.6-2 s, 每秒重复 30 次 / held for 0.6-2 s, repeating 30 times a second")
    together: float = _fault(1, 0.1, "同时按下两键 / two buttons in the same millisecond")

    # 2: per press of a finger
    outside: float = _fault(2, 0.2, "邀请之外再按一次 / one more press when nothing is being asked")
    at_timeout: float = _fault(2, 0.2, "恰在超时时刻按下 / the press falls on the very moment of the time-out")
    second: float = _fault(2, 0.2, "0.5-3 s 后又评一次 / a second vote 0.5-3 s after the first")
    after_cancel: float = _fault(2, 0.2, "撤回后 0-300 ms 才按 / the host withdraws, 0-300 ms later comes the press")

    # 3: per frame on the line
    split: float = _fault(3, 0.3, "到主机: 逐字节, 间隔 1 ms / to the host: a byte at a time, a millisecond apart")
    glue: float = _fault(3, 0.2, "到主机: 扣留 50-250 ms / to the host: held back 50-250 ms, joined with what follows")
    lumps: float = _fault(3, 0.3, "到主机: 16 ms 一批 / to the host: at the next full 16 ms, as a USB bridge does")
    delay: float = _fault(3, 0.1, "到主机: 迟到 0-2 s / to the host: 0-2 s late")

    # 4: per frame on the line, and per start of the device
    noise: float = _fault(4, 0.1, "帧前中后 1-8 个杂字节 / 1-8 random bytes before, inside or after")
    power_on: float = _fault(4, 0.5, "上电时 00 或 FF / 1-4 bytes 00 or FF when the device starts")
    breaks: float = _fault(4, 0.1, "帧前后有 BREAK, 读作 00 / a BREAK before or after the frame, read as 00")

    # 5: per frame on the line; the first two per byte
    flip: float = _fault(5, 0.01, "每字节: 错一位 / per byte: one bit of it is wrong")
    byte_lost: float = _fault(5, 0.01, "每字节: 丢失 / per byte: it is gone")
    frame_lost: float = _fault(5, 0.05, "整帧丢失 / the whole frame is gone")
    bad_sum: float = _fault(5, 0.1, "校验和错 / the checksum is wrong")
    bad_length: float = _fault(5, 0.1, "长度错 / a length byte is wrong")
    no_trailer: float = _fault(5, 0.1, "缺帧尾 / the trailer is missing")
    header_inside: float = _fault(5, 0.1, "帧内又现帧头 / the header once more inside the frame")
    truncated: float = _fault(5, 0.1, "截断, 随后静默 1 s / cut short, then a second of silence")

    # 6: per frame from the host
    echo: float = _fault(6, 0.5, "主机的字节原样返回 / the host's bytes come back")
    echo_late: float = _fault(6, 0.3, "5-300 ms 后返回 / they come back 5-300 ms later")
    echo_short: float = _fault(6, 0.3, "返回时少一字节 / they come back one byte short")

    # 7: per line, for as long as it is used: device's rate _ host's rate
    baud_9600_19200: float = _fault(7, 1.0, "设备 9600, 主机 19200 / device 9600, host 19200")
    baud_19200_9600: float = _fault(7, 1.0, "设备 19200, 主机 9600 / device 19200, host 9600")
    baud_9600_4800: float = _fault(7, 1.0, "设备 9600, 主机 4800 / device 9600, host 4800")
    baud_9600_2400: float = _fault(7, 1.0, "设备 9600, 主机 2400 / device 9600, host 2400")

    # 8: per frame from the host; wrap per device, reboot per press
    silent: float = _fault(8, 0.2, "设备没听见, 不回答 / the device does not hear it, so nothing answers")
    nak: float = _fault(8, 0.1, "设备拒绝 (有此帧者) / the device refuses, where its family can say so")
    busy: float = _fault(8, 0.1, "设备称忙 (有此帧者) / the device says busy, where its family can")
    ack_lost: float = _fault(8, 0.2, "应答丢失, 于是设备重发 / an acknowledgement is gone, so the device repeats")
    ack_late: float = _fault(8, 0.2, "应答迟 200-1500 ms / an acknowledgement, and all behind it, 200-1500 ms late")
    wrap: float = _fault(8, 1.0, "序号即将回绕 / the device's sequence is about to wrap")
    reboot: float = _fault(8, 0.1, "按键后 0-1500 ms 重启 / the device reboots 0-1500 ms after the press")

    # 9: per press of a finger
    cable_out: float = _fault(9, 0.1, "拔线, 1-4 s 后插回 / the cable is pulled 0-1000 ms later and back after 1-4 s")
    other_name: float = _fault(9, 0.1, "拔线, 插回后换了名字 / the same, and it comes back under another name")
    swapped: float = _fault(9, 0.1, "与下一窗口互换设备 / two windows' devices are swapped")

    # 10: per start of a panel; reader_steals per piece that arrives
    port_held: float = _fault(10, 1.0, "另一进程独占端口 / another process holds the port exclusively")
    port_shared: float = _fault(10, 1.0, "另一进程也打开端口 / another process has it open too")
    port_forbidden: float = _fault(10, 1.0, "无权打开端口 / the port may not be opened")
    reader_steals: float = _fault(10, 0.5, "第二读者取走一批字节 / a second reader takes these bytes")

    # 11: per device, or per answer of a device
    same_address: float = _fault(11, 0.3, "总线上两台同址 / two devices of one address, so their answers collide")
    absent: float = _fault(11, 0.3, "该地址无设备 / nobody is at this address")
    wrong_address: float = _fault(11, 0.1, "以别的地址回答 / the answer carries another address")
    collision: float = _fault(11, 0.3, "两台同时发言 / two that talk at once spoil each other")
    slow_turnaround: float = _fault(11, 0.3, "回答前等 5-50 ms / 5-50 ms pass before the answer")
    exception: float = _fault(11, 0.1, "Modbus 异常应答 / a Modbus exception for an answer")
    short_press: float = _fault(11, 0.3, "按下 5-40 ms, 短于轮询 / a press of 5-40 ms, shorter than the polling")

    # 12: per press; the cable faults of group 9 are a keypad's ENODEV
    numlock: float = _fault(12, 0.5, "每键前后带 NumLock / NumLock around the key")
    key_repeat: float = _fault(12, 0.3, "自动重复 (值 2) / held long enough for events of value 2")
    enodev: float = _fault(12, 0.1, "按下后节点消失 / the node is gone in the middle of a key, back after 1-4 s")
    second_node: float = _fault(12, 0.3, "另一事件节点也出事件 / the keypad's other event node speaks as well")
    second_keypad: float = _fault(12, 0.3, "另有一只键盘在打字 / a second keypad is typed on, at another node")

    # 13: per datagram, per vote, per device
    gbk: float = _fault(13, 0.5, "文本为 GBK / per device: its text is GBK")
    udp_lost: float = _fault(13, 0.1, "数据报丢失 / the datagram is gone")
    udp_doubled: float = _fault(13, 0.2, "数据报重复 / the datagram arrives twice")
    udp_late: float = _fault(13, 0.2, "数据报乱序 / the datagram is overtaken by those of the next 300 ms")
    old_request: float = _fault(13, 0.2, "旧请求的答复此时才到 / the answer to an old request comes in a new one")
    clock_skew: float = _fault(13, 0.3, "平板时钟不准 / the tablet's clock is set while a press waits")
    ip_change: float = _fault(13, 0.1, "地址改变 / the tablet comes back at another address")
    late_vote: float = _fault(13, 0.3, "评价迟 0-2 s / the vote comes up to 2 s late")

    # 14: per press of a finger
    clock_jump: float = _fault(14, 0.1, "主机时钟跳变 / the host's clock jumps by up to a day, either way")

    @classmethod
    def parse(cls, text: str) -> Faults:
        """`bounce:0.3,flip,group7` as a value; nothing at all is no faults. ValueError says what is wrong with it.

        A bare name happens as often as is usual. A group is all its faults; one of them named beside it is as named.
        """
        of_groups: dict[str, float] = {}
        named: dict[str, float] = {}
        for name, number in _parts(text):
            group = re.fullmatch(r"group(\d+)", name)
            if group is None or int(group[1]) not in GROUPS:
                named[name] = _chance(name, number, named)
            else:
                of_groups |= {each: _chance(each, number, {}) for each in in_group(int(group[1]))}
        return cls(**of_groups | named)

    def __str__(self) -> str:
        """As `parse` reads it: only what can happen."""
        chances = {field.name: getattr(self, field.name) for field in fields(self)}
        return ",".join(f"{name}:{chance!r}" for name, chance in chances.items() if chance)


def happens(chance: float, rng: Random) -> bool:
    """Whether a fault of this chance happens now. One that cannot happen takes nothing from the seed."""
    return chance > 0 and rng.random() < chance


def in_group(group: int) -> list[str]:
    """The faults of a group."""
    return [each.name for each in fields(Faults) if each.metadata["group"] == group]


def catalogue() -> Iterator[tuple[int, str, float, str]]:
    """Every fault there is: its group, its name, how often it usually happens, and what happens."""
    for each in fields(Faults):
        yield each.metadata["group"], each.name, each.metadata["usual"], each.metadata["words"]


_USUAL = {name: usual for _, name, usual, _ in catalogue()}


def _parts(text: str) -> Iterator[tuple[str, str | None]]:
    """Each name with what stands behind its colon; None where there is no colon."""
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, number = (piece.strip() for piece in part.partition(":"))
        yield name, number if colon else None


def _chance(name: str, number: str | None, named: dict[str, float]) -> float:
    known = ", ".join(_USUAL)
    if name not in _USUAL:
        raise ValueError(f"没有这种故障 / no such fault: {name!r}; 可用 / known: {known}, group1-group{len(GROUPS)}")
    if name in named:
        raise ValueError(f"故障重复 / the same fault twice: {name}")
    if number is None:
        return _USUAL[name]
    try:
        chance = float(number)
    except ValueError:
        chance = -1.0
    if not 0.0 <= chance <= 1.0:
        raise ValueError(
            f"{name} 需要 0 到 1 之间的数 / {name} wants a number from 0 to 1, not {number!r}; 可用 / known: {known}"
        )
    return chance
