//! A caller's own database, with accounts in it beside the store's table.
//!
//! Goal: effects that can be counted. Method: each payment adds to a balance; a crash is a copy of the database's file,
//! taken while everything lives.

use std::sync::Arc;

use oncekey::redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use oncekey::{Builder, ErrorKind, Outcome, Store, Transaction};
use tempfile::TempDir;

use super::{asked, fresh, kept, key};

pub(crate) const ACCOUNTS: TableDefinition<'static, u64, u64> = TableDefinition::new("accounts");
pub(crate) const OWN: &str = "oncekey";

/// The rows that stand in every table of a store, and the first of the others.
pub(crate) const IDENTITY: u64 = 0;
pub(crate) const FLOOR: u64 = 1;
pub(crate) const FIRST_BLOCK: u64 = 2;

/// A table with rows of the store's types.
pub(crate) type Rows<'a> = TableDefinition<'a, u64, &'static [u8]>;

/// A database of the caller's.
pub(crate) struct Bank {
    pub(crate) dir: TempDir,
    pub(crate) database: Arc<Database>,
}

impl Bank {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let database = Arc::new(Database::create(dir.path().join("bank 0")).expect("a database"));
        Self { dir, database }
    }

    pub(crate) fn open(&self, builder: Builder) -> Store {
        builder.open_in(Arc::clone(&self.database), OWN).expect("the store opens")
    }

    /// What a process leaves that dies now, while `held` lives.
    pub(crate) fn crash<T>(self, held: T) -> Self {
        let left = std::fs::read(self.dir.path().join("bank 0")).expect("its file");
        drop(held);
        drop(self.database);
        std::fs::write(self.dir.path().join("bank 1"), left).expect("a copy");
        std::fs::rename(self.dir.path().join("bank 1"), self.dir.path().join("bank 0")).expect("its place");
        let database = Arc::new(Database::create(self.dir.path().join("bank 0")).expect("a database"));
        Self { dir: self.dir, database }
    }

    pub(crate) fn balance(&self, account: u64) -> u64 {
        balance(&self.database, account)
    }

    /// Rows and bytes of the store's table.
    pub(crate) fn table(&self) -> (u64, u64) {
        let table = TableDefinition::<u64, &[u8]>::new(OWN);
        let rows = self.database.begin_read().expect("a reader").open_table(table).expect("a table");
        let (mut count, mut bytes) = (0, 0);
        for row in rows.iter().expect("rows") {
            count += 1;
            bytes += row.expect("a row").1.value().len() as u64;
        }
        (count, bytes)
    }
}

pub(crate) fn balance(database: &Database, account: u64) -> u64 {
    match database.begin_read().expect("a reader").open_table(ACCOUNTS) {
        Ok(accounts) => accounts.get(account).expect("a row").map_or(0, |row| row.value()),
        Err(_) => 0,
    }
}

/// The effect: pays into an account.
pub(crate) fn pay(transaction: &Transaction, account: u64, amount: u64) {
    let mut accounts = transaction.open_table(ACCOUNTS).expect("the accounts");
    let before = accounts.get(account).expect("a row").map_or(0, |row| row.value());
    accounts.insert(account, before + amount).expect("a row");
}

/// Effect and record of one key.
pub(crate) fn pay_once(store: &Store, number: usize, amount: u64) {
    let held = fresh(store.begin(&key(number), &asked()));
    let transaction = store.transaction().expect("lent");
    pay(&transaction, 0, amount);
    kept(transaction.complete(held, Outcome::new("paid")));
    transaction.commit().expect("committed");
}

pub(crate) fn lent<T: std::fmt::Debug>(told: Result<T, impl Into<oncekey::Error>>) {
    assert_eq!(told.map_err(Into::into).expect_err("refused").kind(), &ErrorKind::Lent);
}

/// Writes one row behind everybody's back, or removes it.
pub(crate) fn put(bank: &Bank, table: &str, row: u64, bytes: Option<&[u8]>) {
    let transaction = bank.database.begin_write().expect("a writer");
    {
        let mut rows = transaction.open_table(Rows::new(table)).expect("a table");
        match bytes {
            Some(bytes) => drop(rows.insert(row, bytes).expect("a row")),
            None => drop(rows.remove(row).expect("a row")),
        }
    }
    transaction.commit().expect("committed");
}

pub(crate) fn row(bank: &Bank, row: u64) -> Vec<u8> {
    let rows = bank.database.begin_read().expect("a reader").open_table(Rows::new(OWN)).expect("a table");
    rows.get(row).expect("a row").map(|row| row.value().to_vec()).expect("it is there")
}
