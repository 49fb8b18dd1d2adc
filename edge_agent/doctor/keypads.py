"""The keypads of the settings: there, told apart, and ours to read?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_agent import keypad, machine
from edge_agent.config import WindowSettings
from edge_agent.link import LinkDown
from edge_agent.machine import Account, Roots
from protocols.words import Words

from .findings import Finding, or_fine

_LIST = "cat /proc/bus/input/devices"


def examine(windows: Sequence[WindowSettings], account: Account, roots: Roots) -> list[Finding]:
    """What keeps the keypads of these windows from being read; nothing where there are none."""
    bound = [window for window in windows if keypad.is_keypad(window.port)]
    if not bound:
        return []
    return or_fine(
        list(_trouble(bound, account, roots)), "keypad", "数字键盘都在, 可读", "every keypad is there for us"
    )


def _trouble(windows: Sequence[WindowSettings], account: Account, roots: Roots) -> Iterator[Finding]:
    text = machine.text(roots.proc / "bus" / "input" / "devices")
    for window in windows:
        try:
            node = _node(window.port, text, roots)
        except LinkDown as down:
            zh, _, en = str(down).partition(" / ")
            cure = Words(
                "插好键盘; 两个相同时按插口填写 windows.port",
                "plug it in; of two alike name the socket in windows.port",
            )
            yield Finding("keypad", "bad", Words(f"窗口 {window.id}: {zh}", f"window {window.id}: {en}"), cure, _LIST)
            continue
        if node.exists() and not machine.may(node.stat(), account, os.R_OK):
            yield Finding(
                "keypad-permission",
                "bad",
                Words(
                    f"窗口 {window.id}: {account.name} 无权读 {node}",
                    f"window {window.id}: {account.name} may not read {node}",
                ),
                Words("加入 input 组, 然后重新登录", "join the group input, then sign in again"),
                f"sudo usermod -aG input {account.name}",
            )


def _node(port: str, text: str, roots: Roots) -> Path:
    if port.startswith("hid:"):
        return roots.dev / "input" / keypad.find(port, list(keypad.listed(text))).node
    node = Path(port)
    if not node.exists():
        raise LinkDown(f"{port}: 没有这个键盘 / no such keypad")
    return node
