//! This crate's own stores behind the line protocol: the other side of `remote`.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::live::Live;
use crate::reference::ReferenceSubject;
use crate::runner;
use crate::store::StoreSubject;
use crate::subject::{self, Subject};
use crate::vector::{Settings, Step};

const CAPABILITIES: [&str; 4] = ["choose_survivors", "crash", "fail_commit", "reopen"];

/// Serves one of them on standard input and output, until the input ends.
pub(crate) fn serve(whom: &str) -> ExitCode {
    let served = answer_all(whom, std::io::stdin().lock(), std::io::stdout().lock());
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

pub(crate) fn answer_all(whom: &str, requests: impl BufRead, mut answers: impl Write) -> std::io::Result<()> {
    let mut served = Served::new(whom.to_owned(), &Settings::default());
    for line in requests.lines() {
        let answer = served.answer(&line?).unwrap_or_else(|why| json!({"unexpected": why}));
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
    Ok(())
}

struct Served {
    whom: String,
    subject: Box<dyn Subject>,
    /// For calls at the same time.
    live: Option<Live>,
}

impl Served {
    fn new(whom: String, settings: &Settings) -> Self {
        let is_ours = whom == "ours";
        let subject: Box<dyn Subject> = if is_ours {
            Box::new(StoreSubject::on_a_directory(settings))
        } else {
            Box::new(ReferenceSubject::new(settings))
        };
        Self { whom, subject, live: is_ours.then(Live::default) }
    }

    fn answer(&mut self, line: &str) -> Result<Value, String> {
        let request: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        match request["do"].as_str().unwrap_or_default() {
            "offers" => {
                let offers = CAPABILITIES.iter().filter(|own| self.subject.offers(own));
                Ok(json!({"offers": offers.collect::<Vec<_>>()}))
            }
            "new" => {
                let settings = serde_json::from_value(request["settings"].clone());
                *self = Self::new(self.whom.clone(), &settings.map_err(|error| error.to_string())?);
                Ok(subject::done())
            }
            "woken" => {
                let at_least = request["at_least"].as_u64().unwrap_or_default();
                let woken = self.subject.woken(usize::try_from(at_least).unwrap_or_default());
                Ok(json!({"woken": woken}))
            }
            "together" => self.together(&request["calls"]),
            _ => self.one(&step(&request)?),
        }
    }

    fn one(&mut self, step: &Step) -> Result<Value, String> {
        let name = step.name.clone().unwrap_or_default();
        runner::act(self.subject.as_mut(), step, &name, step.reservation.as_deref())
    }

    /// The store makes these calls at the same time; the reference, which has no threads, one after the other.
    fn together(&mut self, calls: &Value) -> Result<Value, String> {
        let calls = calls.as_array().into_iter().flatten().map(step).collect::<Result<Vec<_>, _>>()?;
        let answers = match &self.live {
            Some(live) => live.together(&calls),
            None => calls.iter().map(|step| self.one(step)).collect::<Result<_, _>>()?,
        };
        Ok(json!({"together": answers}))
    }
}

fn step(request: &Value) -> Result<Step, String> {
    serde_json::from_value(request.clone()).map_err(|error| error.to_string())
}
