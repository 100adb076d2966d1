"""Keys of the people who are in the cell: while one is held, nothing is armed (lock-out, OSHA 29 CFR 1910.147; ISO 14118).

Who goes in takes a key and gets a PIN for it; only the two together give it back. Several people hold several keys, as
padlocks on one hasp. The keys lie in a file of the bench, not in a process: they outlive the graph, the
command line and a power failure::

    lockout = Lockout.of("PB-E1")
    pin = lockout.take("Li Wei", "changing the coupling")     # tell it to Li Wei, and nobody else
    lockout.held()                                            # (Key(who="Li Wei", …),)
    lockout.give_back("Li Wei", pin)

A file that cannot be read counts as a key: who cannot tell whether somebody is in there must not start. This is
organisation, and software; the isolating switch with a real padlock on it is not replaced by it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from verification_platform.disk import open_as, write_whole

from .state import make_folder, state_of

_FILE = "lockout.json"
_PIN_DIGITS = 6


class LockoutError(Exception):
    """A key was not taken or not given back; the message is one clear line."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is held: by whom, since when (UTC, ISO 8601), what for."""

    who: str
    why: str
    since: str
    salt: str = ""
    digest: str = ""

    def line(self) -> str:
        why = f", {self.why}" if self.why else ""
        return f"{self.who} (since {self.since}{why})"


class Lockout:
    """The keys of one bench. Every method may be called from any process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: object = None
        self._keys: tuple[Key, ...] = ()

    @classmethod
    def of(cls, bench_id: str) -> Lockout:
        """The keys of the bench with that id, whichever description file names it."""
        return cls(state_of(bench_id) / _FILE)

    def held(self) -> tuple[Key, ...]:
        """Who holds a key. Cheap while nothing changes; never raises."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._seen, self._keys = None, ()
            return ()
        except OSError as error:
            return (self._unreadable(error.strerror or str(error)),)
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen != self._seen:
            try:
                self._keys = self._read()
            except (OSError, ValueError, TypeError, KeyError) as error:
                return (self._unreadable(str(error)),)
            self._seen = seen
        return self._keys

    def refusal(self) -> str:
        """Why nothing may be started, one clear line; empty when no key is held."""
        keys = self.held()
        if not keys:
            return ""
        return (
            f"the cell is locked out by {'; '.join(key.line() for key in keys)}; start when every key is back"
        )

    def take(self, who: str, why: str = "") -> str:
        """Take a key; returns its PIN. Raises LockoutError."""
        who, why = " ".join(who.split()), " ".join(why.split())
        if not who:
            raise LockoutError("a key needs the name of who holds it")
        with self._alone():
            keys = self._read_or_refuse()
            if any(key.who == who for key in keys):
                raise LockoutError(f"{who} holds a key already; one person, one key")
            pin = f"{secrets.randbelow(10**_PIN_DIGITS):0{_PIN_DIGITS}d}"
            salt = secrets.token_hex(16)
            now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._write((*keys, Key(who, why, now, salt, _digest(pin, salt))))
        return pin

    def give_back(self, who: str, pin: str) -> None:
        """Give a key back. Raises LockoutError for anybody but its holder."""
        who = " ".join(who.split())
        with self._alone():
            keys = self._read_or_refuse()
            key = next((key for key in keys if key.who == who), None)
            if key is None:
                holders = ", ".join(key.who for key in keys) or "nobody"
                raise LockoutError(f"{who} holds no key of this bench; held by: {holders}")
            if not hmac.compare_digest(_digest(pin.strip(), key.salt), key.digest):
                raise LockoutError(f"wrong PIN for the key of {who}; only who took it gives it back")
            self._write(tuple(other for other in keys if other is not key))

    # ------------------------------------------------------------------ inside

    def _unreadable(self, why: str) -> Key:
        self._seen = None
        return Key(
            "an unknown person",
            f"{self.path} cannot be read: {why}; make sure that nobody is in the cell",
            "?",
        )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            make_folder(self.path.parent)
            with self.path.with_suffix(".lock").open("a") as file:
                open_as(self.path.with_suffix(".lock"), self.path.parent)
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise LockoutError(f"{self.path}: {error.strerror}; the key was not changed") from None

    def _read_or_refuse(self) -> tuple[Key, ...]:
        try:
            return self._read()
        except FileNotFoundError:
            return ()
        except (ValueError, TypeError, KeyError) as error:
            raise LockoutError(f"{self.path} cannot be read: {error}; the key was not changed") from None

    def _read(self) -> tuple[Key, ...]:
        return tuple(Key(**entry) for entry in json.loads(self.path.read_text(encoding="utf-8"))["keys"])

    def _write(self, keys: tuple[Key, ...]) -> None:
        entries = {"keys": [asdict(key) for key in keys]}
        write_whole(self.path, json.dumps(entries, ensure_ascii=False, indent=1), shared=True)


def _digest(pin: str, salt: str) -> str:
    return hashlib.scrypt(pin.encode(), salt=bytes.fromhex(salt), n=2**12, r=8, p=1).hex()
