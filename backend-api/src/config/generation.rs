//! `[generation]`: what is made of whose words, for how much.

use std::time::Duration;

use secrecy::SecretString;
use toml::{Table, Value};

use super::source::Source;
use super::{Wechat, parse};
use crate::domain::money::Credits;
use crate::generation::{GatewayKeys, LiveOptions, MessageOptions, Offer, Options, PhotoOptions};
use crate::wechat::platform::Scene;

/// Longest name of a template, in bytes: the gateway's own bound.
const NAME_MAX: usize = 64;
/// Longest title, in characters.
const TITLE_MAX: usize = 100;
/// No picture costs more.
const CREDITS_MAX: i64 = 1_000_000;

pub(super) fn read(source: &mut Source<'_>, wechat: &Wechat) -> Option<Options> {
    let tables = source.tables("generation.templates");
    let offers = tables.into_iter().filter_map(|(name, table)| offer(source, name, table)).collect();
    let keys = source.get("generation.signing_keys", "BACKEND_GENERATION_SIGNING_KEYS", signing_keys);
    let options = Options {
        offers,
        checks_text: source.get("generation.check_text", "", parse::flag).unwrap_or(true),
        scene: source.get("generation.scene", "", scene).unwrap_or(Scene::Social),
        refuses_review: source.get("generation.refuse_review", "", parse::flag).unwrap_or(true),
        checks_pictures: source.get("generation.check_pictures", "", parse::flag).unwrap_or(true),
        ticket_url: source.get("generation.ticket_url", "BACKEND_GENERATION_TICKET_URL", parse::http_url),
        webhook_url: source.get("generation.webhook_url", "BACKEND_GENERATION_WEBHOOK_URL", parse::http_url),
        keys: keys.unwrap_or_default(),
        finish_within: seconds(source, "generation.finish_seconds", 3_600),
        max_open: source.get("generation.max_open", "", parse::count).unwrap_or(5).into(),
        photos: photos(source),
        look_every: seconds(source, "generation.look_seconds", 30),
        recheck_after: seconds(source, "generation.recheck_seconds", 2_400),
        catalog_for: seconds(source, "generation.templates_seconds", 30),
        live: LiveOptions {
            max_sockets: usize::try_from(
                source.get("generation.max_sockets", "", parse::count).unwrap_or(500),
            )
            .unwrap_or(1),
            look_every: seconds(source, "generation.socket_look_seconds", 2),
            socket_for: seconds(source, "generation.socket_seconds", 900),
        },
        message: message(source),
    };
    if options.offers.is_empty() {
        return None;
    }
    if (options.checks_text || options.checks_pictures) && wechat.platform.is_none() {
        source.problem(
            "generation",
            "words and pictures are checked by WeChat: set wechat.app_id and wechat.secret, or check_text and \
             check_pictures = false",
        );
    }
    if (options.ticket_url.is_some() || options.webhook_url.is_some()) && options.keys.is_empty() {
        source.problem("generation.signing_keys", "are needed to know what the gateway sends");
    }
    let has_bucket = wechat.platform.as_ref().is_some_and(|platform| platform.storage.is_some());
    if options.ticket_url.is_some() && !has_bucket {
        source.problem("generation.ticket_url", "needs wechat.bucket, where the files are to lie");
    }
    Some(options)
}

fn photos(source: &mut Source<'_>) -> PhotoOptions {
    let days = source.get("generation.photo_days", "", |text| parse::whole_number(text, 1, 6)).unwrap_or(6);
    PhotoOptions {
        max_bytes: source.get("generation.max_photo_bytes", "", parse::bytes).unwrap_or(1_000 * 1_024),
        max_pixels: source.get("generation.max_photo_pixels", "", parse::pixels).unwrap_or(16_777_216),
        per_day: source.get("generation.photos_per_day", "", parse::count).unwrap_or(20).into(),
        keep_for: Duration::from_secs(days * 86_400),
        upload_for: seconds(source, "generation.photo_upload_seconds", 300),
    }
}

fn seconds(source: &mut Source<'_>, name: &str, default: u64) -> Duration {
    source.get(name, "", parse::seconds).unwrap_or(Duration::from_secs(default))
}

fn message(source: &mut Source<'_>) -> Option<MessageOptions> {
    let template = source.get("generation.message_template", "", parse::text);
    let page = source.get("generation.message_page", "", parse::text);
    let fields = source.get("generation.message_fields", "", message_fields);
    let default =
        || vec![("thing1".to_owned(), "{title}".to_owned()), ("phrase2".to_owned(), "{outcome}".to_owned())];
    Some(MessageOptions { template: template?, page, fields: fields.unwrap_or_else(default) })
}

/// `<field>=<text>`, several by semicolons.
fn message_fields(text: &str) -> Result<Vec<(String, String)>, String> {
    let fields = text.split(';').map(|field| match field.trim().split_once('=') {
        Some((name, text)) if !name.is_empty() && !text.is_empty() => Ok((name.to_owned(), text.to_owned())),
        _ => Err("<field>=<text> is expected, several by semicolons".to_owned()),
    });
    fields.collect()
}

fn scene(text: &str) -> Result<Scene, String> {
    match text {
        "profile" => Ok(Scene::Profile),
        "comment" => Ok(Scene::Comment),
        "forum" => Ok(Scene::Forum),
        "social" => Ok(Scene::Social),
        _ => Err("profile, comment, forum or social is expected".to_owned()),
    }
}

/// `<id>:<secret>`, several by commas.
fn signing_keys(text: &str) -> Result<GatewayKeys, String> {
    let keys = text.split(',').map(|key| match key.trim().split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {
            Ok((id.to_owned(), SecretString::from(secret.to_owned())))
        }
        _ => Err("<key id>:<secret> is expected, several by commas".to_owned()),
    });
    keys.collect::<Result<Vec<_>, _>>().map(GatewayKeys::new)
}

fn offer(source: &mut Source<'_>, name: String, mut table: Table) -> Option<(String, Offer)> {
    let place = format!("generation.templates.{name}");
    let (title, credits) = (table.remove("title"), table.remove("credits"));
    for left in table.keys() {
        source.problem(&format!("{place}.{left}"), "there is no such setting");
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !(1..=NAME_MAX).contains(&name.len()) || !name.bytes().all(is_name) {
        source.problem(&place, "the gateway's name of a template is expected");
    }
    let title = match title {
        None => None,
        Some(Value::String(title)) if (1..=TITLE_MAX).contains(&title.chars().count()) => Some(title),
        Some(_) => {
            source.problem(&format!("{place}.title"), "1 to 100 characters are expected");
            None
        }
    };
    let credits = credits.as_ref().and_then(Value::as_integer);
    let credits = credits.filter(|credits| (1..=CREDITS_MAX).contains(credits)).and_then(Credits::new);
    let Some(credits) = credits else {
        source.problem(&format!("{place}.credits"), "a whole number from 1 to 1000000 is expected");
        return None;
    };
    Some((name, Offer { title, credits }))
}
