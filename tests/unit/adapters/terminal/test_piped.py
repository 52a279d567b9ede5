"""What a pipe gets of a piece of work."""

from __future__ import annotations

import re
import threading

import pytest

from tasks.adapters.terminal import piped
from tasks.adapters.terminal.piped import KEPT_LINES, PipedWork


class Pipe:
    """The lines that came out, each with a signal for who waits for it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.came = threading.Semaphore(0)

    def tell(self, text: str) -> None:
        self.lines.append(text)
        self.came.release()

    def wait(self) -> None:
        assert self.came.acquire(timeout=60), "it never came"


def beats() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "heartbeat"]


def test_what_is_said_stands_below_the_title_and_the_rest_is_withheld() -> None:
    pipe = Pipe()
    work = PipedWork("migrate x", pipe.tell)
    with work.running():
        work.keep("a line")
        work.say("first")
        work.say("   ")
        work.say("second")
        work.keep("another")
    assert pipe.lines == ["migrate x …", "  first", "  second"]
    assert beats() == []


@pytest.mark.parametrize("end", [ValueError("broken"), KeyboardInterrupt()])
def test_what_was_withheld_comes_when_the_work_fails(end: BaseException) -> None:
    pipe = Pipe()
    work = PipedWork("migrate x", pipe.tell)
    with pytest.raises(type(end)), work.running():
        work.keep("a line")
        work.keep("   ")
        work.keep("the cause")
        raise end
    assert pipe.lines == ["migrate x …", "  a line", "  the cause"]
    assert beats() == []


def test_who_still_reads_lines_does_not_hide_why_the_work_has_failed() -> None:
    late: list[str] = []
    work: PipedWork

    def tell(text: str) -> None:
        late.append(text)
        # As another thread does, which may not wait for this one's end.
        reader = threading.Thread(target=work.keep, args=["later"])
        reader.start()
        reader.join(0.01)

    work = PipedWork("migrate x", tell)
    with pytest.raises(ValueError, match="broken"), work.running():
        for line in ("one", "two", "three"):
            work.keep(line)
        raise ValueError("broken")
    assert late == ["migrate x …", "  one", "  two", "  three"]


def test_a_reader_that_has_gone_does_not_hide_it_either() -> None:
    def tell(_: str) -> None:
        raise BrokenPipeError

    with pytest.raises(KeyboardInterrupt), PipedWork("build", tell).running():
        raise KeyboardInterrupt


def test_the_last_lines_are_kept_when_there_are_many() -> None:
    pipe = Pipe()
    work = PipedWork("build", pipe.tell)
    with pytest.raises(ValueError, match="broken"), work.running():
        for number in range(2 * KEPT_LINES):
            work.keep(str(number))
        raise ValueError("broken")
    assert len(pipe.lines) == 1 + KEPT_LINES
    assert pipe.lines[-1] == f"  {2 * KEPT_LINES - 1}"


def test_work_that_lasts_gives_signs_of_life_with_its_last_line() -> None:
    pipe = Pipe()
    work = PipedWork("build", pipe.tell, beat_seconds=0.01)
    with work.running():
        pipe.wait()
        pipe.wait()
        work.keep("step 7 " + "x" * 500)
        pipe.wait()
        while not pipe.lines[-1].endswith("x"):
            pipe.wait()
    title, first, *_, last = pipe.lines
    assert title == "build …"
    assert re.fullmatch(r"  \d+ s", first)
    assert re.fullmatch(r"  \d+ s: step 7 x+", last)
    assert len(last) < 120


def test_a_line_that_was_said_is_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended:
        """Says that it is time, as often as it is told to."""

        waits = iter((False, False, True))

        def wait(self, _: float) -> bool:
            return next(self.waits)

        def set(self) -> None:
            pass

    monkeypatch.setattr(piped.threading, "Event", Ended)
    monkeypatch.setattr(piped.threading.Thread, "start", lambda self: None)
    monkeypatch.setattr(piped.threading.Thread, "join", lambda self: self.run())
    pipe = Pipe()
    work = PipedWork("wait", pipe.tell)
    with work.running():
        work.say("waiting for somebody")
    *lines, beat = pipe.lines
    assert lines == ["wait …", "  waiting for somebody"]
    assert re.fullmatch(r"  \d+ s", beat)


def test_a_reader_that_has_gone_is_left_to_who_writes_next() -> None:
    came = threading.Event()

    def tell(_: str) -> None:
        came.set()
        raise BrokenPipeError

    with PipedWork("build", tell, beat_seconds=0.01).running():
        assert came.wait(timeout=60)
