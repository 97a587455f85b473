// Does with wechatpay-axios-plugin what a test asks for on standard input, and says what came of it.
'use strict';

const fs = require('fs');
const { Aes: { AesGcm }, Formatter, Rsa, Wechatpay } = require('wechatpay-axios-plugin');

// What it would have signed for the requests that we signed, and whether it believes our signatures.
function requests({ requests, privateKey, publicKey }) {
  return requests.map(({ method, target, body, timestamp, nonce, signature }) => {
    const message = Formatter.request(method, target, timestamp, nonce, body);
    return {
      same: Rsa.sign(message, privateKey) === signature,
      believed: Rsa.verify(message, signature, publicKey),
    };
  });
}

function paySign({ appId, timeStamp, nonceStr, package: order, paySign: signature, privateKey, publicKey }) {
  const message = Formatter.joinedByLineFeed(appId, timeStamp, nonceStr, order);
  return [{
    same: Rsa.sign(message, privateKey) === signature,
    believed: Rsa.verify(message, signature, publicKey),
  }];
}

// A callback as the platform would send it.
function callback({ plaintext, apiV3Key, platformKey, serial }) {
  const nonce = Formatter.nonce(12);
  const body = JSON.stringify({
    id: 'EV-1', create_time: '2026-11-22T12:01:03+08:00', resource_type: 'encrypt-resource',
    event_type: 'TRANSACTION.SUCCESS', summary: '支付成功',
    resource: {
      original_type: 'transaction', algorithm: 'AEAD_AES_256_GCM', associated_data: 'transaction', nonce,
      ciphertext: AesGcm.encrypt(plaintext, apiV3Key, nonce, 'transaction'),
    },
  });
  const [timestamp, stamp] = [`${Formatter.timestamp()}`, Formatter.nonce()];
  const signature = Rsa.sign(Formatter.response(timestamp, stamp, body), platformKey);
  return {
    headers: {
      'wechatpay-timestamp': timestamp, 'wechatpay-nonce': stamp,
      'wechatpay-serial': serial, 'wechatpay-signature': signature,
    },
    body,
  };
}

// Orders, queries and closes at a host that believes and signs with our code.
async function client({ base, mchid, serial, privateKey, platformSerial, platformCertificate }) {
  const pay = new Wechatpay({
    mchid, serial, privateKey, certs: { [platformSerial]: platformCertificate }, baseURL: base,
  });
  const order = { description: '课程 60 分钟', out_trade_no: 'ORDER-1', amount: { total: 1 } };
  const made = await pay.chain('v3/pay/transactions/jsapi').post(order);
  const seen = await pay.chain('v3/pay/transactions/out-trade-no/ORDER-1').get({ params: { mchid } });
  const closed = await pay.chain('v3/pay/transactions/out-trade-no/ORDER-1/close').post({ mchid });
  return { prepay_id: made.data.prepay_id, trade_state: seen.data.trade_state, closed: closed.status };
}

const tasks = { requests, paySign, callback, client };

(async () => {
  const asked = JSON.parse(fs.readFileSync(0, 'utf8'));
  process.stdout.write(JSON.stringify(await tasks[asked.task](asked)));
})().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
