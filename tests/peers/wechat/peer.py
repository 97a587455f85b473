"""Does with wechatpayv3 and the SDK of Tencent COS what a test asks for on standard input, and says what came of it."""

import json
import sys
import time
from unittest import mock
from urllib.parse import parse_qsl, unquote, urlsplit

import requests as http
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from base64 import b64encode
from qcloud_cos import CosConfig
from qcloud_cos.cos_auth import CosS3Auth
from wechatpayv3 import WeChatPay, WeChatPayType
from wechatpayv3 import utils


def requests(asked):
    """What it would have signed for the requests that we signed, and whether it believes our signatures."""
    return [request(asked, one) for one in asked["requests"]]


def request(asked, one):
    key = utils.load_private_key(asked["privateKey"])
    with mock.patch.object(time, "time", return_value=int(one["timestamp"])):
        header = utils.build_authorization(
            one["target"], one["method"], "1234567891", "serial", key, data=one["body"], nonce_str=one["nonce"]
        )
    message = "\n".join([one["method"], one["target"], one["timestamp"]])
    # their check of a reply signs three lines; the first of ours takes three
    believed = utils.rsa_verify(message, one["nonce"], one["body"], one["signature"], public_key(asked))
    return {"same": f'signature="{one["signature"]}"' in header, "believed": believed}


def public_key(asked):
    return utils.load_certificate(asked["certificate"]).public_key()


def pay_sign(asked):
    lines = [asked[name] for name in ("appId", "timeStamp", "nonceStr", "package")]
    made = merchant(asked).sign(lines)
    believed = utils.rsa_verify("\n".join(lines[:2]), lines[2], lines[3], asked["paySign"], public_key(asked))
    return [{"same": made == asked["paySign"], "believed": believed}]


def merchant(asked):
    return WeChatPay(
        wechatpay_type=WeChatPayType.MINIPROG, mchid="1234567891", private_key=asked["privateKey"],
        cert_serial_no=asked["serial"], appid="wx1", apiv3_key=asked["apiV3Key"], timeout=(10, 10),
        notify_url="https://pay.example.com/notify",
        public_key=asked["platformPublicKey"], public_key_id=asked["platformSerial"],
    )


def callback(asked):
    """A callback as the platform would send it; its own reader has to take it, too."""
    nonce, data = "0123456789ab", "transaction"
    sealed = AESGCM(asked["apiV3Key"].encode()).encrypt(nonce.encode(), asked["plaintext"].encode(), data.encode())
    resource = {
        "original_type": data, "algorithm": "AEAD_AES_256_GCM", "associated_data": data, "nonce": nonce,
        "ciphertext": b64encode(sealed).decode(),
    }
    body = json.dumps({
        "id": "EV-1", "resource_type": "encrypt-resource", "event_type": "TRANSACTION.SUCCESS", "resource": resource,
    })
    timestamp, stamp = str(int(time.time())), "593BEC0C930BF1AFEB40B4A08C8FB242"
    key = utils.load_private_key(asked["platformKey"])
    headers = {
        "wechatpay-timestamp": timestamp, "wechatpay-nonce": stamp, "wechatpay-serial": asked["platformSerial"],
        "wechatpay-signature": utils.rsa_sign(key, f"{timestamp}\n{stamp}\n{body}\n"),
        "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
    }
    taken = merchant(asked).callback(headers, body)
    assert taken["resource"] == json.loads(asked["plaintext"]), taken
    return {"headers": headers, "body": body}


def client(asked):
    """Orders, queries and closes at a host that believes and signs with our code."""
    pay = merchant(asked)
    pay._core._gate_way = asked["base"].rstrip("/")
    code, made = pay.pay(
        description="课程 60 分钟", out_trade_no="ORDER-1", amount={"total": 1}, payer={"openid": "o1"}
    )
    assert code == 200, made
    code, seen = pay.query(out_trade_no="ORDER-1")
    assert code == 200, seen
    closed, _ = pay.close(out_trade_no="ORDER-1")
    return {
        "prepay_id": json.loads(made)["prepay_id"], "trade_state": json.loads(seen)["trade_state"], "closed": closed,
    }


def bucket(asked):
    """Whether the SDK of Tencent COS signs the same requests alike."""
    return [{"same": signed_alike(asked, one), "believed": True} for one in asked["requests"]]


def signed_alike(asked, one):
    url = urlsplit(one["url"])
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    ours = {name: query.pop(name) for name in list(query) if name.startswith("q-")}
    headers = dict(one["headers"])
    if "authorization" in headers:
        ours = dict(field.split("=", 1) for field in headers.pop("authorization").split("&"))
    start, end = map(int, ours["q-sign-time"].split(";"))
    config = CosConfig(Region="ap-shanghai", SecretId=asked["secretId"], SecretKey=asked["secretKey"])
    sent = http.Request(one["method"], one["url"], headers={**headers, "Host": url.netloc})
    with mock.patch.object(time, "time", return_value=start + 60):
        auth = CosS3Auth(config, unquote(url.path), query, expire=end - start - 60)
        signed = auth(sent).headers["Authorization"]
    return signed == "&".join(f"{name}={value}" for name, value in ours.items())


TASKS = {"requests": requests, "paySign": pay_sign, "callback": callback, "client": client, "bucket": bucket}
asked = json.load(sys.stdin)
json.dump(TASKS[asked["task"]](asked), sys.stdout)
