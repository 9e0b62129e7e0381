//! A store behind a line protocol, as a subject of the conformance vectors.
//!
//! Law: one request, one answer, each a JSON object on a line. What the store does not offer it says itself; a store that
//! answers no JSON, nothing at all, or not in time ends the check with a sentence that says which request it was.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use oncekey::{Outcome, Timestamp, classify};
use serde_json::{Value, json};

use crate::runner;
use crate::subject::{self, Subject};
use crate::vector::{OnDisk, Scenario, Settings, Step};

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What came of a scenario.
pub(crate) enum Ran {
    Held,
    Broken(String),
    /// It needs what the store does not offer.
    Skipped(String),
}

pub(crate) struct Remote {
    to: Box<dyn Write>,
    from: Receiver<String>,
    child: Option<Child>,
    offers: BTreeSet<String>,
    /// A word that the store answered with *unsupported*, since the last scenario began.
    lacking: Option<String>,
    /// Why it can't be asked any more.
    failed: Option<String>,
}

impl Remote {
    pub(crate) fn start(command: &[String]) -> Result<Self, String> {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", command[0]))?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let (to, from) = (to.expect("it is piped"), from.expect("it is piped"));
        let mut remote = Self::over(Box::new(to), from);
        remote.child = Some(child);
        remote.meet()?;
        Ok(remote)
    }

    /// A store of this crate, served by a thread of this process.
    #[cfg(test)]
    pub(crate) fn serving(whom: &str) -> Self {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let whom = whom.to_owned();
        std::thread::spawn(move || {
            let requests = BufReader::new(theirs.try_clone().unwrap());
            crate::serve::answer_all(&whom, requests, theirs)
        });
        let mut remote = Self::over(Box::new(ours.try_clone().unwrap()), ours);
        remote.meet().unwrap();
        remote
    }

    fn over(to: Box<dyn Write>, from: impl std::io::Read + Send + 'static) -> Self {
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        let (child, offers, lacking, failed) = (None, BTreeSet::new(), None, None);
        Self { to, from: told, child, offers, lacking, failed }
    }

    fn meet(&mut self) -> Result<(), String> {
        let said = self.ask(&json!({"do": "offers"}));
        let offers = said["offers"].as_array().into_iter().flatten();
        self.offers = offers.filter_map(|own| own.as_str().map(str::to_owned)).collect();
        self.check()
    }

    /// A new, empty store with these settings.
    pub(crate) fn renew(&mut self, settings: &Settings) -> Result<(), String> {
        self.lacking = None;
        let said = self.ask(&json!({"do": "new", "settings": plain(settings)}));
        self.check()?;
        if said == subject::done() { Ok(()) } else { Err(format!("a new store was answered with {said}")) }
    }

    /// Runs a scenario.
    ///
    /// # Errors
    /// The store can't be asked any more.
    pub(crate) fn scenario(&mut self, scenario: &Scenario) -> Result<Ran, String> {
        if let Some(lacking) = scenario.needs.iter().find(|need| !self.offers(need)) {
            return Ok(Ran::Skipped(lacking.clone()));
        }
        self.renew(&scenario.settings)?;
        let ran = runner::run(scenario, self);
        self.check()?;
        Ok(match (self.lacking.take(), ran) {
            (Some(lacking), _) => Ran::Skipped(lacking),
            (None, Ok(())) => Ran::Held,
            (None, Err(difference)) => Ran::Broken(difference),
        })
    }

    /// Whether it knew every word since a scenario began.
    pub(crate) fn lacking(&self) -> Option<&str> {
        self.lacking.as_deref()
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// One request and its answer; nothing more is asked once that has failed.
    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        if self.failed.is_some() {
            return Value::Null;
        }
        let sent = writeln!(self.to, "{request}").and_then(|()| self.to.flush());
        let answer = match sent {
            Err(error) => Err(format!("it reads no more ({error})")),
            Ok(()) => self.from.recv_timeout(ANSWER_MAX).map_err(|_| "no answer came".to_owned()),
        };
        let answer = answer
            .and_then(|line| serde_json::from_str::<Value>(&line).map_err(|_| format!("no JSON: {line}")));
        match answer {
            Ok(answer) if answer.get("unsupported").is_some() => {
                self.lacking = Some(request["do"].as_str().unwrap_or_default().to_owned());
                answer
            }
            Ok(answer) => answer,
            Err(why) => {
                self.failed = Some(format!("{why}, after {request}"));
                Value::Null
            }
        }
    }

    fn on(&mut self, word: &str, reservation: &str) -> Value {
        self.ask(&json!({"do": word, "reservation": reservation}))
    }

    fn request(&mut self, step: &Step, name: &str) -> Value {
        let mut request = plain(step);
        request["as"] = json!(name);
        self.ask(&request)
    }

    fn with_outcome(&mut self, word: &str, reservation: &str, outcome: &Outcome) -> Value {
        self.ask(&json!({"do": word, "reservation": reservation, "outcome": told(outcome)}))
    }

    fn on_key(&mut self, word: &str, scope: &[u8], token: &[u8]) -> Value {
        self.ask(&json!({"do": word, "key": key(scope, token)}))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // Its input ends, and so does it; one that does not is ended.
        self.to = Box::new(std::io::sink());
        if let Some(child) = &mut self.child {
            std::thread::sleep(Duration::from_millis(50));
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A step, or settings, as the vectors write them: only what is given. What is deeper in it may be null on purpose.
fn plain(given: &impl serde::Serialize) -> Value {
    let mut told = serde_json::to_value(given).expect("plain data");
    if let Some(members) = told.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    told
}

fn key(scope: &[u8], token: &[u8]) -> Value {
    json!([subject::bytes(scope), subject::bytes(token)])
}

/// An outcome as vectors write it; its class where the caller decided himself.
fn told(outcome: &Outcome) -> Value {
    let class = (outcome.class() != classify(outcome)).then(|| match outcome.class() {
        oncekey::Class::Final => "final",
        oncekey::Class::Retryable => "retryable",
    });
    let (status, metadata, code) = (outcome.status(), outcome.metadata(), outcome.code());
    let body = subject::bytes(outcome.body());
    plain(&json!({"status": status, "body": body, "metadata": metadata, "code": code, "class": class}))
}

impl Subject for Remote {
    fn offers(&self, capability: &str) -> bool {
        self.offers.contains(capability)
    }

    fn begin(&mut self, request: &Step, name: &str) -> Value {
        self.request(request, name)
    }

    fn wait(&mut self, request: &Step, name: &str) -> Value {
        self.request(request, name)
    }

    fn give_up(&mut self, waiter: &str) -> Value {
        self.ask(&json!({"do": "give_up", "waiter": waiter}))
    }

    fn woken(&mut self, at_least: usize) -> Vec<(String, Value)> {
        let said = self.ask(&json!({"do": "woken", "at_least": at_least}));
        let woken = said["woken"].as_array().cloned().unwrap_or_default();
        let one = |own: &Value| (own[0].as_str().unwrap_or_default().to_owned(), own[1].clone());
        woken.iter().map(one).collect()
    }

    fn complete(&mut self, reservation: &str, outcome: Outcome) -> Value {
        self.with_outcome("complete", reservation, &outcome)
    }

    fn complete_without_body(&mut self, reservation: &str, outcome: Outcome) -> Value {
        self.with_outcome("complete_without_body", reservation, &outcome)
    }

    fn fail_commit(&mut self, reservation: &str, outcome: Outcome, on_disk: OnDisk) -> Value {
        let request = json!({"do": "fail_commit", "reservation": reservation, "outcome": told(&outcome), "on_disk": on_disk});
        self.ask(&request)
    }

    fn renew(&mut self, reservation: &str) -> Value {
        self.on("renew", reservation)
    }

    fn release(&mut self, reservation: &str) -> Value {
        self.on("release", reservation)
    }

    fn drop_reservation(&mut self, reservation: &str) {
        self.on("drop", reservation);
    }

    fn panic(&mut self, reservation: &str) {
        self.on("panic", reservation);
    }

    fn checkpoint(&mut self, reservation: &str, note: &[u8]) -> Value {
        self.ask(&json!({"do": "checkpoint", "reservation": reservation, "note": subject::bytes(note)}))
    }

    fn resolve(&mut self, scope: &[u8], token: &[u8], outcome: Outcome) -> Value {
        self.ask(&json!({"do": "resolve", "key": key(scope, token), "outcome": told(&outcome)}))
    }

    fn get(&mut self, scope: &[u8], token: &[u8]) -> Value {
        self.on_key("get", scope, token)
    }

    fn forget(&mut self, scope: &[u8], token: &[u8]) -> Value {
        self.on_key("forget", scope, token)
    }

    fn derive(&mut self, scope: &[u8], token: &[u8], label: &[u8]) -> Value {
        self.ask(&json!({"do": "derive", "key": key(scope, token), "label": subject::bytes(label)}))
    }

    fn sweep(&mut self) -> Value {
        self.ask(&json!({"do": "sweep"}))
    }

    fn flush(&mut self) -> Value {
        self.ask(&json!({"do": "flush"}))
    }

    fn usage(&mut self) -> Value {
        self.ask(&json!({"do": "usage"}))
    }

    fn advance(&mut self, by: Duration) {
        self.ask(&json!({"do": "advance", "ms": u64::try_from(by.as_millis()).unwrap_or(u64::MAX)}));
    }

    fn set_wall(&mut self, wall: Timestamp) {
        self.ask(&json!({"do": "set_wall", "wall": wall.as_millis()}));
    }

    fn close(&mut self) -> Value {
        self.ask(&json!({"do": "close"}))
    }

    fn crash(&mut self, survivors: Option<usize>) {
        self.ask(&plain(&json!({"do": "crash", "survivors": survivors})));
    }

    fn reopen(&mut self, settings: Option<&Settings>) -> Value {
        let settings = settings.map(plain);
        self.ask(&plain(&json!({"do": "reopen", "settings": settings})))
    }
}
