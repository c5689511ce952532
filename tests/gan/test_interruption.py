import os
import signal
import threading

import pytest

from ganaug.gan.interruption import Interrupted, Interruption


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_stops_at_once(number):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert interruption.number is None
        send(number)
        assert interruption.number == number
        with pytest.raises(KeyboardInterrupt):
            send(number)
    assert signal.getsignal(number) == before


def test_a_handler_of_the_callers_own_is_left_to_it():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with Interruption() as interruption:
            send(signal.SIGTERM)
        assert seen == [signal.SIGTERM]
        assert interruption.number is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_nothing_is_taken_over_in_another_thread_or_where_it_is_not_wanted():
    def enter():
        with Interruption():
            seen.append(signal.getsignal(signal.SIGINT))

    seen = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    with Interruption(active=False):
        seen.append(signal.getsignal(signal.SIGINT))
    assert seen == [signal.default_int_handler] * 2


def test_what_is_said_tells_where_it_goes_on():
    assert str(Interrupted(2, 5, 9, 5)).endswith("step 5 of 9; the same call with resume=True goes on from step 5")
    assert "starts afresh" in str(Interrupted(2, 5, 9, None))
