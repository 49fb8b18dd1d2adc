"""The hash chain: whoever holds a head can tell whether anything before it was changed."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import assume, given
from hypothesis import strategies as st

from protocols.chain import genesis, heads, link

EPOCH = "0f8fad5b-d9cb-469f-a165-70867728950e"
BODIES = st.lists(st.binary(max_size=40), min_size=1, max_size=8)
AGENTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)


def head(bodies: list[bytes]) -> bytes:
    return heads(genesis("hall-a", EPOCH), bodies)[-1]


def test_a_chain_is_what_anyone_can_compute_with_sha256():
    """Golden heads, worked out with `printf | sha256sum`: red if the recipe above the module changed by a byte."""
    first = bytes.fromhex("9679c607d429d1c0f87fb14e9c67c6e63415d67ed49404c2088584aca8693fed")
    second = bytes.fromhex("720005881cf6bbb1872c868f92edac40bb068cb9789edb8d02b18e3d9e1a8291")

    assert first == genesis("hall-a", EPOCH)
    assert second == link(first, b'{"kind":"press"}')
    assert [second, sha256(second + b"{}").digest()] == heads(first, [b'{"kind":"press"}', b"{}"])


@given(st.tuples(AGENTS, st.uuids().map(str)), st.tuples(AGENTS, st.uuids().map(str)))
def test_two_outboxes_never_begin_alike(one, other):
    """Red if the beginning left out the agent or the epoch."""
    assume(one != other)

    assert genesis(*one) != genesis(*other)
    assert genesis(one[0], one[1]) != genesis(one[0], EPOCH)
    assert genesis("hall-a", other[1]) != genesis("hall-b", other[1])


@given(st.binary(min_size=32, max_size=32), st.lists(st.binary(max_size=40), max_size=8))
def test_heads_are_links_one_after_the_other(before, bodies):
    """Also of no record at all."""
    after, expected = before, []
    for body in bodies:
        after = link(after, body)
        expected.append(after)

    assert expected == heads(before, bodies)


@given(BODIES, st.data())
def test_a_stretch_continues_where_the_last_one_ended(bodies, data):
    """However the records were put into batches."""
    cut = data.draw(st.integers(0, len(bodies)))
    before = heads(genesis("hall-a", EPOCH), bodies[:cut])
    at_cut = before[-1] if before else genesis("hall-a", EPOCH)

    assert heads(genesis("hall-a", EPOCH), bodies) == before + heads(at_cut, bodies[cut:])


@given(BODIES, st.data())
def test_a_changed_byte_changes_the_head(bodies, data):
    """One bit of one record, long before the end. Red if only the last record, or a part of each, were hashed."""
    which = data.draw(st.integers(0, len(bodies) - 1))
    assume(bodies[which])
    at = data.draw(st.integers(0, len(bodies[which]) - 1))
    changed = bytearray(bodies[which])
    changed[at] ^= 1 << data.draw(st.integers(0, 7))

    assert head(bodies) != head([*bodies[:which], bytes(changed), *bodies[which + 1 :]])


@given(BODIES, st.data())
def test_a_record_removed_or_put_in_changes_the_head(bodies, data):
    """Anywhere, an empty one too."""
    where = data.draw(st.integers(0, len(bodies)))
    more = [*bodies[:where], data.draw(st.binary(max_size=40)), *bodies[where:]]

    assert head(bodies) != head(more)


@given(BODIES, st.randoms(use_true_random=False))
def test_another_order_changes_the_head(bodies, random):
    """Red if the hashes were added up instead of linked."""
    mixed = random.sample(bodies, len(bodies))
    assume(mixed != bodies)

    assert head(bodies) != head(mixed)


@given(BODIES, st.data())
def test_bytes_moved_across_the_border_of_two_records_change_the_head(bodies, data):
    """`ab` `c` is not `a` `bc`. Red if the records were hashed as one long text."""
    assume(len(bodies) > 1)
    which = data.draw(st.integers(0, len(bodies) - 2))
    together = bodies[which] + bodies[which + 1]
    cut = data.draw(st.integers(0, len(together)))
    assume(cut != len(bodies[which]))

    assert head(bodies) != head([*bodies[:which], together[:cut], together[cut:], *bodies[which + 2 :]])


@given(BODIES)
def test_a_stretch_cannot_be_grafted_onto_another_outbox(bodies):
    """The same presses at another agent are another chain."""

    assert head(bodies) != heads(genesis("hall-b", EPOCH), bodies)[-1]
