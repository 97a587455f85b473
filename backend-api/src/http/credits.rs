//! A person's credits.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;
use uuid::Uuid;

use super::door::{Door, Rate};
use super::doors::Table;
use super::orders::{Page, timestamp};
use super::{ApiError, AppState, Caller};

pub(super) fn doors(table: &mut Table) {
    table.add(Door::user(Rate::Read), routes!(read));
}

/// Your credits and what happened to them.
#[derive(Serialize, ToSchema)]
struct CreditsView {
    /// May be spent.
    available: i64,
    /// Held by pictures that are being made.
    held: i64,
    /// Newest first.
    entries: Vec<EntryView>,
}

/// One change of your credits.
#[derive(Serialize, ToSchema)]
struct EntryView {
    /// A page ends before one; the two lines of one change share it.
    id: Uuid,
    /// `grant`, `purchase`, `hold`, `settle`, `release`, `reclaim` or `restore`.
    kind: String,
    /// `available` or `held`.
    account: String,
    /// Into it, or out of it when negative.
    amount: i64,
    /// The order, refund or picture.
    subject: Option<Uuid>,
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
}

/// Your credits.
#[utoipa::path(get, path = "/credits", tag = "money", params(Page), responses(
    (status = 200, description = "Balance and a page of changes.", body = CreditsView)))]
async fn read(
    State(state): State<AppState>,
    caller: Caller,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<CreditsView>, ApiError> {
    let Query(page) = page?;
    let ledger = &state.money.ledger;
    let balance = ledger.balance(caller.user).await?;
    let lines = ledger.lines(caller.user, page.before(), page.limit()?).await?;
    let entries = lines.into_iter().map(|line| EntryView {
        id: line.posting,
        kind: line.kind,
        account: line.account,
        amount: line.amount,
        subject: line.subject,
        at: timestamp(line.at),
    });
    Ok(Json(CreditsView {
        available: balance.available.get(),
        held: balance.held.get(),
        entries: entries.collect(),
    }))
}
