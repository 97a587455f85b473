//! `[pay]`: who collects money for services.

use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use super::parse;
use super::source::Source;
use crate::config::wechat::Wechat;
use crate::money::Pay;
use crate::wechat::pay::{Options, PlatformKey};
use crate::wechat::{Bounds, cloud_run_pay};

const BASE: &str = "https://api.mch.weixin.qq.com";
const BACKUP_BASE: &str = "https://api2.mch.weixin.qq.com";
/// Where Cloud Run's simplified pay calls back.
const CLOUD_RUN_PATH: &str = "/callbacks/cloud-run-pay";
/// Longest key file that is read.
const KEY_MAX_BYTES: u64 = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    V3,
    CloudRun,
}

pub(super) fn read(source: &mut Source<'_>, wechat: &Wechat) -> Option<Pay> {
    let mode = source.get("pay.mode", "BACKEND_PAY_MODE", mode).unwrap_or(Mode::V3);
    let merchant = source.get("pay.mchid", "BACKEND_PAY_MCHID", merchant);
    let service = source.get("pay.service", "BACKEND_PAY_SERVICE", parse::text);
    let told = Told::read(source);
    let merchant_id = merchant?;
    match mode {
        Mode::V3 => told.v3(source, wechat, merchant_id),
        Mode::CloudRun => cloud_run(source, wechat, merchant_id, service),
    }
}

fn cloud_run(
    source: &mut Source<'_>,
    wechat: &Wechat,
    merchant_id: String,
    service: Option<String>,
) -> Option<Pay> {
    let env = wechat.env.clone();
    let (Some(env), Some(service)) = (env, service) else {
        source.problem("pay.service", "is needed with pay.mode = \"cloud_run\", and so is wechat.env");
        return None;
    };
    let callback_path = CLOUD_RUN_PATH.to_owned();
    Some(Pay::CloudRun(cloud_run_pay::Options { merchant_id, env, service, callback_path }))
}

/// What is told for API v3.
struct Told {
    serial: Option<String>,
    private_key: Option<SecretString>,
    api_v3_key: Option<SecretString>,
    public_key_id: Option<String>,
    public_key: Option<SecretString>,
    certificate: Option<SecretString>,
    fetch_certificates: Option<bool>,
    notify_url: Option<Url>,
    refund_notify_url: Option<Url>,
    base: Option<Url>,
    backup_base: Option<Url>,
    tells_shipping: bool,
    timeout: Option<Duration>,
    max_reply_bytes: Option<usize>,
    bill_timeout: Duration,
    max_bill_bytes: usize,
    max_bill_rows: usize,
}

impl Told {
    fn read(source: &mut Source<'_>) -> Self {
        Self {
            serial: source.get("pay.serial", "BACKEND_PAY_SERIAL", serial),
            private_key: key(source, "pay.private_key", "BACKEND_PAY_PRIVATE_KEY"),
            api_v3_key: source.get("pay.api_v3_key", "BACKEND_PAY_API_V3_KEY", api_v3_key),
            public_key_id: source.get("pay.public_key_id", "BACKEND_PAY_PUBLIC_KEY_ID", parse::text),
            public_key: key(source, "pay.public_key", "BACKEND_PAY_PUBLIC_KEY"),
            certificate: key(source, "pay.certificate", "BACKEND_PAY_CERTIFICATE"),
            fetch_certificates: source.get("pay.fetch_certificates", "", parse::flag),
            notify_url: source.get("pay.notify_url", "BACKEND_PAY_NOTIFY_URL", callback_url),
            refund_notify_url: source.get("pay.refund_notify_url", "", callback_url),
            base: source.get("pay.base", "BACKEND_PAY_BASE", parse::http_url),
            backup_base: source.get("pay.backup_base", "", parse::http_url),
            tells_shipping: source.get("pay.shipping", "", parse::flag).unwrap_or(false),
            timeout: source.get("pay.request_timeout_seconds", "", parse::seconds),
            max_reply_bytes: source.get("pay.max_reply_bytes", "", parse::bytes),
            bill_timeout: source
                .get("pay.bill_timeout_seconds", "", parse::seconds)
                .unwrap_or(Duration::from_secs(60)),
            max_bill_bytes: source.get("pay.max_bill_bytes", "", parse::bytes).unwrap_or(256 * 1024 * 1024),
            max_bill_rows: source.get("pay.max_bill_rows", "", rows).unwrap_or(500_000),
        }
    }

    fn v3(self, source: &mut Source<'_>, wechat: &Wechat, merchant_id: String) -> Option<Pay> {
        let platform_keys = self.platform_keys(source);
        let fetch_certificates = self.fetch_certificates.unwrap_or(platform_keys.is_empty());
        let mut needed = |name: &str, is_there: bool| {
            if !is_there {
                source.problem(name, "is needed beside pay.mchid");
            }
        };
        needed("wechat.app_id", wechat.app_id.is_some());
        needed("pay.serial", self.serial.is_some());
        needed("pay.private_key", self.private_key.is_some());
        needed("pay.api_v3_key", self.api_v3_key.is_some());
        needed("pay.notify_url", self.notify_url.is_some());
        if platform_keys.is_empty() && !fetch_certificates {
            source.problem("pay.public_key", "without a key of the platform no callback can be believed");
        }
        let notify_url = self.notify_url?;
        let refund_notify_url = self.refund_notify_url.unwrap_or_else(|| below(&notify_url, "refunds"));
        // A base of one's own has no other address.
        let backup_base = self.backup_base.or_else(|| match self.base {
            Some(_) => None,
            None => Url::parse(BACKUP_BASE).ok(),
        });
        let mut bounds = Bounds::default();
        bounds.request_timeout = self.timeout.unwrap_or(bounds.request_timeout);
        bounds.max_reply_bytes = self.max_reply_bytes.unwrap_or(bounds.max_reply_bytes);
        let options = Options {
            app_id: wechat.app_id.clone()?,
            merchant_id,
            serial: self.serial?,
            private_key: self.private_key?,
            api_v3_key: self.api_v3_key?,
            platform_keys,
            fetch_certificates,
            notify_url,
            refund_notify_url,
            base: self.base.or_else(|| Url::parse(BASE).ok())?,
            backup_base,
            bounds,
            bill_timeout: self.bill_timeout,
            max_bill_bytes: u64::try_from(self.max_bill_bytes).unwrap_or(u64::MAX),
        };
        let (tells_shipping, max_bill_rows) = (self.tells_shipping, self.max_bill_rows);
        Some(Pay::V3 { options: Box::new(options), tells_shipping, max_bill_rows })
    }

    fn platform_keys(&self, source: &mut Source<'_>) -> Vec<PlatformKey> {
        if self.public_key_id.is_some() != self.public_key.is_some() {
            source.problem("pay.public_key", "key and pay.public_key_id belong together");
        }
        let public = self.public_key_id.as_ref().zip(self.public_key.as_ref());
        let public = public
            .map(|(id, pem)| PlatformKey::Public { id: id.clone(), pem: pem.expose_secret().to_owned() });
        let certificate = self.certificate.as_ref();
        let certificate =
            certificate.map(|pem| PlatformKey::Certificate { pem: pem.expose_secret().to_owned() });
        public.into_iter().chain(certificate).collect()
    }
}

/// A PEM, told itself or by the file `<setting>_file`.
fn key(source: &mut Source<'_>, setting: &str, env: &str) -> Option<SecretString> {
    let from_file = source.get(&format!("{setting}_file"), "", pem_file);
    source.get(setting, env, pem).or(from_file)
}

/// Environments often hold the line feeds of a PEM as `\n`.
fn pem(text: &str) -> Result<SecretString, String> {
    match text.contains("-----BEGIN ") {
        true => Ok(SecretString::from(text.replace("\\n", "\n"))),
        false => Err("the text of a PEM is expected, beginning with -----BEGIN".to_owned()),
    }
}

fn pem_file(path: &str) -> Result<SecretString, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > KEY_MAX_BYTES {
        return Err("is too long for a key".to_owned());
    }
    pem(&std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?)
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "v3" => Ok(Mode::V3),
        "cloud_run" => Ok(Mode::CloudRun),
        _ => Err("v3 or cloud_run is expected".to_owned()),
    }
}

fn merchant(text: &str) -> Result<String, String> {
    match (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err("the merchant's number, digits only, is expected".to_owned()),
    }
}

fn serial(text: &str) -> Result<String, String> {
    match (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_ascii_uppercase()),
        false => Err("the serial of the merchant's certificate, in hex, is expected".to_owned()),
    }
}

fn api_v3_key(text: &str) -> Result<SecretString, String> {
    match text.len() {
        32 => Ok(SecretString::from(text.to_owned())),
        _ => Err("exactly 32 bytes are expected".to_owned()),
    }
}

/// FACTS §3.4.
fn callback_url(text: &str) -> Result<Url, String> {
    let url = parse::http_url(text)?;
    match url.scheme() == "https" && text.len() <= 255 {
        true => Ok(url),
        false => Err("an https URL of at most 255 characters is expected".to_owned()),
    }
}

pub(super) fn rows(text: &str) -> Result<usize, String> {
    let rows = parse::whole_number(text, 1, 10_000_000)?;
    usize::try_from(rows).map_err(|_| "too large for this machine".to_owned())
}

fn below(url: &Url, step: &str) -> Url {
    let mut below = url.clone();
    below.set_path(&format!("{}/{step}", url.path().trim_end_matches('/')));
    below
}
