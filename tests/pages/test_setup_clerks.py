"""Hall IT's page of clerks in Chromium: a card with a photo and a PIN, in force at once and without a terminal."""

from __future__ import annotations

import msgspec
import pytest
from playwright.sync_api import Page, expect

from edge_agent.clerks import Clerks

from .portrait import noise, portrait
from .setup_rig import Rig, rig, set_up, sideways, sign_in


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clerks") / "hall"
    with rig(folder, settings=set_up(folder)) as running:
        yield running


def come(page: Page, hall: Rig) -> None:
    sign_in(page, hall.url)
    page.click("nav >> text=窗口人员")
    page.wait_for_url("**/clerks")  # with its script, which makes a photo small


def save(page: Page, number: str, **given: str) -> None:
    page.fill("#f-number", number)
    for name, value in given.items():
        page.fill(f"#f-{name}", value)
    page.click("button[value=keep]")


def test_a_clerk_gets_a_card_and_signs_in_with_it(browse, hall, tmp_path):
    """The photo is made small before it is sent: what was in a camera's file, as the place, stays behind. Removed, her
    face is gone too. Red if hall IT needs a terminal, or if the picked file goes as it is."""
    photo = tmp_path / "face.png"
    photo.write_bytes(portrait() + b"GPS 36.65 117.12" * 40_000)  # more than a form may carry
    page: Page = browse()
    come(page, hall)
    page.set_input_files("#f-photo", photo)
    expect(page.locator("#h-photo")).to_have_text("face.png")
    save(page, "018", name="王芳", pin="2468")
    expect(page.locator("#clerks")).to_contain_text("王芳")
    page.wait_for_function("document.querySelector('.face').naturalWidth === 300")
    clerk: Page = browse()
    clerk.goto(hall.url.replace("/setup/", "/clerk/"))
    clerk.fill("#number", "018")
    clerk.fill("#pin", "2468")
    clerk.click("button.first")
    expect(clerk.locator("#ask")).to_be_visible()
    kept = (hall.folder / "photos" / "018.jpg").read_bytes()

    page.click("text=改 >> nth=0")
    page.select_option("#f-stars", "4")
    page.click("button[value=keep]")
    expect(page.locator("#clerks").get_by_role("img", name="4 星, 最高 5 星")).to_have_text("★★★★☆")
    assert b"GPS" not in kept
    assert kept == (hall.folder / "photos" / "018.jpg").read_bytes()
    (hall.folder / "photos" / "018.png").write_bytes(portrait())
    (hall.folder / "photos" / "018.jpg").unlink()
    clerks = Clerks(hall.folder)
    clerks.put(msgspec.structs.replace(clerks.all()[0], photo="018.png"))  # as the command line had laid it there
    page.goto(f"{hall.url}clerks?number=018")
    page.set_input_files("#f-photo", photo)
    expect(page.locator("#h-photo")).to_have_text("face.png")
    page.click("button[value=keep]")
    expect(page.locator("[role=status]")).to_be_visible()
    assert ["018.jpg"] == [each.name for each in (hall.folder / "photos").iterdir()]
    page.goto(f"{hall.url}clerks?number=018")
    page.click("button[value=remove]")
    expect(page.locator("#clerks")).to_have_count(0)
    assert [] == list((hall.folder / "photos").iterdir())


def test_a_photo_full_of_detail_is_made_smaller_still(browse, hall, tmp_path):
    """Leaves behind a face are more bytes than a form may carry. Red if it is sent in the usual quality."""
    photo = tmp_path / "leaves.png"
    photo.write_bytes(noise(300, 400))
    page: Page = browse()
    come(page, hall)
    page.set_input_files("#f-photo", photo)
    expect(page.locator("#h-photo")).to_have_text("leaves.png")
    save(page, "031", name="王芳")

    expect(page.locator("[role=status]")).to_contain_text("031")
    page.wait_for_function("document.querySelector('.face').naturalWidth === 300")
    page.goto(f"{hall.url}clerks?number=031")
    page.click("button[value=remove]")


@pytest.mark.parametrize(
    ("number", "pin", "field", "says"),
    [("0 18", "2468", "number", "字母、数字和 -"), ("019", "12", "pin", "至少 4 位"), ("../x", "", "number", "字母")],
)
def test_a_mistake_is_said_beside_its_field_and_nothing_is_kept(browse, hall, number, pin, field, says):
    """What was typed stays, but for the PIN."""
    page: Page = browse()
    come(page, hall)
    save(page, number, name="李明", pin=pin)

    expect(page.locator(f"#h-{field}.mistake")).to_contain_text(says)
    assert "李明" == page.input_value("#f-name")
    assert "" == page.input_value("#f-pin")
    assert not (hall.folder / "clerks.json").exists() or "李明" not in (hall.folder / "clerks.json").read_text("utf-8")


def test_what_is_no_photo_is_said_before_it_is_sent(browse, hall, tmp_path):
    """A file of another kind by a photo's name."""
    wrong = tmp_path / "face.jpg"
    wrong.write_text("no photo")
    page: Page = browse()
    come(page, hall)
    page.set_input_files("#f-photo", wrong)

    expect(page.locator("#h-photo.mistake")).to_contain_text("读不了")


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("lang", ["zh-CN", "en-GB"])
def test_nobody_is_kept_out_of_the_cards(browse, complaints, hall, lang, colours):
    """axe finds nothing with a list and a mistake on the page, and a narrow window need not scroll sideways."""
    page: Page = browse(locale=lang, color_scheme=colours)
    sign_in(page, hall.url)
    page.goto(f"{hall.url}clerks")
    save(page, "020", name="王芳", pin="2468")
    expect(page.locator("[role=status]")).to_contain_text("020")
    page.goto(f"{hall.url}clerks?number=020")
    save(page, "020", pin="1")
    expect(page.locator("[aria-invalid]")).to_be_visible()

    assert [] == complaints(page)
    page.set_viewport_size({"width": 360, "height": 740})
    assert not sideways(page)
