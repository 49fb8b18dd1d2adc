"""All that the setup page works with, in one place, and the steps that change something."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import msgspec

from protocols import profiles, settings
from protocols.errors import BadSettings, Mistake
from protocols.profiles.profile import Profile
from protocols.profiles.vocabulary import KeyMeaning
from protocols.words import Words

from .. import config
from ..config import Settings
from ..doctor.learn import Proposal, with_meanings
from ..hall_it import HallIt, write_private
from ..links import Links
from ..page import OWN
from ..window import Window
from . import apply, toml
from .again import REFUSED_FILE
from .bench import Bench
from .draft import Draft, Drafts
from .found import Sockets
from .guard import Sessions, Tries
from .jobs import ChainCheck, Examination
from .place import Place
from .typed import Typed

PASSWORD_FILE = "broker.password"  # noqa: S105 - a file's name
_ANSWERED_S = 0.8  # the page that says so has to reach the browser before the program ends
_PROFILE_BYTES_MAX = 200_000
# Worked out here, before there are threads: msgspec cannot do it in two at once.
_refused: msgspec.json.Decoder[list[Words]] = msgspec.json.Decoder(list[Words])


class Desk:
    """One for each setup page. Any thread may call it."""

    def __init__(self, place: Place):
        self.place = place
        self.hall_it = HallIt(place.folder)
        self.sessions, self.tries = Sessions(), Tries()
        self.trying = threading.Lock()
        """One password is looked at at a time: each costs memory."""
        self.drafts = Drafts(place.folder)
        self.typed = Typed()
        self.sockets = Sockets()
        self.bench = Bench(place.now)
        self.examination = Examination(place.now)
        running = place.running
        self.chain = ChainCheck(running.outbox.path, running.settings.agent, place.now) if running is not None else None
        self.sessions.take_over(place.folder, place.now())
        self.started_ms = place.now().wall_ms
        self._kept: Path | None = None
        """What to go back to, should the start with what was applied fail."""

    # ---- the settings

    @property
    def settings(self) -> Settings | None:
        return self.place.running.settings if self.place.running is not None else None

    @property
    def text(self) -> str:
        """agent.toml as it lies there; empty where it cannot be read."""
        try:
            return self.place.file.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return ""

    @property
    def unshown(self) -> list[Mistake]:
        """Why agent.toml cannot be shown though it lies there; empty where it can."""
        if toml.covered(self.text) or not self.place.file.exists():
            return []
        try:
            self._check_there()
        except BadSettings as error:
            return error.mistakes
        except OSError as error:
            words = Words(f"读不了: {error.strerror}", f"cannot be read: {error.strerror}")
            return [Mistake(self.place.file.name, words)]
        return []

    def wanted(self, draft: Draft, door_port: int) -> str:
        """agent.toml as it will be with this draft."""
        there = self.place.file.exists()
        return toml.with_window(self.text, draft) if there else toml.new_text(draft, door_port)

    def _check_there(self) -> None:
        """BadSettings if what lies there is not settings any more, as after somebody's own change: nothing is built
        on that."""
        settings.read(self.place.file.read_bytes(), Settings, self.place.file.name)

    def apply_draft(self, draft: Draft, door_port: int) -> None:
        """Write what the guide was told; `restart` is to follow. BadSettings or OSError: all is as it was."""
        first = not self.place.file.exists()
        if not first:
            self._check_there()
        else:
            if draft.password:
                apply.keep_secret(self.place.folder, PASSWORD_FILE, draft.password)
                draft = msgspec.structs.replace(draft, password="", password_file=PASSWORD_FILE)
            apply.keep_secret(self.place.folder, "door.token")
        running = self.place.running
        tip = running.outbox.tip()[0] if running is not None else 0
        self.apply(self.wanted(draft, door_port))
        try:
            self.drafts.keep(msgspec.structs.replace(draft, applied=True, first=first, tip=tip, kept_ms=None))
        except OSError:
            # The guide would not know after the restart that its window is there, and offer to write it once more.
            apply.take_back(self.place.file, self._kept)
            raise

    def apply_broker(self, draft: Draft) -> None:
        """Write another broker, its password into a file of its own if one was given; `restart` is to follow.
        BadSettings or OSError: all is as it was."""
        file = self.place.folder / PASSWORD_FILE
        before = file.with_name(f"{PASSWORD_FILE}.before")
        self._check_there()
        if not draft.password:
            self.apply(toml.with_broker(self.text, draft))
            return
        there = file.exists()
        if there:
            shutil.copy2(file, before)
        try:
            apply.keep_secret(self.place.folder, PASSWORD_FILE, draft.password)
            self.apply(toml.with_broker(self.text, msgspec.structs.replace(draft, password_file=PASSWORD_FILE)))
        except (OSError, BadSettings):
            if there:
                before.replace(file)  # this asks for no room
            else:
                file.unlink(missing_ok=True)
            raise
        before.unlink(missing_ok=True)

    def apply(self, text: str) -> None:
        """Put this text into agent.toml; `restart` is to follow. BadSettings or OSError: all is as it was."""
        now = self.place.now()
        kept = apply.apply(text, self.place.file, now.wall_ms)
        self.forget_refused()
        self.bench.clear()
        self._kept = kept

    def restart(self) -> None:
        """Start again with what was applied, once the page that says so has reached the browser."""
        try:
            self.sessions.hand_over(self.place.folder, self.place.now())
        except OSError:
            pass  # no room: whoever was signed in signs in anew, which is no reason not to start
        timer = threading.Timer(_ANSWERED_S, self.place.again, [self._kept])
        timer.daemon = True
        timer.start()

    @property
    def refused(self) -> list[Words]:
        """Why the settings that were applied last did not work, if they did not."""
        try:
            return _refused.decode((self.place.folder / REFUSED_FILE).read_bytes())
        except (OSError, msgspec.DecodeError):
            return []

    def forget_refused(self) -> None:
        (self.place.folder / REFUSED_FILE).unlink(missing_ok=True)

    def rating_path(self, window: Window) -> str:
        """The path of the window's rating page; empty where its device is another."""
        settings = self.settings
        if settings is None or settings.door is None or window.profile.id != OWN:
            return ""
        token = config.secret("door.token", settings.door.token, settings.door.token_file, self.place.folder)
        return Links(token).window(window.id)

    # ---- profiles

    def profile(self, name: str) -> Profile | None:
        """The one of this name, if there is one that can be used."""
        try:
            return config.profile_of(name, self.place.folder) if name else None
        except BadSettings:
            return None

    def learnt(self) -> list[str]:
        """The profile files that lie beside the settings."""
        files = sorted(self.place.folder.glob("*.toml"))
        return [file.name for file in files if file.name != self.place.file.name and _is_profile(file)]

    def free_name(self) -> str:
        """A file name for the next learnt profile."""
        return next(
            f"learnt-{number}"
            for number in range(1, 10_000)
            if not (self.place.folder / f"learnt-{number}.toml").exists()
        )

    def keep_profile(self, proposal: Proposal, meanings: dict[int, KeyMeaning], id: str) -> str:
        """Write what was learnt into a file of its own; its name. OSError if it cannot be written."""
        name = f"{id}.toml"
        write_private(self.place.folder / name, with_meanings(proposal, meanings).text)
        return name

    def free_recording(self, id: str) -> Path:
        """A recording's file that is not there yet."""
        names = (f"{id}.recording.txt", *(f"{id}.recording-{number}.txt" for number in range(2, 10_000)))
        return next(path for name in names if not (path := self.place.folder / name).exists())


def _is_profile(file: Path) -> bool:
    try:
        raw = file.read_bytes()
        if len(raw) > _PROFILE_BYTES_MAX or b"transport" not in raw:
            return False
        profiles.read(raw, file.name)
    except (OSError, BadSettings):
        return False
    return True


def begun(draft: Draft, now_ms: int) -> Draft:
    """The same, with the time of the first screen."""
    return draft if draft.began_ms else msgspec.structs.replace(draft, began_ms=now_ms)
