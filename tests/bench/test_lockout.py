"""Keys of the cell: several may be held, each is given back by its holder alone, and none is lost."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from verification_platform.bench import state as module
from verification_platform.bench.lockout import Lockout, LockoutError
from verification_platform.bench.state import FOLDER


@pytest.fixture
def lockout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lockout:
    monkeypatch.setenv(FOLDER, str(tmp_path / "state"))
    return Lockout.of("PB-E1")


def test_only_its_holder_gives_a_key_back(lockout: Lockout) -> None:
    pin = lockout.take("Li Wei", "changing the coupling")
    assert len(pin) == 6
    with pytest.raises(LockoutError, match="wrong PIN for the key of Li Wei"):
        lockout.give_back("Li Wei", f"{(int(pin) + 1) % 10**6:06d}")
    with pytest.raises(LockoutError, match="Zhang San holds no key of this bench; held by: Li Wei"):
        lockout.give_back("Zhang San", pin)
    assert [key.who for key in lockout.held()] == ["Li Wei"]
    lockout.give_back("Li Wei", pin)
    assert (lockout.held(), lockout.refusal()) == ((), "")


def test_the_bench_is_free_when_the_last_of_several_keys_is_back(lockout: Lockout) -> None:
    pins = {who: lockout.take(who) for who in ("Li Wei", "Zhang San", "Wang Wu")}
    assert all(who in lockout.refusal() for who in pins)
    for who, pin in pins.items():
        assert lockout.refusal() != ""
        lockout.give_back(who, pin)
    assert lockout.refusal() == ""


def test_one_person_takes_one_key(lockout: Lockout) -> None:
    lockout.take("Li Wei")
    with pytest.raises(LockoutError, match="holds a key already"):
        lockout.take(" Li  Wei ")
    with pytest.raises(LockoutError, match="needs the name"):
        lockout.take("  ")


def test_another_process_sees_a_key_at_once_and_after_a_restart(lockout: Lockout) -> None:
    other = Lockout(lockout.path)
    assert other.held() == ()
    pin = lockout.take("Li Wei", "inside")
    assert [(key.who, key.why) for key in other.held()] == [("Li Wei", "inside")]
    assert Lockout.of("PB-E1").refusal() == other.refusal()
    assert Lockout.of("PB-E2").held() == ()
    lockout.give_back("Li Wei", pin)
    assert other.held() == ()


def test_the_pin_itself_is_nowhere_in_the_file(lockout: Lockout) -> None:
    pin = lockout.take("Li Wei")
    entry = json.loads(lockout.path.read_text(encoding="utf-8"))["keys"][0]
    assert pin not in (entry["who"], entry["digest"], entry["salt"])
    assert entry["digest"] != entry["salt"]


@pytest.mark.parametrize("text", ["", "{", '{"keys": [{"name": "x"}]}', "[]"])
def test_a_file_that_cannot_be_read_counts_as_a_key(lockout: Lockout, text: str) -> None:
    lockout.take("Li Wei")
    lockout.path.write_text(text, encoding="utf-8")
    assert "make sure that nobody is in the cell" in lockout.refusal()
    with pytest.raises(LockoutError, match="the key was not changed"):
        lockout.take("Zhang San")


def test_keys_taken_at_the_same_time_are_all_there(lockout: Lockout) -> None:
    people = [f"person {n}" for n in range(8)]
    threads = [threading.Thread(target=Lockout(lockout.path).take, args=(who,)) for who in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.who for key in lockout.held()) == people


def test_a_bench_computer_with_several_users_has_one_place_for_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "mine"))
    monkeypatch.setattr(module, "SHARED_FOLDER", tmp_path / "shared")
    assert Lockout.of("B").path.is_relative_to(tmp_path / "mine" / "pilotbench")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o770)
    shared = Lockout.of("B")
    shared.take("Li Wei")
    assert shared.path.is_relative_to(tmp_path / "shared")
    assert shared.path.stat().st_mode & 0o020  # the group takes and gives back
    assert shared.path.parent.stat().st_mode & 0o020
