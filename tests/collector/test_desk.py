"""The desk of parked ratings: what a person can do, what is written down, and what nobody can change."""

from __future__ import annotations

import json
import sqlite3

import pytest
from click.testing import CliRunner

from collector.cli import main
from collector.directory import Directory
from collector.ledger import audit
from collector.ledger.desk import FIELDS, Desk, NotSo
from collector.ledger.details import Details, Keep
from collector.web import create_app
from firmware_sim.province.demands import Rules
from firmware_sim.province.door import serving
from protocols.ratings import Accepted, Refused
from tests.collector.agents import NOW_MS, Agent, closing, press
from tests.collector.ledgers import PERSON, VAULT, case, directory_of, unguard, window
from tests.collector.people import gate
from tests.collector.provinces import KEYS, SPOKEN, eventually, forwarding

BY = ("李敏", "核对原始材料")


@pytest.fixture
def desk(ledger) -> Desk:
    return Desk(ledger.store, VAULT, ledger.intake)


def park(ledger, reason: str = "lacking", words: str = "mobile") -> int:
    """The number of the rating that was next, parked."""
    due = ledger.delivery.next(NOW_MS, ())
    ledger.delivery.park(due, reason, words, NOW_MS)
    return due.id


def test_bad_ratings_stand_first_and_nobodys_name_in_the_list(ledger, desk):
    ledger.rate(1, 2)
    ledger.rate(3, button=2)
    for _ in range(3):
        park(ledger, "refused", "不行")
    listed = desk.listed(10)

    assert ["C3", "C1", "C2"] == [row["case_no"] for row in listed]
    assert not [value for value in PERSON.values() if value in json.dumps(listed, ensure_ascii=False)]
    assert ["C2"] == [row["case_no"] for row in desk.listed(10, before=listed[1]["id"])]
    assert [] == desk.listed(10, "lacking")
    assert 3 == len(desk.listed(10, "refused"))


def test_a_rating_without_its_case_is_listed_too(ledger, desk):
    """The business system has not posted it. Red if only what the province refused is shown."""
    ledger.rate(1, with_case=False)

    assert [("C1", "awaiting_case", "")] == [
        (row["case_no"], row["state"], row["reason"]) for row in desk.listed(5, "awaiting_case")
    ]
    assert desk.shown(1)["case"] is None


def test_one_of_them_is_shown_with_its_case_masked(ledger, desk):
    ledger.rate(1)
    due = ledger.delivery.next(NOW_MS, ())
    ledger.delivery.end(due, "case", ledger.delivery.begin(due, "case", NOW_MS), Refused("手机号不对"), NOW_MS)
    shown = desk.shown(due.id)

    assert ("139****5678", "370102********1234", "身份证换领") == tuple(
        shown["case"][name] for name in ("mobile", "certificate_no", "item_name")
    )
    assert [("case", "refused", "手机号不对")] == [
        (each["what"], each["verdict"], each["words"]) for each in shown["attempts"]
    ]
    assert not [value for value in PERSON.values() if value in json.dumps(shown, ensure_ascii=False)]


def test_a_correction_is_written_down_and_the_rating_is_due_again(ledger, desk):
    """Who, when, why, before and after; hidden in the file, masked for whoever looks."""
    ledger.rate(1)
    number = park(ledger)
    desk.correct(number, {"mobile": "13800001111", "item_name": "身份证补领"}, *BY, NOW_MS + 5)

    assert {"C1": "due"} == ledger.states()
    sent = ledger.delivery.next(NOW_MS + 10, ()).case
    assert ("13800001111", "身份证补领", PERSON["applicant_name"]) == (sent.mobile, sent.item_name, sent.applicant_name)
    (correction,) = desk.shown(number)["corrections"]
    assert ("李敏", "correct", "核对原始材料", NOW_MS + 5) == tuple(
        correction[name] for name in ("who", "what", "reason", "at_ms")
    )
    assert {
        "mobile": {"before": "139****5678", "after": "138****1111"},
        "item_name": {"before": "身份证换领", "after": "身份证补领"},
    } == correction["changes"]
    everything = b"".join(each.read_bytes() for each in ledger.path.parent.glob("ledger.db*"))
    assert b"13800001111" not in everything


def test_what_was_pressed_can_be_changed_by_nobody(ledger, desk):
    """No field of a rating is among those that can be put right; and the audit stays clean after all that is done."""
    ledger.rate(1, button=2)
    number = park(ledger)
    for name in ("level", "pressed_ms", "tags", "text", "case_no", "service_number", "channel_"):
        with pytest.raises(NotSo) as wrong:
            desk.correct(number, {name: "5"}, *BY, NOW_MS)
        assert name == wrong.value.field
    desk.correct(number, {"clerk_name": "x"}, *BY, NOW_MS)
    park(ledger)
    desk.send_again(number, *BY, True, NOW_MS)
    park(ledger)
    desk.give_up(number, *BY, NOW_MS)

    assert [] == audit.verify(ledger.path).findings
    assert "dissatisfied" == desk.shown(number)["level"]
    assert not {"level", "pressed_ms", "tags", "text"} & FIELDS.keys()


@pytest.mark.parametrize("own", [{}, {"case_no": "C1", "service_number": 1}])
def test_a_missing_case_can_be_put_in_by_hand(ledger, desk, own):
    """Also with the body that was to be posted, which says which case it is."""
    ledger.rate(1, with_case=False)
    whole = {name: getattr(case("C1"), name) for name in FIELDS if getattr(case("C1"), name) not in ("", None)}
    desk.correct(1, own | whole, *BY, NOW_MS)

    assert {"C1": "due"} == ledger.states()
    assert case("C1") == ledger.delivery.next(NOW_MS, ()).case


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, "fields"),
        ({"mobile": 5}, "mobile"),
        ({"service_ms": "yesterday"}, "service_ms"),
        ({"status": "done"}, "status"),
        ({"mobile": PERSON["mobile"]}, ""),
        ({"mobile": "139****5678"}, "mobile"),
        ({"nickname": "x"}, "nickname"),
    ],
)
def test_what_is_no_correction_is_said_so(ledger, desk, changes, field):
    """And what stood in it is never repeated: it may be somebody's number in the wrong field."""
    ledger.rate(1)
    number = park(ledger)
    with pytest.raises(NotSo) as wrong:
        desk.correct(number, changes, *BY, NOW_MS)

    assert field == wrong.value.field
    assert "yesterday" not in str(wrong.value)
    assert 0 == ledger.count("correction")


@pytest.mark.parametrize(("who", "why"), [("", "x"), ("x", " "), ("x" * 65, "x"), ("x", "x" * 501), ("a\nb", "x")])
def test_nobody_does_anything_without_a_name_and_a_reason(ledger, desk, who, why):
    ledger.rate(1)
    number = park(ledger)
    with pytest.raises(NotSo) as wrong:
        desk.give_up(number, who, why, NOW_MS)

    assert wrong.value.field in ("who", "why")
    assert {"C1": "parked lacking"} == ledger.states()


def test_what_does_not_wait_is_left_alone(ledger, desk):
    """A rating that is due, or that the province has, is nobody's to touch; and one that is not there is said so."""
    ledger.rate(1)
    for number in (1, 99):
        with pytest.raises(NotSo) as wrong:
            desk.give_up(number, *BY, NOW_MS)
        assert "id" == wrong.value.field


def test_a_damaged_rating_cannot_be_sent_by_anybody(ledger, desk):
    """Nobody knows what the citizen had said."""
    ledger.rate(1)
    number = park(ledger, "damaged", "")
    for act in (lambda: desk.send_again(number, *BY, True, NOW_MS), lambda: desk.correct(number, {}, *BY, NOW_MS)):
        with pytest.raises(NotSo):
            act()


def test_what_was_given_up_stays_and_can_be_taken_up_again(ledger, desk):
    """In every count; new details of its case do not wake it, a person does."""
    ledger.rate(1, button=2)
    number = park(ledger)
    desk.give_up(number, *BY, NOW_MS)
    ledger.intake.take_cases([case("C1", clerk_name="y")], NOW_MS)

    assert {"C1": "parked given_up"} == ledger.states()
    assert [] == desk.listed(10)
    assert {"received": 1, "accepted": 0, "parked": 1, "waiting": 0} == ledger.overview.counts()["bad"]
    desk.send_again(number, *BY, False, NOW_MS)
    assert {"C1": "due"} == ledger.states()


def test_corrections_never_change_and_never_go(ledger, desk):
    """The audit entry of a person's work. Red without the triggers."""
    ledger.rate(1)
    desk.give_up(park(ledger), *BY, NOW_MS)
    for statement in (
        "UPDATE correction SET who = 'x'",
        "UPDATE correction SET details = x'00'",
        "DELETE FROM correction",
        "INSERT OR REPLACE INTO correction SELECT * FROM correction",
    ):
        with pytest.raises(sqlite3.IntegrityError), ledger.store.writing() as db:
            db.execute(statement)


# ---- a rating without a case number


def unbound(ledger, button: int = 1) -> int:
    """The number of a rating that came without one."""
    agent = Agent("hall-b")
    ledger.take(agent, agent.write(press(9, "i9", window="w1", device="D2", button=button), closing("i9", None)))
    return ledger.store.row("SELECT id FROM rating WHERE case_no IS NULL")["id"]


@pytest.fixture
def walk_in(opened):
    """A ledger whose second window asks without a case number."""
    return opened(directory_of(window(), window("hall-b", "w1", "D2")))


def test_a_case_found_by_a_person_is_sent_and_the_press_stays_as_it_was(walk_in):
    """The rating reaches the province under the case that was found; its row and its record do not change."""
    desk = Desk(walk_in.store, VAULT, walk_in.intake)
    number = unbound(walk_in, button=2)
    before = tuple(walk_in.store.row("SELECT press, level, case_no, sum FROM rating WHERE id = ?", (number,)))
    walk_in.intake.take_cases([case("C9", 2)], NOW_MS)
    assert {None: "parked no_case"} == walk_in.states()
    desk.link(number, "C9", 2, *BY, NOW_MS)
    due = walk_in.delivery.next(NOW_MS, ())

    assert ("C9", 2, case("C9", 2)) == (due.rating.case_no, due.rating.service_number, due.case)
    walk_in.delivery.end(due, "rating", walk_in.delivery.begin(due, "rating", NOW_MS), Accepted(), NOW_MS)
    assert {None: "accepted"} == walk_in.states()
    assert before == tuple(walk_in.store.row("SELECT press, level, case_no, sum FROM rating WHERE id = ?", (number,)))
    shown = desk.shown(number)
    assert {"before": "", "after": "C9"} == shown["corrections"][0]["changes"]["case_no"]
    assert ("C9", 2, "link", *BY) == (
        *(shown[name] for name in ("case_no", "service_number")),
        *(shown["corrections"][0][name] for name in ("what", "who", "reason")),
    )
    assert [] == audit.verify(walk_in.path).findings


def test_a_linked_rating_is_as_any_other_from_then_on(walk_in):
    """Parked by the province, put right, sent again; details deleted after it was accepted, and not before."""
    desk = Desk(walk_in.store, VAULT, walk_in.intake)
    number = unbound(walk_in)
    walk_in.intake.take_cases([case("C9", mobile="")], NOW_MS)
    desk.link(number, "C9", 1, *BY, NOW_MS)
    assert number == park(walk_in)
    keep = Details(walk_in.store, VAULT, Keep(accepted_days=1, unrated_days=1))
    assert 0 == keep.forget(NOW_MS + 9 * 86_400_000)
    desk.correct(number, {"mobile": "13800001111"}, *BY, NOW_MS)
    due = walk_in.delivery.next(NOW_MS, ())
    assert "13800001111" == due.case.mobile
    walk_in.delivery.end(due, "rating", walk_in.delivery.begin(due, "rating", NOW_MS), Accepted(), NOW_MS)

    assert 1 == keep.forget(NOW_MS + 9 * 86_400_000)
    assert [] == audit.verify(walk_in.path).findings


def test_ratings_of_a_case_go_in_order_also_when_one_is_linked(walk_in):
    """The linked one is older: the one of the same case that was asked for it later waits behind it."""
    desk = Desk(walk_in.store, VAULT, walk_in.intake)
    number = unbound(walk_in)
    agent = Agent("hall-a")
    walk_in.take(agent, agent.write(press(1, "i1", button=2), closing("i1", "C9", service_number=2)))
    walk_in.intake.take_cases([case("C9", 1), case("C9", 2)], NOW_MS)
    desk.link(number, "C9", 1, *BY, NOW_MS)
    first = walk_in.delivery.next(NOW_MS, ())

    assert (number, 1) == (first.id, first.rating.service_number)
    assert walk_in.delivery.next(NOW_MS, (first.id,)) is None


def test_one_service_has_one_rating_also_by_hand(walk_in):
    """Neither a second link to it, nor a link to one that has been rated; and a press that comes later is a repeat."""
    desk = Desk(walk_in.store, VAULT, walk_in.intake)
    number = unbound(walk_in)
    walk_in.rate(1)
    walk_in.intake.take_cases([case("C9")], NOW_MS)
    with pytest.raises(NotSo, match="已有"):
        desk.link(number, "C1", 1, *BY, NOW_MS)
    with pytest.raises(NotSo, match="请核对编号"):
        desk.link(number, "C99", 1, *BY, NOW_MS)
    desk.link(number, "C9", 1, *BY, NOW_MS)
    with pytest.raises(NotSo):
        desk.link(number, "C9", 1, *BY, NOW_MS)
    again = Agent("hall-a")
    walk_in.take(again, again.write(press(5, "i5"), closing("i5", "C9")))

    assert "repeat" == walk_in.fates()[-1]
    assert 1 == walk_in.count("case_link")
    assert [] == audit.verify(walk_in.path).findings


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE case_link SET case_no = 'C1'",
        "DELETE FROM case_link",
        "INSERT OR REPLACE INTO case_link SELECT * FROM case_link",
    ],
)
def test_links_never_change_and_never_go(walk_in, statement):
    desk = Desk(walk_in.store, VAULT, walk_in.intake)
    walk_in.intake.take_cases([case("C9")], NOW_MS)
    desk.link(unbound(walk_in), "C9", 1, *BY, NOW_MS)

    with pytest.raises(sqlite3.IntegrityError), walk_in.store.writing() as db:
        db.execute(statement)


@pytest.mark.parametrize(
    "forged",
    [
        "UPDATE case_link SET case_no = 'C1'",
        "UPDATE case_link SET rating = 1",
        "INSERT INTO case_link SELECT 1, 'C2', 1, at_ms, who, reason, sum FROM case_link",
    ],
)
def test_a_link_that_nobody_made_is_found(walk_in, forged):
    """By whoever owns the file and drops the triggers. Red if a link is believed without its sum."""
    desk = Desk(walk_in.store, VAULT, walk_in.intake)
    walk_in.rate(1)
    number = unbound(walk_in)
    walk_in.intake.take_cases([case("C9"), case("C2")], NOW_MS)
    desk.link(number, "C9", 1, *BY, NOW_MS)
    walk_in.store.close()
    with sqlite3.connect(walk_in.path) as db:
        unguard(db)
        db.execute(forged)
    db.close()

    assert ["评价的办件关联与人工所做不符 / a rating's link to a case is not what a person made"] == [
        finding.what for finding in audit.verify(walk_in.path).findings
    ]


# ---- to the end


@pytest.mark.parametrize("name", ["txnbody", "flat"])
def test_what_we_hold_back_is_sent_when_a_person_says_so(ledger, desk, name):
    """A bad rating from a keypad has no reason, and none is made up. Here the province takes it all the same."""
    ledger.rate(1, button=2)
    there = SPOKEN[name].province()
    with (
        serving(there) as door,
        forwarding(ledger, door.url, speaks=SPOKEN[name].dialect(door.url, bad_needs_reason=True)),
    ):
        eventually(lambda: ledger.states() == {"C1": "parked bad_without_reason"})
        assert 0 == len(there.ratings())
        desk.send_again(1, *BY, True, NOW_MS)
        eventually(lambda: ledger.states() == {"C1": "accepted"})

    assert ["2"] == [row["satisfaction"] for row in there.ratings()]
    assert ["", ""] == [there.ratings()[0][field] for field in ("evalDetail", "writingEvaluation")]


def test_the_province_still_has_the_last_word(ledger, desk):
    """Sent as it is, refused, and parked again in the province's words."""
    ledger.rate(1, button=2)
    there = SPOKEN["flat"].province(Rules(requires_reason=True))
    with (
        serving(there) as door,
        forwarding(ledger, door.url, speaks=SPOKEN["flat"].dialect(door.url, bad_needs_reason=True)),
    ):
        eventually(lambda: ledger.states() == {"C1": "parked bad_without_reason"})
        desk.send_again(1, *BY, True, NOW_MS)
        eventually(lambda: ledger.states() == {"C1": "parked refused"})

    assert "差评必须" in desk.shown(1)["words"]


# ---- over HTTP


@pytest.fixture
def site(ledger, desk):
    app = create_app(ledger.overview, ledger.intake, desk, ledger.channels, Directory(), gate(), [], lambda: NOW_MS)
    client = app.test_client()

    def call(method: str, path: str, **more):
        return getattr(client, method)(path, headers={"Authorization": "Bearer t"}, **more)

    return call


def test_the_api_does_the_same(ledger, site):
    """List, show, correct, send again, give up; each reason with its cure."""
    ledger.rate(1)
    number = park(ledger, "before_service", "61 s")
    (listed,) = site("get", "/api/v1/parked").get_json()["parked"]
    at = f"/api/v1/parked/{number}"
    by = {"who": BY[0], "why": BY[1]}

    assert "早于服务时间 / before its service" == listed["reason_words"]
    assert "照发" in site("get", at).get_json()["cure"]
    answer = site("post", f"{at}/correct", json={**by, "fields": {"service_ms": NOW_MS - 900_000}})
    assert (200, "due") == (answer.status_code, answer.get_json()["state"])
    park(ledger)
    assert "due" == site("post", f"{at}/send-again", json={**by, "as_is": True}).get_json()["state"]
    park(ledger)
    assert "given_up" == site("post", f"{at}/give-up", json=by).get_json()["reason"]


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("1/correct", {"who": "a", "why": "b"}, 400, "fields"),
        ("1/correct", {"who": "a", "why": "b", "fields": 5}, 400, "fields"),
        ("1/correct", {"who": "a", "why": "b", "fields": {"level": "satisfied"}}, 400, "level"),
        ("1/send-again", {"who": "a", "why": "b", "as_is": "yes"}, 400, "as_is"),
        ("1/send-again", {"who": 1, "why": "b"}, 400, "who"),
        ("1/link", {"who": "a", "why": "b"}, 400, "case_no"),
        ("1/link", {"who": "a", "why": "b", "case_no": 5}, 400, "case_no"),
        ("1/link", {"who": "a", "why": "b", "case_no": "C7", "service_number": True}, 400, "service_number"),
        ("1/link", {"who": "a", "why": "b", "case_no": "C7"}, 409, "id"),
        ("1/give-up", {"who": "a"}, 400, "why"),
        ("1/give-up", {"who": "a", "why": "b", "level": 5}, 400, "level"),
        ("1/give-up", [], 400, ""),
        ("77/give-up", {"who": "a", "why": "b"}, 404, "id"),
        ("2/give-up", {"who": "a", "why": "b"}, 409, "id"),
    ],
)
def test_the_api_says_what_is_wrong(ledger, site, path, body, status, field):
    ledger.rate(1, 2)
    park(ledger)
    answer = site("post", f"/api/v1/parked/{path}", json=body)

    assert (status, field) == (answer.status_code, answer.get_json()["error"]["field"])
    assert 0 == ledger.count("correction")


# ---- from the command line


@pytest.fixture
def command(ledger, tmp_path):
    (tmp_path / "directory.toml").write_text(window(), "utf-8")
    (tmp_path / "collector.toml").write_text(
        f"""[broker]
host = "127.0.0.1"
password = "x"
[province]
dialect = "txnbody"
case_url = "https://p/case"
offline_rating_url = "https://p/rating"
app_mark = "a"
app_word = "w"
public_key = "{KEYS.public_hex}"
bad_needs_reason = true
""",
        "utf-8",
    )

    def run(*words: str, stdin: str = "") -> tuple[int, str]:
        done = CliRunner().invoke(main, [*words, "--config", str(tmp_path / "collector.toml")], input=stdin)
        return done.exit_code, done.output

    return run


def test_the_whole_desk_from_the_command_line(ledger, command):
    """As a person would: look, put right with the number on stdin, look again."""
    ledger.rate(1)
    number = str(park(ledger))
    code, listed = command("parked", "list")
    assert (0, True, True) == (
        code,
        f"#{number} " in listed,
        "缺少字段或不合格式 / fields lacking or not in their form: mobile" in listed,
    )
    assert "缺少字段或不合格式 / fields lacking or not in their form → 补全办件" in listed
    assert 0 == command("parked", "show", f"#{number}")[0]
    code, said = command(
        "parked", "correct", number, "--from", "-", "--why", "核对", "--who", "李敏", stdin='{"mobile": "13800001111"}'
    )
    assert (0, True) == (code, "已处理" in said)
    assert {"C1": "due"} == ledger.states()
    park(ledger)
    code, shown = command("parked", "show", number)

    assert "李敏 correct: 核对 mobile: 139****5678 → 138****1111" in shown
    assert "13800001111" not in shown and PERSON["applicant_name"] not in shown
    assert 0 == command("parked", "send-again", number, "--as-is", "--why", "x")[0]
    park(ledger)
    assert 0 == command("parked", "give-up", number, "--why", "x")[0]
    assert "没有待处理的" in command("parked", "list")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("correct", "1", "mobile", "--why", "x"), "应为 字段=值"),
        (("correct", "1", "level=satisfied", "--why", "x"), "level: 应为 字段=值"),
        (("correct", "1", "service_ms=soon", "--why", "x"), "应为时间"),
        (("correct", "1", "service_ms=²", "--why", "x"), "应为时间"),
        (("correct", "1", "service_ms=" + "9" * 5000, "--why", "x"), "应为时间"),
        (("show", "9" * 19), "应为 parked list 中的编号"),
        (("show", "9" * 5000), "应为 parked list 中的编号"),
        (("give-up", "9", "--why", "x"), "没有第 9 号评价"),
        (("show", "9"), "没有第 9 号评价"),
    ],
)
def test_a_slip_is_said_in_words(ledger, command, words, said):
    ledger.rate(1)
    park(ledger)
    code, output = command("parked", *words)

    assert (2, True) == (code, said in output)


def test_a_case_is_found_from_the_command_line(walk_in, tmp_path, command):
    """With the number from the business system, as a person would after a call to the hall."""
    (tmp_path / "directory.toml").write_text(window() + window("hall-b", "w1", "D2"), "utf-8")
    number = str(unbound(walk_in))
    walk_in.intake.take_cases([case("C9")], NOW_MS)
    code, listed = command("parked", "list")
    assert (0, True) == (code, "无办件编号" in listed)
    assert (2, True) == (lambda code, said: (code, "请核对编号" in said))(
        *command("parked", "link", number, "C8", "--why", "电话核实")
    )
    assert 0 == command("parked", "link", number, "C9", "--why", "电话核实")[0]

    assert {None: "due"} == walk_in.states()
    assert "C9" in command("forward", "--dry-run")[1]


def test_a_time_can_be_given_as_people_write_it(ledger, command):
    ledger.rate(1)
    number = park(ledger)
    command("parked", "correct", str(number), "service_ms=2027-01-15T15:00:00", "--why", "x")

    assert 1_799_996_400_000 == ledger.delivery.next(NOW_MS, ()).case.service_ms


def test_what_would_be_sent_is_shown_masked_and_not_sent(ledger, command):
    """In the order in which it would be. What would be held back is named, with why."""
    ledger.rate(1)
    ledger.rate(2, button=2)
    code, shown = command("forward", "--dry-run")

    assert 0 == code
    assert shown.index("C2") < shown.index("C1")
    assert "将扣下 would be parked: 差评没有原因" in shown
    assert "satisfaction = 5" in shown and "mobile = 139****5678" in shown
    assert not [value for value in PERSON.values() if value in shown]
    assert {"C1": "due", "C2": "due"} == ledger.states()
    assert 0 == ledger.count("attempt")
