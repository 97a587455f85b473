//! The desk at a gateway on another machine.

use reqwest::StatusCode;

use super::{Means, hidden};
use crate::artifacts::http;
use crate::link::message::Secret;
use crate::link::ticket::{Answer, Ask, DeskError};

pub(super) async fn ask(means: Means<'_>, url: &Secret, ask: &Ask) -> Result<Answer, DeskError> {
    let request = means.http.post(&url.0).json(ask).timeout(means.times.stall_timeout);
    let answer = request.send().await.map_err(|error| DeskError::NotNow(hidden(error)))?;
    let status = answer.status();
    let text = http::read(answer).await.map_err(DeskError::NotNow)?;
    let said = || format!("the gateway answered {status}");
    match status {
        StatusCode::OK => serde_json::from_str(&text).map_err(|error| DeskError::NotNow(error.to_string())),
        StatusCode::GONE => Err(DeskError::Expired),
        StatusCode::NOT_FOUND => Err(DeskError::Gone(said())),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(DeskError::NotNow(said())),
        status if status.is_client_error() => Err(DeskError::Refused(said())),
        _ => Err(DeskError::NotNow(said())),
    }
}
