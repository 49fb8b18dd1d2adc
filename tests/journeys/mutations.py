"""Breaks each rule of the promise in a copy of the tree, and sees the journeys turn red: `make mutations`.

A journey that stays green under one of these proves nothing about that rule.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
JOURNEYS = (
    "tests/collector/test_balance.py",
    "tests/edge_agent/test_outbox_sums.py",
    "tests/edge_agent/test_outbox_long.py",
    "tests/edge_agent/test_cable.py",
    "tests/edge_agent/test_polled.py",
    "tests/journeys/test_late_bytes.py",
    "tests/journeys/test_evaluators.py",
    "tests/journeys/test_crash_anywhere.py",
    "tests/collector/test_ledger_rot.py",
    "tests/power/test_rot_ledger.py",
)
EVIDENCE = ("tests/collector/test_checkpoint.py", "tests/collector/test_evidence.py")
ENDS = ("tests/collector/test_checkpoint_ends.py",)


@dataclass(frozen=True)
class Mutation:
    """A rule, and how to break it: `old` becomes `new` in `file`."""

    rule: str
    file: str
    old: str
    new: str
    journeys: tuple[str, ...] = JOURNEYS


MUTATIONS = (
    Mutation(
        "an older copy of the outbox is not used on",
        "edge_agent/uplink.py",
        "if abs(self._now().wall_ms - self._outbox.forked_ms) >= _LOOK_AGAIN_MS:",
        "if False:",
        ("tests/edge_agent/test_uplink.py",),
    ),
    Mutation(
        "nobody answers what is open only in an older copy of the outbox",
        "edge_agent/outbox/__init__.py",
        "(noted[0] != self.epoch or noted[1] > tip)",
        "False",
        ("tests/edge_agent/test_outbox_latest.py",),
    ),
    Mutation(
        "a start withdraws nothing from a file that is the agent's own",
        "edge_agent/outbox/__init__.py",
        "(noted[0] != self.epoch or noted[1] > tip)",
        "True",
        ("tests/edge_agent/test_outbox_latest.py",),
    ),
    Mutation(
        "half a commit is no damage, whatever a bit says",
        "protocols/wal.py",
        "if any(wrong.whole_with(frame) for frame in wrong.turned()):",
        "if any(wrong.turned()):",
        ("tests/protocols/test_wal.py",),
    ),
    Mutation(
        "no press pays for writing the log back",
        "edge_agent/outbox/writeback.py",
        "if self._commits < _COMMITS or",
        "if True or",
        ("tests/edge_agent/test_writeback.py",),
    ),
    Mutation(
        "whoever asks an outbox that was let go of is told so",
        "edge_agent/outbox/lock.py",
        "        if self._shut:",
        "        if False:",
        ("tests/edge_agent/test_outbox.py",),
    ),
    Mutation(
        "the last invitations stay, whatever the clock says",
        "edge_agent/outbox/invitations.py",
        "_STAY = 1_000",
        "_STAY = 0",
        ("tests/edge_agent/test_outbox.py",),
    ),
    Mutation(
        "a press that comes again under another invitation is the same press",
        "collector/ledger/meaning.py",
        "if one.host_boot == other.host_boot and one.button == other.button:",
        "if False:",
        ("tests/collector/test_ledger_intake.py",),
    ),
    Mutation(
        "what a restored ledger lacks is named when an agent says how far it was receipted",
        "collector/ledger/intake.py",
        "if health.receipted > held.upto:",
        "if False:",
        ("tests/collector/test_ledger_intake.py",),
    ),
    Mutation(
        "a province does not forget what it had taken",
        "firmware_sim/province/process.py",
        "province.recall(json.loads(line))",
        "pass",
        ("tests/firmware_sim/test_province.py",),
    ),
    Mutation(
        "an ack goes out only after the press is on disk",
        "edge_agent/window.py",
        "fresh = self._outbox.keep(self.id, (self.profile.id, self.profile.version), presses, moment, known)",
        "fresh = len(presses)",
    ),
    Mutation(
        "records go only when they are receipted",
        "edge_agent/outbox/outgoing.py",
        "last = min(upto, first + _DELETED_AT_ONCE - 1)",
        "last = min(upto, first + _DELETED_AT_ONCE - 1) + 2",
    ),
    Mutation(
        "a press belongs to the invitation that was open when the button went down",
        "edge_agent/outbox/invitations.py",
        "begun = next((kept for kept in found if kept.since_opened_ms(moment) >= press.age_ms), None)",
        "begun = next((kept for kept in found if kept.since_opened_ms(moment) >= 0), None)",
    ),
    Mutation(
        "bytes that may have waited are not understood",
        "edge_agent/cable.py",
        "may_have_waited = gap_ms > (WAITED_MS if waited else STALE_MS)",
        "may_have_waited = False",
    ),
    Mutation(
        "bytes that surely waited are believed for a tenth of a second only",
        "edge_agent/cable.py",
        "(WAITED_MS if waited else STALE_MS)",
        "STALE_MS",
    ),
    Mutation(
        "nothing is kept while it is unclear which invitation was open",
        "edge_agent/outbox/__init__.py",
        "if known != ANY_INVITATION and known != self.open_id(window):",
        "if False:",
    ),
    Mutation(
        "a press that is repeated until it is answered is one press, whoever stands at the window by now",
        "edge_agent/window.py",
        "if before_ms is not None and made_ms - before_ms <= self._press.same_ms:",
        "if False:",
    ),
    Mutation(
        "a press that may be from before its invitation answers none",
        "edge_agent/outbox/invitations.py",
        "if begun.since_opened_ms(moment) >= press.age_ms + press.unsure_ms:",
        "if True:",
    ),
    Mutation(
        "nothing that comes close to our own words is a key",
        "protocols/profiles/readers.py",
        "if self._deaf_ms is not None and now_ms <= self._deaf_ms:",
        "if False:",
    ),
    Mutation(
        "a bare key stands alone",
        "protocols/profiles/readers.py",
        "if len(meant) > 1:",
        "if False:",
    ),
    Mutation(
        "what a polled panel holds is cleared only when it is on disk",
        "edge_agent/polled.py",
        "return  # not on disk: the panel keeps it too",
        "pass",
    ),
    Mutation(
        "an invitation whose row was altered is not used",
        "edge_agent/outbox/invitations.py",
        'yield Kept._make(rows.checked("invitation", row))',
        "yield Kept._make(row[:-1])",
    ),
    Mutation(
        "a press is not taken for one that was altered",
        "edge_agent/outbox/seen.py",
        'found_as_asked = (rows.checked("seen", (row[0], *asked, *row[4:])) for row in found)',
        "found_as_asked = (row[:-1] for row in found)",
    ),
    Mutation(
        "a start looks at the sum of every row",
        "edge_agent/outbox/look.py",
        "    yield from _sums(db, slice)\n",
        "",
    ),
    Mutation(
        "what finds a row is looked at too",
        "edge_agent/outbox/look.py",
        "PRAGMA integrity_check(1)",
        "PRAGMA quick_check(1)",
    ),
    Mutation(
        "a form that is noted in two ways is damage",
        "edge_agent/outbox/file.py",
        "if (mark, version) in ((0, 1), (0, 2), (_MARK + FORM, FORM)):",
        "if version in (1, 2, FORM):",
    ),
    Mutation(
        "an agent's name that does not meet its sum is damage",
        "edge_agent/outbox/file.py",
        "if other != agent and not ours:",
        "if other != agent:",
    ),
    Mutation(
        "another agent's outbox is refused",
        "edge_agent/outbox/file.py",
        "if other != agent and not ours:",
        "if False:",
    ),
    Mutation(
        "a long outbox is looked through after the start",
        "edge_agent/outbox/__init__.py",
        "if not self._long or stop.is_set():",
        "if True:",
    ),
    Mutation(
        "how far a salvage came is written with what it took",
        "edge_agent/outbox/rescue.py",
        "            self._put(row)\n",
        "",
    ),
    Mutation(
        "an invitation that was answered is not asked again after a salvage",
        "edge_agent/outbox/rescue.py",
        'and kept.state == "open":',
        "and False:",
    ),
    Mutation(
        "what the ledger has is not taken again",
        "collector/ledger/intake.py",
        "bodies, heads, before = bodies[known:], heads[known:], before + known",
        "bodies, heads, before = bodies, heads, before + known",
    ),
    Mutation(
        "a receipt speaks of what is on disk",
        "collector/ledger/store.py",
        'self._db.execute("COMMIT")',
        'self._db.execute("ROLLBACK")',
    ),
    Mutation(
        "one service, one rating",
        "collector/ledger/meaning.py",
        "if made.is_rated(meaning) or _rated_already(db, meaning):",
        "if False:",
    ),
    Mutation(
        "bad ratings: received is what was counted, the rest are the rows",
        "collector/reconcile/balance.py",
        '"received": sum(number for (bad, _), number in kept.items() if bad),',
        '"received": sum(number for (bad, _), number in states.items() if bad),',
    ),
    Mutation(
        "a press that was thanked for and is nowhere is not explained by the device",
        "collector/reconcile/devices.py",
        'case "held":',
        'case "held" | "thanked" | "between":',
    ),
    Mutation(
        "one lost record does not explain two presses",
        "collector/reconcile/devices.py",
        "source[key] -= used",
        "pass",
    ),
    Mutation(
        "what waits in an outbox is in flight, and what has come is not",
        "collector/reconcile/balance.py",
        'left = min(window.get("waiting", 0) - arrived[window["window"]], agent["in_flight"])',
        'left = window.get("waiting", 0)',
    ),
    Mutation(
        "a rating's move is counted when it is made",
        "collector/ledger/delivery.py",
        'moved(db, rating, "parked")',
        "pass",
    ),
    Mutation(
        "a bit that the disk turned round is found before anybody uses the ledger",
        "collector/ledger/mend.py",
        "if suspected or path.stat().st_size <= _FIRST_BYTES:",
        "if False:",
    ),
    Mutation(
        "a damaged ledger is set aside whole",
        "collector/ledger/mend.py",
        "aside = file.set_aside(path, now_ms).name",
        'aside = ""',
    ),
    Mutation(
        "of a damaged log the very bit is turned back",
        "collector/ledger/mend.py",
        "right, whole = _as_noted(lies, noted(path))",
        "right, whole = lies, None",
    ),
    Mutation(
        "what no single bit explains is looked into deeply",
        "collector/ledger/mend.py",
        "            broken = _broken(path)",
        '            broken = ""',
    ),
    Mutation(
        "nothing that was made of a damaged page stays in the ledger",
        "collector/ledger/pages.py",
        "for number in sorted(newest.keys() - self._newest.keys()):",
        "for number in ():",
    ),
    Mutation(
        "every page that is moved into the ledger's file has its sum",
        "collector/ledger/pages.py",
        "            self._sums.put(number, sum_of(number, os.pread(log, PAGE, at)))",
        "            pass",
    ),
    Mutation(
        "nothing that a disk has altered is sent",
        "collector/ledger/delivery.py",
        'if row["state"] != "due" or not rating_holds(row) or not links.holds(row) or not case_holds(row):',
        "if False:",
    ),
    Mutation(
        "no receipt says what the last record does not",
        "collector/ledger/intake.py",
        'if row["upto"] and _head_at(db, row["id"], row["upto"]) != row["head"]:',
        "if False:",
    ),
    Mutation(
        "nothing is made of a record that is not what was taken",
        "collector/ledger/meaning.py",
        "if isinstance(body, bytes) and chain.link(head, body) == digest:",
        "if True:",
    ),
    Mutation(
        "no answer is no acceptance",
        "collector/ledger/delivery.py",
        "case Unavailable():",
        "case Unavailable() if what == 'rating':\n"
        "                    db.execute(\"UPDATE rating SET state = 'accepted' WHERE id = ?\", (due.id,))\n"
        "                case Unavailable():",
    ),
    Mutation(
        "a checkpoint is what was signed",
        "collector/checkpoint.py",
        "public.verify(signature, body)",
        "pass",
        EVIDENCE,
    ),
    Mutation(
        "a checkpoint's numbers are held against the ledger",
        "collector/ledger/checkpoints.py",
        "for name, then, now in pairs if then != now]",
        "for name, then, now in pairs if False]",
        EVIDENCE,
    ),
    Mutation(
        "a ledger that ends before a checkpoint was rolled back",
        "collector/ledger/checkpoints.py",
        "        if last < said.stretch:\n",
        "        if last < said.stretch:\n            return []\n        if last < said.stretch:\n",
        EVIDENCE,
    ),
    Mutation(
        "a checkpoint is of one moment",
        "collector/ledger/checkpoints.py",
        "    with store.reading() as db:\n",
        "    with __import__('contextlib').nullcontext(store._reader()) as db:\n",
        EVIDENCE,
    ),
    Mutation(
        "whoever cuts off the end of what people did is found by a checkpoint",
        "collector/ledger/checkpoints.py",
        "    if last < said.number:\n",
        "    if last < said.number:\n        return []\n    if last < said.number:\n",
        ENDS,
    ),
    Mutation(
        "whoever makes the chain of what people did anew is found by a checkpoint",
        "collector/ledger/checkpoints.py",
        "    if held != said:\n",
        "    if False:\n",
        ENDS,
    ),
    Mutation(
        "a checkpoint knows where the audit log ends",
        "collector/people/log.py",
        "    return row[0], _bytes(row[1]).hex()\n",
        "    return 0, chain.PEOPLE.hex()\n",
        ENDS,
    ),
    Mutation(
        "a range of a chain begins with the hash before it",
        "collector/ledger/audit/chains.py",
        "running, expected = before[2], before[0] + 1",
        "expected = before[0] + 1",
        ("tests/collector/test_audit_processes.py",),
    ),
    Mutation(
        "processes that verify see one moment",
        "collector/ledger/audit/readers.py",
        "if _version(watch) == before:",
        "if True:",
        ("tests/collector/test_audit_processes.py",),
    ),
    Mutation(
        "a rating is what its own sum says",
        "collector/ledger/audit/presses.py",
        "and (stated is None or blake2b(raw, digest_size=SUM_BYTES).hexdigest() == stated)",
        "and True",
        ("tests/collector/test_audit.py",),
    ),
    Mutation(
        "a rating is what its press row says",
        "collector/ledger/audit/presses.py",
        "                same\n                and press[:3]",
        "                press[:3]",
        ("tests/collector/test_audit.py", "tests/collector/test_audit_processes.py"),
    ),
    Mutation(
        "a rating called accepted was sent",
        "collector/ledger/audit/whole.py",
        "    findings += _unsent(db, found, calls)\n",
        "",
        ("tests/collector/test_audit.py", "tests/collector/test_evidence.py"),
    ),
    Mutation(
        "the counts by day are what the rows add up to",
        "collector/ledger/audit/presses.py",
        "        made.add_rated(number, kinds, counts)\n",
        "",
        ("tests/collector/test_audit.py", "tests/collector/test_audit_processes.py"),
    ),
    Mutation(
        "one rating that cannot be read hides no other",
        "collector/ledger/audit/presses.py",
        "            self._suspects.append(press)\n",
        "",
        ("tests/collector/test_audit.py",),
    ),
    Mutation(
        "no evidence is replaced",
        "collector/ledger/guards.py",
        "*(statement for guard in _WHOLE for statement in guard.statements()),",
        "*(statement for guard in _WHOLE for statement in guard.statements()[:2]),",
        ("tests/collector/test_guards.py",),
    ),
    Mutation(
        "who could not be asked for want of room answers for nobody",
        "edge_agent/outbox/wishes.py",
        "moment.mono_ms - press.age_ms >= wish.moment.mono_ms",
        "False",
        ("tests/edge_agent/test_outbox.py", "tests/edge_agent/test_door.py"),
    ),
    Mutation(
        "an end that had no room is written as of then",
        "edge_agent/outbox/__init__.py",
        "            outcome, moment = wish.outcome, wish.moment\n",
        "            pass\n",
        ("tests/edge_agent/test_outbox.py",),
    ),
    Mutation(
        "a citizen's details are sealed before a byte of them is written",
        "edge_agent/details.py",
        "self._sealer.seal(text, about_case(case.case_no, case.service_number))",
        "text",
        ("tests/edge_agent/test_details.py", "tests/firmware_sim/test_demo_details.py"),
    ),
    Mutation(
        "details that were promised are on the disk",
        "edge_agent/details.py",
        'db.execute("PRAGMA synchronous = FULL")',
        'db.execute("PRAGMA synchronous = NORMAL")',
        ("tests/power/test_cuts.py",),
    ),
    Mutation(
        "details stay on the window PC until the collector has them",
        "edge_agent/details.py",
        "            if whole:\n                self._next_ms",
        "            self._let_go(found, 0, moment)\n            if whole:\n                self._next_ms",
        ("tests/edge_agent/test_details.py",),
    ),
    Mutation(
        "what was handed in later is not overwritten by what was sealed before",
        "collector/ledger/cases.py",
        "max(coalesce(given_ms, received_ms), coalesce(forgotten_ms, 0)) AS at_ms",
        "coalesce(forgotten_ms, 0) AS at_ms",
        ("tests/collector/test_sealed.py",),
    ),
    Mutation(
        "details that were deleted do not come back",
        "collector/ledger/cases.py",
        "max(coalesce(given_ms, received_ms), coalesce(forgotten_ms, 0)) AS at_ms",
        "coalesce(given_ms, received_ms) AS at_ms",
        ("tests/collector/test_sealed.py",),
    ),
    Mutation(
        "damage costs no details that were not sent",
        "edge_agent/details.py",
        'DELETE FROM details WHERE n = ? AND sealed IS ?", [(row[0], row[5]) for row in found]',
        'DELETE FROM details WHERE n = ?", [(row[0],) for row in found]',
        ("tests/edge_agent/test_details.py",),
    ),
    Mutation(
        "who was asked meanwhile keeps his rating",
        "edge_agent/outbox/invitations.py",
        "if last is not None and last.since_opened_ms(moment) < 0:",
        "if False:",
        ("tests/edge_agent/test_outbox.py",),
    ),
    Mutation(
        "a link to a case is what a person made",
        "collector/ledger/links.py",
        'return bool(row["case_no"] is None and row["link_sum"] == said)',
        "return True",
        ("tests/collector/test_ledger_rot.py",),
    ),
    Mutation(
        "one service has one rating, also by hand",
        "collector/ledger/desk.py",
        "            if other is not None:\n",
        "            if False:\n",
        ("tests/collector/test_desk.py",),
    ),
    Mutation(
        "a press for a linked case is another one for the same service",
        "collector/ledger/meaning.py",
        '        " UNION ALL SELECT 1 FROM case_link WHERE case_no = ?2 AND service_number = ?3",\n',
        '        "",\n',
        ("tests/collector/test_desk.py",),
    ),
    Mutation(
        "an invitation that is being answered goes on for ten minutes at most",
        "edge_agent/outbox/invitations.py",
        "until_s = min(INVITE_S_MAX, -(-kept.since_opened_ms(moment) // 1000) + seconds)",
        "until_s = -(-kept.since_opened_ms(moment) // 1000) + seconds",
        ("tests/edge_agent/test_outbox.py",),
    ),
    Mutation(
        "whoever touches a page after the end opens nothing again",
        "edge_agent/outbox/invitations.py",
        "            return  # its time is over, whoever says so first\n",
        "            pass\n",
        ("tests/edge_agent/test_outbox.py",),
    ),
    Mutation(
        "an invitation that was ended is not drawn out",
        "edge_agent/outbox/__init__.py",
        'if kept is not None and kept.state == "open":\n                self._invitations.extend',
        "if kept is not None:\n                self._invitations.extend",
        ("tests/edge_agent/test_outbox.py",),
    ),
    Mutation(
        "a screen's press counts for half a second after its invitation was taken back, and no longer",
        "edge_agent/outbox/invitations.py",
        "SHOWN_LATE_MS = 500 ",
        "SHOWN_LATE_MS = 3000 ",
        ("tests/edge_agent/test_outbox.py",),
    ),
    Mutation(
        "a screen's press that was on its way when its invitation was taken back counts",
        "edge_agent/outbox/invitations.py",
        "SHOWN_LATE_MS = 500 ",
        "SHOWN_LATE_MS = 0 ",
        ("tests/edge_agent/test_outbox.py", "tests/journeys/test_evaluators.py"),
    ),
    Mutation(
        "a page thanks for nothing that its window has not said to be on the disk",
        "edge_agent/page.py",
        "                self._answered(Answer.NOT_YET)\n",
        "                self._answered(Answer.KEPT)\n",
        ("tests/edge_agent/test_page.py",),
    ),
    Mutation(
        "a page that nobody answered in time thanks nobody",
        "edge_agent/page.py",
        "self._body, self._outstanding, self._taken, self._answer = body, True, False, Answer.NOT_YET",
        "self._body, self._outstanding, self._taken, self._answer = body, True, False, Answer.KEPT",
        ("tests/edge_agent/test_page.py",),
    ),
    Mutation(
        "a window answers only for what it has kept",
        "edge_agent/window.py",
        "            kept = not fresh or self._keep(fresh, known, moment)\n",
        "            kept = True\n",
        ("tests/edge_agent/test_window.py",),
    ),
    Mutation(
        "no step and no draw changes or goes",
        "collector/ledger/guards.py",
        "tuple(statement for guard in _OF_ACTS for statement in guard.statements())",
        "()",
        ("tests/collector/test_mending.py", "tests/collector/test_draws.py"),
    ),
    Mutation(
        "a step that was altered behind our back is found",
        "collector/ledger/audit/acts.py",
        "if said[0] != number or _hash(head, said) != stated:",
        "if False:",
        ("tests/collector/test_mending.py",),
    ),
    Mutation(
        "nobody approves their own work",
        "collector/mending/mendings.py",
        'if what == "close" and not states.may_close(self._workers(db, rating), who):',
        "if False:",
        ("tests/collector/test_mending.py",),
    ),
    Mutation(
        "an approval of one's own work that was put there is found",
        "collector/ledger/audit/acts.py",
        'alone = what == "close" and not states.may_close(workers.get(rating, ()), who)',
        "alone = False",
        ("tests/collector/test_mending.py",),
    ),
    Mutation(
        "the day of the press is not counted of the fifteen, and the last one is whole",
        "collector/mending/mendings.py",
        "return begins_ms(day_of(pressed_ms) + days + 1)",
        "return begins_ms(day_of(pressed_ms) + days)",
        ("tests/collector/test_mending.py",),
    ),
    Mutation(
        "a bad rating is mended within fifteen days",
        "collector/mending/mendings.py",
        "DAYS = 15",
        "DAYS = 30",
        ("tests/collector/test_mending.py",),
    ),
    Mutation(
        "a draw made again gives the same ratings, or it was altered",
        "collector/ledger/lots.py",
        "if ratings != str(drawn(seeded, numbers, wanted)):",
        "if False:",
        ("tests/collector/test_draws.py",),
    ),
    Mutation(
        "nobody chooses the seed of a draw",
        "collector/ledger/lots.py",
        "if came is None or seeded != seed(number, framed, came):",
        "if came is None:",
        ("tests/collector/test_draws.py",),
    ),
    Mutation(
        "a seed comes from what nobody knew when the draw was announced",
        "collector/ledger/lots.py",
        '"SELECT CAST(hash AS BLOB) FROM stretch WHERE n = ?", (after + 1,)',
        '"SELECT CAST(hash AS BLOB) FROM stretch WHERE n = ?", (after,)',
        ("tests/collector/test_draws.py",),
    ),
    Mutation(
        "who looks at the board waits for no count of the whole ledger",
        "collector/windows/live.py",
        "return _QUICK_MS / 1000 if self._took_ms < _QUICK_MS else 0",
        "return None",
        ("tests/collector/windows/test_live.py",),
    ),
)


def main() -> int:
    """Try each; 1 if one of them stays green."""
    green = []
    # A word picks the rules that have it: `python -m tests.journeys.mutations polled`.
    chosen = [each for each in MUTATIONS if all(word in f"{each.file} {each.rule}" for word in sys.argv[1:])]
    for mutation in chosen:
        started = time.monotonic()
        red = _red(mutation)
        print(f"{'red  ' if red else 'GREEN'} {time.monotonic() - started:5.1f} s  {mutation.rule}", flush=True)
        green += [] if red else [mutation.rule]
    print(f"{len(chosen) - len(green)} of {len(chosen)} seen red")
    return 1 if green else 0


def _red(mutation: Mutation) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        ignored = shutil.ignore_patterns(".git", ".venv", ".vm", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")
        shutil.copytree(ROOT, copy, ignore=ignored)
        file = copy / mutation.file
        text = file.read_text(encoding="utf-8")
        if text.count(mutation.old) != 1:
            raise SystemExit(f"{mutation.file}: {text.count(mutation.old)} times: {mutation.old!r}")
        file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutation.journeys]
        env = {**os.environ, "PYTHONPATH": str(copy)}
        run = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True)
    # 1: a test failed, or there was no pytest at all. Anything else is trouble with the copy, which proves nothing.
    if run.returncode not in (0, 1) or (run.returncode == 1 and " failed" not in run.stdout):
        raise SystemExit(run.stdout + run.stderr)
    return run.returncode == 1


if __name__ == "__main__":
    sys.exit(main())
