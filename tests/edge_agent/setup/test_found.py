"""What the guide finds on a machine: ports with their owners, and what was plugged in just now."""

from edge_agent.ports import PortFacts
from edge_agent.setup.found import Sockets
from edge_agent.setup.judge import Judge, of_tap
from edge_agent.tap import Tap
from protocols import profiles
from protocols.frames import Beat, Pressed, encode

BUILT_IN = PortFacts("/dev/ttyS0", description="ttyS0")
ONE = PortFacts("/dev/ttyUSB0", 0x1A86, 0x7523, location="1-1.2", manufacturer="QinHeng", product="USB Serial")
TWIN = PortFacts("/dev/ttyUSB1", 0x1A86, 0x7523, location="1-1.3", manufacturer="QinHeng", product="USB Serial")


def test_what_is_plugged_in_stands_first_and_is_marked_for_a_minute():
    """What was there at the first look is not new; what comes back after it was pulled is."""
    there = [BUILT_IN, ONE]
    sockets = Sockets(lambda: there)
    first = sockets.places((), 1_000_000)
    there.append(TWIN)
    second = sockets.places((), 1_001_000)
    later = sockets.places((), 1_070_000)
    there.remove(ONE)
    sockets.places((), 1_071_000)
    there.append(ONE)
    back = sockets.places((), 1_072_000)

    assert [False, False] == [place.new for place in first]
    assert [("usb:1-1.3", True), ("usb:1-1.2", False), ("/dev/ttyS0", False)] == [(p.bind, p.new) for p in second]
    assert not any(place.new for place in later)
    assert "usb:1-1.2" == back[0].bind
    assert back[0].new


def test_adapters_that_look_the_same_are_said_to():
    """They are told apart by their socket alone."""
    places = Sockets(lambda: [BUILT_IN, ONE, TWIN]).places((), 0)

    assert {"/dev/ttyUSB0", "/dev/ttyUSB1"} == {place.device for place in places if place.alike}


def test_a_profile_that_reads_all_bytes_is_offered_and_one_that_reads_some_is_not():
    """Our own line first; its device by name. Noise speaks against a profile."""
    judge = Judge(9600)
    for now_ms in (0, 1000):
        judge.feed(False, encode(Beat("D0217", 1, 60, "idle", 0)), now_ms)
        judge.feed(False, b"", now_ms + 500)
    heard = judge.readings()
    judge.feed(False, b"\x00garbage\r\n", 2000)
    judge.feed(False, b"", 3000)

    assert ["house"] == [reading.profile.id for reading in heard]
    assert ["D0217"] == heard[0].devices
    assert not judge.readings()


def test_one_press_that_is_said_again_is_one_press():
    """Nobody thanks a device that is only listened to, so it goes on. Red if each saying is counted."""
    judge = Judge(9600)
    for now_ms, (count, age_ms) in enumerate([(1, 0), (1, 400), (1, 800), (2, 0), (2, 400)]):
        judge.feed(False, encode(Pressed("D0217", 1, count, 3, age_ms)), now_ms * 400)

    assert [2] == [reading.presses for reading in judge.readings() if reading.profile.id == "house"]


def test_each_serial_profile_is_recognised_by_its_own_vectors():
    """What a shipped profile brings as proof is read by it; the first that is offered may be a stricter one."""
    for name in ("qs4", "taxi905", "house", "key-byte", "key-ascii"):
        judge, profile, at_ms = Judge(9600), profiles.shipped(name), 0
        for vector in profile.shape.vectors:
            if vector.read is None or not any(each.event == "key" for each in vector.expect):
                continue
            data = vector.read.removeprefix("text:").encode() if vector.read.startswith("text:") else None
            judge.feed(False, data if data is not None else bytes.fromhex(vector.read.removeprefix("hex:")), at_ms)
            judge.feed(False, b"", at_ms + 900)
            at_ms += 1000
            break
        if at_ms:
            assert name in [reading.profile.id for reading in judge.readings()], name


def test_a_tap_is_bounded_and_shows_what_a_window_heard():
    """The last 64 pieces, none longer than 256 bytes."""
    tap = Tap()
    for number in range(100):
        tap.put(number % 2 == 0, bytes([number]) * 300, number * 1000)
    pieces = tap.pieces()

    assert 64 == len(pieces)
    assert 256 == max(len(piece.data) for piece in pieces)
    assert [99, 100] == [piece.number for piece in tap.pieces(98)]
    assert 16 == len(of_tap(pieces, 9600).shown())
