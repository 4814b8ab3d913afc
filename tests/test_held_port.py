"""Held ports: nobody else's, with and without a server on them."""

import socket
import sys

import pytest

from botvisor.testing.held_port import HeldPort

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a port be held like this")


@pytest.fixture
def port():
    held = HeldPort()
    yield held
    held.close()


def taken(number):
    """Whether a program that did not say that it shares may not have it: or asks for any."""
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", number))
        except OSError:
            return True
        return False


def refused(number):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", number)) != 0


def test_nobody_listens_on_a_held_port_and_nobody_is_given_it(port):
    assert refused(port.number)
    assert taken(port.number)
    assert taken(port.number + 10_000)  # a cluster's nodes talk there


def test_a_server_comes_and_goes_and_comes_again_on_a_held_port(port):
    for _ in range(2):
        with socket.create_server(("127.0.0.1", port.number)):
            assert not refused(port.number)
        assert refused(port.number)
        assert taken(port.number)


def test_a_port_that_is_held_no_more_is_anybodys(port):
    port.close()
    assert not taken(port.number)


def test_ports_are_held_apart(port):
    others = [HeldPort() for _ in range(100)]
    numbers = {port.number, *(each.number for each in others)}
    for each in others:
        each.close()
    assert len(numbers) == 101
