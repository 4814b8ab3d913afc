import pytest

from botvisor.receipt import Receipt

STORED = Receipt(id="m1", target="bot", state="stored", where="memory", stored_ms=1.0)


def test_a_message_that_is_seen_to_be_delivered_has_the_time_of_it():
    receipt = STORED.advanced("delivered", 5.0)
    assert (receipt.state, receipt.delivered_ms, receipt.handled_ms) == ("delivered", 5.0, None)


def test_a_message_that_is_first_seen_when_handled_was_delivered_by_then():
    receipt = STORED.advanced("handled", 9.0)
    assert (receipt.state, receipt.delivered_ms, receipt.handled_ms) == ("handled", 9.0, 9.0)


def test_the_first_time_of_a_state_stays():
    receipt = STORED.advanced("delivered", 5.0).advanced("delivered", 7.0).advanced("handled", 9.0)
    assert (receipt.stored_ms, receipt.delivered_ms, receipt.handled_ms) == (1.0, 5.0, 9.0)


def test_a_dead_letter_was_delivered_and_never_handled():
    receipt = STORED.advanced("dead", 9.0)
    assert (receipt.state, receipt.delivered_ms, receipt.handled_ms) == ("dead", 9.0, None)


@pytest.mark.parametrize(
    ("before", "news"),
    [
        ("stored", "unknown"),
        ("delivered", "stored"),
        ("handled", "unknown"),
        ("handled", "delivered"),
        ("dead", "stored"),
    ],
)
def test_a_receipt_never_goes_back(before, news):
    receipt = STORED.advanced(before, 5.0)
    assert receipt.advanced(news, 9.0) == receipt


def test_a_message_that_was_unknown_and_is_stored_was_delivered_to_nobody():
    unknown = Receipt(id="m1", target="bot", state="unknown", where="", stored_ms=0.0)
    assert unknown.advanced("stored", 5.0).delivered_ms is None
