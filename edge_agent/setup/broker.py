"""Whether the broker lets this agent in, tried with its own name and password, and in words why not."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from protocols.words import Words

WITHIN_S = 4.0
_TURN_S = 0.2
_OTHER_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


@dataclass(frozen=True)
class Answer:
    """How the try went, in words, and which answer of the guide to look at."""

    well: bool
    words: Words
    field: str = ""


def tried(host: str, port: int, agent: str, password: str, tls: ssl.SSLContext | None) -> Answer:
    """Sign in as this agent and out again. The agent's own connection, if it has one, is not disturbed."""
    said: list[Answer] = []
    # A name server can take minutes, and nothing can hurry it: it is left behind.
    call = threading.Thread(target=lambda: said.append(_called(host, port, agent, password, tls)), daemon=True)
    call.start()
    call.join(2 * WITHIN_S)
    slow = Words(
        f"{host}:{port} {2 * WITHIN_S:g} 秒内没有应答, 请检查网络和防火墙",
        f"{host}:{port} has not answered within {2 * WITHIN_S:g} s, check the network and the firewall",
    )
    return said[0] if said else Answer(False, slow, "host")


def _called(host: str, port: int, agent: str, password: str, tls: ssl.SSLContext | None) -> Answer:
    # Under another client id: the broker puts out whoever else has the same one.
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"{agent}-setup", clean_session=True)
    client.connect_timeout = WITHIN_S
    client.username_pw_set(agent, password)
    if tls is not None:
        client.tls_set_context(tls)
    reasons: list[Any] = []
    client.on_connect = lambda _client, _userdata, _flags, reason, _properties: reasons.append(reason)
    try:
        _reached(host, port, tls)
        client.connect(host, port, keepalive=30)
        for _ in range(int(WITHIN_S / _TURN_S)):
            if reasons or client.loop(_TURN_S) != mqtt.MQTT_ERR_SUCCESS:
                break
        client.disconnect()
    except (OSError, ValueError) as error:
        return _why(error, host, port)
    if not reasons:
        words = Words(
            f"{host}:{port} 有程序应答, 但不像消息服务器; TLS 选对了吗 (通常 8883 用, 1883 不用)?",
            f"what answers at {host}:{port} is no broker; is TLS right (usually 8883 with, 1883 without)?",
        )
        return Answer(False, words, "port")
    if reasons[0].is_failure:
        words = Words(
            f"服务器在, 但不让 {agent!r} 登录: 名称或口令不对, 或服务器上没有这个用户 ({reasons[0]})",
            f"the broker is there and does not let {agent!r} in: its name or password is wrong, or it is no user there"
            f" ({reasons[0]})",
        )
        return Answer(False, words, "password")
    return Answer(True, Words(f"已连上 {host}:{port}, 登录成功", f"connected to {host}:{port} and signed in"))


def _reached(host: str, port: int, tls: ssl.SSLContext | None) -> None:
    """Whether anybody is there, before anything is said: paho would leave a socket open whose handshake failed."""
    with socket.create_connection((host, port), WITHIN_S) as plain:
        if tls is not None:
            tls.wrap_socket(plain, server_hostname=host).close()


def _why(error: Exception, host: str, port: int) -> Answer:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OTHER_NAME:
            words = Words(
                f"证书不是 {host} 的, 请填证书上的主机名 ({error.verify_message})",
                f"the certificate is not for {host}: give the name that is on it ({error.verify_message})",
            )
            return Answer(False, words, "host")
        words = Words(
            f"证书不是所填 CA 签发的, 或已过期 ({error.verify_message})",
            f"the certificate is not signed by the authority given, or is out of date ({error.verify_message})",
        )
        return Answer(False, words, "ca")
    if isinstance(error, ssl.SSLError):
        why = error.reason or error
        words = Words(
            f"这个端口不用 TLS? 请换端口或去掉 TLS ({why})",
            f"does this port talk TLS? Take another port, or leave TLS out ({why})",
        )
        return Answer(False, words, "tls")
    if isinstance(error, socket.gaierror | UnicodeError):
        words = Words(
            f"找不到主机名 {host!r}: 请核对拼写, 或填 IP 地址",
            f"no host is called {host!r}: check the name, or give an address",
        )
        return Answer(False, words, "host")
    if isinstance(error, ConnectionRefusedError):
        zh = f"{host} 在, 但端口 {port} 没有消息服务器: 请核对端口 (通常 1883, 加密 8883)"
        en = f"{host} is there, and no broker at port {port}: check the port (usually 1883, with TLS 8883)"
        return Answer(False, Words(zh, en), "port")
    if isinstance(error, ConnectionError):
        words = Words(
            f"{host}:{port} 有程序应答后断开; TLS 选对了吗 (8883 通常用, 1883 不用)?",
            f"{host}:{port} answered and hung up; is TLS right (usually 8883 with, 1883 without)?",
        )
        return Answer(False, words, "tls")
    if isinstance(error, TimeoutError):
        words = Words(
            f"{host}:{port} 没有应答, 请检查网络和防火墙",
            f"{host}:{port} does not answer, check the network and the firewall",
        )
        return Answer(False, words, "host")
    words = Words(f"{host}:{port} 连不上: {error}", f"{host}:{port} cannot be reached: {error}")
    return Answer(False, words, "host")
