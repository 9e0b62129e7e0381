//! The actions, and how each is done once.
//!
//! Law, in the order in which a request meets it:
//!
//! 1. **Nonce.** A nonce that its account has used is refused: it guards against an attacker who sends a recorded
//!    request again, as the token guards against a client who has to. So a nonce is taken before anything else is
//!    looked at, also by a request that is then refused.
//! 2. **Token.** An action that changes something runs under its client token: the first request runs it, every
//!    retry gets the first answer, byte for byte, with the request id of the first (what a client would find in
//!    the first one's log). Without a token it runs every time. Reading needs no token.
//! 3. **Refusals that would come again** (a size that is no number) are answers like any other: kept, and replayed.
//!
//! Nonces live in the same store under scopes of their own. How durable has a nonce to be? A request with a token
//! needs no nonce to be safe: sent again, by whomever, it changes nothing; and one that only reads changes nothing
//! at all. For these the nonce is written lazily, and a crash may forget the last of them. A nonce that alone
//! stands between a recorded request and a second group is on disk before the group is made.

use std::io;
use std::path::Path;
use std::time::Duration;

use oncekey::{Answer as Begun, DigestRules, Key, Outcome, Parameters, Replay, Reservation, Store};
use serde::Serialize;

use crate::answer::{Answer, Refusal, request_id};
use crate::call::{CLIENT_TOKEN, Call, invalid, missing};
use crate::groups::{Created, Group, Groups, Origin, Wanted};

/// How long an answer is kept for retries.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a nonce counts as used: as long as the vendor accepts a timestamp.
const NONCE_RETENTION: Duration = Duration::from_secs(15 * 60);
/// How long a retry waits for the first request before it is told that this one still runs.
const WAIT: Duration = Duration::from_secs(2);

/// The version of the API whose lists stand by themselves; in the older one each is wrapped in an object.
const VERSION_OF_PLAIN_LISTS: &str = "2022-02-22";
/// Most instances of a group, as the vendor has it.
const SIZE_MAX: u32 = 2000;
/// Most characters of a group's name, as the vendor has it.
const NAME_CHARACTERS_MAX: usize = 64;
/// Groups on a page where the request does not say, and at most.
const PAGE_SIZE_DEFAULT: u32 = 10;
const PAGE_SIZE_MAX: u32 = 50;

/// The service. Shared by all threads.
pub(crate) struct Api {
    store: Store,
    groups: Groups,
}

impl Api {
    /// Opens what `dir` holds, or makes it. The store comes first: it lets one process in at a time.
    pub(crate) fn open(dir: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        std::fs::create_dir_all(dir)?;
        let store =
            Store::builder().rules(DigestRules::cloud_api()).retention(RETENTION).open(dir.join("tokens"))?;
        let groups = Groups::open(&dir.join("groups.log"), RETENTION)?;
        Ok(Self { store, groups })
    }

    /// Lets the requests that run finish, for `limit` at most, and closes the store.
    pub(crate) fn close(&self, limit: Duration) -> oncekey::Result<()> {
        self.store.clone().close(limit)
    }

    /// Does what `call` asks.
    pub(crate) fn answer(&self, call: &Call) -> Answer {
        self.act(call).unwrap_or_else(Answer::from)
    }

    fn act(&self, call: &Call) -> Result<Answer, Refusal> {
        let token = call.parameter(CLIENT_TOKEN)?;
        let creates = call.action == "CreateScalingGroup";
        self.take_nonce(call, creates && token.is_none())?;
        match (call.action.as_str(), token) {
            ("CreateScalingGroup", Some(token)) => self.create_once(call, token),
            ("CreateScalingGroup", None) => self.create(call, None),
            ("DescribeScalingGroups", _) => self.describe(call),
            _ => Err(Refusal::new(404, "InvalidApi.NotFound", "The specified API is not found.")),
        }
    }

    /// Takes the nonce, if the request has one, for as long as it could be sent again.
    fn take_nonce(&self, call: &Call, durable: bool) -> Result<(), Refusal> {
        let Some(nonce) = &call.nonce else { return Ok(()) };
        let key = Key::new(format!("nonce/{}", call.account), nonce)
            .map_err(|_| invalid("SignatureNonce", "it must have 1 to 64 ASCII characters"))?;
        let parameters = Parameters::none();
        let request = self.store.request(&key, &parameters).retention(NONCE_RETENTION);
        let request = if durable { request.durable() } else { request.relaxed() };
        match request.begin()? {
            Begun::Fresh(reservation) => {
                reservation.complete(Outcome::new("")).map_err(|refused| Refusal::from(refused.error))?;
                Ok(())
            }
            _ => Err(Refusal::new(400, "SignatureNonceUsed", "Specified signature nonce was used already.")),
        }
    }

    /// Creates a group, once for the token.
    fn create_once(&self, call: &Call, token: &str) -> Result<Answer, Refusal> {
        let key = self.store.key(format!("account/{}", call.account), token)?;
        let parameters = digested(call);
        match self.store.request(&key, &parameters).wait(WAIT).begin()? {
            Begun::Fresh(reservation) => self.create_and_record(call, reservation),
            Begun::Replay(replay) => Ok(replayed(&replay)),
            _ => Err(Refusal::in_flight()),
        }
    }

    /// Creates a group and records the answer. An early return drops the reservation: nothing is recorded, and the
    /// client's next try runs afresh.
    fn create_and_record(&self, call: &Call, reservation: Reservation) -> Result<Answer, Refusal> {
        let token = reservation.key().token().to_owned();
        let origin = Origin { token, since_millis: reservation.since().as_millis() };
        let answer = self.create(call, Some(origin))?;
        let outcome = Outcome::http(answer.status, answer.body.clone());
        reservation.complete(outcome).map_err(|refused| Refusal::from(refused.error))?;
        Ok(answer)
    }

    /// Creates a group: at most once for an origin, and every time where there is none.
    ///
    /// An answer, be it a refusal, would come again and may be recorded. An error says nothing of the next try.
    fn create(&self, call: &Call, origin: Option<Origin>) -> Result<Answer, Refusal> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body {
            scaling_group_id: String,
            request_id: String,
        }
        let wanted = wanted(call);
        match self.groups.create(&call.account, origin, wanted.as_ref().ok().cloned()) {
            Ok(Created::Group(id)) => {
                Ok(Answer::ok(&Body { scaling_group_id: id, request_id: request_id() }))
            }
            Ok(Created::Nothing) => Ok(wanted.err().unwrap_or_else(Refusal::internal).into()),
            Ok(Created::Mismatch) => Err(Refusal::mismatch()),
            Err(error) => Err(log_failed(&error)),
        }
    }

    /// A page of the caller's own groups.
    fn describe(&self, call: &Call) -> Result<Answer, Refusal> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body {
            total_count: usize,
            page_number: u32,
            page_size: u32,
            request_id: String,
            scaling_groups: List,
        }
        #[derive(Serialize)]
        #[serde(untagged)]
        enum List {
            Plain(Vec<Described>),
            #[serde(rename_all = "PascalCase")]
            Nested {
                scaling_group: Vec<Described>,
            },
        }
        let page_number = number(call, "PageNumber", 1..=u32::MAX)?.unwrap_or(1);
        let page_size = number(call, "PageSize", 1..=PAGE_SIZE_MAX)?.unwrap_or(PAGE_SIZE_DEFAULT);
        let (total_count, page) = self.groups.page(&call.account, page_number as usize, page_size as usize);
        let scaling_group = page.iter().map(Described::from).collect();
        let scaling_groups = match call.parameter("Version")? {
            Some(VERSION_OF_PLAIN_LISTS) => List::Plain(scaling_group),
            _ => List::Nested { scaling_group },
        };
        let request_id = request_id();
        Ok(Answer::ok(&Body { total_count, page_number, page_size, request_id, scaling_groups }))
    }
}

/// The parameters, all of them: what never counts for a retry is left out by the store's rules.
fn digested(call: &Call) -> Parameters<'_> {
    Parameters::pairs(call.parameters.iter().map(|(name, value)| (name, value)))
}

/// A group as a client sees it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    scaling_group_id: String,
    scaling_group_name: String,
    min_size: u32,
    max_size: u32,
}

impl From<&Group> for Described {
    fn from(group: &Group) -> Self {
        let (min_size, max_size) = group.sizes();
        Self {
            scaling_group_id: group.id.clone(),
            scaling_group_name: group.name().to_owned(),
            min_size,
            max_size,
        }
    }
}

/// The group that the parameters ask for.
fn wanted(call: &Call) -> Result<Wanted, Refusal> {
    let min_size = number(call, "MinSize", 0..=SIZE_MAX)?.ok_or_else(|| missing("MinSize"))?;
    let max_size = number(call, "MaxSize", 0..=SIZE_MAX)?.ok_or_else(|| missing("MaxSize"))?;
    if min_size > max_size {
        return Err(invalid("MinSize", "it is greater than MaxSize"));
    }
    let name = call.parameter("ScalingGroupName")?;
    if name.is_some_and(|name| name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX) {
        return Err(invalid("ScalingGroupName", format!("a name has 1 to {NAME_CHARACTERS_MAX} characters")));
    }
    Ok(Wanted { name: name.map(str::to_owned), min_size, max_size })
}

/// The value of a parameter that is a whole number in `range`, in digits alone.
fn number(call: &Call, name: &str, range: std::ops::RangeInclusive<u32>) -> Result<Option<u32>, Refusal> {
    let Some(text) = call.parameter(name)? else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().ok().filter(|value| digits && range.contains(value));
    let rule = || invalid(name, format!("it must be a number from {} to {}", range.start(), range.end()));
    value.map(Some).ok_or_else(rule)
}

/// The first answer, byte for byte.
fn replayed(replay: &Replay) -> Answer {
    let outcome = replay.outcome();
    Answer { status: outcome.status().unwrap_or(200), body: outcome.body().to_vec(), replayed: true }
}

/// The group's line may be on disk or not: only a restart can tell, and the client's retry will then find out.
fn log_failed(error: &io::Error) -> Refusal {
    eprintln!("groups: {error}; nothing more is created until the server is started again");
    Refusal::internal()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(parameters: &[(&str, &str)]) -> Call {
        let given = [("Action", "CreateScalingGroup"), ("MinSize", "1"), ("MaxSize", "3")];
        let given = given.iter().filter(|(name, _)| !parameters.iter().any(|(other, _)| other == name));
        Call {
            account: "AK".into(),
            action: "CreateScalingGroup".into(),
            nonce: None,
            parameters: given.chain(parameters).map(|&(name, value)| (name.into(), value.into())).collect(),
        }
    }

    fn code(answer: &Answer) -> String {
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        body["Code"].as_str().unwrap_or_default().to_owned()
    }

    /// The group of `token`, as a run leaves it that ended before its answer was recorded.
    fn leave_behind(api: &Api, token: &str) -> String {
        let key = api.store.key("account/AK", token).unwrap();
        let parameters = Parameters::none();
        let Begun::Fresh(reservation) = api.store.begin(&key, &parameters).unwrap() else {
            panic!("it is new")
        };
        let origin = Origin { token: token.to_owned(), since_millis: reservation.since().as_millis() };
        let wanted = Wanted { name: None, min_size: 1, max_size: 3 };
        match api.groups.create("AK", Some(origin), Some(wanted)).unwrap() {
            Created::Group(id) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_retry_after_a_crash_between_group_and_record_gets_the_group_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let api = Api::open(dir.path()).unwrap();
        let id = leave_behind(&api, "t");

        let changed = api.answer(&call(&[("ClientToken", "t"), ("MaxSize", "4")]));
        assert_eq!(code(&changed), "IdempotentParameterMismatch");
        let impossible = api.answer(&call(&[("ClientToken", "t"), ("MinSize", "4")]));
        assert_eq!(code(&impossible), "IdempotentParameterMismatch");

        let honest = api.answer(&call(&[("ClientToken", "t")]));
        assert_eq!((honest.status, honest.replayed), (200, false), "the mismatches were not recorded");
        assert!(String::from_utf8(honest.body.clone()).unwrap().contains(&id));
        let again = api.answer(&call(&[("ClientToken", "t")]));
        assert_eq!(again, Answer { replayed: true, ..honest });
        assert_eq!(api.groups.page("AK", 1, 10).0, 1);
    }

    #[test]
    fn while_the_first_request_runs_a_retry_waits_and_is_then_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let api = Api::open(dir.path()).unwrap();
        let first = call(&[("ClientToken", "t")]);
        let key = api.store.key("account/AK", "t").unwrap();
        let parameters = digested(&first);
        let running = api.store.begin(&key, &parameters).unwrap();
        assert!(matches!(running, Begun::Fresh(_)));
        let retry = api.answer(&first);
        assert_eq!((retry.status, code(&retry)), (403, "IdempotentProcessing".into()));
        drop(running);
        assert_eq!(api.answer(&first).status, 200);
    }

    #[test]
    fn sizes_are_whole_numbers_in_digits_and_in_order() {
        for (min, max) in
            [("4", "3"), ("", "3"), ("+1", "3"), (" 1", "3"), ("1.0", "3"), ("1", "2001"), ("-1", "3")]
        {
            assert_eq!(
                wanted(&call(&[("MinSize", min), ("MaxSize", max)])).unwrap_err().code,
                "InvalidParameter"
            );
        }
        assert!(wanted(&call(&[("MinSize", "0"), ("MaxSize", "2000")])).is_ok());
    }
}
