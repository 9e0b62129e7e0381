//! What the operator asks of the running server: a backup, and the layer's counts.
//!
//! Law: one process owns a store, so the one that owns it makes the backup. Where it goes was said on the command line and
//! never by a request. The store is copied before the book: a token that the copy does not know runs again, and finds its
//! payment; one whose payment were missing would be answered with it.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use oncekey::Token;
use oncekey::http::IdempotencyLayer;
use serde_json::{Value, json};

use crate::api::{bearer, blocking};
use crate::payment::Shop;
use crate::stripe::Failure;

pub(crate) struct Operator {
    /// Made anew at each start, and printed.
    key: String,
    backups: Option<PathBuf>,
    layer: IdempotencyLayer,
}

impl Operator {
    pub(crate) fn new(backups: Option<PathBuf>, layer: IdempotencyLayer) -> Self {
        Self { key: format!("op_{}", Token::random().as_str()), backups, layer }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

type Shared = Arc<(Arc<Shop>, Operator)>;

pub(crate) fn router(shop: Arc<Shop>, operator: Operator) -> Router {
    let shared: Shared = Arc::new((shop, operator));
    Router::new()
        .route("/operator/counts", get(counts))
        .route("/operator/backups", post(back_up))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shared), authenticate))
        .with_state(shared)
}

async fn authenticate(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    if bearer(request.headers()) == Some(shared.1.key()) {
        return next.run(request).await;
    }
    Failure::unauthorized().into_response()
}

async fn counts(State(shared): State<Shared>) -> Json<Value> {
    let counts = shared.1.layer.counts();
    Json(json!({
        "ran": counts.ran,
        "replayed": counts.replayed,
        "in_flight": counts.in_flight,
        "mismatches": counts.mismatches,
        "running": shared.1.layer.drain().running(),
    }))
}

/// Makes a backup beside those that are there; its name is the next number.
async fn back_up(State(shared): State<Shared>) -> Result<Json<Value>, Failure> {
    let Some(backups) = shared.1.backups.clone() else { return Err(Failure::not_found("backups")) };
    blocking(move || {
        std::fs::create_dir_all(&backups)?;
        let mut number = 1;
        let directory = loop {
            let directory = backups.join(number.to_string());
            match std::fs::create_dir(&directory) {
                Ok(()) => break directory,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error.into()),
            }
        };
        shared.0.store.backup(directory.join("tokens"))?;
        shared.0.book.copy(&directory)?;
        Ok(json!({ "object": "backup", "name": number.to_string() }))
    })
    .await
}
