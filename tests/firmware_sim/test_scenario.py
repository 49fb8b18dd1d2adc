"""A seed makes a morning; the truth knows what came of it."""

import ast
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from firmware_sim.faults import Faults, FaultyLine, finger
from firmware_sim.panel import HousePanel, PressMade, PressThanked, frame
from firmware_sim.scenario import EDGE_MS, Service, Truth, busy_morning, id_number

WINDOWS = ["A1", "A2", "A3"]
START_MS = 1_767_225_600_000
MORNING = busy_morning(7, WINDOWS, 600, start_ms=START_MS)


def case_fields() -> set[str]:
    """The names of the house's case record, read from its source so that the simulator need not import it."""
    source = (Path(__file__).parents[2] / "protocols" / "ratings.py").read_text("utf-8")
    (record,) = [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Case"]
    return {
        line.target.id for line in record.body if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    }


# ---- the scenario


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_makes_the_same_morning(seed):
    """And another seed another one."""

    assert busy_morning(seed, WINDOWS, 60) == busy_morning(seed, WINDOWS, 60)
    assert busy_morning(seed, WINDOWS, 60) != busy_morning(seed + 1, WINDOWS, 60)


def test_another_window_does_not_change_the_others():
    """Each has its own chance."""
    one, two = busy_morning(7, ["A1"], 60), busy_morning(7, ["A1", "A2"], 60)

    assert one.services == tuple(service for service in two.services if service.window == "A1")


def test_windows_are_as_busy_as_asked_for():
    """About one service per two seconds and window."""
    per_window_per_s = len(MORNING.services) / len(WINDOWS) / 600

    assert 0.45 < per_window_per_s < 0.55


def test_about_one_press_in_ten_is_bad():
    """The two right-hand buttons; most are the left one."""
    buttons = Counter(service.presses[0].button for service in MORNING.services if service.presses)
    share_bad = (buttons[4] + buttons[5]) / buttons.total()

    assert 0.06 < share_bad < 0.14
    assert buttons.most_common(1)[0][0] == 1


def test_everything_that_happens_in_a_hall_happens():
    """Nobody presses, invitations are withdrawn, people press twice or unasked, cases come late or lack something."""
    services = MORNING.services

    assert {"pressed", "nobody", "withdrawn"} == {service.intended for service in services}
    assert any(len(service.presses) == 2 for service in services)
    assert MORNING.strays
    assert any(service.case_arrives_after_ms for service in services)
    assert 0 < sum(service.lacking for service in services) < len(services) * 0.05


def test_one_window_serves_one_citizen_after_the_other():
    """No press, withdrawal or stray lies near another service's invitation."""
    for window in WINDOWS:
        own = [service for service in MORNING.services if service.window == window]
        strays = [stray.at_ms for stray in MORNING.strays if stray.window == window]
        for service, following in pairwise(own):
            assert service.over_ms + 400 <= following.at_ms
            between = [at_ms for at_ms in strays if service.at_ms <= at_ms < following.at_ms]
            assert all(service.over_ms + EDGE_MS < at_ms < following.at_ms - EDGE_MS for at_ms in between)


def test_only_pressed_services_are_pressed():
    """And only withdrawn ones withdrawn; a press that is meant to count comes within the invitation."""
    for service in MORNING.services:
        assert bool(service.presses) == (service.intended == "pressed")
        assert (service.withdrawn_after_ms is not None) == (service.intended == "withdrawn")
        assert all(press.after_ms < service.seconds * 1000 - EDGE_MS for press in service.presses[:1])


def test_case_numbers_are_unique_over_seeds():
    """The seed is part of them."""
    numbers = [service.case_no for seed in (7, 8) for service in busy_morning(seed, WINDOWS, 100).services]

    assert len(numbers) == len(set(numbers))
    assert all(number.isalnum() and len(number) <= 50 for number in numbers)


def test_case_details_have_the_houses_names():
    """None that the case record does not know."""
    names = {name for service in MORNING.services for name in service.case_details}

    assert names <= case_fields() - {"case_no", "service_number"}


def test_cases_are_complete_but_for_those_that_lack_the_mobile():
    """What a province insists on is there."""
    wanted = {"mobile", "service_ms", "area_code", "item_code", "item_name", "status", "dept_code", "dept_name"}
    wanted |= {"applicant_type", "applicant_name", "certificate_type", "certificate_no", "service_name", "case_type"}
    missing = Counter(frozenset(wanted - service.case_details.keys()) for service in MORNING.services)

    assert {frozenset(), frozenset({"mobile"})} == set(missing)


def test_the_shapes_of_codes_and_times_are_right():
    """31 characters, 18, 12 digits; nothing that provinces never take; the service before the press."""
    for service in MORNING.services:
        details = service.case_details
        assert (31, 18) == (len(details["item_code"]), len(details["dept_code"]))
        assert details["item_code"].isascii()
        assert details["item_code"].startswith(details["dept_code"])
        assert "00000000" not in details["item_code"]
        assert details["area_code"] == "369900000000"
        assert details["accepted_ms"] <= details["service_ms"] < START_MS + service.at_ms
        assert ("finished_ms" in details) == (details["status"] == "finished")


def test_nobody_in_a_case_exists():
    """Names say so; the identity number is of no place in China."""
    assert all("某" in service.case_details["applicant_name"] for service in MORNING.services)
    assert all(service.case_details["certificate_no"].startswith("999999") for service in MORNING.services)


def test_identity_numbers_have_a_right_check_digit():
    """GB 11643: the weighted sum of all 18 leaves 1 when divided by 11."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2, 1)
    numbers = [id_number(Random(seed)) for seed in range(200)]
    sums = [
        sum(weight * (10 if digit == "X" else int(digit)) for weight, digit in zip(weights, number, strict=True))
        for number in numbers
    ]

    assert {1} == {total % 11 for total in sums}


def test_steps_are_in_the_order_of_time_and_complete():
    """One invitation per service, one press per finger, one delivery per late case."""
    steps = MORNING.steps()
    kinds = Counter(step.kind for step in steps)
    services = MORNING.services

    assert sorted(step.at_ms for step in steps) == [step.at_ms for step in steps]
    assert kinds["invite"] == len(services)
    assert kinds["withdraw"] == sum(service.intended == "withdrawn" for service in services)
    assert kinds["case"] == sum(service.case_arrives_after_ms > 0 for service in services)
    assert kinds["press"] == sum(len(service.presses) for service in services) + len(MORNING.strays)


# ---- the truth


def service(case_no: str = "YS1", seconds: int = 10) -> Service:
    return Service(0, "A1", case_no, 1, seconds, "pressed", (), None, {"mobile": "19900000001"}, 0)


def pressed(count: int, button: int, at_ms: int) -> PressMade:
    return PressMade("D0001", 1, count, button, at_ms, True)


def fate(*events: object, closed_ms: int | None = None):
    """Of one invitation, open from 1000 to 11000, in which these things happened."""
    truth = Truth()
    truth.opened(service(), 900, 1_000)
    for event in events:
        truth.hear("A1", event)
    if closed_ms is not None:
        truth.withdrawn("A1", closed_ms)
    return truth.fates()[0]


def test_a_thanked_press_is_exactly_one_rating():
    """Lost, doubled, invented and altered are each told apart."""
    first = pressed(1, 5, 2_000)
    thanked = fate(first, PressThanked(first, 2_050))

    assert thanked.mistake([5]) is None
    assert "lost: thanked for one of [5]" == thanked.mistake([])
    assert "doubled: [5, 5]" == thanked.mistake([5, 5])
    assert "altered: 1, pressed [5]" == thanked.mistake([1])
    assert "invented: 1" == fate().mistake([1])
    assert fate().mistake([]) is None


def test_a_second_press_is_a_repeat():
    """The first one that is safe is the answer, whatever comes after."""
    first, second = pressed(1, 5, 2_000), pressed(2, 1, 3_000)
    repeated = fate(first, PressThanked(first, 2_050), second, PressThanked(second, 3_050))

    assert 2 == len(repeated.presses)
    assert "altered: 1, pressed [5]" == repeated.mistake([1])


def test_a_press_that_was_never_thanked_may_have_been_lost():
    """It may be a rating, for its thanks may have been what was lost; it need not be."""
    unthanked = fate(pressed(1, 5, 2_000))

    assert [None, None] == [unthanked.mistake([5]), unthanked.mistake([])]


def test_after_a_lost_press_the_next_one_answers():
    """One of both, and one there must be."""
    second = pressed(1, 1, 4_000)
    answered = fate(pressed(7, 5, 2_000), second, PressThanked(second, 4_050))

    assert [None, None] == [answered.mistake([5]), answered.mistake([1])]
    assert answered.mistake([]) is not None


@pytest.mark.parametrize("at_ms", [950, 10_800, 11_200])
def test_a_press_near_an_end_of_the_invitation_may_count_or_not(at_ms):
    """Asked for and not yet open, just before the deadline, just after it."""
    press = pressed(1, 5, at_ms)
    near = fate(press, PressThanked(press, at_ms + 50))

    assert [None, None] == [near.mistake([5]), near.mistake([])]


@pytest.mark.parametrize("at_ms", [400, 12_600])
def test_a_press_outside_is_unsolicited(at_ms):
    """And no rating may come of it."""
    truth = Truth()
    truth.opened(service(), 900, 1_000)
    truth.hear("A1", pressed(1, 5, at_ms))

    assert "invented: 5" == truth.fates()[0].mistake([5])
    assert [at_ms] == [press.at_ms for press in truth.unsolicited()]


def test_a_withdrawn_invitation_takes_no_press():
    """Nor one that the next invitation has followed."""
    late = pressed(1, 5, 6_000)

    assert () == fate(late, closed_ms=5_000).presses


def test_the_next_invitation_ends_the_one_before():
    """A press belongs to the one that is open."""
    truth = Truth()
    truth.opened(service("YS1"), 900, 1_000)
    truth.opened(service("YS2"), 4_900, 5_000)
    press = pressed(1, 5, 6_000)
    truth.hear("A1", press)
    truth.hear("A1", PressThanked(press, 6_050))

    assert [False, True] == [fate.certain for fate in truth.fates()]


def test_the_truth_can_be_read_back_from_its_lines_in_any_order():
    """Panels and runner may each write their own file."""
    truth = Truth()
    first = pressed(1, 5, 2_000)
    lines = [
        truth.opened(service(), 900, 1_000, "an-id"),
        truth.hear("A1", first),
        truth.hear("A1", PressThanked(first, 2_050)),
        truth.withdrawn("A1", 8_000),
    ]
    again = Truth.read(reversed(lines))

    assert truth.fates() == again.fates()
    assert {("D0001", 1, 1)} == again.pressed() == again.thanked()
    assert all("\n" not in line and json.loads(line) for line in lines)


# ---- all of it together, in a time of our own


class HonestHost:
    """The smallest host that keeps the promise: reads whole frames, writes each press down once, then acknowledges."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, int], tuple[int, int]] = {}
        self._held = b""

    def hear(self, data: bytes, now_ms: int) -> bytes:
        *lines, self._held = (self._held + data).split(b"\n")
        return b"".join(self._answer(line[line.rfind(b"$") :] + b"\n", now_ms) for line in lines)

    def _answer(self, line: bytes, now_ms: int) -> bytes:
        fields = line[1:].split(b"*")[0].decode("latin-1").split(",")
        if fields[0] != "PRESS" or not all(map(str.isascii, fields)) or frame(*fields) != line:
            return b""
        boot, count, button, age_ms = map(int, fields[2:])
        self.kept.setdefault((boot, count), (button, now_ms - age_ms))
        return frame("ACK", fields[1], boot, count)


ALL_FAULTS = (
    "bounce:0.3,double:0.1,reboot:0.05,cable_out:0.05,split:0.2,glue:0.2,frame_lost:0.05,noise:0.1,"
    "ack_lost:0.2,ack_late:0.1,flip:0.002,byte_lost:0.002"
)


def one_window(seed: int, faults: Faults) -> tuple[HonestHost, Truth]:
    """Two minutes of one window and what is left to say afterwards, in steps of 2 ms."""
    rng = Random(seed)
    panel, line, host, truth = HousePanel("D0001", 1), FaultyLine(faults, rng), HonestHost(), Truth()
    steps = busy_morning(seed, ["A1"], 120).steps()
    fingers = [h for step in steps if step.kind == "press" for h in finger(step.button, step.at_ms, faults, rng)]
    happenings = sorted(fingers, key=lambda happening: happening.at_ms)
    plugged = True
    for now_ms in range(0, 150_000, 2):
        while happenings and happenings[0].at_ms <= now_ms:
            happening = happenings.pop(0)
            match happening.kind:
                case "closure":
                    panel.press(happening.button, happening.at_ms)
                case "reboot":
                    panel.reboot(now_ms)
                case "unplug" | "replug" as kind:
                    plugged = kind == "replug"
                    line.cut()
        if (said := panel.poll(now_ms)) and plugged:
            line.to_host(said, now_ms)
        up, down = line.due(now_ms)
        panel.feed(down, now_ms)
        if up and (answer := host.hear(up, now_ms)):
            line.to_device(answer, now_ms)
        for event in panel.take_events():
            truth.hear("A1", event)
    return host, truth


@pytest.mark.parametrize("seed", range(6))
def test_through_all_faults_at_once_an_honest_host_loses_and_invents_nothing(seed):
    """Every thanked press was written down, nothing that was not pressed was, and none is wrong by button or time."""
    host, truth = one_window(seed, Faults.parse(ALL_FAULTS))
    replay = f"--seed {seed} --faults {ALL_FAULTS}"
    kept = {("D0001", boot, count) for boot, count in host.kept}
    made = {(press.boot, press.count): (press.button, press.at_ms) for press in truth.unsolicited()}

    assert truth.thanked() <= kept <= truth.pressed(), replay
    assert len(truth.thanked()) > 40, replay
    for press, (button, at_ms) in host.kept.items():
        # What a frame spent on the line makes a press seem younger: at most the longest that a frame is held back.
        assert made[press][0] == button, replay
        assert 0 <= at_ms - made[press][1] <= 700, replay


def test_the_same_seed_is_the_same_run():
    """To the byte and the millisecond."""
    (host, truth), (again, truth_again) = (one_window(3, Faults.parse(ALL_FAULTS)) for _ in range(2))

    assert host.kept == again.kept
    assert truth.thanked() == truth_again.thanked()
