//! Trouble for tests: answers that are lost and requests that are refused before they run, as the environment says.
//!
//! Law: without the variable there is none. `PAYMENTS_TROUBLE=503,lose` says what becomes of the tries of *each* key in their
//! order: the first is answered 503 and does not run, the second runs and its answer is lost with its connection, the third and
//! all later ones are served (`ok` serves one in between). `PAYMENTS_BANK_MILLIS` is how long the bank takes to answer.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::stripe::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Refuse,
    Lose,
    Serve,
}

#[derive(Default)]
pub(crate) struct Trouble {
    plan: Vec<Kind>,
    /// How often each account sent each key.
    tries: Mutex<BTreeMap<Vec<Vec<u8>>, usize>>,
}

impl Trouble {
    pub(crate) fn of_environment() -> Result<Self, String> {
        match std::env::var("PAYMENTS_TROUBLE") {
            Ok(plan) => Self::planned(&plan),
            Err(_) => Ok(Self::default()),
        }
    }

    fn planned(text: &str) -> Result<Self, String> {
        let kind = |word| match word {
            "503" => Ok(Kind::Refuse),
            "lose" => Ok(Kind::Lose),
            "ok" => Ok(Kind::Serve),
            other => Err(format!("PAYMENTS_TROUBLE has 503, lose and ok, and not {other:?}")),
        };
        let plan = text.split(',').map(kind).collect::<Result<_, _>>()?;
        Ok(Self { plan, ..Self::default() })
    }

    fn next(&self, request: &Request) -> Kind {
        let header = |name: &str| request.headers().get(name).map(|own| own.as_bytes().to_vec());
        let (Some(key), false) = (header("idempotency-key"), self.plan.is_empty()) else {
            return Kind::Serve;
        };
        let key = vec![header(AUTHORIZATION.as_str()).unwrap_or_default(), key];
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let count = tries.entry(key).or_default();
        *count += 1;
        self.plan.get(*count - 1).copied().unwrap_or(Kind::Serve)
    }
}

/// How long the bank takes to answer.
pub(crate) fn bank_delay() -> Result<Duration, String> {
    let Ok(text) = std::env::var("PAYMENTS_BANK_MILLIS") else { return Ok(Duration::ZERO) };
    text.parse().map(Duration::from_millis).map_err(|_| "PAYMENTS_BANK_MILLIS is a number".to_owned())
}

pub(crate) async fn make(State(trouble): State<Arc<Trouble>>, request: Request, next: Next) -> Response {
    match trouble.next(&request) {
        Kind::Refuse => Failure::unavailable().into_response(),
        Kind::Serve => next.run(request).await,
        Kind::Lose => {
            drop(next.run(request).await);
            // The connection's task ends here, and the connection with it, without a byte of an answer.
            resume_unwind(Box::new("the answer is lost"))
        }
    }
}

#[test]
fn a_plan_is_followed_by_each_key_of_each_account_apart() {
    let trouble = Trouble::planned("503,lose").expect("a plan");
    let request = |account: &str, key: &str| {
        let builder = Request::builder().header(AUTHORIZATION, account).header("idempotency-key", key);
        builder.body(axum::body::Body::empty()).expect("a request")
    };
    for (account, key) in [("a", "k"), ("a", "l"), ("b", "k")] {
        let kinds = [0; 3].map(|_| trouble.next(&request(account, key)));
        assert_eq!(kinds, [Kind::Refuse, Kind::Lose, Kind::Serve]);
    }
    assert_eq!(trouble.next(&Request::new(axum::body::Body::empty())), Kind::Serve, "it has no key");
    assert!(Trouble::planned("503,often").is_err());
}
