"""What a disk may hold after the power went: everything that was synced, and any part of what was not.

Between two syncs of a file the system may write in any order, a sector at a time, or not at all; a file may have grown
before its bytes came; a name may be there or not until its folder was synced. A sector is written whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from .watched import Asked, Cut, Deleted, Opened, Synced, Written

SECTOR = 512


@dataclass
class _File:
    lasting: bytearray = field(default_factory=bytearray)
    """What is on the disk for certain."""
    named: bool = False
    """Whether its name is there for certain."""
    pending: list[Written | Cut] = field(default_factory=list)
    with_folder: bool = False
    going: bool = False
    """Deleted, and nobody knows whether lastingly."""


class Platter:
    """The disk of one folder, fed with what was asked of it."""

    def __init__(self, files: dict[str, bytes] | None = None):
        self._files = {name: _File(bytearray(data), named=True) for name, data in (files or {}).items()}

    @property
    def unsynced(self) -> bool:
        """Whether there is anything that the next cut may take away."""
        return any(file.pending or file.going or not file.named for file in self._files.values())

    def take(self, asked: Asked) -> None:
        """This was asked of the disk."""
        match asked:
            case Opened(name, with_folder):
                file = self._files.setdefault(name, _File())
                if file.going:
                    # Made again before it was gone for certain: what it held may still be there.
                    file.going, file.named = False, True
                file.with_folder = with_folder
            case Written(name) | Cut(name):
                self._files[name].pending.append(asked)
            case Synced(name):
                self._sync(name)
            case Deleted(name, synced):
                self._delete(name, synced)

    def _sync(self, name: str) -> None:
        file = self._files[name]
        for each in file.pending:
            _apply(file.lasting, each)
        file.pending.clear()
        if file.with_folder:
            # The folder is one: all names in it.
            file.with_folder = False
            for other_name, other in list(self._files.items()):
                other.named = True
                if other.going:
                    del self._files[other_name]
        # A name whose folder was never synced is lost with its bytes on some file systems. On those that a hall uses
        # (ext4, xfs, NTFS) a synced file keeps its name.
        file.named = True

    def _delete(self, name: str, synced: bool) -> None:
        file = self._files.get(name)
        if file is None:
            return
        if synced or not file.named:
            del self._files[name]
        else:
            file.going = True

    def after_cut(self, rng: Random) -> dict[str, bytes]:
        """One state in which the power may have left it: files by name."""
        how = rng.choice((_nothing, _everything, _in_order, _some, _torn, _torn))
        left = {}
        for name, file in self._files.items():
            if (file.going or not file.named) and rng.random() < 0.5:
                continue
            data = bytearray(file.lasting)
            for each in how(file.pending, rng):
                _apply(data, each)
            left[name] = bytes(data)
        return left


def _apply(data: bytearray, asked: Written | Cut) -> None:
    if isinstance(asked, Cut):
        del data[asked.size :]
        data.extend(bytes(asked.size - len(data)))
        return
    if len(data) < asked.at:
        data.extend(bytes(asked.at - len(data)))  # grown before its bytes came
    data[asked.at : asked.at + len(asked.data)] = asked.data


def _nothing(_pending: list[Written | Cut], _rng: Random) -> list[Written | Cut]:
    return []


def _everything(pending: list[Written | Cut], _rng: Random) -> list[Written | Cut]:
    return pending


def _in_order(pending: list[Written | Cut], rng: Random) -> list[Written | Cut]:
    """The first so many, the last of them torn."""
    upto = rng.randint(0, len(pending))
    return pending[:upto] + _torn(pending[upto : upto + 1], rng)


def _some(pending: list[Written | Cut], rng: Random) -> list[Written | Cut]:
    """Any of them whole."""
    share = rng.random()
    return [each for each in pending if rng.random() < share]


def _torn(pending: list[Written | Cut], rng: Random) -> list[Written | Cut]:
    """Any sectors of any of them."""
    share = rng.random()
    left: list[Written | Cut] = []
    for each in pending:
        if isinstance(each, Cut):
            if rng.random() < share:
                left.append(each)
            continue
        left += [sector for sector in _sectors(each) if rng.random() < share]
    return left


def _sectors(written: Written) -> list[Written]:
    """As the disk writes it: at most a sector each."""
    found, at = [], written.at
    end = written.at + len(written.data)
    while at < end:
        upto = min(end, (at // SECTOR + 1) * SECTOR)
        found.append(Written(written.name, at, written.data[at - written.at : upto - written.at]))
        at = upto
    return found
