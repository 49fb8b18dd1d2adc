"""A ledger in a real file with everything that works on it, a directory, and complete cases."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from collector import directory
from collector.directory import Directory
from collector.ledger.channels import Channels
from collector.ledger.delivery import Delivery
from collector.ledger.desk import Desk
from collector.ledger.guards import GUARDS, GUARDS_OF_ACTS, GUARDS_OF_HANDS, GUARDS_OF_LINKS
from collector.ledger.intake import Intake
from collector.ledger.overview import Overview
from collector.ledger.store import Store
from collector.vault import Vault
from protocols.messages import Batch, Receipt
from protocols.ratings import Case
from protocols.seal import PrivateKey
from tests.collector.agents import NOW_MS, Agent, rated

KEYS = '{1 = "very_satisfied", 2 = "dissatisfied", 3 = "very_dissatisfied"}'
# A citizen with names and numbers that stand nowhere else: they must never be seen outside the ledger and the province.
PERSON = {
    "applicant_name": "欧阳测试甲",
    "certificate_no": "370102199003071234",
    "mobile": "13912345678",
    "handler_name": "代办人乙丙",
    "handler_certificate_no": "370102198001011118",
}


def window(agent: str = "hall-a", window: str = "w1", device: str = "D1", keys: str = KEYS, more: str = "") -> str:
    """One window of directory.toml."""
    return (
        f'[[windows]]\nagent = "{agent}"\nwindow = "{window}"\nhall = "市民中心"\nnumber = "{window[1:]}号"\n'
        f'device = "{device}"\nkeys = {keys}\n{more}\n'
    )


def directory_of(*windows: str) -> Directory:
    """The directory with these windows."""
    return directory.read("".join(windows).encode(), "directory.toml")


def case(case_no: str = "C1", service_number: int = 1, **other) -> Case:
    """Complete details of a case, as a hall's business system knows them."""
    usual = {
        "service_name": "业务办结",
        "case_name": "身份证换领的业务",
        "service_ms": NOW_MS - 600_000,
        "status": "accepted",
        "case_type": "immediate",
        "item_code": "1" * 31,
        "item_name": "身份证换领",
        "area_code": "370102",
        "area_name": "历下区",
        "dept_code": "1" * 18,
        "dept_name": "公安局",
        "applicant_type": "person",
        "certificate_type": "id_card",
        "accepted_ms": NOW_MS - 900_000,
        **PERSON,
    }
    return Case(case_no, service_number, **(usual | other))


def unguard(db: sqlite3.Connection) -> None:
    """What somebody who owns the file does first."""
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")


KEY = PrivateKey(bytes(range(32)))
VAULT = Vault([KEY])
_OF_HANDS = ("correction", "case_link", "step", "draw", "drawn")


def made_older(db: sqlite3.Connection) -> None:
    """A ledger as the program before wrote it: version 3, without a name, guards and counts by day."""
    guards = {statement.split()[2] for statement in GUARDS + GUARDS_OF_HANDS + GUARDS_OF_LINKS + GUARDS_OF_ACTS}
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        if name in guards:
            db.execute(f"DROP TRIGGER {name}")
    for name in ("press_count", "rating_count", "kind_count", "told", "identity", "mending", *_OF_HANDS):
        db.execute(f"DROP TABLE {name}")
    for table in ("rating", "service_case"):
        db.execute(f"ALTER TABLE {table} DROP COLUMN sum")
    for name in ("receipt", "as_is"):
        db.execute(f"ALTER TABLE rating DROP COLUMN {name}")
    db.execute("DROP INDEX case_known")
    for name in ("forgotten_ms", "given_ms"):
        db.execute(f"ALTER TABLE service_case DROP COLUMN {name}")
    for name in ("press_day", "rating_day", "device_said", "device_boot", "rating_bad", "closing_at", "rating_open"):
        db.execute(f"DROP INDEX {name}")
    for name in ("thanked", "said_ms", "met"):
        db.execute(f"ALTER TABLE device_count DROP COLUMN {name}")
    db.execute("PRAGMA user_version = 3")
    db.commit()


class Ledger:
    """A ledger's file as one process has it."""

    def __init__(self, path: Path, directory: Directory, sole: bool = False):
        self.path = path
        self.directory = directory
        self.store = Store(path, sole)
        self.intake = Intake(self.store, directory, VAULT)
        self.delivery = Delivery(self.store, VAULT)
        self.overview = Overview(self.store)
        self.desk = Desk(self.store, VAULT, self.intake)
        self.channels = Channels(self.store, self.intake)
        key_file = path.with_name("details.key")  # for a process that takes it over
        key_file.write_text(KEY.text(), "utf-8")
        key_file.chmod(0o600)

    def take(self, agent: Agent, batch: Batch, now_ms: int = NOW_MS) -> Receipt:
        """The receipt for this batch."""
        ((_, receipt),) = self.intake.take(agent.sent(batch), now_ms)
        return receipt

    def rate(self, *numbers: int, button: int = 1, with_case: bool = True, name: str = "hall-a") -> None:
        """One rating of case C<number> each, which can be sent at once if its case is known."""
        agent = Agent(name)
        self.take(agent, agent.write(*(each for number in numbers for each in rated(number, button=button))))
        if with_case:
            self.intake.take_cases([case(f"C{number}") for number in numbers], NOW_MS)

    def fates(self) -> list[str]:
        """Of all presses, in order of arrival."""
        return [row["fate"] for row in self.store.rows("SELECT fate FROM press ORDER BY id")]

    def states(self) -> dict[str, str]:
        """Of all ratings: case number → state, with the reason if there is one."""
        rows = self.store.rows("SELECT case_no, state, reason FROM rating ORDER BY id")
        return {row["case_no"]: " ".join(filter(None, (row["state"], row["reason"]))) for row in rows}

    def records(self) -> list[bytes]:
        """Everything kept, in the order of the chains."""
        return [row["body"] for row in self.store.rows("SELECT body FROM record ORDER BY epoch_id, seq")]

    def count(self, table: str) -> int:
        return self.store.row(f"SELECT count(*) FROM {table}")[0]
