"""Tables to take away: every row, in a form that spreadsheets open, and nothing in them that runs or names anybody."""

from __future__ import annotations

import csv
import html
import io
import re
import zipfile
from datetime import datetime

import openpyxl
import pytest

from collector.cells import harmless
from collector.mending.report import as_csv
from collector.web.sheets import Column, Table, csv_of, xlsx_of
from protocols.messages import AgentStatus, Health, WindowHealth
from tests.collector.agents import NOW_MS, Agent, closing, press
from tests.collector.doors import app_of
from tests.collector.gates import StandIn, works_of
from tests.collector.ledgers import PERSON, Ledger, case, directory_of, unguard, window
from tests.collector.test_web import Clock

DAY = "2027-01-15"
RUNS = "=HYPERLINK(1)"


HTML = {"Accept": "text/html"}
NAMED = {
    "window_pad": "窗口平板",
    "dissatisfied": "不满意",
    "214": "服务态度生硬",
    "no_case": "无办件编号",
    "parked": "待处理",
}


def client(ledger: Ledger, gate=None):
    app = app_of(ledger, gate or StandIn(), Clock(), works=works_of(ledger))
    return app.test_client()


def table(columns: list[str], rows, kinds=()) -> Table:
    return Table("x", "x", "about", [Column(each, "", *kinds) for each in columns], rows)


def rows_of(answer) -> list[list[str]]:
    """A CSV answer as a spreadsheet reads it."""
    assert answer.data.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"), newline="")))


def book_of(body: bytes):
    return openpyxl.load_workbook(io.BytesIO(body))


def sheet_of(body: bytes) -> list[tuple]:
    return list(book_of(body).active.iter_rows(values_only=True))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_windows_are_exported_with_state_and_sentence(ledger, language):
    ledger.intake.note_status("hall-a", AgentStatus(True), NOW_MS)
    windows = [WindowHealth("w1", "cable_out", since_ms=NOW_MS)]
    ledger.intake.note_health("hall-a", Health(NOW_MS, Agent().epoch, windows), NOW_MS)
    answer = client(ledger).get(f"/export/windows.csv?lang={language}")
    head, row = rows_of(answer)

    words = {"zh": ("大厅 (hall)", "线缆 16:00 起断开"), "en": ("hall (大厅)", "cable out since 16:00")}[language]
    assert words == (head[0], row[3])
    assert 'filename="windows-2027-01-15-1600.csv"' in answer.headers["Content-Disposition"]


def test_ratings_of_some_days_are_all_there_once(ledger):
    """In the order of their presses; the day is Beijing's. Red if one of the day before comes along."""
    agent = Agent()
    night_ms = NOW_MS - 16 * 3_600_000  # midnight
    for n, at_ms in enumerate((night_ms - 1, night_ms, NOW_MS, NOW_MS + 1), 1):
        ledger.take(agent, agent.write(press(n, f"i{n}", pressed_ms=at_ms), closing(f"i{n}", f"C{n}")))
    found = rows_of(client(ledger).get(f"/export/ratings.csv?from={DAY}&to={DAY}"))

    assert ["2", "3", "4"] == [row[0] for row in found[1:]]
    assert "2027-01-15 00:00:00" == found[1][1]
    assert 4 == len(rows_of(client(ledger).get(f"/export/ratings.csv?from=2027-01-14&to={DAY}"))[1:])


def text(cell) -> str:
    """As it stands in the CSV."""
    return cell.strftime("%Y-%m-%d %H:%M:%S") if isinstance(cell, datetime) else "" if cell is None else str(cell)


def test_the_workbook_has_the_same(ledger):
    ledger.rate(1, 2, button=2)
    comma = rows_of(client(ledger).get(f"/export/ratings.csv?from={DAY}&to={DAY}"))
    sheet = sheet_of(client(ledger).get(f"/export/ratings.xlsx?from={DAY}&to={DAY}").data)

    assert comma == [[text(cell) for cell in row] for row in sheet]
    assert 3 == len(sheet)


def test_the_reconciliation_is_exported_line_by_line(ledger):
    ledger.rate(1, 2)
    head, row = rows_of(client(ledger).get(f"/export/reconcile.csv?from={DAY}&to={DAY}"))

    assert (DAY, "2") == (row[0], row[head.index("评价 (ratings)")])


def test_what_is_unexplained_is_so_in_the_table_too(ledger):
    """Somebody has moved a rating from due to accepted: two mistakes. Red if one too many and one too few are none."""
    ledger.rate(1, 2)
    with ledger.store.writing() as db:
        unguard(db)
        db.execute("UPDATE rating SET state = 'accepted' WHERE id = 1")
    page = client(ledger)
    head, row = rows_of(page.get(f"/export/reconcile.csv?from={DAY}&to={DAY}"))
    said = page.get(f"/api/v1/reconcile?from={DAY}&to={DAY}").get_json()["unexplained"]

    assert (2, "2") == (said, row[head.index("无法解释 (unexplained)")])


def test_nobodys_details_and_no_free_text_leave_unless_an_operator_asks(ledger):
    """Never an applicant; what citizens wrote only for an operator who asks. It is written down who took what."""
    agent = Agent()
    ledger.take(agent, agent.write(press(1, "i1", button=2, text="办事员王某态度差"), closing("i1", "C1")))
    ledger.rate(2)
    auditor, operator = StandIn("auditor"), StandIn("operator")
    plain = client(ledger, operator).get(f"/export/ratings.csv?from={DAY}&to={DAY}").data.decode()
    asked = client(ledger, operator).get(f"/export/ratings.csv?from={DAY}&to={DAY}&text=1").data.decode()

    assert "王某" not in plain
    assert "王某" in asked
    assert 403 == client(ledger, auditor).get("/export/ratings.csv?text=1").status_code
    assert 200 == client(ledger, auditor).get("/export/ratings.csv").status_code
    assert 403 == client(ledger, StandIn("viewer")).get("/export/ratings.csv").status_code
    assert 200 == client(ledger, StandIn("viewer")).get("/export/windows.csv").status_code
    assert ("export", "ratings-2027-01-15-2027-01-15 with text (2)") == operator.notes[-1][1:]
    assert [] == [value for value in PERSON.values() if value in plain + asked]


@pytest.mark.parametrize(
    "cell",
    [
        RUNS,
        "+1",
        "-1+1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "\tx",
        "＝1",
        "＋1",
        "－1",
        "＠SUM(A1)",
        " =1",
        "\u3000＝1",
    ],
)
def test_what_others_wrote_never_runs_in_a_spreadsheet(cell):
    """A quote before it makes it text. Red if a device could be called =cmd|…"""
    assert f"'{cell}" == harmless(cell)
    assert [["a"], [f"'{cell}"]] == list(csv.reader(io.StringIO(as_csv([{"a": cell}], "a")[1:], newline="")))
    body = b"".join(xlsx_of(table(["a"], [[cell]])))
    (found,) = book_of(body).active.iter_cols(min_row=2)

    assert (cell.replace("\r", "_x000D_"), "s", True) == (found[0].value, found[0].data_type, found[0].quotePrefix)
    assert b"<f>" not in zipfile.ZipFile(io.BytesIO(body)).read("xl/worksheets/sheet1.xml")


@pytest.mark.parametrize("cell", ["D0217", "a=1", "市民中心 - 1号", "", -5, None])
def test_what_cannot_run_stays_as_it_is(cell):
    assert cell == harmless(cell)


def test_numbers_stay_numbers_and_text_with_commas_and_quotes_comes_back():
    body = b"".join(csv_of(table(["a", "b"], [[-5, 'a "b", c\nd'], [None, "1号"]]))).decode("utf-8-sig")

    assert [["a", "b"], ["-5", 'a "b", c\nd'], ["", "1号"]] == list(csv.reader(io.StringIO(body, newline="")))
    assert "\r\n" in body


def test_a_long_table_comes_in_pieces():
    """Red if all of it is made before the first byte goes out."""
    made = []

    def rows():
        for n in range(5000):
            made.append(n)
            yield [n]

    pieces = csv_of(table(["n"], rows()))
    next(pieces)
    assert [] == made
    next(pieces)

    assert 500 == len(made)
    assert 9 == len(list(pieces)) - 1


def test_a_sheet_that_is_full_says_that_there_is_more(monkeypatch):
    """The audit log has no end, and a sheet has one. Red if what does not fit is left out without a word."""
    monkeypatch.setattr("collector.web.sheets._ROW_LAST", 3)
    whole, cut = (sheet_of(b"".join(xlsx_of(table(["n"], [[n] for n in range(rows)])))) for rows in (3, 9))

    assert [("n",), ("0",), ("1",), ("2",)] == [tuple(map(str, row)) for row in whole]
    assert [("n",), ("0",), ("1",)] == [tuple(map(str, row)) for row in cut[:3]]
    assert "CSV" in cut[3][0]
    assert 4 == len(cut)


@pytest.mark.parametrize(
    ("query", "field"),
    [("from=x", "from"), ("to=2026-13-01", "to"), ("from=2020-01-01", "from"), (f"from={DAY}&to=2027-01-14", "from")],
)
def test_wrong_days_are_named(ledger, query, field):
    answer = client(ledger).get(f"/export/ratings.csv?{query}")

    assert (400, field) == (answer.status_code, answer.get_json()["error"]["field"])


def test_another_kind_of_file_is_refused(ledger):
    assert 404 == client(ledger).get("/export/windows.pdf").status_code


def test_only_so_many_export_at_once(ledger, monkeypatch):
    monkeypatch.setattr("collector.web.exports._AT_ONCE", 1)
    page = client(ledger)
    held = page.get("/export/windows.csv", buffered=False)
    refused = page.get("/export/windows.csv")
    held.close()

    assert (503, "10") == (refused.status_code, refused.headers["Retry-After"])
    assert 200 == page.get("/export/windows.csv").status_code


@pytest.mark.parametrize("name", ["statistics", "reconcile"])
def test_what_is_counted_for_a_table_waits_for_its_turn_too(ledger, monkeypatch, name):
    """Red if ten who ask at once have the whole ledger counted ten times, and only then are told to wait."""
    counted = []
    monkeypatch.setattr(f"collector.web.taken.{name}", lambda *_: counted.append(name))
    monkeypatch.setattr("collector.web.exports._AT_ONCE", 0)

    assert 503 == client(ledger).get(f"/export/{name}.csv").status_code
    assert [] == counted


def test_ratings_are_found_by_their_day_and_not_by_reading_all(opened):
    """The plan names the index. Red if a day's table walks through years."""
    ledger = opened(directory_of(window()))
    plan = ledger.store.rows(
        "EXPLAIN QUERY PLAN SELECT id FROM rating INDEXED BY rating_day WHERE pressed_ms >= ? AND pressed_ms < ?"
        " ORDER BY pressed_ms, id",
        (0, 1),
    )

    assert any("rating_day (pressed_ms>? AND pressed_ms<?)" in row["detail"] for row in plan)


def test_the_workbook_says_in_words_what_programs_say_in_codes(ledger):
    """Words where a person reads, codes in columns of their own at the right; a moment is a moment, and a number a
    number. Red if 214 or window_pad stands among the words, or a date is text."""
    agent = Agent()
    ledger.take(agent, agent.write(press(1, "i1", button=2, tags=["214"]), closing("i1", None)))
    sheet = book_of(client(ledger).get(f"/export/ratings.xlsx?from={DAY}&to={DAY}").data).active
    head, row = ([cell.value for cell in each] for each in sheet.iter_rows())
    said = dict(zip(head, row, strict=True))

    assert ("不满意", "dissatisfied") == (said["满意度 (level)"], said["满意度代码 (level code)"])
    assert ("服务态度生硬", "214") == (said["评价标签 (tags)"], said["标签编号 (tag codes)"])
    assert ("无办件编号", "no_case") == (said["为何待处理 (why it waits)"], said["原因代码 (reason code)"])
    assert "待处理" == said["去向 (where it is)"]
    assert "2027-01-15T16:00:01" == said["按下时间 (pressed)"].isoformat()
    assert 1 == said["编号 (number)"]
    assert [] == [code for code in NAMED if code in row[: head.index("评价器 (device)")]]
    assert sheet["B2"].is_date
    assert ("A2", f"A1:{sheet.cell(2, len(head)).coordinate}") == (sheet.freeze_panes, sheet.auto_filter.ref)


@pytest.mark.parametrize("name", ["windows", "ratings", "reconcile", "parked", "mending", "statistics"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_second_sheet_says_what_each_column_means(ledger, name, language):
    """Every column of every table, in the language of the page, with room to read it."""
    ledger.rate(1, 2, button=2)
    book = book_of(client(ledger).get(f"/export/{name}.xlsx?from={DAY}&to={DAY}&lang={language}").data)
    first, about = book.worksheets
    explained = {row[0]: row[1] for row in about.iter_rows(values_only=True)}
    heads = [cell.value for cell in first[1]]

    assert all(explained.get(head) for head in heads), explained
    assert all(first.column_dimensions[cell.column_letter].width >= 8 for cell in first[1])
    assert {"zh": "说明", "en": "about"}[language] == about.title


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_is_counted_is_named_whole_in_both_languages(ledger, language):
    """Our own words are written as Chinese / English, and an item's are not ours. Red if half of its name is left out,
    on the page or in the table, or if both halves of ours stand there."""
    ledger.rate(1)
    ledger.intake.take_cases([case("C1", item_code="0" * 31, item_name="企业 / 个体户")], NOW_MS)
    page, asked = client(ledger), f"from={DAY}&to={DAY}&lang={language}"

    for by, name in (
        ("item", "0" * 31 + " 企业 / 个体户"),
        ("channel", {"zh": "窗口评价器", "en": "keypad"}[language]),
    ):
        table = rows_of(page.get(f"/export/statistics.csv?{asked}&by={by}"))
        assert table[1][0] in page.get(f"/statistics?{asked}&by={by}").text
        assert name in table[1][0]
        assert (by == "item") == (" / " in table[1][0])


def test_a_table_with_what_citizens_wrote_says_so_in_its_name(ledger):
    page = client(ledger)
    names = [page.get(f"/export/ratings.csv?text={n}").headers["Content-Disposition"] for n in (0, 1)]

    assert ["2027-01-15.csv", "2027-01-15-text.csv"] == [
        name.split('"')[1].removeprefix(f"ratings-{DAY}-") for name in names
    ]


def test_ratings_of_one_window_are_of_that_window(opened):
    """And the audit log counts those. Red if it counts what was not taken away."""
    ledger = opened(directory_of(window(), window(window="w2", device="D2")))
    agent = Agent()
    for n, (name, device) in enumerate((("w1", "D1"), ("w2", "D2"), ("w2", "D2")), 1):
        ledger.take(
            agent, agent.write(press(n, f"i{n}", window=name, device=device), closing(f"i{n}", f"C{n}", window=name))
        )
    gate = StandIn()
    found = rows_of(client(ledger, gate).get("/export/ratings.csv?window=hall-a/w2"))

    assert ["2", "3"] == [row[0] for row in found[1:]]
    assert f"ratings-{DAY}-{DAY} (2) window=hall-a/w2" == gate.notes[-1][2]


def test_too_many_days_are_answered_with_a_page_that_has_them_in_pieces(ledger):
    """For a person; a program is told the field. Red if a browser shows JSON, or a piece leaves a day out."""
    answer = client(ledger).get("/export/ratings.xlsx?from=2026-08-01&to=2027-01-15&text=1", headers=HTML)
    pieces = re.findall(r'href="/export/ratings.xlsx[^"]*from=([0-9-]+)&amp;to=([0-9-]+)"', answer.text)

    assert (400, "text/html") == (answer.status_code, answer.mimetype)
    assert "所选 168 天, 一次至多 93 天, 请分几次导出" in answer.text
    assert [("2026-10-15", "2027-01-15"), ("2026-08-01", "2026-10-14")] == pieces
    assert all(f"text=1&amp;from={first}" in answer.text for first, _ in pieces)


@pytest.mark.parametrize(
    ("role", "offered"),
    [
        ("viewer", ["reconcile", "statistics", "windows"]),
        ("auditor", ["mending", "parked", "ratings", "reconcile", "statistics", "windows"]),
    ],
)
def test_everybody_is_offered_what_they_may_have(ledger, role, offered):
    ledger.rate(1, button=2)
    page = client(ledger, StandIn(role))
    text = page.get("/export", headers=HTML).text
    found = sorted(set(re.findall(r'formaction="/export/([a-z]+)\.(?:csv|xlsx)"', text)))

    assert offered == found
    assert 'name="text"' not in text
    for name in found:
        for kind in ("csv", "xlsx"):
            with page.get(f"/export/{name}.{kind}") as answer:
                assert (200, name) == (answer.status_code, name)
    refused = {"ratings", "parked", "mending"} - set(found)
    assert {403} >= {page.get(f"/export/{name}.csv").status_code for name in refused}


@pytest.mark.parametrize("path", ["/", "/windows/hall-a/w1", "/parked", "/statistics", "/mending"])
def test_each_list_is_taken_away_from_where_it_is_read(ledger, path):
    """As CSV and for Excel, and each link leads to a table. Red if somebody has to type an address."""
    ledger.rate(1, 2, button=2)
    page = client(ledger)
    links = [html.unescape(each) for each in re.findall(r'href="(/export/[^"]+)"', page.get(path, headers=HTML).text)]

    assert {"csv", "xlsx"} == {link.partition("?")[0].rpartition(".")[2] for link in links}
    for link in links:
        with page.get(link, headers=HTML) as answer:
            assert (200, "attachment") == (answer.status_code, answer.headers["Content-Disposition"][:10]), link


def test_who_took_cases_and_clerks_away_stands_in_the_audit_log(ledger):
    """With what was picked. Red if a table with case numbers or clerks leaves the centre and nobody knows."""
    ledger.rate(1, 2, button=2)
    gate = StandIn("auditor")
    page = client(ledger, gate)
    asked = [
        "/export/parked.csv",
        "/export/parked.xlsx?reason=no_case&hall=A 厅&level=dissatisfied&x=y",
        "/export/mending.csv?clerk=018",
        f"/export/statistics.csv?from={DAY}&to={DAY}&by=clerk&hall=A 厅",
        f"/statistics?from={DAY}&to={DAY}&by=clerk&format=csv",
        f"/export/statistics.csv?from={DAY}&to={DAY}&by=window",
        f"/export/ratings.csv?from={DAY}&to={DAY}&window=hall-a/w1",
        f"/log.csv?x=who=zhang from={DAY}",
        f"/log.csv?from={DAY}&to={DAY}&who=a from=b",
    ]
    for path in asked:
        with page.get(path) as answer:
            assert (200, path) == (answer.status_code, path)
    refused = [page.get(path).status_code for path in ("/export/mending.csv?tab=none", "/export/parked.pdf")]

    assert [400, 404] == refused
    assert [
        ("李敏", "export", "parked"),
        ("李敏", "export", "parked reason=no_case hall=A%20厅 level=dissatisfied"),
        ("李敏", "export", "mending tab=open clerk=018"),
        ("李敏", "export", f"statistics-{DAY}-{DAY} hall=A%20厅"),
        ("李敏", "export", f"statistics-{DAY}-{DAY}"),
        ("李敏", "export", f"ratings-{DAY}-{DAY} (2) window=hall-a/w1"),
        ("李敏", "log_exported", ""),
        ("李敏", "log_exported", f"who=a%20from=b from={DAY} to={DAY}"),
    ] == gate.notes
