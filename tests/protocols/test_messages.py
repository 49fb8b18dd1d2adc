"""What agents and the collector say to each other: told and understood, byte for byte, and nothing else understood."""

from __future__ import annotations

import json
import sqlite3
import tracemalloc
import zlib
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.errors import BadMessage
from protocols.messages import (
    BATCH_BYTES_MAX,
    BEGINS,
    COLLECTOR_STATUS,
    PAYLOAD_BYTES_MAX,
    RECORD_BYTES_MAX,
    RECORDS_MAX,
    SEQ_MAX,
    AgentStatus,
    Batch,
    ClosingRecord,
    CollectorStatus,
    Health,
    PressRecord,
    Receipt,
    WindowHealth,
    batch_of,
    decode,
    decode_record,
    encode,
    encode_record,
    parse_topic,
    topic,
)
from protocols.ratings import PressId

EPOCH = "0f8fad5b-d9cb-469f-a165-70867728950e"
HEAD = "ab" * 32
PRESS = PressRecord(
    window="A-03",
    device="D0217",
    boot=12,
    count=7,
    button=1,
    pressed_ms=1_717_200_000_000,
    kept_ms=1_717_200_000_035,
    mono_ms=5_000,
    host_boot="6a4c",
    profile="house",
    profile_version=1,
    raw="24",
    invitation="i-1",
)
CLOSING = ClosingRecord(
    window="A-03",
    invitation="i-1",
    outcome="answered",
    opened_ms=1_717_200_000_000,
    deadline_ms=1_717_200_030_000,
    closed_ms=1_717_200_000_035,
    mono_ms=5_000,
    host_boot="6a4c",
    case_no="办件-1",
)
MESSAGES = [
    batch_of(EPOCH, 8, b"\0" * 32, b"\1" * 32, [encode_record(PRESS)], 3),
    Receipt(EPOCH, 8, HEAD),
    AgentStatus(True, "0.1.0", EPOCH, 1_717_200_000_000),
    CollectorStatus(True, 1_717_200_000_000),
    Health(1_717_200_000_000, EPOCH, [WindowHealth("A-03", "ready", device="D0217", boot=12, count=7)], alarm="磁盘"),
]
KINDS = [Batch, Receipt, AgentStatus, CollectorStatus, Health]


# ---- what may be said

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(0, SEQ_MAX)
TIMES = st.integers(-62_000_000_000_000, 253_000_000_000_000)
EPOCHS = st.uuids().map(str)
HEADS = st.binary(min_size=32, max_size=32).map(bytes.hex)
SYNCED = st.none() | st.booleans()
PRESSES = st.builds(
    PressRecord,
    window=TEXT,
    device=TEXT,
    boot=NUMBERS,
    count=NUMBERS,
    button=NUMBERS,
    pressed_ms=TIMES,
    kept_ms=TIMES,
    mono_ms=NUMBERS,
    host_boot=TEXT,
    profile=TEXT,
    profile_version=NUMBERS,
    raw=st.binary(max_size=20).map(bytes.hex),
    synced=SYNCED,
    invitation=st.none() | TEXT,
)
CLOSINGS = st.builds(
    ClosingRecord,
    window=TEXT,
    invitation=TEXT,
    outcome=st.sampled_from(["answered", "expired", "declined", "withdrawn", "device_failed"]),
    opened_ms=TIMES,
    deadline_ms=TIMES,
    closed_ms=TIMES,
    mono_ms=NUMBERS,
    host_boot=TEXT,
    service_number=NUMBERS,
    case_no=st.none() | TEXT,
    clerk=st.none() | TEXT,
    synced=SYNCED,
)
RECORDS = PRESSES | CLOSINGS
WINDOWS = st.builds(
    WindowHealth,
    window=TEXT,
    state=st.sampled_from(["ready", "inviting", "cable_out", "device_silent", "refusing"]),
    since_ms=TIMES,
    detail=TEXT,
    device=TEXT,
    boot=NUMBERS,
    count=NUMBERS,
    kept=NUMBERS,
    noise=NUMBERS,
    waiting=NUMBERS,
)
SIMPLE_MESSAGES = st.one_of(
    st.builds(Receipt, EPOCHS, NUMBERS, HEADS),
    st.builds(AgentStatus, st.booleans(), TEXT, st.just("") | EPOCHS, TIMES),
    st.builds(CollectorStatus, st.booleans(), TIMES),
    st.builds(Health, TIMES, EPOCHS, st.lists(WINDOWS, max_size=3), NUMBERS, st.none() | TIMES, SYNCED, TEXT),
)
DIGESTS = st.binary(min_size=32, max_size=32)


@given(RECORDS)
def test_a_record_is_understood_as_it_was_written(record):
    """Every kind, every field; red if a field were left out of the canonical bytes."""

    assert record == decode_record(encode_record(record))
    assert encode_record(record).startswith(BEGINS[type(record).__struct_config__.tag])


@given(SIMPLE_MESSAGES)
def test_a_message_is_understood_as_it_was_said(message):
    """Receipt, both statuses and health."""

    assert message == decode(encode(message), type(message))


@given(EPOCHS, st.integers(1, SEQ_MAX), DIGESTS, DIGESTS, st.lists(RECORDS, min_size=1, max_size=5), st.data())
def test_a_batch_is_understood_as_it_was_said(epoch, first, prev, head, records, data):
    """One record as it is, several deflated."""
    bodies = [encode_record(record) for record in records]
    oldest = data.draw(st.integers(1, first))
    payload = encode(batch_of(epoch, first, prev, head, bodies, oldest))
    batch = decode(payload, Batch)

    assert (epoch, first, prev.hex(), head.hex(), oldest) == (
        batch.epoch,
        batch.first,
        batch.prev,
        batch.head,
        batch.oldest,
    )
    assert bodies == [bytes(body) for body in batch.records]
    assert (b"{" if len(records) == 1 else b"x") == payload[:1]


ODD_BODIES = [
    b'{"kind": "press"  ,\n\t"x" :1}',
    b'{"kind":"weather","temperature":-3.50e+01,"nested":{"a":[1, 2 ,{}]}}',
    b'{"b":1,"a":2,"b":3}',
    b'{"text":"\\u6ee1\\u610f \xe6\xbb\xa1"}',
    b'{"n":12345678901234567890123456789}',
    b'{"text":"\xff is no UTF-8"}',
    b"[]",
    b"null",
    b"0.10",
    b'""',
]


@pytest.mark.parametrize("bodies", [*([body] for body in ODD_BODIES), ODD_BODIES])
def test_a_record_keeps_its_exact_bytes(bodies):
    """Whatever is in it: they are what was hashed. Red if records were parsed and written again on their way."""
    batch = decode(encode(batch_of(EPOCH, 1, bytes(32), bytes(32), bodies, 1)), Batch)

    assert bodies == [bytes(body) for body in batch.records]


def test_what_a_record_leaves_out_is_not_written():
    """Canonical bytes are for good: a golden record, so that no rename or new default changes them unnoticed."""
    golden = (
        b'{"kind":"press","window":"A-03","device":"D0217","boot":12,"count":7,"button":1,"pressed_ms":1717200000000,'
        b'"kept_ms":1717200000035,"mono_ms":5000,"host_boot":"6a4c","profile":"house","profile_version":1,"raw":"24",'
        b'"invitation":"i-1"}'
    )

    assert golden == encode_record(PRESS)
    assert PressId("D0217", 12, 7) == decode_record(golden).press


@pytest.mark.parametrize(("said", "kind"), list(zip(MESSAGES, KINDS, strict=True)))
def test_what_a_newer_peer_adds_is_passed_over(said, kind):
    """So that an old collector understands a newer agent."""
    newer = encode(said)[:-1] + b',"colour":{"of":["the","sky"]},"\xe5\xa4\xa9":1e400}'

    assert said == decode(newer, kind)


def test_a_full_batch_fits():
    """A thousand button presses, and as many bytes as may be sent: red if the bound were one byte off."""
    many = batch_of(EPOCH, 1, bytes(32), bytes(32), [encode_record(PRESS)] * RECORDS_MAX, 1)
    body = msgspec.json.encode(many)
    exactly = zlib.compress(body + b" " * (BATCH_BYTES_MAX - len(body)), 1)
    too_long = zlib.compress(body + b" " * (BATCH_BYTES_MAX - len(body) + 1), 1)

    assert RECORDS_MAX == len(decode(encode(many), Batch).records)
    assert RECORDS_MAX == len(decode(exactly, Batch).records)
    with pytest.raises(BadMessage, match="inflates to over"):
        decode(too_long, Batch)


def test_a_batch_that_does_not_deflate_fits_too():
    """Bytes without any pattern grow by deflating; red if the bound on the wire were that of the inflated batch."""
    noise = Random(1).randbytes(2 * BATCH_BYTES_MAX).translate(None, bytes(range(32)) + b'"\\')
    share = (BATCH_BYTES_MAX - 1024) // RECORDS_MAX - 3
    bodies = [b'"%s"' % noise[at * share : (at + 1) * share] for at in range(RECORDS_MAX)]
    payload = encode(batch_of(EPOCH, 1, bytes(32), bytes(32), bodies, 1))

    assert bodies == [bytes(body) for body in decode(payload, Batch).records]
    assert len(zlib.compress(Random(1).randbytes(BATCH_BYTES_MAX), 1)) <= PAYLOAD_BYTES_MAX


# ---- what is not ours


def refusal(payload: bytes, kind: type) -> BadMessage:
    with pytest.raises(BadMessage) as refused:
        decode(payload, kind)
    return refused.value


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"records": []}, "0 records"),
        ({"records": [msgspec.Raw(b"{}")] * (RECORDS_MAX + 1)}, "1001 records"),
        ({"records": [msgspec.Raw(b'"' + b"x" * RECORD_BYTES_MAX + b'"')]}, "a record of more than 16384 bytes"),
        ({"first": 0, "oldest": 0}, "oldest is 0"),
        ({"oldest": 9}, "oldest is 9"),
        ({"oldest": -1}, "`$.oldest`"),
        ({"first": -1}, "`$.first`"),
        ({"first": SEQ_MAX + 1}, "`$.first`"),
        ({"first": 10**30}, "`$.first`"),
        ({"first": 8.0}, "`$.first`"),
        ({"first": True}, "`$.first`"),
        ({"first": None}, "`$.first`"),
        ({"epoch": ""}, "epoch is no UUID"),
        ({"epoch": EPOCH.upper()}, "epoch is no UUID"),
        ({"epoch": EPOCH + "\n"}, "epoch is no UUID"),
        ({"epoch": UUID(EPOCH).hex}, "epoch is no UUID"),
        ({"prev": ""}, "prev is no SHA-256"),
        ({"prev": HEAD.upper()}, "prev is no SHA-256"),
        ({"head": HEAD[:-1]}, "head is no SHA-256"),
        ({"head": HEAD + "\n"}, "head is no SHA-256"),
        ({"head": "zz" * 32}, "head is no SHA-256"),
        ({"records": {}}, "`$.records`"),
        ({"records": "x"}, "`$.records`"),
    ],
)
def test_a_batch_that_cannot_be_is_refused_with_its_reason(wrong, reason):
    """And with its bytes, for the quarantine."""
    payload = msgspec.json.encode({**msgspec.structs.asdict(MESSAGES[0]), **wrong})
    refused = refusal(payload, Batch)

    assert reason in refused.reason
    assert payload == refused.payload


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"upto": -1}, "`$.upto`"),
        ({"upto": 2**63}, "`$.upto`"),
        ({"head": "0"}, "head is no SHA-256"),
        ({"epoch": "1"}, "epoch is no UUID"),
    ],
)
def test_a_receipt_that_cannot_be_is_refused(wrong, reason):
    """It would make an agent delete."""
    payload = msgspec.json.encode({**msgspec.structs.asdict(MESSAGES[1]), **wrong})

    assert reason in refusal(payload, Receipt).reason


@pytest.mark.parametrize("said", [MESSAGES[2], MESSAGES[4]])
def test_a_status_or_health_of_no_epoch_is_refused(said):
    """An agent's epoch is a UUID wherever it says it; red if only batches were looked at."""

    assert "epoch is no UUID" in refusal(encode(msgspec.structs.replace(said, epoch="1")), type(said)).reason


def numbers_said() -> list[tuple[msgspec.Struct, str]]:
    """Every field of every kind that holds a number, on an example of its kind."""
    return [
        (said, field.name)
        for said in (*MESSAGES, MESSAGES[4].windows[0], PRESS, CLOSING)
        for field in msgspec.structs.fields(said)
        if "int" in str(field.type)
    ]


@pytest.mark.parametrize(("said", "name"), numbers_said())
@pytest.mark.parametrize("number", [2**62 + 1, 2**63, 10**30, -(2**63), -(10**30)])
def test_no_number_is_understood_that_no_database_could_keep(said, name, number):
    """Each field by itself: red if one were a plain int. SQLite raises OverflowError; the collector would die of it."""
    hurt = msgspec.structs.replace(said, **{name: number})
    with pytest.raises(BadMessage, match="Expected `int"):
        if isinstance(hurt, PressRecord | ClosingRecord):
            decode_record(encode_record(hurt))
        elif isinstance(hurt, WindowHealth):
            decode(encode(Health(1, EPOCH, [hurt])), Health)
        else:
            decode(encode(hurt), type(hurt))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "payload",
    [b"", b" ", b"null", b"[]", b"{", b'"x"', b"\xff\xfe", b"\xef\xbb\xbf{}", b"x", b"x\x9c", b'{"online":"yes"}'],
)
def test_what_is_no_message_is_refused(kind, payload):
    """An empty payload is what clears a retained message."""

    assert payload == refusal(payload, kind).payload


@pytest.mark.parametrize("deep", [b"[" * 200_000, b'{"a":' * 200_000, b'{"records":' + b"[" * 200_000])
def test_brackets_without_end_are_refused(deep):
    """msgspec gives up on them in a way of its own: red, and the collector dead, if RecursionError is not caught."""
    for kind in KINDS:
        refusal(b'{"x":' + deep, kind)
    with pytest.raises(BadMessage, match="no record"):
        decode_record(b'{"x":' + deep[:10_000])


@pytest.mark.parametrize(("said", "kind"), list(zip(MESSAGES, KINDS, strict=True)))
def test_a_message_cut_short_is_refused(said, kind):
    """At every byte."""
    payload = encode(said)

    assert all(refusal(payload[:end], kind) for end in range(len(payload)))


def test_a_deflated_batch_cut_short_or_continued_is_refused():
    """At every byte; and what follows it is not silently left out."""
    payload = encode(batch_of(EPOCH, 1, bytes(32), bytes(32), [encode_record(PRESS), encode_record(CLOSING)], 1))

    assert 2 == len(decode(payload, Batch).records)
    assert all(refusal(payload[:end], Batch) for end in range(len(payload)))
    assert "1 bytes too many" in refusal(payload + b"\0", Batch).reason


def test_a_bomb_is_not_inflated():
    """A quarter of a gigabyte in a quarter of a megabyte: red if the inflating had no bound."""
    deflater = zlib.compressobj(9)
    bomb = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(256)) + deflater.flush()
    tracemalloc.start()
    try:
        for kind in KINDS:
            assert "inflates to over" in refusal(bomb, kind).reason
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(bomb) < PAYLOAD_BYTES_MAX
    assert peak < 16 * BATCH_BYTES_MAX


def test_what_is_too_long_is_not_looked_at():
    """Not even where it would be a message."""
    payload = encode(MESSAGES[1]) + b" " * PAYLOAD_BYTES_MAX

    assert "too long" in refusal(payload, Receipt).reason
    assert MESSAGES[1] == decode((encode(MESSAGES[1]) + b" " * PAYLOAD_BYTES_MAX)[:PAYLOAD_BYTES_MAX], Receipt)


def test_a_reason_is_short():
    """It stands in a table: red if a megabyte of somebody else's text became a reason."""
    payload = json.dumps({"at_ms": 1, "epoch": EPOCH, "windows": [{"window": "A", "state": "x" * 100_000}]}).encode()
    record = encode_record(CLOSING).replace(b"answered", b"x" * 10_000)

    assert len(refusal(payload, Health).reason) <= 200
    with pytest.raises(BadMessage) as refused:
        decode_record(record)
    assert len(refused.value.reason) <= 200


@pytest.mark.parametrize("kind", KINDS)
@given(payload=st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"\x78\x9c" + tail))
@example(payload=b"\x78\xbb\x00\x00\x00\x00")  # wants a dictionary that nobody has
@example(payload=b'{"online":true,"version":"\xff"}')
def test_no_bytes_do_more_than_be_refused(kind, payload):
    """BadMessage or a message: nothing else may come out, for the loop above catches nothing else."""
    try:
        message = decode(payload, kind)
    except BadMessage as refused:
        assert refused.reason
        assert payload == refused.payload
    else:
        assert isinstance(message, kind)


ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([-1, 2**62, 2**62 + 1, 2**63 - 1, 2**63, 10**400, -(2**63)]),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXT,
    st.just([]),
    st.just({}),
    st.just([[[]]]),
)


def mutated(data: st.DataObject, payload: bytes) -> bytes:
    """The payload with one value replaced, one field gone, or bytes hurt."""
    fields = json.loads(payload)
    table = fields["windows"][0] if "windows" in fields and data.draw(st.booleans()) else fields
    key = data.draw(st.sampled_from(sorted(table)))
    match data.draw(st.sampled_from(["value", "gone", "bytes", "lost"])):
        case "value":
            table[key] = data.draw(ODD_VALUES)
        case "gone":
            del table[key]
        case "bytes":
            at = data.draw(st.integers(0, len(payload) - 1))
            return payload[:at] + data.draw(st.binary(min_size=1, max_size=3)) + payload[at + 1 :]
        case _:
            start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(payload))] * 2)))
            return payload[:start] + payload[end:]
    return json.dumps(fields).encode()


def fits_in_sqlite(value: object) -> None:
    """Every number and text in it can be stored; else the one message would stop the collector, again and again."""
    with sqlite3.connect(":memory:") as db:
        for each in _leaves(msgspec.to_builtins(value)):
            db.execute("SELECT ?", (each,))


def _leaves(value):
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


@pytest.mark.parametrize(("said", "kind"), list(zip(MESSAGES, KINDS, strict=True)))
@given(data=st.data())
def test_a_hurt_message_is_refused_or_can_be_kept(said, kind, data):
    """Red if a number had no bound: SQLite takes no more than 63 bits."""
    payload = mutated(data, encode(said))
    try:
        message = decode(payload, kind)
    except BadMessage as refused:
        assert refused.reason
        assert payload == refused.payload
    else:
        if kind is not Batch:
            fits_in_sqlite(message)


@pytest.mark.parametrize("record", [PRESS, CLOSING])
@given(data=st.data())
def test_a_hurt_record_is_refused_or_can_be_kept(record, data):
    """Red if a number had no bound, or if text that is no UTF-8 came out as an exception of its own."""
    body = mutated(data, encode_record(record))
    try:
        found = decode_record(body)
    except BadMessage as refused:
        assert refused.reason
        assert body == refused.payload
    else:
        fits_in_sqlite(found)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"7",
        b'{"kind":"weather","temperature":20}',
        b'{"kind":7}',
        encode_record(PRESS).replace(b'"press"', b'"press2"'),
        encode_record(PRESS).replace(b'"boot":12', b'"boot":-1'),
        encode_record(PRESS).replace(b'"boot":12', b'"boot":%d' % 2**63),
        encode_record(PRESS).replace(b'"boot":12', b'"boot":%d' % 10**30),
        encode_record(PRESS).replace(b'"boot":12', b'"boot":12.0'),
        encode_record(PRESS).replace(b'"boot":12', b'"boot":"12"'),
        encode_record(PRESS).replace(b'"boot":12,', b""),
        encode_record(PRESS).replace(b"1717200000000", b"1717200000000000000"),
        encode_record(PRESS).replace(b"A-03", b"\xb2\xe2"),
        encode_record(PRESS).replace(b"A-03", b"\\ud800"),
        encode_record(CLOSING).replace(b"answered", b"slept"),
    ],
)
def test_what_is_no_record_that_we_know_is_refused_with_its_bytes(body):
    """A kind of a newer agent too: it stays in the chain, and in the quarantine for a newer collector."""
    with pytest.raises(BadMessage, match="不是记录 / no record") as refused:
        decode_record(body)

    assert body == refused.value.payload


@given(TIMES)
def test_a_wrong_clock_costs_no_record_and_every_time_can_be_shown(at_ms):
    """From a PC that believes to be in 1970, before a long age is taken off, to one far ahead; in any time zone."""
    record = msgspec.structs.replace(PRESS, pressed_ms=at_ms)

    assert record == decode_record(encode_record(record))
    for hours in (-23, 0, 8, 23):
        zone = timezone(timedelta(hours=hours))
        shown = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=at_ms)
        assert shown == shown.astimezone(zone)


# ---- topics


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True).filter(lambda agent: agent != "collector"))
def test_a_topic_is_read_as_it_was_made(agent):
    """For every kind, also those that have a slash."""
    for kind in ("batch", "receipt", "status", "health", "invite", "config/desired"):
        assert (agent, kind) == parse_topic(topic(agent, kind))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hcp/v1",
        "hcp/v1/hall-a",
        "hcp/v2/hall-a/batch",
        "x/hcp/v1/hall-a/batch",
        "/hcp/v1/hall-a/batch",
        "hcp/v1//batch",
        "hcp/v1/+/batch",
        "hcp/v1/#",
        "hcp/v1/hall a/batch",
        "hcp/v1/hall-a\n/batch",
        "hcp/v1/../batch",
        "hcp/v1/大厅/batch",
        "hcp/v1/" + "a" * 65 + "/batch",
        COLLECTOR_STATUS,
        "hcp/v1/collector/batch",
    ],
)
def test_another_topic_is_not_ours(text):
    """The collector's own looks like an agent's: red if an agent could be called collector."""

    assert parse_topic(text) is None
