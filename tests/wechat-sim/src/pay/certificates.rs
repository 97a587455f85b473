//! `GET /v3/certificates` (FACTS §3.3).

use serde_json::json;

use super::{Done, Refusal, refuse};
use crate::clock::rfc3339;
use crate::crypt;
use crate::platform::Platform;

const YEARS_5_MS: i64 = 5 * 365 * 86_400_000;

pub(super) fn list(platform: &Platform) -> Result<Done, Refusal> {
    let certificates = platform.keys.certificates();
    if certificates.is_empty() {
        return refuse(
            404,
            "RESOURCE_NOT_EXISTS",
            "无可用的平台证书，请在商户平台-API安全申请使用微信支付公钥",
        );
    }
    let now = platform.clock.now();
    let sealed = |pem: &str| {
        let nonce = crypt::letters(12);
        let mut bytes = [0; 12];
        bytes.copy_from_slice(nonce.as_bytes());
        let ciphertext = crypt::seal(&platform.api_v3_key, &bytes, "certificate", pem.as_bytes());
        json!({
            "algorithm": "AEAD_AES_256_GCM", "nonce": nonce, "associated_data": "certificate",
            "ciphertext": ciphertext,
        })
    };
    let data: Vec<_> = certificates
        .iter()
        .map(|(serial, pem)| {
            json!({
                "serial_no": serial, "effective_time": rfc3339(now - YEARS_5_MS / 5),
                "expire_time": rfc3339(now + YEARS_5_MS), "encrypt_certificate": sealed(pem),
            })
        })
        .collect();
    Ok(Done::Json(json!({"data": data})))
}
