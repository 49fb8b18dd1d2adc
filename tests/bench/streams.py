"""What a line can be full of: a profile's own press frames, noise, and bytes that are meant to keep a reader busy."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from protocols import frames as house
from protocols import profiles
from protocols.profiles import hid
from protocols.profiles.profile import Profile

CHUNK = 512  # bytes of one read of a busy line
SIZE = 1 << 18
CHECKSUMMED = ("house", "qs4", "taxi905")
READ_AS_BYTES = tuple(name for name in profiles.SHIPPED if profiles.shipped(name).shape.form != "registers")


def own(profile: Profile) -> list[bytes]:
    """Press frames back to back, each read apart where the wire has no frames. A device that counts never says the same
    twice."""
    form = profile.shape.form
    if form == "house":
        frames = [house.encode(house.Pressed("D0217", 12, count, 1 + count % 5, 35)) for count in range(1, 8001)]
        return chunks(b"".join(frames)[:SIZE])
    if form == "events":
        down, up = (hid.EVENT.pack(0, 0, hid.KEY, 79, value) for value in (1, 0))
        report = hid.EVENT.pack(0, 0, hid.SYN, 0, 0)
        return chunks(((down + report + up + report) * SIZE)[:SIZE])
    if form == "screen":
        return [
            b'{"device":"S0001","boot":3,"count":%d,"button":%d,"age_ms":20}' % (count, 1 + count % 5)
            for count in range(4000)
        ]
    raws = vectors(profile)
    if profile.shape.transport == "udp":
        return raws * (SIZE // sum(map(len, raws)))
    return chunks((b"".join(raws) * SIZE)[:SIZE])


def vectors(profile: Profile) -> list[bytes]:
    """The vectors that are one press."""
    found = []
    for vector in profile.shape.vectors:
        if vector.read is not None and [each.event for each in vector.expect] == ["key"]:
            text = vector.read
            found.append(text[5:].encode() if text.startswith("text:") else bytes.fromhex(text))
    return found


def noise(seed: int, size: int = SIZE) -> list[bytes]:
    """Random bytes."""
    return chunks(Random(seed).randbytes(size))


def hostile(profile: Profile) -> dict[str, list[bytes]]:
    """Heads only; lengths that promise what never comes; whole frames whose checksum is wrong."""
    form, framing = profile.shape.form, profile.shape.frame
    if form == "house":
        wrong = b"$PRESS,D0217,12,7,2,35*D9F7\r\n"
        parts = {"heads": b"$", "lengths": b"$PRESS,", "checks": wrong}
    elif form == "frame" and framing is not None:
        head = bytes.fromhex(framing.head)
        raw = vectors(profile)[0]
        at = len(raw) - 1 - len(bytes.fromhex(framing.tail or ""))
        parts = {
            "heads": head,
            "lengths": raw[: len(head) + 3],
            "checks": raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :],
        }
    elif form == "text":
        parts = {"heads": b'{"succ":0', "lengths": b'{"appriseresult":', "checks": b'{"appriseresult":"5x"}'}
    elif form == "events":
        parts = {
            "heads": hid.EVENT.pack(0, 0, hid.KEY, 30, 1),
            "lengths": hid.EVENT.pack(0, 0, 9, 9, 9),
            "checks": b"\1",
        }
    else:
        parts = {"heads": b"\x55\xaa", "lengths": b"{", "checks": b"\xff"}
    pieces = {name: chunks((part * SIZE)[:SIZE]) for name, part in parts.items()}
    if form == "text":  # what was said before is known: these are all new
        return {name: [b"%08d" % at + each[8:] for at, each in enumerate(said)] for name, said in pieces.items()}
    return pieces


def chunks(stream: bytes) -> list[bytes]:
    """As a line is read."""
    return [stream[at : at + CHUNK] for at in range(0, len(stream), CHUNK)]


def random_chunks(seed: int, size: int, chunk: int = 1 << 14) -> Iterator[bytes]:
    """So many random bytes, none of them kept."""
    rnd = Random(seed)
    for at in range(0, size, chunk):
        yield rnd.randbytes(min(chunk, size - at))
