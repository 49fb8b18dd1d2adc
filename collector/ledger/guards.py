"""What no statement may do to the evidence in a ledger: triggers that stand in the file, whoever opens it.

They keep tools, scripts and mistakes away. Whoever owns the file can drop them, and is found by the chains.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Guard:
    """A table, the columns that stay as they were written, its keys, and what may not happen to the other columns.

    Several names stand with blanks between.
    """

    table: str
    fixed: str
    keys: tuple[str, ...]
    never: str = ""
    taken: str = "RAISE(ABORT, '{table} rows are never replaced')"

    def statements(self) -> tuple[str, ...]:
        return (*self._change_and_removal(), self.against_replacement())

    def _change_and_removal(self) -> tuple[str, ...]:
        # Values and not `UPDATE OF`, which goes by name: a row's number has three more names.
        changed = " OR ".join(
            [f"NEW.{column} IS NOT OLD.{column}" for column in self.fixed.split()]
            + ([self.never] if self.never else [])
        )
        return (
            f"CREATE TRIGGER {self.table}_stays BEFORE UPDATE ON {self.table} WHEN {changed}"
            f" BEGIN SELECT RAISE(ABORT, '{self.table} rows never change'); END",
            f"CREATE TRIGGER {self.table}_never_goes BEFORE DELETE ON {self.table}"
            f" BEGIN SELECT RAISE(ABORT, '{self.table} rows never go'); END",
        )

    def against_replacement(self) -> str:
        """INSERT OR REPLACE removes rows without asking the trigger of DELETE, by any key of the table."""
        same = " OR ".join(
            "EXISTS(SELECT 1 FROM {} WHERE {})".format(
                self.table, " AND ".join(f"{column} = NEW.{column}" for column in key.split())
            )
            for key in self.keys
        )
        said = self.taken.format(table=self.table)
        return f"CREATE TRIGGER {self.table}_once BEFORE INSERT ON {self.table} WHEN {same} BEGIN SELECT {said}; END"


# record has all of them since version 1, stretch and key_map all but the one against replacement.
_STRETCH = _Guard("stretch", "", ("n",))
_KEY_MAP = _Guard("key_map", "", ("id",))
_WHOLE = (
    _Guard("epoch", "id agent epoch first_ms", ("id", "epoch"), never="NEW.upto < OLD.upto"),
    _Guard("gap", "epoch_id after upto head at_ms", ("epoch_id upto",)),
    _Guard("loss", "id epoch_id epoch first last reason at_ms", ("id",)),
    # What became of a press may still be found out; what was pressed may not.
    _Guard("press", "id epoch_id seq agent window device boot count invitation pressed_ms", ("id",)),
    # A later closing of the same invitation is passed over, as the ledger itself asks for.
    _Guard("closing", "invitation epoch_id seq agent window outcome closed_ms", ("invitation",), taken="RAISE(IGNORE)"),
    _Guard(
        "rating",
        "id press once level bad tags text device boot count hall number agent window pressed_ms channel invitation"
        " case_no service_number clerk key_map made_ms",
        ("id", "press", "once", "case_no service_number"),
    ),
    _Guard(
        "attempt",
        "id rating what at_ms",
        ("id",),
        never="OLD.verdict IS NOT NULL AND (NEW.verdict IS NOT OLD.verdict OR NEW.words IS NOT OLD.words)",
    ),
)

GUARDS: tuple[str, ...] = (
    _STRETCH.against_replacement(),
    _KEY_MAP.against_replacement(),
    *(statement for guard in _WHOLE for statement in guard.statements()),
)
"""The statements that put them into a ledger, in order."""

_OF_HANDS = (
    _Guard(
        "correction",
        "id rating at_ms who what reason",
        ("id",),
        never="NEW.details IS NOT NULL AND NEW.details IS NOT OLD.details",  # they go with the citizen's other details
    ),
)
GUARDS_OF_HANDS: tuple[str, ...] = tuple(statement for guard in _OF_HANDS for statement in guard.statements())
"""The same for the table that version 5 added."""

_OF_LINKS = (
    _Guard("case_link", "rating case_no service_number at_ms who reason sum", ("rating", "case_no service_number")),
)
GUARDS_OF_LINKS: tuple[str, ...] = tuple(statement for guard in _OF_LINKS for statement in guard.statements())
"""The same for the table that version 6 added."""

_OF_ACTS = (
    _Guard(
        "step",
        "id rating draw at_ms who what outcome state digest hash",
        ("id",),
        never="NEW.words IS NOT NULL AND NEW.words IS NOT OLD.words",  # they are deleted when their time is over
    ),
    _Guard("draw", "id at_ms who reason first last kind hall wanted upto size frame stretch hash", ("id",)),
    _Guard("drawn", "id draw at_ms seed ratings hash", ("id", "draw")),
)
GUARDS_OF_ACTS: tuple[str, ...] = tuple(statement for guard in _OF_ACTS for statement in guard.statements())
"""The same for the tables that version 7 added."""


def guarded(table: str, fixed: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    """The same for a table of another file."""
    return _Guard(table, fixed, keys).statements()
