//! `/history` (PROTOCOL §4).

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::{App, crash, json, read_json};

/// `GET /history?max_items&offset`.
pub(super) async fn page(State(process): App, Query(query): Query<HashMap<String, String>>) -> Response {
    let whole = |name: &str| query.get(name).map(|text| text.parse::<i64>()).transpose();
    let (Ok(max_items), Ok(offset)) = (whole("max_items"), whole("offset")) else { return crash() };
    let entries = process.history().page(max_items, offset);
    let page: Map<String, Value> =
        entries.iter().map(|entry| (entry.item.prompt_id.clone(), entry.to_json())).collect();
    json(StatusCode::OK, &Value::Object(page))
}

/// `GET /history/{prompt_id}`: `{}` when unknown.
pub(super) async fn one(State(process): App, Path(prompt_id): Path<String>) -> Response {
    let entry = process.history().get(&prompt_id);
    let body = entry.map_or_else(|| json!({}), |entry| json!({&prompt_id: entry.to_json()}));
    json(StatusCode::OK, &body)
}

/// `POST /history`: `{"clear":true}` and `{"delete":[ids]}`.
pub(super) async fn change(State(process): App, body: Body) -> Response {
    let body = match read_json(body).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let mut history = process.history();
    if body["clear"] == true {
        history.clear();
    }
    for id in body["delete"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        history.remove(id);
    }
    StatusCode::OK.into_response()
}
