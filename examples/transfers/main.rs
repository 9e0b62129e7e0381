//! Money that survives any number of kills: accounts and transfers in a redb database of the program's own, each
//! transfer and the record of its token committed together.
//!
//! `cargo run --release --features redb-transactions --example transfers -- --kills 200`
//!
//! Clients send transfers to a teller, which is a process of its own, and send each again, with the same token, until it
//! is answered. Meanwhile a supervisor kills the teller with SIGKILL, at any moment, again and again. At the end the books
//! are held against what was acknowledged: the sum of all money is what it was, every acknowledged transfer happened
//! once, none happened twice, and an answer that was given twice was the same.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `bank` | the tables; a transfer inside a transaction: copy from it |
//! | `teller` | serves requests: begin, transfer, complete, commit: copy from it |
//! | `clients` | those who retry |
//! | `supervisor` | kills, and checks the books |

mod bank;
mod clients;
mod supervisor;
mod teller;

use std::path::Path;
use std::process::{Command, ExitCode};

const KILLS_DEFAULT: u32 = 5;
/// How the program calls itself to be the teller.
const TELLER: &str = "--teller";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [TELLER, path] => teller::serve(Path::new(path)),
        [] => verdict(KILLS_DEFAULT),
        ["--kills", count] if count.parse::<u32>().is_ok() => verdict(count.parse().unwrap_or(KILLS_DEFAULT)),
        _ => {
            eprintln!("usage: transfers [--kills N]");
            ExitCode::from(2)
        }
    }
}

fn verdict(kills: u32) -> ExitCode {
    let teller = |path: &Path| {
        let mut own = Command::new(std::env::current_exe().expect("this program's own path"));
        own.arg(TELLER).arg(path);
        own
    };
    match supervisor::run(kills, &teller) {
        Ok(books) => {
            println!("verdict: OK. {books}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            println!("verdict: FAILED. {wrong}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIABLE: &str = "ONCEKEY_TRANSFERS_TELLER";

    #[test]
    fn no_money_is_lost_or_made_and_no_transfer_happens_twice_whenever_the_teller_is_killed_6_1() {
        const NAME: &str =
            "tests::no_money_is_lost_or_made_and_no_transfer_happens_twice_whenever_the_teller_is_killed_6_1";
        if let Some(path) = std::env::var_os(VARIABLE) {
            teller::serve(Path::new(&path));
            return;
        }
        let teller = |path: &Path| {
            let mut own = Command::new(std::env::current_exe().expect("the test's own path"));
            own.args([NAME, "--exact", "--nocapture"]).env(VARIABLE, path);
            own
        };
        let books = supervisor::run(8, &teller).expect("the books agree");
        assert!(books.acknowledged > 50 && books.kills == 8, "{books}");
    }

    #[test]
    fn the_books_tell_what_is_wrong_with_them() {
        let paid = |times| bank::Books { balances: vec![5, 5], applied: [("a".to_owned(), times)].into() };
        let told = |answer: &str| [("a".to_owned(), answer.to_owned())].into();
        assert!(supervisor::check(&paid(1), 10, &told("paid, 5 left")).is_ok());
        for (books, sum, told) in [
            (paid(1), 11, told("paid, 5 left")),
            (paid(2), 10, told("paid, 5 left")),
            (paid(0), 10, told("paid, 5 left")),
            (paid(1), 10, told("refused")),
        ] {
            assert!(supervisor::check(&books, sum, &told).is_err(), "{books:?} {told:?}");
        }
    }
}
