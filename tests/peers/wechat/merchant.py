"""A merchant's day at the simulated platform, done by the SDK `wechatpayv3`: what it refuses, this refuses.

Reads what `GET /sim/setup` tells from standard input; `with_certificates` beside it turns off the public key.
"""

import gzip
import hashlib
import json
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue

import requests
from wechatpayv3 import WeChatPay, WeChatPayType
from wechatpayv3.core import Core

SETUP = json.load(sys.stdin)
NOTIFY_URL = "https://merchant.example.com/callbacks"
PRICE = {"total": 990, "currency": "CNY"}
HEARD = Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        HEARD.put((dict(self.headers.items()), self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def control(path, body=None):
    answer = requests.post(f"{SETUP['url']}/sim/{path}", json=body or {})
    assert answer.status_code == 200, answer.text
    return answer.json()


def sdk():
    # The SDK knows one address only, and asks it for certificates while it is made.
    Core._init_certificates = lambda core: None
    more = {} if SETUP.get("with_certificates") else {
        "public_key": SETUP["public_key"], "public_key_id": SETUP["public_key_id"],
    }
    made = WeChatPay(
        wechatpay_type=WeChatPayType.JSAPI, mchid=SETUP["mchid"], private_key=SETUP["merchant_private_key"],
        cert_serial_no=SETUP["merchant_serial"], appid=SETUP["appid"], apiv3_key=SETUP["api_v3_key"],
        notify_url=NOTIFY_URL, **more,
    )
    made._core._gate_way = SETUP["url"]
    return made


def good(answer, status=200):
    code, text = answer
    assert code == status, (code, text)
    return json.loads(text) if text else None


def heard(pay, kind):
    headers, body = HEARD.get(timeout=20)
    event = pay.callback(headers, body)
    assert event and event["event_type"] == kind, event
    return event["resource"]


def main():
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    control("routes", {"https://merchant.example.com": f"http://127.0.0.1:{server.server_port}"})
    openid, pay = control("persons")["openid"], sdk()

    order = {"description": "一节课", "out_trade_no": "sdk-0001", "amount": PRICE, "payer": {"openid": openid}}
    package = "prepay_id=" + good(pay.pay(**order))["prepay_id"]
    assert good(pay.query(out_trade_no="sdk-0001"))["trade_state"] == "NOTPAY"
    at = str(int(time.time()))
    call = {"timeStamp": at, "nonceStr": "nonce", "package": package, "signType": "RSA"}
    call["paySign"] = pay.sign([SETUP["appid"], at, "nonce", package])
    paid = control(f"persons/{openid}/pays", call)["transaction_id"]
    told = heard(pay, "TRANSACTION.SUCCESS")
    assert (told["transaction_id"], told["amount"]["total"]) == (paid, 990), told
    found = good(pay.query(transaction_id=paid))
    assert found == told, (found, told)

    refund = {"refund": 90, "total": 990, "currency": "CNY"}
    assert good(pay.refund("sdk-r-1", refund, out_trade_no="sdk-0001"))["status"] == "PROCESSING"
    assert heard(pay, "REFUND.SUCCESS")["refund_status"] == "SUCCESS"
    assert good(pay.query_refund("sdk-r-1"))["status"] == "SUCCESS"

    good(pay.pay(**{**order, "out_trade_no": "sdk-0002"}))
    good(pay.close("sdk-0002"), 204)
    assert good(pay.query(out_trade_no="sdk-0002"))["trade_state"] == "CLOSED"
    assert good(pay.close("sdk-0001"), 400)["code"] == "ORDERPAID"

    day = datetime.fromisoformat(found["success_time"]).astimezone(timezone(timedelta(hours=8))).date()
    control("clock", {"advance_seconds": 2 * 86_400})
    promise = good(pay.trade_bill(day.isoformat()))
    code, packed = pay.download_bill(promise["download_url"])
    bill = gzip.decompress(packed)
    assert code == 200 and hashlib.sha1(bill).hexdigest() == promise["hash_value"]
    assert b"`sdk-0001," in bill and b"`sdk-r-1," in bill, bill
    print("everything was taken")


main()
