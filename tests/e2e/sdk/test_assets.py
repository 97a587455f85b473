"""Uploads as inputs, outputs as inputs, downloads."""

import io

import blake3
import pytest
from comfy_sdk import NotFound
from conftest import plain_graph


def negative(client, image):
    workflow = client.workflows.from_json(
        {
            "1": {"class_type": "LoadImage", "inputs": {"image": ""}},
            "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
            "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "negative"}},
        }
    )
    workflow.set_input("1", "image", image)
    return workflow


def picture(client, color):
    job = client.run(client.workflows.from_json(plain_graph(color)), timeout=60)
    return job.outputs[0]


def test_a_file_is_uploaded_once_and_used(client, color, tmp_path):
    path = tmp_path / "photo.png"
    picture(client, color).to_file(path)
    path.write_bytes(path.read_bytes() + b"a byte of my own")
    first = client.assets.from_file(path)
    first_job = client.run(negative(client, first), timeout=60)
    assert first.created_new
    assert first.hash == "blake3:" + blake3.blake3(path.read_bytes()).hexdigest()
    again = client.assets.from_file(path)
    client.run(negative(client, again), timeout=60)
    assert again.hash == first.hash
    assert first_job.outputs[0].size_bytes > 0


def test_bytes_and_streams_are_assets_too(client, color):
    data = picture(client, color).to_bytes() + bytes([color % 256])
    from_bytes = client.assets.from_bytes(data, filename="b.png")
    from_stream = client.assets.from_stream(io.BytesIO(data), filename="s.png")
    for asset in (from_bytes, from_stream):
        assert client.run(negative(client, asset), timeout=60).status == "succeeded"
    assert from_bytes.hash == from_stream.hash


def test_an_output_is_the_next_input(client, color):
    output = picture(client, color)
    chained = client.assets.get(output.id)
    assert chained.job_id == output.job_id
    job = client.run(negative(client, chained), timeout=60)
    assert job.outputs[0].to_bytes() != output.to_bytes()


def test_a_part_of_an_output(client, color):
    output = picture(client, color)
    assert output.to_bytes(range=(1, 3)) == b"PNG"
    assert output.to_bytes(range=(1, 3)) == output.to_bytes()[1:4]


def test_a_deleted_asset_is_gone(client, color):
    asset = client.assets.from_bytes(b"asset %d" % color, filename="a.txt")
    asset.commit()
    assert client.assets.get(asset.id).hash == asset.hash
    client.assets.delete(asset.id)
    with pytest.raises(NotFound):
        client.assets.get(asset.id)
