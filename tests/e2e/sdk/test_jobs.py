"""Submit, wait, follow, list and cancel."""

import pytest
from comfy_sdk import AsyncComfy, JobFailed, OutputReady, Progress, StatusChange
from conftest import plain_graph, slow_graph

PNG = b"\x89PNG\r\n\x1a\n"


def test_run_ends_with_the_picture(client, plain):
    job = client.run(plain, timeout=60)
    assert job.status == "succeeded"
    (output,) = job.get_outputs("9")
    data = output.to_bytes()
    assert data.startswith(PNG)
    assert output.type == "image"
    assert output.content_type == "image/png"
    assert output.size_bytes == len(data)
    assert output.job_id == job.id


def test_result_of_a_submitted_job(client, plain):
    job = client.submit(plain)
    assert job.status in ("queued", "running", "succeeded")
    assert job.result().status == "succeeded"
    assert job.refresh().outputs[0].id == job.outputs[0].id
    assert client.jobs.get(job.id).status == "succeeded"


def test_a_tightly_polled_job_never_looks_lost(client, color):
    jobs = [client.submit(client.workflows.from_json(plain_graph(color * 1000 + n))) for n in range(30)]
    for job in jobs:
        while job.refresh().status != "succeeded":
            assert job.status in ("queued", "running")


def test_events_until_the_end(client, color):
    job = client.submit(client.workflows.from_json(slow_graph(color, 1.2)))
    events = list(job.events())
    assert [e.status for e in events if isinstance(e, StatusChange)][-1] == "succeeded"
    assert any(isinstance(e, Progress) and 0 <= e.value <= 1 for e in events)
    (ready,) = [e for e in events if isinstance(e, OutputReady)]
    assert ready.output.to_bytes().startswith(PNG)
    assert isinstance(events[-1], StatusChange)


def test_events_of_a_job_that_has_ended(client, plain):
    job = client.run(plain, timeout=60)
    events = list(job.events())
    assert sum(isinstance(e, OutputReady) for e in events) == 1
    assert events[-1] == StatusChange(status="succeeded", queue_position=events[-1].queue_position)


def test_a_failed_job_names_the_node(client, color):
    graph = plain_graph(color)
    graph["2"] = {"class_type": "TestSyncError", "inputs": {"value": ["1", 0]}}
    graph["9"]["inputs"]["images"] = ["2", 0]
    with pytest.raises(JobFailed) as failed:
        client.run(client.workflows.from_json(graph), timeout=60)
    assert failed.value.error.code == "node_execution_error"
    assert failed.value.error.node_id == "2"
    assert isinstance(failed.value.error.traceback, str)


def test_cancel_a_running_job(client, color):
    job = client.submit(client.workflows.from_json(slow_graph(color, 600)))
    for event in job.events():
        if isinstance(event, StatusChange) and event.status == "running":
            break
    assert job.cancel().status in ("canceling", "canceled")
    assert job.wait(timeout=60).status == "canceled"
    with pytest.raises(JobFailed):
        job.result()


def test_cancel_after_the_end_changes_nothing(client, plain):
    job = client.run(plain, timeout=60)
    assert job.cancel().status == "succeeded"


def test_labels_come_back_and_find_their_jobs(client, color):
    label = {"run": f"labels-{color}", "customer": "acme"}
    graphs = [plain_graph(color * 100_000 + n) for n in range(5)]
    jobs = [client.submit(client.workflows.from_json(graph), metadata=label) for graph in graphs]
    assert jobs[0].metadata == label
    listed = list(client.list_jobs(metadata=label))
    assert [job.id for job in listed] == [job.id for job in reversed(jobs)]
    assert all(job.metadata == label and job.create_time is not None for job in listed)
    assert not list(client.list_jobs(metadata={"run": "nobody"}))


def test_the_workflow_comes_back(client, plain):
    job = client.submit(plain)
    kept = job.get_workflow()
    assert kept.format == "api"
    assert kept.graph == plain.json


def test_the_asynchronous_client(client, color):
    import asyncio

    async def run():
        async with AsyncComfy() as comfy:
            job = await comfy.submit(comfy.workflows.from_json(slow_graph(color, 0.5)))
            statuses = [e.status async for e in job.events() if isinstance(e, StatusChange)]
            await job.result()
            return statuses, await job.outputs[0].to_bytes()

    statuses, data = asyncio.run(run())
    assert statuses[-1] == "succeeded"
    assert data.startswith(PNG)
