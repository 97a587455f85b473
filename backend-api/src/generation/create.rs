//! From a wish to the gateway: words checked, credits held and the artwork recorded in one transaction, then submitted.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{CreateError, Generation, Offer};
use crate::clock::now;
use crate::db::artworks::{insert_artwork_in, open_artworks_in};
use crate::db::{self, take_turn_in};
use crate::domain::{Artwork, ArtworkId, ArtworkState, OpenId, UserId};
use crate::error_chain::chain;
use crate::gateway_client::{Class, Refusal, SubmitError, SubmitTemplate, TemplateCall, Webhook};
use crate::money::Ledger;
use crate::wechat::platform::{CheckError, MAX_TEXT_CHARACTERS, Suggestion};

/// The label by which the gateway's words find an artwork whose job is not known yet.
pub(super) const LABEL: &str = "artwork";
/// Reason of an artwork whose submission stayed in doubt longer than the gateway remembers keys.
const SUBMISSION_LOST: &str = "submission_lost";

/// What somebody wants.
#[derive(Clone)]
pub struct Wish {
    /// Who.
    pub user: UserId,
    /// By which template.
    pub template: String,
    /// With which values.
    pub inputs: Map<String, Value>,
    /// Their name of this wish: a repeat gives the same artwork.
    pub key: Option<String>,
}

/// How a recording went.
enum Recorded {
    New,
    Earlier(Box<Artwork>),
}

/// Why a submission did not go on.
pub(super) enum SubmitFailure {
    Refused(Refusal),
    Database(db::Error),
}

impl From<db::Error> for SubmitFailure {
    fn from(error: db::Error) -> Self {
        Self::Database(error)
    }
}

impl From<SubmitFailure> for CreateError {
    fn from(failure: SubmitFailure) -> Self {
        match failure {
            SubmitFailure::Refused(refusal) => Self::Refused(refusal),
            SubmitFailure::Database(error) => Self::Database(error),
        }
    }
}

impl Generation {
    /// Records an artwork with its credits held, and submits it. When the gateway is full or silent, the artwork is
    /// returned as `created` and submitted later.
    ///
    /// # Errors
    /// See [`CreateError`]; in each case no credits are held.
    pub async fn create(&self, wish: &Wish) -> Result<Artwork, CreateError> {
        if let Some(earlier) = self.earlier(wish).await? {
            return self.carry_on(earlier, wish).await;
        }
        let offer = self.inner.options.offers.get(&wish.template).ok_or(CreateError::NoSuchTemplate)?;
        let photos = self.judge_inputs(&wish.template, &wish.inputs).await?;
        let database = &self.inner.database;
        let open = database.retry(|| database.open_artworks_of(wish.user)).await?;
        if open >= self.inner.options.max_open {
            return Err(CreateError::TooManyOpen);
        }
        let parameters = self.exchange_photos(wish, &photos).await?;
        self.check_words(wish, &photos).await?;
        let artwork = Artwork {
            inputs: (!photos.is_empty()).then(|| Value::Object(wish.inputs.clone()).to_string()),
            ..self.draft(wish, offer, parameters)
        };
        match self.record(&artwork, wish).await? {
            Recorded::New => {
                self.inner.metrics.came_into(artwork.state);
                info!(artwork = %artwork.id, template = artwork.template, "artwork recorded");
                Ok(self.submit(artwork).await?)
            }
            Recorded::Earlier(earlier) => self.carry_on(*earlier, wish).await,
        }
    }

    async fn earlier(&self, wish: &Wish) -> Result<Option<Artwork>, db::Error> {
        let Some(key) = wish.key.as_deref() else { return Ok(None) };
        let database = &self.inner.database;
        database.retry(|| database.artwork_under(wish.user, key)).await
    }

    async fn carry_on(&self, earlier: Artwork, wish: &Wish) -> Result<Artwork, CreateError> {
        if !is_same(&earlier, wish) {
            return Err(CreateError::KeyReused);
        }
        match earlier.state {
            ArtworkState::Created => Ok(self.submit(earlier).await?),
            _ => Ok(earlier),
        }
    }

    /// Before anything is held. Everything that is text in the inputs is checked as one; names of photos are no words.
    async fn check_words(&self, wish: &Wish, photos: &[String]) -> Result<(), CreateError> {
        let mut words = Vec::new();
        let written = wish.inputs.iter().filter(|(name, _)| !photos.contains(name));
        written.for_each(|(_, value)| gather(value, &mut words));
        let text = words.join("\n");
        let Some(wechat) = self.inner.wechat.as_ref().filter(|_| self.inner.options.checks_text) else {
            return Ok(());
        };
        if text.trim().is_empty() {
            return Ok(());
        }
        if text.chars().count() > MAX_TEXT_CHARACTERS {
            let message = format!("inputs: all texts together may have {MAX_TEXT_CHARACTERS} characters");
            return Err(CreateError::Inputs(message));
        }
        let openid = self.openid_of(wish.user).await?.ok_or(CreateError::LoginAgain)?;
        match wechat.check_text(&openid, &text, self.inner.options.scene).await {
            Ok(verdict) => match verdict.suggestion {
                Suggestion::Pass => Ok(()),
                Suggestion::Review if !self.inner.options.refuses_review => Ok(()),
                Suggestion::Review | Suggestion::Risky => {
                    info!(label = verdict.label, "words are refused");
                    Err(CreateError::WordsRefused)
                }
            },
            Err(CheckError::UserInactive | CheckError::UserUnknown) => Err(CreateError::LoginAgain),
            Err(CheckError::TooLong) => Err(CreateError::Inputs("inputs: too long".to_owned())),
            Err(CheckError::Platform(error)) => Err(CreateError::NoCheck(error)),
        }
    }

    /// What WeChat calls the person under our mini program.
    pub(super) async fn openid_of(&self, user: UserId) -> Result<Option<OpenId>, db::Error> {
        let Some(appid) = self.inner.appid.as_deref() else { return Ok(None) };
        let database = &self.inner.database;
        let row = database.retry(|| database.find_account(user, appid)).await?;
        Ok(row.map(|row| row.account.openid))
    }

    fn draft(&self, wish: &Wish, offer: &Offer, parameters: Map<String, Value>) -> Artwork {
        let (id, at) = (ArtworkId(Uuid::now_v7()), now());
        let options = &self.inner.options;
        let request = SubmitTemplate {
            template: TemplateCall { name: wish.template.clone(), parameters },
            class: Class::Interactive,
            user: self.inner.names.person(wish.user),
            labels: BTreeMap::from([(LABEL.to_owned(), id.to_string())]),
            finish_within_seconds: Some(options.finish_within.as_secs()),
            ticket_url: options.ticket_url.as_ref().map(ToString::to_string),
            webhook: options.webhook_url.as_ref().map(|url| Webhook { url: url.to_string() }),
        };
        Artwork {
            id,
            user: wish.user,
            template: wish.template.clone(),
            credits: offer.credits,
            request: request.encode(),
            inputs: None,
            job_id: None,
            state: ArtworkState::Created,
            reason: None,
            is_favourite: false,
            share_token: None,
            reports: 0,
            created_at: at,
            updated_at: at,
            due_at: Some(self.next_look(at, 0)),
            tries: 0,
            deleted_at: None,
        }
    }

    /// The artwork and its hold, both or none.
    async fn record(&self, artwork: &Artwork, wish: &Wish) -> Result<Recorded, CreateError> {
        let database = &self.inner.database;
        match database.retry(|| self.try_to_record(artwork, wish)).await? {
            true => Ok(Recorded::New),
            // Our own try whose answer was lost, or the person's other request under the key.
            false => match database.retry(|| database.find_artwork(artwork.id)).await? {
                Some(_) => Ok(Recorded::New),
                None => {
                    let earlier = self.earlier(wish).await?;
                    let earlier = earlier.ok_or_else(db::begin_again)?;
                    Ok(Recorded::Earlier(Box::new(earlier)))
                }
            },
        }
    }

    /// False when its id or key is taken. The person's wishes take turns, so that each sees all before it.
    async fn try_to_record(&self, artwork: &Artwork, wish: &Wish) -> Result<bool, CreateError> {
        let database = &self.inner.database;
        let transaction = database.begin().await?; // undone when it is dropped
        if !take_turn_in(&transaction, artwork.user).await? {
            return Err(CreateError::LoginAgain);
        }
        match insert_artwork_in(&transaction, artwork, wish.key.as_deref()).await {
            Err(db::Error::Duplicate(_)) => return Ok(false),
            inserted => inserted?,
        }
        if open_artworks_in(&transaction, artwork.user).await? > self.inner.options.max_open {
            return Err(CreateError::TooManyOpen);
        }
        Ledger::hold_in(&transaction, artwork.user, artwork.credits, artwork.id.0).await?;
        database.commit(transaction).await?;
        Ok(true)
    }

    /// Hands an artwork to the gateway, now or again: the same bytes under the same key are one job.
    pub(super) async fn submit(&self, artwork: Artwork) -> Result<Artwork, SubmitFailure> {
        if !artwork.may_resubmit(now()) {
            error!(artwork = %artwork.id, "submission stayed in doubt for too long");
            return Ok(self.fail(artwork, SUBMISSION_LOST).await?);
        }
        let gateway = &self.inner.gateway;
        match gateway.submit(artwork.request.clone(), &artwork.idempotency_key()).await {
            Ok(job) => Ok(self.apply(artwork, &job).await?),
            // The gateway replays what it took, so a refusal means that it never took it.
            Err(SubmitError::Invalid(refusal)) => {
                self.fail(artwork, &refusal.code).await?;
                Err(SubmitFailure::Refused(refusal))
            }
            Err(SubmitError::Unauthorized) => {
                error!(artwork = %artwork.id, "gateway does not accept our key");
                Ok(artwork)
            }
            Err(later @ (SubmitError::Busy { .. } | SubmitError::Unreachable { .. })) => {
                warn!(artwork = %artwork.id, error = %chain(&later), "artwork is submitted later");
                Ok(artwork)
            }
        }
    }
}

/// Whether the wish is the one that the artwork was recorded for. A deleted artwork tells of its template alone.
fn is_same(artwork: &Artwork, wish: &Wish) -> bool {
    if artwork.template != wish.template {
        return false;
    }
    match inputs_of(artwork) {
        Some(inputs) => inputs == Value::Object(wish.inputs.clone()),
        None => artwork.deleted_at.is_some(),
    }
}

/// What the person gave the template; `None` once it is deleted.
pub(super) fn inputs_of(artwork: &Artwork) -> Option<Value> {
    if let Some(inputs) = &artwork.inputs {
        return serde_json::from_str(inputs).ok();
    }
    let request: Value = serde_json::from_str(&artwork.request).ok()?;
    request.pointer("/template/parameters").cloned()
}

/// Every text in a value, however deep.
fn gather<'a>(value: &'a Value, words: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => words.push(text),
        Value::Array(values) => values.iter().for_each(|value| gather(value, words)),
        Value::Object(fields) => fields.values().for_each(|value| gather(value, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
