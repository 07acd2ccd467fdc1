"""A wish to stop is heard wherever it comes up, once, and without a traceback."""

import signal
import sys
import time
import weakref

import pytest

from ditbench.run.interrupts import Interrupts, Wish, arrived

LONG_S = 10.0


class Thing:
    """What a weak reference can be of."""


class Finalised:
    """Interrupted while it is put away."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def in_del():
    Finalised()


def in_a_weak_reference_s_callback():
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing
    assert reference() is None


def going_on_after(interrupted):
    interrupted()
    time.sleep(LONG_S)


@pytest.mark.parametrize("interrupted", [in_del, in_a_weak_reference_s_callback])
def test_a_wish_that_nobody_could_raise_further_comes_again(interrupted, capsys):
    before = sys.unraisablehook
    began = time.monotonic()
    with Interrupts():
        with pytest.raises(Wish):
            going_on_after(interrupted)
        assert arrived()
    assert time.monotonic() - began < LONG_S / 2
    assert sys.unraisablehook is before
    assert capsys.readouterr().err == ""


def test_a_wish_sent_again_is_one_wish():
    with Interrupts():
        with pytest.raises(Wish):
            going_on_after(in_del)
        signal.raise_signal(signal.SIGINT)  # impatience: the same wish


def test_nothing_is_sent_to_who_has_left():
    with Interrupts():
        in_del()
    time.sleep(0.05)  # SIGINT would be a plain KeyboardInterrupt here


def test_what_else_is_swallowed_is_still_told(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    class Broken:
        def __del__(self):
            raise ValueError("broken")

    with Interrupts():
        Broken()
    assert [kind.exc_type for kind in told] == [ValueError]
