"""What a window's device is taken for, how far that can be trusted, and which presses wait for a person's word."""

from __future__ import annotations

import tomllib
from html import unescape

import pytest

from collector import directory
from collector.web.words import EVIDENCE, LEVELS, REASONS
from protocols.errors import BadSettings
from protocols.messages import AgentStatus, Health, WindowHealth
from protocols.profiles.vocabulary import Evidence
from protocols.ratings import UnratableReason
from tests.collector.agents import NOW_MS, Agent, closing, press, rated
from tests.collector.ledgers import Ledger, directory_of, window
from tests.collector.test_web import EVIL, Site

KEYLESS = directory_of(window(), window(window="w2", device="D2", keys="{}"))


def pressed(ledger: Ledger, *buttons: int, device: str = "D2", invited: bool = True) -> None:
    """One press of each button at w2, each for its invitation."""
    agent = Agent()
    for count, button in enumerate(buttons, 1):
        where = {"window": "w2", "device": device, "button": button}
        invitation = f"{agent.epoch}-{count}" if invited else None
        ledger.take(agent, agent.write(press(count, invitation, **where)))
        if invitation:
            ledger.take(agent, agent.write(closing(invitation, f"C{count}", window="w2")))


def healthy(ledger: Ledger, *windows: WindowHealth) -> None:
    ledger.intake.note_status("hall-a", AgentStatus(True), NOW_MS)
    ledger.intake.note_health("hall-a", Health(NOW_MS, Agent().epoch, list(windows)), NOW_MS)


def line(site: Site, name: str = "w2") -> dict:
    (found,) = [each for each in site.get("windows")["windows"] if each["window"] == name]
    return found


# ---- what it is taken for


@pytest.mark.parametrize("evidence", Evidence.__args__)
def test_each_window_says_what_its_device_is_taken_for(opened, evidence):
    """Profile, how far to trust it in both languages, and keys that were no press. Red if a label has no words."""
    ledger = opened(KEYLESS)
    healthy(ledger, WindowHealth("w1", "ready", profile="qs4", evidence=evidence, not_taken=73))
    site = Site(ledger)
    found = line(site, "w1")
    page = site.page("/windows/hall-a/w1")

    assert ("qs4", evidence, 73) == (found["profile"], found["evidence"], found["not_taken"])
    assert found["evidence_words"] == EVIDENCE[evidence]
    assert " / " in EVIDENCE[evidence]
    assert [] == [each for each in ("qs4", ">73<") if each not in page]
    for language, words in zip(("zh", "en"), EVIDENCE[evidence].replace("'", "&#39;").split(" / "), strict=True):
        assert words in site.page(f"/windows/hall-a/w1?lang={language}")


def test_what_this_program_does_not_know_is_shown_as_it_stands(opened):
    """A newer agent may have a label more; an older one says nothing, and no one has spoken yet."""
    ledger = opened(KEYLESS)
    site = Site(ledger)
    assert ("", "", "", 0) == tuple(
        line(site, "w1")[name] for name in ("profile", "evidence", "evidence_words", "not_taken")
    )
    healthy(ledger, WindowHealth("w1", "ready", profile="x", evidence="certified"))

    assert "certified" == line(site, "w1")["evidence_words"]
    assert "certified" in site.page("/windows/hall-a/w1")


# ---- keys that nobody has confirmed


def test_a_device_without_a_key_map_is_shown_with_what_waits(opened):
    """The state line, how many presses wait, which buttons were seen. Red if it looks as well as any other window."""
    ledger = opened(KEYLESS)
    pressed(ledger, 1, 5, 1)
    healthy(ledger, WindowHealth("w1", "ready"), WindowHealth("w2", "ready"))
    site = Site(ledger)
    page = site.page()
    (found,) = line(site)["unconfirmed"]

    assert ("D2", 3, [1, 5]) == (found["device"], found["presses"], found["buttons"])
    assert [] == line(site, "w1")["unconfirmed"]
    assert "按键未确认, 3 次按键等待" in page
    assert "按键未确认 <b>1</b>" in page
    assert "正常 <b>1</b>" in page


def test_a_broken_cable_is_shown_beside_unconfirmed_keys(opened):
    """The one must not hide the other: the worse stands in its line, the lines to put right stand below."""
    ledger = opened(KEYLESS)
    pressed(ledger, 1)
    healthy(ledger, WindowHealth("w2", "cable_out", since_ms=NOW_MS))
    page = Site(ledger).page()

    assert "线缆 16:00 起断开" in page
    assert "device = &#34;D2&#34;" in page


def test_the_lines_are_for_directory_toml_and_guess_nothing(opened):
    """Put into the window and filled in they rate; not filled in they are refused. Red if a level is proposed."""
    ledger = opened(KEYLESS)
    pressed(ledger, 2, 1)
    (found,) = line(Site(ledger))["unconfirmed"]
    lines = tomllib.loads(found["lines"])
    assert {"device": "D2", "keys": {"1": "", "2": ""}} == lines
    keys = found["lines"].split("keys = ")[1]

    with pytest.raises(BadSettings, match=r"windows\[1\].keys.1"):
        directory_of(window(window="w2", device="D2", keys=keys))
    filled = directory_of(window(window="w2", device="D2", keys=keys.replace('""', '"satisfied"')))
    assert {1, 2} == set(filled.keys["D2"])
    assert "hall-a/w2" in found["lines"]


def test_presses_of_nobody_count_as_buttons_but_do_not_wait(opened):
    """Whoever presses each key once to confirm it invites nobody: the page shows the keys, and none that waits."""
    ledger = opened(KEYLESS)
    pressed(ledger, 1, 2, 3, invited=False)
    (found,) = line(Site(ledger))["unconfirmed"]

    assert (0, [1, 2, 3]) == (found["presses"], found["buttons"])


def test_a_device_that_took_anothers_place_is_named(opened):
    """The directory knows D2 and D9 is pressed: the lines are for D9. Red if the placed device is shown."""
    ledger = opened(directory_of(window(), window(window="w2", device="D2")))
    pressed(ledger, 1, device="D9")
    (found,) = line(Site(ledger))["unconfirmed"]

    assert "D9" == tomllib.loads(found["lines"])["device"]


def test_what_was_never_pressed_is_not_shown(opened):
    """A window that is still being set up troubles nobody."""
    site = Site(opened(KEYLESS))

    assert [] == line(site)["unconfirmed"]
    assert "按键未确认" not in site.page()


def test_a_confirmed_device_is_shown_no_longer(opened):
    """The directory was put right and the collector started again: the presses that waited are ratings."""
    pressed(opened(KEYLESS), 1, 2)
    ledger = opened(directory_of(window(), window(window="w2", device="D2")))
    assert 2 == ledger.intake.cure(NOW_MS)

    assert [] == line(Site(ledger))["unconfirmed"]
    assert "按键未确认" not in Site(ledger).page()


def test_what_a_device_calls_itself_is_shown_and_not_run(opened):
    """Also within the lines, on the page and as TOML."""
    ledger = opened(KEYLESS)
    pressed(ledger, 1, device=f'{EVIL}"\n')
    site = Site(ledger)
    named = [tomllib.loads(each["lines"])["device"] for each in line(site)["unconfirmed"] if each["lines"]]

    assert f'{EVIL}"\n' in named
    assert "<script>alert" not in site.page()


def test_a_province_without_key_maps_costs_no_more_than_a_page_holds(opened, monkeypatch):
    """Only so many are looked up. Red if every window is."""
    monkeypatch.setattr("collector.web.keyless.LINES_MAX", 1)
    ledger = opened(directory_of(*(window(window=f"w{at}", device=f"D{at}", keys="{}") for at in (1, 2))))
    ledger.take(agent := Agent(), agent.write(press(1), press(2, window="w2", device="D2")))
    site = Site(ledger)

    assert [True, False] == [bool(line(site, name)["unconfirmed"][0]["lines"]) for name in ("w1", "w2")]
    assert "D2" in site.page()


def test_a_window_that_nobody_placed_brings_all_that_places_it(opened):
    """One paste is enough: with hall, number and levels filled in it loads, with any of them left empty it is refused.
    Red with `keys = { }` there, which costs a second round through the directory and a restart."""
    ledger = opened(directory_of(window()))
    pressed(ledger, 5, 1)
    page = Site(ledger).page("/unratable")
    lines = unescape(page.split("<pre>")[1].split("</pre>")[0])

    assert all(f"<code>{level}</code>" in page for level in LEVELS)
    assert {"1": "", "5": ""} == tomllib.loads(lines)["windows"][0]["keys"]
    named = lines.replace('hall = ""', 'hall = "市民中心"').replace('number = ""', 'number = "2号"')
    with pytest.raises(BadSettings, match=r"windows\[2\].keys.1"):
        directory_of(window(), named)
    filled = directory_of(window(), named.replace('""', '"satisfied"'))
    assert ("市民中心", {1, 5}) == (filled.places["hall-a", "w2"].hall, {*filled.keys["D2"]})
    ledger = opened(filled)
    assert 2 == ledger.intake.cure(NOW_MS)


def test_our_own_page_that_nobody_placed_asks_for_no_levels(opened):
    """Its keys bring theirs along. Red if a person is asked for what they may get wrong."""
    ledger = opened(directory_of(window()))
    agent = Agent()
    ledger.take(agent, agent.write(press(1, window="w2", device="D2", button=4, profile="page")))

    assert "keys = {}" in Site(ledger).page("/unratable")


def test_very_many_windows_that_nobody_placed_cost_no_more_than_some(opened, monkeypatch):
    """Those with the most presses are looked into first. Red if every one is."""
    monkeypatch.setattr("collector.web.odd.LINES_MAX", 1)
    ledger = opened(directory_of(window()))
    agent = Agent()
    places = [{"window": "w2", "device": "D2"}, *[{"window": "w3", "device": "D3", "button": 3}] * 2]
    ledger.take(agent, agent.write(*(press(count, **where) for count, where in enumerate(places, 1))))
    page = unescape(Site(ledger).page("/unratable"))

    assert 'device = "D3"\nkeys = { 3 = "" }' in page
    assert 'device = "D2"\nkeys = {}' in page


# ---- why a press means nothing


def test_every_reason_has_words_but_the_one_that_is_none():
    """Unsolicited presses are counted and not listed. Red if a reason is shown by its name in the code."""
    assert {*UnratableReason.__args__} - {"unsolicited"} == {*REASONS}
    assert all(" / " in words for words in REASONS.values())


def test_presses_from_before_are_one_line_in_words(opened):
    """Each has its own invitation: the line counts them and names the last. Red with a line for each."""
    ledger = opened(KEYLESS)
    agent = Agent()
    ledger.take(agent, agent.write(*(press(count, doubt=f"i{count}") for count in (1, 2, 3)), *rated(4)))
    site = Site(ledger)
    (row,) = site.get("unratable")["unratable"]

    assert ("undatable", 3, "i3", REASONS["undatable"]) == (row["reason"], row["presses"], row["detail"], row["words"])
    assert "可能按在邀请之前" in site.page()
    assert (3, 0) == (line(site, "w1")["undatable"], line(site, "w1")["unratable"])


def test_the_directory_is_only_read(opened):
    """Nothing on a page makes a key map."""
    ledger = opened(KEYLESS)
    pressed(ledger, 1)
    Site(ledger).page()

    assert directory.Directory(KEYLESS.places, {"D1": KEYLESS.keys["D1"], "D2": {}}) == KEYLESS
    assert 0 == ledger.count("key_map")


def test_the_keys_of_our_own_page_need_nobodys_word(opened):
    """Red if the page of such a window says that its keys are not confirmed."""
    ledger = opened(KEYLESS)
    healthy(ledger, WindowHealth("w2", "ready", device="D2", profile="page"))
    page = Site(ledger).page("/windows/hall-a/w2?lang=zh")

    assert "未确认" not in page
    assert "5 非常满意" in page


def test_seconds_say_from_where_to_where_they_are_and_what_is_in_them(opened):
    """Red if a countdown of the rating page, or the time since the invitation, may be taken for the network's."""
    page = Site(opened(KEYLESS)).page("/windows/hall-a/w1")

    assert "按下到账本, 中位数" in page and "账本到省平台, 中位数" in page
    assert "从最后一次触按算起" in page and "不含从邀请到按下" in page
