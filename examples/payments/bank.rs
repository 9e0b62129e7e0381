//! The bank: somebody else's service, which charges a card once for a token.
//!
//! Law: a charge is on its disk before anybody is told of it; the same token gets the same charge. It stands here in the same
//! process to spare the example a second server; what it knows of an operation is what a request over the network would say.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use serde::{Deserialize, Serialize};

use crate::log::Log;

/// What the bank is asked.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) token: String,
    pub(crate) account: String,
    pub(crate) amount: u64,
    pub(crate) currency: String,
    pub(crate) payment_intent: String,
}

/// A charge, as its account sees it.
#[derive(Clone, Serialize)]
pub(crate) struct Charge {
    pub(crate) id: String,
    object: &'static str,
    amount: u64,
    currency: String,
    payment_intent: String,
    paid: bool,
}

pub(crate) struct Bank {
    ledger: Mutex<Ledger>,
    /// How long an answer takes, once the card is charged.
    delay: Duration,
}

struct Ledger {
    log: Log,
    /// By token, in the order in which they were made; with whose they are.
    charges: Vec<(String, Charge)>,
    places: BTreeMap<String, usize>,
}

impl Bank {
    pub(crate) fn open(directory: &Path, delay: Duration) -> io::Result<Self> {
        let (log, lines) = Log::open::<Wanted>(&directory.join("bank.log"))?;
        let mut ledger = Ledger { log, charges: Vec::new(), places: BTreeMap::new() };
        for wanted in lines {
            ledger.enter(wanted);
        }
        Ok(Self { ledger: Mutex::new(ledger), delay })
    }

    /// Charges a card, unless it was charged under this token before.
    pub(crate) fn charge(&self, wanted: &Wanted) -> io::Result<Charge> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let charge = if let Some(at) = ledger.places.get(&wanted.token) {
            ledger.charges[*at].1.clone()
        } else {
            ledger.log.append(wanted)?;
            ledger.enter(wanted.clone())
        };
        drop(ledger);
        thread::sleep(self.delay);
        Ok(charge)
    }

    /// The charges of an account, oldest first.
    pub(crate) fn charges(&self, account: &str) -> Vec<Charge> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let own = ledger.charges.iter().filter(|(whose, _)| whose == account);
        own.map(|(_, charge)| charge.clone()).collect()
    }
}

impl Ledger {
    fn enter(&mut self, wanted: Wanted) -> Charge {
        let Wanted { token, account, amount, currency, payment_intent } = wanted;
        let id = format!("ch_{}", self.charges.len() + 1);
        let charge = Charge { id, object: "charge", amount, currency, payment_intent, paid: true };
        self.places.insert(token, self.charges.len());
        self.charges.push((account, charge.clone()));
        charge
    }
}
