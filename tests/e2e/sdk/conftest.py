"""Gateways made by tests/e2e/tests/sdk.rs, reached through the SDK as its users would."""

import itertools
import os

import pytest
from comfy_sdk import Comfy

_colors = itertools.count(1)


def _client(monkeypatch, url, key=None):
    monkeypatch.setenv("COMFY_BASE_URL", os.environ[url])
    return Comfy(api_key=key)


@pytest.fixture
def client(monkeypatch):
    """A client of a gateway with three idle GPUs; no key was ever created there."""
    with _client(monkeypatch, "OPEN_URL") as client:
        yield client


@pytest.fixture
def full(monkeypatch):
    """A client of a gateway whose queue is full and stays so."""
    with _client(monkeypatch, "FULL_URL") as client:
        yield client


@pytest.fixture
def keyed(monkeypatch):
    """Makes clients of a gateway with keys: "submit", "read", or a key of nobody."""
    clients = []

    def make(scope):
        key = os.environ.get(f"{scope.upper()}_KEY", scope)
        clients.append(_client(monkeypatch, "KEYED_URL", key))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def color():
    """A colour no other test uses, so that no instance answers from its cache."""
    return next(_colors)


@pytest.fixture
def plain(client, color):
    """A workflow that makes a picture of one colour; its saver is node 9."""
    return client.workflows.from_json(plain_graph(color))


def plain_graph(color):
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": color},
        },
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "plain"}},
    }


def slow_graph(color, seconds):
    graph = plain_graph(color)
    graph["2"] = {"class_type": "TestSleep", "inputs": {"value": ["1", 0], "seconds": seconds}}
    graph["9"]["inputs"]["images"] = ["2", 0]
    return graph
