"""Requests of the gateway and of the official SDK of Tencent COS, held against each other."""

import json
import os
import time
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import requests
from qcloud_cos import CosConfig, CosS3Client, CosServiceError
from qcloud_cos.cos_auth import CosS3Auth

BUCKET = "shots-1250000000"
MIB = 1 << 20


def config(**more):
    keys = {"SecretId": os.environ["COS_SECRET_ID"], "SecretKey": os.environ["COS_SECRET_KEY"]}
    return CosConfig(Region="ap-guangzhou", Scheme="http", **keys, **more)


@pytest.fixture
def client():
    """The SDK; the bucket is in the host, the stand-in at the address."""
    host, port = os.environ["STAND_IN"].split(":")
    return CosS3Client(config(IP=host, Port=int(port)), retry=0)


@pytest.mark.parametrize("case", json.loads(os.environ["REQUESTS"]), ids=lambda case: case["name"])
def test_the_sdk_signs_the_same_request_alike(case, monkeypatch):
    url = urlsplit(case["url"])
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    ours = {name: query.pop(name) for name in list(query) if name.startswith("q-")}
    start, end = map(int, ours["q-sign-time"].split(";"))
    monkeypatch.setattr(time, "time", lambda: start + 60)
    request = requests.Request(case["method"], case["url"], headers={**case["headers"], "Host": url.netloc})
    auth = CosS3Auth(config(), unquote(url.path), query, expire=end - start - 60)
    signed = auth(request).headers["Authorization"]
    assert "&".join(f"{name}={ours[name]}" for name in ours) == signed


def test_objects_of_the_sdk_are_taken_and_given_back(client):
    body = b"bytes of the sdk" * 1000
    client.put_object(
        Bucket=BUCKET, Key="sdk/a b.png", Body=body, ContentType="image/png", EnableMD5=True,
        Metadata={"x-cos-meta-fileid": "ZmlsZWlkPTE="},
    )
    head = lower(client.head_object(Bucket=BUCKET, Key="sdk/a b.png"))
    assert (head["content-length"], head["x-cos-meta-fileid"]) == (str(len(body)), "ZmlsZWlkPTE=")
    part = client.get_object(Bucket=BUCKET, Key="sdk/a b.png", Range="bytes=3-5")
    assert part["Body"].get_raw_stream().read() == body[3:6]
    assert requests.get(presigned(client, "sdk/a b.png"), headers=host()).content == body
    client.delete_object(Bucket=BUCKET, Key="sdk/a b.png")
    with pytest.raises(CosServiceError) as gone:
        client.get_object(Bucket=BUCKET, Key="sdk/a b.png")
    assert gone.value.get_error_code() == "NoSuchKey"


def lower(headers):
    """Names of headers have no case; those of the real service begin with capitals, those of the stand-in do not."""
    return {name.lower(): value for name, value in headers.items()}


def host():
    return {"Host": f"{BUCKET}.cos.ap-guangzhou.myqcloud.com"}


def presigned(client, key):
    # at the address, with the host that was signed
    url = urlsplit(client.get_presigned_url(Bucket=BUCKET, Key=key, Method="GET", Headers=host()))
    return f"http://{os.environ['STAND_IN']}{url.path}?{url.query}"


def test_uploads_of_the_sdk_in_parts_are_joined(client):
    upload = client.create_multipart_upload(Bucket=BUCKET, Key="sdk/large")["UploadId"]
    parts = []
    for number, body in [(1, b"1" * MIB), (2, b"2" * 10)]:
        sent = client.upload_part(Bucket=BUCKET, Key="sdk/large", Body=body, PartNumber=number, UploadId=upload)
        parts.append({"PartNumber": number, "ETag": lower(sent)["etag"]})
    listed = client.list_parts(Bucket=BUCKET, Key="sdk/large", UploadId=upload)["Part"]
    assert [part["PartNumber"] for part in listed] == ["1", "2"]
    assert client.list_multipart_uploads(Bucket=BUCKET, Prefix="sdk/")["Upload"][0]["UploadId"] == upload
    client.complete_multipart_upload(
        Bucket=BUCKET, Key="sdk/large", UploadId=upload, MultipartUpload={"Part": parts}
    )
    whole = client.get_object(Bucket=BUCKET, Key="sdk/large")["Body"].get_raw_stream().read()
    assert whole == b"1" * MIB + b"2" * 10


def test_what_cos_refuses_is_refused_to_the_sdk_as_well(client):
    def code(call):
        with pytest.raises(CosServiceError) as refused:
            call()
        return refused.value.get_error_code()

    def put(headers, body=b"bytes"):
        url, auth = f"http://{os.environ['STAND_IN']}/sdk/once", CosS3Auth(config(), "sdk/once")
        return requests.put(url, data=body, headers={**host(), **headers}, auth=auth).status_code

    once = {"x-cos-forbid-overwrite": "true"}
    assert (put(once), put(once), put({})) == (200, 409, 200)
    assert put({"x-amz-checksum-crc32": "AAAAAA=="}) == 400
    assert put({"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}) == 400
    assert put({"Content-Encoding": "aws-chunked"}) == 501
    assert put({}, iter([b"no", b"length"])) == 411
    assert put({"Host": "127.0.0.1"}) == 400
    upload = client.create_multipart_upload(Bucket=BUCKET, Key="sdk/small")["UploadId"]
    tags = []
    for number in (1, 2):
        sent = client.upload_part(Bucket=BUCKET, Key="sdk/small", Body=b"x", PartNumber=number, UploadId=upload)
        tags.append({"PartNumber": number, "ETag": lower(sent)["etag"]})
    complete = lambda: client.complete_multipart_upload(  # noqa: E731
        Bucket=BUCKET, Key="sdk/small", UploadId=upload, MultipartUpload={"Part": tags}
    )
    assert code(complete) == "EntityTooSmall"
    address, port = os.environ["STAND_IN"].split(":")
    wrong = CosConfig(
        Region="ap-guangzhou", Scheme="http", SecretId=os.environ["COS_SECRET_ID"], SecretKey="another",
        IP=address, Port=int(port),
    )
    stranger = CosS3Client(wrong, retry=0)
    assert code(lambda: stranger.put_object(Bucket=BUCKET, Key="sdk/x", Body=b"")) == "SignatureDoesNotMatch"
