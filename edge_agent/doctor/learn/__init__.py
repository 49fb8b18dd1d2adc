"""An unknown device learnt at the desk: from a labelled recording to a profile that loads, or the words why not.

A profile is proposed only if it reads its own recording as the person pressed it. Whatever is not certain is `Unsure`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from protocols import profiles
from protocols.errors import BadSettings
from protocols.profiles.events import Noise, Pressed
from protocols.profiles.profile import Profile
from protocols.profiles.vocabulary import KeyMeaning, LineSettings, Shape, Title
from protocols.words import Words

from ..recording import Label, Recording, replayed
from .bare import bare
from .framed import framed
from .guess import Guess
from .samples import Samples, Unsure, enough, idle_label, key_label, key_of, samples_of
from .toml import profile_text

__all__ = ["Naming", "Proposal", "Unsure", "idle_label", "infer", "key_label", "with_meanings"]

_TITLE = Title("现场学习的评价器", "Learnt at the desk")
_GUESSES_MAX = 400  # each is tried on the whole recording


@dataclass(frozen=True)
class Naming:
    """What a profile says of itself that no byte shows."""

    id: str = "learnt"
    title: Title = _TITLE
    author: str = ""
    date: str = ""


_NAMELESS = Naming()


@dataclass(frozen=True)
class Proposal:
    """A profile that reads the recording it was learnt from."""

    profile: Profile
    text: str
    """The same as TOML, as it was loaded."""
    notes: tuple[Words, ...]

    @property
    def keys(self) -> list[int]:
        """The keys that were pressed."""
        found = {each.key for vector in self.profile.shape.vectors for each in vector.expect if each.event == "key"}
        return sorted(key for key in found if key is not None)


def infer(recording: Recording, line: LineSettings, naming: Naming = _NAMELESS) -> Proposal | Unsure:
    """The profile of the device that was recorded, with labels as `idle_label` and `key_label` write them."""
    samples = samples_of(recording)
    missing = enough(samples)
    if missing is not None:
        return missing
    told: Unsure | None = None
    for number, guess in enumerate(_guesses(samples)):
        if isinstance(guess, Unsure):
            told = told or guess
        elif (proposal := _tried(guess, samples, recording, line, naming)) is not None:
            return proposal
        if number >= _GUESSES_MAX:
            break
    return told or Unsure(
        Words("看不懂这些字节", "these bytes are not understood"),
        Words("没有一种读法与录制的每次按键相符", "no reading agrees with every press of the recording"),
    )


def with_meanings(proposal: Proposal, meanings: dict[int, KeyMeaning]) -> Proposal:
    """The same, with what somebody at the device confirmed that its keys mean."""
    keys = {str(key): meaning for key, meaning in sorted(meanings.items())}
    return _loaded(_replaced(proposal.profile.shape, keys), proposal.notes)


def _replaced(shape: Shape, keys: dict[str, KeyMeaning]) -> Shape:
    return Shape(**{name: getattr(shape, name) for name in shape.__struct_fields__} | {"keys": keys})


def _guesses(samples: Samples) -> Iterator[Guess | Unsure]:
    return chain(bare(samples), framed(samples))


def _tried(guess: Guess, samples: Samples, recording: Recording, line: LineSettings, naming: Naming) -> Proposal | None:
    """The guess as a profile, if it loads and reads the recording as it was pressed."""
    try:
        proposal = _loaded(_shape(guess, samples, line, naming), guess.notes)
    except BadSettings:
        return None
    return proposal if _agrees(proposal.profile, guess, recording) else None


def _loaded(shape: Shape, notes: tuple[Words, ...]) -> Proposal:
    text = profile_text(shape)
    return Proposal(profiles.read(text.encode(), f"{shape.id}.toml"), text, notes)


def _shape(guess: Guess, samples: Samples, line: LineSettings, naming: Naming) -> Shape:
    notes = None
    if guess.notes:
        notes = Title(
            "; ".join(each.zh for each in guess.notes)[:200], "; ".join(each.en for each in guess.notes)[:400]
        )
    return Shape(
        id=naming.id,
        version=1,
        title=naming.title,
        evidence="learnt",
        source=f"Recorded at the desk: {len(samples.pushes)} presses of {len(samples.keys)} keys",
        transport="serial",
        form=guess.form,
        vectors=guess.vectors,
        notes=notes,
        author=naming.author,
        date=naming.date,
        line=line,
        frame=guess.frame,
        bare=guess.bare,
        rules=guess.rules,
        press=guess.press,
    )


def _agrees(profile: Profile, guess: Guess, recording: Recording) -> bool:
    """Whether each push gives its key and nothing else, and whether only what was not explained is noise."""
    wanted: int | None = None
    heard: list[Pressed] = []
    for understood in replayed(recording, profile):
        what = understood.what
        if isinstance(what, Label):
            if not _as_pressed(wanted, heard, guess):
                return False
            wanted, heard = key_of(what.text), []
        elif isinstance(what, Pressed):
            heard.append(what)
        elif isinstance(what, Noise) and not any(what.raw in outside or outside in what.raw for outside in guess.noise):
            return False
    return _as_pressed(wanted, heard, guess)


def _as_pressed(wanted: int | None, heard: list[Pressed], guess: Guess) -> bool:
    if wanted is None:
        return not heard
    if not heard or {press.key for press in heard} != {wanted}:
        return False
    return len(heard) == 1 or guess.press.repeats or len({press.raw for press in heard}) == 1
