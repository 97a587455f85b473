"""Every refusal arrives as the class that the SDK documents for it."""

import uuid

import comfy_sdk.client
import pytest
from comfy_sdk import (
    ComfyError,
    Forbidden,
    IdempotencyKeyReuse,
    InvalidWorkflow,
    MissingAsset,
    NotFound,
    QueueFull,
    Unauthorized,
)
from conftest import plain_graph


def test_an_invalid_workflow_names_its_node(client, color):
    graph = plain_graph(color)
    graph["1"]["class_type"] = "NobodyHasThis"
    with pytest.raises(InvalidWorkflow) as refused:
        client.submit(client.workflows.from_json(graph))
    assert "1" in refused.value.details["node_errors"]
    assert refused.value.http_status == 422


def test_an_asset_that_does_not_exist(client, color):
    graph = plain_graph(color)
    graph["1"] = {
        "class_type": "LoadImage",
        "inputs": {"image": {"__type": "core/ASSET", "info": {"id": str(uuid.uuid4())}}},
    }
    with pytest.raises(MissingAsset):
        client.submit(client.workflows.from_json(graph))


def test_an_idempotency_key_is_for_one_job(client, plain):
    key = str(uuid.uuid4())
    client.submit(plain, idempotency_key=key)
    with pytest.raises(IdempotencyKeyReuse):
        client.submit(plain, idempotency_key=key)


def test_a_job_that_does_not_exist(client):
    with pytest.raises(NotFound):
        client.jobs.get(str(uuid.uuid4()))


def test_an_asset_id_that_does_not_exist(client):
    with pytest.raises(NotFound):
        client.assets.get(str(uuid.uuid4()))


def test_labels_beyond_the_bounds(client, plain):
    with pytest.raises(ComfyError) as refused:
        client.submit(plain, metadata={str(n): "x" for n in range(17)})
    assert refused.value.code == "metadata_invalid"


def test_a_full_queue(full, color, monkeypatch):
    monkeypatch.setattr(comfy_sdk.client, "_QUEUE_RETRY_BUDGET", 2.0)
    with pytest.raises(QueueFull) as refused:
        full.submit(full.workflows.from_json(plain_graph(color)))
    assert refused.value.retry_after >= 1


def test_no_key_and_a_wrong_key(keyed, color):
    for key in (None, "dk_nobody"):
        client = keyed(key) if key else keyed("")
        with pytest.raises(Unauthorized):
            client.submit(client.workflows.from_json(plain_graph(color)))


def test_a_key_that_may_only_read(keyed, color):
    client = keyed("read")
    assert list(client.list_jobs()) is not None
    with pytest.raises(Forbidden):
        client.submit(client.workflows.from_json(plain_graph(color)))


def test_a_key_that_may_submit(keyed, color):
    client = keyed("submit")
    job = client.run(client.workflows.from_json(plain_graph(color)), timeout=60)
    assert job.outputs[0].to_bytes()
