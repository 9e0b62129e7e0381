//! The store behind actix-web, by hand: what `oncekey::http` does for servers that speak `tower`, for one that does not.
//!
//! Goal: to be copied. A POST or PATCH has to bring an `Idempotency-Key`, runs its handler once, and its retries get the first
//! answer; refusals as draft-ietf-httpapi-idempotency-key-header-07 has them. Law: whose key it is has to be known (here by a
//! bearer token that nobody checks, so put yours); nothing is answered before it is on disk; and a client that hangs up
//! cancels nothing, since the handler runs in a task of its own (on its worker's thread: actix-web's handlers are not `Send`).
//!
//! What it leaves out of the layer: headers other than `Content-Type`, limits on bodies, streams, and waiting for those tasks
//! when the server ends. One that was cut off then has released its key, and its retry runs: derive what it calls from the key
//! ([`oncekey::Key::derive`]), as ever. The store waits for its own disk on threads of its own, so no worker is held up by that.

use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, rt, web};
use oncekey::{Answer, Outcome, Parameters, Replay, Reservation, Store, token_in_header};

/// How long a retry waits for the first request before it is told that this one still runs.
const WAIT: Duration = Duration::from_secs(2);
const KEY: &str = "idempotency-key";
const REPLAYED: (&str, &str) = ("Idempotency-Replayed", "true");

/// The middleware: `App::new().app_data(web::Data::new(store)).wrap(from_fn(idempotent))`.
///
/// # Errors
/// What the handler, or reading the body, says.
pub async fn idempotent<B: MessageBody + 'static>(
    store: web::Data<Store>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if ![Method::POST, Method::PATCH].contains(request.method()) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let Some(account) = header(&request, AUTHORIZATION.as_str()).and_then(|own| own.strip_prefix(b"Bearer "))
    else {
        return Ok(request.into_response(refusal(StatusCode::UNAUTHORIZED, "say who you are")));
    };
    let Some(token) = header(&request, KEY) else {
        return Ok(request.into_response(refusal(StatusCode::BAD_REQUEST, "send an Idempotency-Key")));
    };
    let key = match token_in_header(token).and_then(|token| store.key(account, token)) {
        Ok(key) => key,
        Err(error) => return Ok(request.into_response(refused(&error))),
    };
    let body = request.extract::<web::Bytes>().await?;
    let answer = {
        let is_json = header(&request, CONTENT_TYPE.as_str())
            .is_some_and(|own| own.to_ascii_lowercase().starts_with(b"application/json"));
        let parameters = Parameters::parts([
            ("method", Parameters::bytes(request.method().as_str().as_bytes())),
            ("path", Parameters::bytes(request.path().as_bytes())),
            ("query", Parameters::form(request.query_string().as_bytes())),
            ("body", if is_json { Parameters::json(&body) } else { Parameters::bytes(&body) }),
        ]);
        store.request(&key, &parameters).wait(WAIT).begin_async().await
    };
    match answer {
        Ok(Answer::Fresh(reservation)) => {
            request.set_payload(Payload::from(body));
            // Who hangs up drops this future, and not that task.
            let task = rt::spawn(run(reservation, request, next));
            task.await.map_err(actix_web::error::ErrorInternalServerError)?
        }
        Ok(Answer::Replay(replay)) => Ok(request.into_response(replayed(&replay))),
        Ok(_) => Ok(request.into_response(in_flight())),
        Err(error) => Ok(request.into_response(refused(&error))),
    }
}

/// Runs the handler and keeps its answer. An error or a panic drops the reservation: nothing is kept.
async fn run<B: MessageBody + 'static>(
    mut reservation: Reservation,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    reservation.keep_renewed();
    let (request, response) = next.call(request).await?.into_parts();
    let (head, body) = response.into_parts();
    let body =
        to_bytes(body).await.map_err(|error| actix_web::error::ErrorInternalServerError(error.into()))?;
    let mut outcome = Outcome::http(head.status().as_u16(), body.to_vec());
    if let Some(kind) = head.headers().get(CONTENT_TYPE).and_then(|own| own.to_str().ok()) {
        outcome = outcome.with_metadata(CONTENT_TYPE.as_str(), kind);
    }
    // By its status, what says *later* is not kept, and runs again (contract 4.2).
    let response = match reservation.complete_async(outcome).await {
        Ok(_) => head.set_body(body).map_into_boxed_body(),
        Err(failed) => refused(&failed.error),
    };
    Ok(ServiceResponse::new(request, response))
}

fn header<'a>(request: &'a ServiceRequest, name: &str) -> Option<&'a [u8]> {
    request.headers().get(name).map(|own| own.as_bytes())
}

fn replayed(replay: &Replay) -> HttpResponse {
    if replay.omitted().is_some() {
        return refusal(StatusCode::GONE, "it was processed, and its answer was not kept");
    }
    let outcome = replay.outcome();
    let status = outcome.status().and_then(|own| StatusCode::from_u16(own).ok());
    let mut response = HttpResponse::build(status.unwrap_or(StatusCode::OK));
    response.insert_header(REPLAYED);
    for (name, value) in outcome.metadata() {
        response.insert_header((name.as_str(), value.as_str()));
    }
    response.body(outcome.body().to_vec())
}

fn in_flight() -> HttpResponse {
    let mut response = refusal(StatusCode::CONFLICT, "it is being processed; send it again");
    response.headers_mut().insert(RETRY_AFTER, actix_web::http::header::HeaderValue::from_static("1"));
    response
}

/// What an error of the store is answered as. Its text never holds the client's bytes.
fn refused(error: &oncekey::Error) -> HttpResponse {
    if error.is_mismatch() {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string());
    }
    if error.is_in_flight() || error.is_reservation_lost() {
        return in_flight();
    }
    if error.is_bad_input() {
        return refusal(StatusCode::BAD_REQUEST, &error.to_string());
    }
    refusal(StatusCode::SERVICE_UNAVAILABLE, "send the same request again later")
}

/// Problem details (RFC 9457).
fn refusal(status: StatusCode, detail: &str) -> HttpResponse {
    let problem = serde_json::json!({ "title": status.canonical_reason(), "status": status.as_u16(), "detail": detail });
    HttpResponse::build(status).content_type("application/problem+json").body(problem.to_string())
}
