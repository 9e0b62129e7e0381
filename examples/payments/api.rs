//! Routes, the layer's settings, and who is asking.
//!
//! Law: the order of the layers. Trouble (tests alone) is outermost; then the account, or 401; then the keys; then the handlers.
//! The scope is the account that was found, never a default: what came so far without one is refused by the layer too.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use oncekey::Store;
use oncekey::http::{Attempt, IdempotencyLayer, Scope};
use serde_json::{Value, json};

use crate::operator::{self, Operator};
use crate::payment::{Operation, Shop};
use crate::stripe::{Failure, Fields};
use crate::trouble::{self, Trouble};

/// Most charges in one list.
const LIST_MAX: usize = 100;

/// Whose request it is.
#[derive(Clone)]
pub(crate) struct Account(pub(crate) String);

/// The layer as this server wants it. The answers that are kept: what was done, and what the bank declined. A request that
/// failed its checks has not begun, and a corrected one may use its key (as Stripe has it); a 5xx may be sent again, since the
/// bank knows its token.
pub(crate) fn layer(store: &Store) -> oncekey::Result<IdempotencyLayer> {
    let scope = Scope::of_request(|head| head.extensions.get::<Account>().map(|own| own.0.clone()));
    IdempotencyLayer::stripe(store.clone(), scope)
        .keep_statuses(|status| status.is_success() || status == StatusCode::PAYMENT_REQUIRED)
        .build()
}

pub(crate) fn router(shop: Shop, layer: IdempotencyLayer, operator: Operator, trouble: Trouble) -> Router {
    let shop = Arc::new(shop);
    let served = Router::new()
        .route("/v1/customers", post(create_customer))
        .route("/v1/payment_intents", post(create_payment_intent))
        .route("/v1/{kind}/{id}", get(retrieve))
        .route("/v1/charges", get(list_charges))
        .route_layer(layer)
        .fallback(unknown)
        .with_state(Arc::clone(&shop))
        .layer(middleware::from_fn(authenticate))
        .layer(middleware::from_fn_with_state(Arc::new(trouble), trouble::make));
    operator::router(shop, operator).merge(served)
}

/// The secret that a request bears.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

async fn authenticate(mut request: Request, next: Next) -> Response {
    let is_name = |own: &&str| {
        (1..=64).contains(&own.len()) && own.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let name = bearer(request.headers()).and_then(|own| own.strip_prefix("sk_test_")).filter(is_name);
    let Some(account) = name.map(|own| Account(own.to_owned())) else {
        return Failure::unauthorized().into_response();
    };
    request.extensions_mut().insert(account);
    next.run(request).await
}

type Created = Result<Json<Value>, Failure>;
type Asked = (State<Arc<Shop>>, Extension<Account>, Option<Extension<Attempt>>);

async fn create_customer((State(shop), Extension(account), attempt): Asked, fields: Fields) -> Created {
    let operation = Operation::of(account, attempt.map(|Extension(own)| own));
    blocking(move || shop.create_customer(&operation, &fields)).await
}

async fn create_payment_intent((State(shop), Extension(account), attempt): Asked, fields: Fields) -> Created {
    let operation = Operation::of(account, attempt.map(|Extension(own)| own));
    blocking(move || shop.pay(&operation, &fields)).await
}

async fn retrieve(
    State(shop): State<Arc<Shop>>,
    Extension(account): Extension<Account>,
    Path((kind, id)): Path<(String, String)>,
) -> Created {
    let found = shop.book.get(&account.0, &id).filter(|own| own["object"] == kind.trim_end_matches('s'));
    found.map(Json).ok_or_else(|| Failure::not_found(&id))
}

async fn list_charges(State(shop): State<Arc<Shop>>, Extension(account): Extension<Account>) -> Json<Value> {
    let charges = shop.bank.charges(&account.0);
    let newest: Vec<_> = charges.iter().rev().take(LIST_MAX).collect();
    Json(json!({
        "object": "list",
        "url": "/v1/charges",
        "has_more": charges.len() > newest.len(),
        "total_count": charges.len(),
        "data": newest,
    }))
}

async fn unknown(request: Request<Body>) -> Failure {
    Failure::not_found(request.uri().path())
}

/// Files are synced on a thread for that, so that the others go on answering.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<Json<T>, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::internal())?.map(Json)
}
