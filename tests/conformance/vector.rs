//! The vectors as they stand in the files (README.md, schema 1), read strictly: an unknown member is an error. Steps are
//! written again as they were read, but for what they expect, so that a store can be asked over a line.

use std::borrow::Cow;
use std::collections::BTreeMap;

use oncekey::{DigestRules, OnInterrupted, Outcome, Parameters, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The schema that this runner reads.
pub(crate) const SCHEMA: u32 = 1;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) schema: u32,
    pub(crate) about: String,
    pub(crate) scenarios: Vec<Scenario>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) rules: Vec<String>,
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    #[serde(default)]
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<Step>,
}

/// What differs from a store's defaults.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) token_bytes_max: Option<usize>,
    pub(crate) scope_bytes_max: Option<usize>,
    pub(crate) retention_ms: Option<u64>,
    pub(crate) lease_ms: Option<u64>,
    pub(crate) relaxed: Option<bool>,
    pub(crate) outcome_bytes_max: Option<u64>,
    pub(crate) declared_outcome_bytes: Option<u64>,
    pub(crate) parameter_count_max: Option<u64>,
    pub(crate) parameter_bytes_max: Option<u64>,
    pub(crate) live_reservations_max: Option<u64>,
    pub(crate) live_reservations_per_scope_max: Option<u64>,
    pub(crate) waiters_per_key_max: Option<u64>,
    pub(crate) kept_records_max: Option<u64>,
    pub(crate) kept_bytes_max: Option<u64>,
    pub(crate) kept_records_per_scope_max: Option<u64>,
    pub(crate) kept_bytes_per_scope_max: Option<u64>,
    pub(crate) clock_jump_max_ms: Option<u64>,
    pub(crate) accept_clock_jump: Option<bool>,
    pub(crate) start_durably: Option<bool>,
    pub(crate) on_interrupted: Option<Policy>,
    pub(crate) checkpoint_bytes_max: Option<u64>,
    pub(crate) rules: Option<Rules>,
    pub(crate) explain_mismatches: Option<bool>,
    /// No part of the vectors.
    #[serde(skip)]
    pub(crate) tuning: Tuning,
}

/// How a store is laid out inside, which changes no answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tuning {
    pub(crate) stripes: Option<usize>,
    pub(crate) recent_bytes_max: Option<u64>,
    pub(crate) segment_bytes_max: Option<u64>,
}

/// What is answered for an interrupted key (3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Policy {
    Resume,
    Refuse,
}

impl Policy {
    pub(crate) fn to_on_interrupted(self) -> OnInterrupted {
        match self {
            Self::Resume => OnInterrupted::Resume,
            Self::Refuse => OnInterrupted::Refuse,
        }
    }
}

/// Which names are excluded from digests (2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rules {
    #[default]
    None,
    CloudApi,
    Exclude(Vec<String>),
}

impl Rules {
    fn exclude(&self, name: &str) -> bool {
        self.to_digest_rules().names().any(|own| own == name)
    }

    pub(crate) fn to_digest_rules(&self) -> DigestRules {
        match self {
            Self::None => DigestRules::none(),
            Self::CloudApi => DigestRules::cloud_api(),
            Self::Exclude(names) => DigestRules::excluding(names),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Do {
    Begin,
    Wait,
    GiveUp,
    Complete,
    CompleteWithoutBody,
    FailCommit,
    Renew,
    Release,
    Drop,
    Panic,
    Checkpoint,
    Resolve,
    Get,
    Forget,
    Sweep,
    Flush,
    Usage,
    Derive,
    Advance,
    SetWall,
    Crash,
    Close,
    Reopen,
}

/// One step: what is done, with what, and what is to be seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    #[serde(rename = "do")]
    pub(crate) action: Do,
    pub(crate) key: Option<(Bytes, Bytes)>,
    pub(crate) label: Option<Bytes>,
    pub(crate) parameters: Option<Given>,
    #[serde(rename = "as")]
    pub(crate) name: Option<String>,
    pub(crate) reservation: Option<String>,
    pub(crate) waiter: Option<String>,
    pub(crate) first_sent: Option<u64>,
    pub(crate) lease_ms: Option<u64>,
    pub(crate) retention_ms: Option<u64>,
    pub(crate) declared_bytes: Option<u64>,
    pub(crate) relaxed: Option<bool>,
    pub(crate) start_durably: Option<bool>,
    pub(crate) on_interrupted: Option<Policy>,
    pub(crate) note: Option<Bytes>,
    pub(crate) patience_ms: Option<u64>,
    pub(crate) outcome: Option<GivenOutcome>,
    pub(crate) on_disk: Option<OnDisk>,
    pub(crate) ms: Option<u64>,
    pub(crate) wall: Option<u64>,
    pub(crate) survivors: Option<usize>,
    pub(crate) settings: Option<Settings>,
    #[serde(skip_serializing)]
    pub(crate) expect: Option<Value>,
    #[serde(default, skip_serializing)]
    pub(crate) expect_any: Vec<Value>,
    #[serde(default, skip_serializing)]
    pub(crate) woken: Vec<WokenRule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnDisk {
    Kept,
    Lost,
}

/// Who is to be woken by a step, and with what. One of the three lists is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WokenRule {
    #[serde(default)]
    pub(crate) one_of: Vec<String>,
    #[serde(default)]
    pub(crate) all_of: Vec<String>,
    #[serde(default)]
    pub(crate) rest_of: Vec<String>,
    #[serde(rename = "as")]
    pub(crate) name: Option<String>,
    pub(crate) expect: Value,
}

/// Bytes: text as itself, others in hexadecimal, long ones by repetition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Bytes {
    Text(String),
    Other(OtherBytes),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OtherBytes {
    Hex(String),
    Repeat(String, usize),
    Concat(Vec<Bytes>),
}

impl Bytes {
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Other(OtherBytes::Hex(digits)) => unhex(digits),
            Self::Other(OtherBytes::Repeat(text, times)) => text.repeat(*times).into_bytes(),
            Self::Other(OtherBytes::Concat(parts)) => parts.iter().flat_map(Self::to_vec).collect(),
        }
    }
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hexadecimal digits"))
        .collect()
}

/// The parameters of a request, in one of their forms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Given {
    Pairs { pairs: Vec<(String, Bytes)> },
    Query { query: String },
    Form { form: String },
    Json { json: Bytes },
    Bytes { bytes: Bytes },
    Value { value: Value },
    Ready { digest_of: Box<Given>, rules: Option<Rules> },
}

impl Given {
    /// Them as the crate's parameters; `rules` are the settings' where a ready-made digest names none.
    pub(crate) fn to_parameters(&self, rules: &Rules) -> Result<Parameters<'static>> {
        Ok(match self {
            Self::Pairs { pairs } => {
                Parameters::pairs(pairs.iter().map(|(name, value)| (Cow::from(name.clone()), value.to_vec())))
            }
            Self::Query { query } => Parameters::query(query).into_owned(),
            Self::Form { form } => Parameters::form(form.as_bytes()).into_owned(),
            Self::Json { json } => Parameters::json(&json.to_vec()).into_owned(),
            Self::Bytes { bytes } => Parameters::bytes(&bytes.to_vec()).into_owned(),
            Self::Value { value } => Parameters::of(value)?,
            Self::Ready { digest_of, rules: own } => {
                let rules = own.as_ref().unwrap_or(rules);
                Parameters::digest(digest_of.to_parameters(rules)?.digest_under(&rules.to_digest_rules())?)
            }
        })
    }

    /// Name and canonical values of each, of those forms that have names (2.6): pairs as they are, a member's value as
    /// canonical text.
    pub(crate) fn named(&self, rules: &Rules) -> Option<BTreeMap<String, Vec<String>>> {
        let (kind, pairs): (_, Vec<(String, String)>) = match self {
            Self::Pairs { pairs } => (
                "pair",
                pairs.iter().map(|(name, value)| (name.clone(), format!("{:?}", value.to_vec()))).collect(),
            ),
            Self::Query { query: text } | Self::Form { form: text } => {
                let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
                ("pair", pairs.map(|(name, value)| (name, format!("{:?}", value.as_bytes()))).collect())
            }
            Self::Json { json } => {
                let read: Value = serde_json::from_slice(&json.to_vec()).ok()?;
                let text =
                    |value: &Value| serde_json_canonicalizer::to_string(value).expect("canonical text");
                (
                    "member",
                    read.as_object()?.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
                )
            }
            Self::Bytes { .. } | Self::Value { .. } | Self::Ready { .. } => return None,
        };
        let mut named = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in pairs.into_iter().filter(|(name, _)| !rules.exclude(name)) {
            named.entry(name).or_insert_with(|| vec![kind.to_owned()]).push(value);
        }
        Some(named)
    }

    /// How many they are and how many bytes they have, as far as the limits of 8.1 are tried by a vector.
    pub(crate) fn measure(&self) -> (u64, u64) {
        match self {
            Self::Pairs { pairs } => {
                let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.to_vec().len()).sum();
                (pairs.len() as u64, bytes as u64)
            }
            Self::Bytes { bytes } | Self::Json { json: bytes } => (0, bytes.to_vec().len() as u64),
            _ => (0, 0),
        }
    }
}

/// What an operation returned.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenOutcome {
    status: Option<u16>,
    body: Bytes,
    #[serde(default)]
    metadata: Vec<(String, String)>,
    code: Option<String>,
    class: Option<GivenClass>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GivenClass {
    Final,
    Retryable,
}

impl GivenOutcome {
    pub(crate) fn to_outcome(&self) -> Outcome {
        let body = self.body.to_vec();
        let mut outcome = match self.status {
            Some(status) => Outcome::http(status, body),
            None => Outcome::new(body),
        };
        for (name, value) in &self.metadata {
            outcome = outcome.with_metadata(name, value);
        }
        if let Some(code) = &self.code {
            outcome = outcome.with_code(code);
        }
        match self.class {
            None => outcome,
            Some(GivenClass::Final) => outcome.finally(),
            Some(GivenClass::Retryable) => outcome.retryable(),
        }
    }
}
