//! What is offered: the gateway's templates with our prices. The gateway is asked once for all who wait, and what it
//! said last stands while it is silent.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::{CreateError, GatewayDown, Generation};
use crate::domain::money::Credits;
use crate::error_chain::chain;
use crate::gateway_client::{GatewayClient, Template};

/// Templates that are looked at.
const TEMPLATES_MAX: usize = 1_000;
/// What the graph has to do with a parameter is nobody's business.
const INNER_FIELDS: [&str; 1] = ["targets"];

/// The gateway's templates as it told them last.
pub(super) struct Catalog {
    keep_for: Duration,
    /// The lock is held over the call, so one call serves all who wait.
    last: Mutex<Option<(Instant, Arc<Vec<Template>>)>>,
}

/// Something that can be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Offered {
    /// By this name.
    pub name: String,
    /// What people read, if anything is set.
    pub title: Option<Value>,
    /// What else its author tells.
    pub meta: Map<String, Value>,
    /// What it costs.
    pub credits: Credits,
    /// What may be set, each with `name`, `type` and bounds.
    pub parameters: Vec<Map<String, Value>>,
    /// Whether it can be made now.
    pub is_available: bool,
}

impl Catalog {
    pub(super) fn new(keep_for: Duration) -> Self {
        Self { keep_for, last: Mutex::default() }
    }

    async fn templates(&self, gateway: &GatewayClient) -> Result<Arc<Vec<Template>>, GatewayDown> {
        let mut last = self.last.lock().await;
        if let Some((at, templates)) = &*last
            && at.elapsed() < self.keep_for
        {
            return Ok(templates.clone());
        }
        match gateway.templates(TEMPLATES_MAX).await {
            Ok(templates) => {
                let templates = Arc::new(templates);
                *last = Some((Instant::now(), templates.clone()));
                Ok(templates)
            }
            Err(error) => {
                let Some((_, known)) = &*last else { return Err(GatewayDown(error)) };
                warn!(error = %chain(&error), "templates cannot be read, those known are offered");
                Ok(known.clone())
            }
        }
    }
}

impl Generation {
    /// Everything that is offered, by name.
    ///
    /// # Errors
    /// When the gateway was never reached.
    pub async fn offered(&self) -> Result<Vec<Offered>, GatewayDown> {
        let templates = self.inner.catalog.templates(&self.inner.gateway).await?;
        let takes_photos = self.takes_photos();
        let offered = self.inner.options.offers.iter().filter_map(|(name, offer)| {
            let template = templates.iter().find(|template| template.name == *name)?;
            let is_taken = |parameter: &&Map<String, Value>| takes_photos || !is_picture(parameter);
            let parameters = template.parameters.iter().filter(is_taken);
            let title = offer.title.clone().map(Value::String);
            Some(Offered {
                name: name.clone(),
                title: title.or_else(|| template.meta.get("title").cloned()),
                meta: template.meta.clone(),
                credits: offer.credits,
                parameters: parameters.map(shown).collect(),
                is_available: is_available(template, takes_photos),
            })
        });
        Ok(offered.collect())
    }

    /// Looks whether the inputs can be the template's; gives the names of those that are photos. The rest of the
    /// judgement is the gateway's.
    pub(super) async fn judge_inputs(
        &self,
        name: &str,
        inputs: &Map<String, Value>,
    ) -> Result<Vec<String>, CreateError> {
        let takes_photos = self.takes_photos();
        let templates = self.inner.catalog.templates(&self.inner.gateway).await?;
        let template = templates.iter().find(|template| template.name == name);
        let template = template
            .filter(|template| is_available(template, takes_photos))
            .ok_or(CreateError::Unavailable)?;
        let mut photos = Vec::new();
        for input in inputs.keys() {
            let is_named = |parameter: &&Map<String, Value>| {
                parameter.get("name").and_then(Value::as_str) == Some(input)
            };
            match template.parameters.iter().find(is_named) {
                // The gateway has names of its own for them, where all people are one tenant: nobody gives those here.
                Some(parameter) if is_picture(parameter) && takes_photos => photos.push(input.clone()),
                Some(parameter) if !is_picture(parameter) => {}
                _ => return Err(CreateError::Inputs(format!("inputs: the template takes no {input:?}"))),
            }
        }
        Ok(photos)
    }
}

fn is_picture(parameter: &Map<String, Value>) -> bool {
    parameter.get("type").and_then(Value::as_str) == Some("image")
}

fn shown(parameter: &Map<String, Value>) -> Map<String, Value> {
    let fields = parameter.iter().filter(|(name, _)| !INNER_FIELDS.contains(&name.as_str()));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A photo that a person would have to give cannot be given everywhere.
fn is_available(template: &Template, takes_photos: bool) -> bool {
    let needs = |parameter: &Map<String, Value>| {
        is_picture(parameter) && parameter.get("required") == Some(&Value::Bool(true))
    };
    template.available != Some(false) && (takes_photos || !template.parameters.iter().any(needs))
}
