"""Passwords: hashed so that nobody can read them, compared so that how long it takes tells nothing. The only user of
argon2."""

from __future__ import annotations

import re
import secrets
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

LEAST = 10  # characters
MOST = 128  # a longer one is no password, and hashing it costs
_LOOKED_AT = 4 * MOST  # of what was typed: accents may stand by themselves, and to put very many in order takes minutes
# 19 MiB twice, as OWASP has it: a quarter of a second of a small server's time is what somebody who guesses must pay.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_AT_ONCE = threading.Semaphore(2)  # however many sign in at once, presses must not wait for their processor
_NOBODY = _HASHER.hash(secrets.token_hex(16))
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another on paper
# The most common that are long enough to pass the rule above, and those that stand on every list in a hall.
_COMMON = frozenset(
    re.findall(
        r"\S+",
        "1234567890 12345678910 123456789a 123456789q 0123456789 0987654321 1111111111 0000000000 8888888888 "
        "6666666666 9999999999 1122334455 1234512345 1q2w3e4r5t 1qaz2wsx3edc qwertyuiop qwerty1234 qwerty12345 "
        "asdfghjkl; abcd123456 abc1234567 abcdefghij a123456789 aa12345678 woaini1314 woaini5201314 5201314520 "
        "password12 password123 password1234 passw0rd123 p@ssw0rd123 administrator admin12345 admin123456 "
        "administrator1 root123456 welcome123 iloveyou123 zxcvbnm123 zxcvbnm,./ qazwsxedcr 1234567890a 123456789abc "
        "changeme123 letmein123 haochaping zhengwudating ",
    )
)


def hashed(password: str) -> str:
    """What is kept of a password."""
    with _AT_ONCE:
        return _HASHER.hash(_same(password))


def matches(kept: str | None, password: str) -> bool:
    """Whether this is the password of which `kept` was kept; None, of a person who is not there, takes as long."""
    with _AT_ONCE:
        try:
            return _HASHER.verify(_NOBODY if kept is None else kept, _same(password)) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


def mistake(name: str, password: str) -> str:
    """What is wrong with a password for this name, in words; empty if nothing is."""
    same = _same(password).casefold()
    if len(password) < LEAST:
        return f"至少 {LEAST} 个字符 / at least {LEAST} characters"
    if len(password) > MOST:
        return f"至多 {MOST} 个字符 / at most {MOST} characters"
    if same == name.casefold() or same.replace(name.casefold(), "").strip("0123456789!@#._-") == "":
        return "不能是用户名, 或用户名加数字 / must not be the name itself, or the name with digits"
    if same in _COMMON or len(set(same)) < 4:
        return "这个密码太常见 / this password is one of the most common"
    return ""


def given_out() -> str:
    """A new password that is told to somebody once, and read from paper: 60 bits, longer than anybody guesses."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(3))


def _same(password: str) -> str:
    """One way to write what looks the same: an input method may compose a letter in two ways."""
    return unicodedata.normalize("NFKC", password[:_LOOKED_AT])
