//! A payment and a customer, each made once.
//!
//! Law: a handler may be killed anywhere and run again. So all that it does has a name that is the same in each attempt: the
//! object's id and the bank's token are made from the key, and whoever is called twice knows it. Between bank and book no order
//! is wrong, since each of them does nothing the second time.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oncekey::http::Attempt;
use oncekey::{Key, Store, Token};
use serde_json::{Value, json};

use crate::api::Account;
use crate::bank::{Bank, Wanted};
use crate::book::Book;
use crate::stripe::{Failure, Fields};

/// Characters of a key, as Stripe has it.
const KEY_CHARACTERS_MAX: usize = 255;
const AMOUNT_MAX: u64 = 99_999_999;
/// Digits of an id behind its prefix.
const ID_DIGITS: usize = 24;
/// The test card that every bank declines.
const DECLINED: &str = "pm_card_chargeDeclined";

/// All that handlers share.
pub(crate) struct Shop {
    pub(crate) store: Store,
    pub(crate) book: Book,
    pub(crate) bank: Bank,
}

impl Shop {
    /// Opens what `directory` holds, or makes it. The store comes first: it lets one process in at a time.
    pub(crate) fn open(directory: &Path, bank_delay: Duration) -> Result<Self, Box<dyn std::error::Error>> {
        std::fs::create_dir_all(directory)?;
        let store = Store::builder().token_bytes_max(KEY_CHARACTERS_MAX).open(directory.join("tokens"))?;
        let book = Book::open(directory)?;
        let bank = Bank::open(directory, bank_delay)?;
        Ok(Self { store, book, bank })
    }

    pub(crate) fn create_customer(&self, operation: &Operation, fields: &Fields) -> Result<Value, Failure> {
        let customer = json!({
            "id": operation.id("cus", "customer")?,
            "object": "customer",
            "created": now(),
            "email": fields.get("email"),
            "name": fields.get("name"),
            "livemode": false,
        });
        Ok(self.book.enter(&operation.account, customer)?)
    }

    /// Charges the card and enters the payment, at most once for a key.
    pub(crate) fn pay(&self, operation: &Operation, fields: &Fields) -> Result<Value, Failure> {
        let (amount, currency) = (amount(fields)?, currency(fields)?);
        let customer = fields.get("customer");
        if let Some(id) = customer
            && self.book.get(&operation.account, id).is_none()
        {
            return Err(Failure::invalid("customer", format!("No such customer: '{id}'")));
        }
        if fields.get("payment_method") == Some(DECLINED) {
            return Err(Failure::declined());
        }
        let id = operation.id("pi", "payment intent")?;
        let charge = self.bank.charge(&Wanted {
            // The same in each attempt: it is why a payment that runs again is charged once.
            token: operation.token("charge the card")?.as_str().to_owned(),
            account: operation.account.clone(),
            amount,
            currency: currency.to_owned(),
            payment_intent: id.clone(),
        })?;
        let payment = json!({
            "id": id,
            "object": "payment_intent",
            "amount": amount,
            "amount_received": amount,
            "created": now(),
            "currency": currency,
            "customer": customer,
            "latest_charge": charge.id,
            "livemode": false,
            "status": "succeeded",
        });
        Ok(self.book.enter(&operation.account, payment)?)
    }
}

/// Whose operation it is, and where its names come from.
pub(crate) struct Operation {
    account: String,
    /// Without a key each request is an operation of its own.
    key: Option<Key>,
}

impl Operation {
    pub(crate) fn of(Account(account): Account, attempt: Option<Attempt>) -> Self {
        Self { account, key: attempt.map(|own| own.key().clone()) }
    }

    #[cfg(test)]
    pub(crate) fn under(account: &str, key: Key) -> Self {
        Self { account: account.to_owned(), key: Some(key) }
    }

    /// What another service shall know it by.
    fn token(&self, label: &str) -> oncekey::Result<Token> {
        self.key.as_ref().map_or_else(|| Ok(Token::random()), |key| key.derive(label))
    }

    fn id(&self, prefix: &str, label: &str) -> oncekey::Result<String> {
        Ok(format!("{prefix}_{}", &self.token(label)?.as_str()[..ID_DIGITS]))
    }
}

fn amount(fields: &Fields) -> Result<u64, Failure> {
    let text = fields.get("amount").ok_or_else(|| Failure::missing("amount"))?;
    let value = text.parse().ok().filter(|own| (1..=AMOUNT_MAX).contains(own));
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    value.filter(|_| digits).ok_or_else(|| Failure::invalid("amount", format!("Invalid integer: {text}")))
}

fn currency(fields: &Fields) -> Result<&str, Failure> {
    let text = fields.get("currency").ok_or_else(|| Failure::missing("currency"))?;
    let is_code = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_lowercase());
    if is_code { Ok(text) } else { Err(Failure::invalid("currency", format!("Invalid currency: {text}"))) }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
