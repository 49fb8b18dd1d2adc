"""Which port a window means: every form of the settings, and never a guess."""

import pytest

from edge_agent.ports import Ambiguous, Matcher, NoMatch, PortFacts, alike, match, parse

BY_ID = "/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0"
ONE = PortFacts("/dev/ttyUSB0", 0x1A86, 0x7523, location="1-1.3")
TWIN = PortFacts("/dev/ttyUSB1", 0x1A86, 0x7523, location="1-1.4", links=(BY_ID,))
FTDI = PortFacts("/dev/ttyUSB2", 0x0403, 0x6001, serial="A9001XYZ", location="1-2")
QUAD = tuple(
    PortFacts(f"/dev/ttyUSB{4 + number}", 0x0403, 0x6011, serial="Q1", location=f"2-1:1.{number}")
    for number in range(4)
)
BOARD = PortFacts("/dev/ttyS0")
ALL = (ONE, TWIN, FTDI, *QUAD, BOARD)


def found(port: str, *there: PortFacts) -> str | NoMatch | Ambiguous:
    return match(parse(port), there or ALL)


# ---- what stands in the settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/ttyS0", Matcher("/dev/ttyS0", path="/dev/ttyS0")),
        ("./panel0", Matcher("./panel0", path="./panel0")),
        ("com13", Matcher("com13", path="com13")),
        (r"\\.\COM13", Matcher(r"\\.\COM13", path=r"\\.\COM13")),
        ("socket://10.0.0.9:8000", Matcher("socket://10.0.0.9:8000", path="socket://10.0.0.9:8000")),
        ("rfc2217://[fe80::1]:23", Matcher("rfc2217://[fe80::1]:23", path="rfc2217://[fe80::1]:23")),
        ("usb:1-1.3", Matcher("usb:1-1.3", location="1-1.3")),
        ("USB:1-1.3:1.0", Matcher("USB:1-1.3:1.0", location="1-1.3:1.0")),
        ("usb:1A86:7523", Matcher("usb:1A86:7523", adapter="1a86:7523")),
        ("usb:0403:6001:A9:x-1", Matcher("usb:0403:6001:A9:x-1", adapter="0403:6001", serial="A9:x-1")),
    ],
)
def test_every_form_is_read(text, expected):
    """Paths, COM names, device servers, USB sockets, adapters with and without a serial number."""
    assert expected == parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ttyUSB0", "/dev/ttyS0"),
        ("COM", "COM3"),
        ("usb:", "usb:1-1.3"),
        ("usb:1a86", "usb:1a86:7523"),
        ("usb:1a86:75", "usb:1a86:7523"),
        ("usb:1a86:7523:", "usb:0403:6001:A9001XYZ"),
        ("usb:1-", "usb:1-1.3"),
        ("socket://h", "socket://host:number"),
        ("socket://h:0", "socket://host:number"),
        ("socket://h:65536", "socket://host:number"),
        ("socket:h:1", "socket://host:number"),
        ("rfc2217://h:1?logging=debug", "rfc2217://host:number"),
        ("hwgrep://1A86:7523", "socket://host:number"),
        ("loop://", "socket://host:number"),
    ],
)
def test_what_is_no_port_is_refused_with_what_it_should_be(text, words):
    """hwgrep would take the first of several: no other address of pyserial's is let through."""
    with pytest.raises(ValueError, match="expected") as wrong:
        parse(text)

    assert words in str(wrong.value)
    assert "应为" in str(wrong.value)


# ---- what it leads to


@pytest.mark.parametrize("path", ["/dev/ttyS0", "/dev/serial/by-path/gone", "COM3", "socket://h:1", "./panel0"])
def test_a_path_stands_for_itself(path):
    """Whether or not anything is plugged in there: what is wrong shows when it is opened."""
    assert path == found(path)


@pytest.mark.parametrize(
    ("port", "device"),
    [
        ("usb:1-1.3", "/dev/ttyUSB0"),
        ("usb:1-1.3:1.0", "/dev/ttyUSB0"),
        ("usb:1-1.4", "/dev/ttyUSB1"),
        ("usb:2-1:1.2", "/dev/ttyUSB6"),
        ("usb:0403:6001", "/dev/ttyUSB2"),
        ("usb:0403:6001:a9001xyz", "/dev/ttyUSB2"),
    ],
)
def test_one_port_answers(port, device):
    """By socket, by socket and interface, by make alone, by make and serial number."""
    assert device == found(port)


@pytest.mark.parametrize(
    "port", ["usb:1-1", "usb:1-1.33", "usb:1-1.3.1", "usb:2-1:1.9", "usb:067b:2303", "usb:0403:6001:Z"]
)
def test_what_is_not_there_is_not_replaced(port):
    """Not by a port of nearly the same name, nor by the only other one."""
    assert NoMatch() == found(port)
    assert "现在没有这个串口, 请检查线缆 / not there now, check the cable" == str(found(port))


@pytest.mark.parametrize(
    ("port", "candidates"),
    [("usb:1a86:7523", (ONE, TWIN)), ("usb:2-1", QUAD), ("usb:0403:6011:Q1", QUAD), (BY_ID, (ONE, TWIN))],
)
def test_two_that_answer_are_named_and_none_is_taken(port, candidates):
    """By make; several ports of one adapter; and the by-id link that two adapters without serial number share."""
    assert Ambiguous(candidates) == found(port)
    words = str(found(port))
    assert all(f"{each.device} (usb:{each.location})" in words for each in candidates)
    assert all(f'"usb:{each.location}"' in words for each in candidates)
    assert "分不清" in words


def test_a_by_id_link_of_one_adapter_is_good():
    """Nothing shares it; an adapter of another make beside it does not matter."""
    assert BY_ID == found(BY_ID, TWIN, FTDI)


def test_adapters_that_only_their_socket_tells_apart_are_found():
    """Without serial number, or with the same one (a whole lot of them left the factory as 0001)."""
    lot = [PortFacts(f"/dev/ttyUSB{at}", 0x10C4, 0xEA60, serial="0001", location=f"3-{at}") for at in (1, 2)]

    assert [(ONE, TWIN), tuple(lot)] == alike([*ALL, *lot])
