"""Tables to take away: every row, in a form that spreadsheets open, and nothing in them that runs or names anybody."""

from __future__ import annotations

import csv
import io

import openpyxl
import pytest

from collector import web
from collector.web.sheets import csv_of, harmless, xlsx_of
from protocols.messages import AgentStatus, Health, WindowHealth
from tests.collector.agents import NOW_MS, Agent, closing, press
from tests.collector.gates import StandIn
from tests.collector.ledgers import PERSON, Ledger, directory_of, window
from tests.collector.test_web import Clock

DAY = "2027-01-15"
RUNS = "=HYPERLINK(1)"


def client(ledger: Ledger, gate=None):
    app = web.create_app(
        ledger.overview, ledger.intake, ledger.desk, ledger.channels, ledger.directory, gate or StandIn(), [], Clock()
    )
    return app.test_client()


def rows_of(answer) -> list[list[str]]:
    """A CSV answer as a spreadsheet reads it."""
    assert answer.data.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"), newline="")))


def sheet_of(body: bytes) -> list[tuple]:
    book = openpyxl.load_workbook(io.BytesIO(body))
    return list(book.active.iter_rows(values_only=True))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_windows_are_exported_with_state_and_sentence(ledger, language):
    ledger.intake.note_status("hall-a", AgentStatus(True), NOW_MS)
    windows = [WindowHealth("w1", "cable_out", since_ms=NOW_MS)]
    ledger.intake.note_health("hall-a", Health(NOW_MS, Agent().epoch, windows), NOW_MS)
    answer = client(ledger).get(f"/export/windows.csv?lang={language}")
    head, row = rows_of(answer)

    words = {"zh": ("大厅", "线缆 16:00 起断开"), "en": ("hall", "cable out since 16:00")}[language]
    assert words == (head[0], row[6])
    assert 'filename="windows-2027-01-15-1600.csv"' in answer.headers["Content-Disposition"]


def test_ratings_of_some_days_are_all_there_once(ledger):
    """In the order of their presses; the day is Beijing's. Red if one of the day before comes along."""
    agent = Agent()
    night_ms = NOW_MS - 16 * 3_600_000  # midnight
    for n, at_ms in enumerate((night_ms - 1, night_ms, NOW_MS, NOW_MS + 1), 1):
        ledger.take(agent, agent.write(press(n, f"i{n}", pressed_ms=at_ms), closing(f"i{n}", f"C{n}")))
    found = rows_of(client(ledger).get(f"/export/ratings.csv?from={DAY}&to={DAY}"))

    assert ["2", "3", "4"] == [row[0] for row in found[1:]]
    assert "2027-01-15 00:00" == found[1][1]
    assert 4 == len(rows_of(client(ledger).get(f"/export/ratings.csv?from=2027-01-14&to={DAY}"))[1:])


def test_the_workbook_has_the_same(ledger):
    ledger.rate(1, 2, button=2)
    comma = rows_of(client(ledger).get(f"/export/ratings.csv?from={DAY}&to={DAY}"))
    sheet = sheet_of(client(ledger).get(f"/export/ratings.xlsx?from={DAY}&to={DAY}").data)

    assert comma == [["" if cell is None else str(cell) for cell in row] for row in sheet]
    assert 3 == len(sheet)


def test_the_reconciliation_is_exported_line_by_line(ledger):
    ledger.rate(1, 2)
    head, row = rows_of(client(ledger).get(f"/export/reconcile.csv?from={DAY}&to={DAY}"))

    assert (DAY, "2") == (row[0], row[head.index("评价")])


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


@pytest.mark.parametrize("cell", [RUNS, "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_what_others_wrote_never_runs_in_a_spreadsheet(cell):
    """A quote before it makes it text. Red if a device could be called =cmd|…"""
    assert f"'{cell}" == harmless(cell)
    (_, row) = sheet_of(b"".join(xlsx_of("x", ["a"], [[RUNS]])))

    assert (RUNS,) == row  # as text
    assert b"<f>" not in b"".join(xlsx_of("x", ["a"], [[RUNS]]))


def test_numbers_stay_numbers_and_text_with_commas_and_quotes_comes_back():
    body = b"".join(csv_of(["a", "b"], [[-5, 'a "b", c\nd'], [None, "1号"]])).decode("utf-8-sig")

    assert [["a", "b"], ["-5", 'a "b", c\nd'], ["", "1号"]] == list(csv.reader(io.StringIO(body, newline="")))
    assert "\r\n" in body


def test_a_long_table_comes_in_pieces():
    """Red if all of it is made before the first byte goes out."""
    made = []

    def rows():
        for n in range(5000):
            made.append(n)
            yield [n]

    pieces = csv_of(["n"], rows())
    next(pieces)
    assert [] == made
    next(pieces)

    assert 500 == len(made)
    assert 9 == len(list(pieces)) - 1


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


def test_ratings_are_found_by_their_day_and_not_by_reading_all(opened):
    """The plan names the index. Red if a day's table walks through years."""
    ledger = opened(directory_of(window()))
    plan = ledger.store.rows(
        "EXPLAIN QUERY PLAN SELECT id FROM rating INDEXED BY rating_day WHERE pressed_ms >= ? AND pressed_ms < ?"
        " ORDER BY pressed_ms, id",
        (0, 1),
    )

    assert any("rating_day (pressed_ms>? AND pressed_ms<?)" in row["detail"] for row in plan)
