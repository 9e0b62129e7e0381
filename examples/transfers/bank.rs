//! The bank's own tables, and a transfer inside a transaction.
//!
//! Law: a transfer is written as if there were no retries. It does not look for an earlier effect of its own, since the
//! store answers for that.

use std::collections::BTreeMap;

use oncekey::redb::{self, Database, ReadableDatabase, ReadableTable, TableDefinition};
use oncekey::{Outcome, Transaction};

pub(crate) const ACCOUNTS: u64 = 16;
/// What is in each account at first.
pub(crate) const START: u64 = 1000;

const BALANCES: TableDefinition<'static, u64, u64> = TableDefinition::new("balances");
/// How often each token's transfer was applied: for the check alone, since it has to be once.
const APPLIED: TableDefinition<'static, &str, u64> = TableDefinition::new("applied");

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) token: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) amount: u64,
}

/// What stands in the tables.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) balances: Vec<u64>,
    pub(crate) applied: BTreeMap<String, u64>,
}

/// Opens the accounts, once.
pub(crate) fn found(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut balances = transaction.open_table(BALANCES)?;
        if balances.get(0)?.is_none() {
            for account in 0..ACCOUNTS {
                balances.insert(account, START)?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Moves the money, or says why not. Both are final: a retry gets the same answer.
pub(crate) fn transfer(transaction: &Transaction, asked: &Transfer) -> Result<Outcome, redb::Error> {
    let mut balances = transaction.open_table(BALANCES)?;
    let balance_of = |account: u64| Ok::<_, redb::Error>(balances.get(account)?.map_or(0, |row| row.value()));
    let (from, to) = (balance_of(asked.from)?, balance_of(asked.to)?);
    let Some(left) = from.checked_sub(asked.amount) else {
        return Ok(Outcome::http(409, format!("refused, {from} are not enough")));
    };
    balances.insert(asked.from, left)?;
    balances.insert(asked.to, to + asked.amount)?;
    let mut applied = transaction.open_table(APPLIED)?;
    let times = applied.get(asked.token.as_str())?.map_or(0, |row| row.value());
    applied.insert(asked.token.as_str(), times + 1)?;
    Ok(Outcome::http(200, format!("paid, {left} left")))
}

/// Reads the books.
pub(crate) fn books(database: &Database) -> Result<Books, redb::Error> {
    let transaction = database.begin_read()?;
    let rows = transaction.open_table(BALANCES)?;
    let balances = rows.iter()?.map(|row| Ok(row?.1.value())).collect::<Result<_, redb::Error>>()?;
    let applied = match transaction.open_table(APPLIED) {
        Ok(applied) => {
            let rows = applied.iter()?.map(|row| {
                let (token, times) = row?;
                Ok((token.value().to_owned(), times.value()))
            });
            rows.collect::<Result<_, redb::Error>>()?
        }
        Err(redb::TableError::TableDoesNotExist(_)) => BTreeMap::new(),
        Err(error) => return Err(error.into()),
    };
    Ok(Books { balances, applied })
}
