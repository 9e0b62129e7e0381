//! One order: three calls, each noted before the next one begins.
//!
//! Law: a checkpoint says what *was* done. So between a call and its checkpoint a kill makes the call happen again, under
//! the same token; behind the checkpoint it never does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use oncekey::{Answer, Key, Outcome, Parameters, Reservation, Store};

pub(crate) const STEPS: [&str; 3] = ["charge", "ship", "mail"];

pub(crate) fn key(number: usize) -> Key {
    Key::new("shop", format!("order-{number}")).expect("a sound key")
}

/// Runs an order to its end, whatever became of it before.
pub(crate) fn run(store: &Store, number: usize, address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (key, parameters) = (key(number), Parameters::pairs([("Parcel", format!("p-{number}"))]));
    let request = store.request(&key, &parameters).start_durably().wait(Duration::from_secs(10));
    // Anything else: it was finished before the kill.
    let Answer::Fresh(reservation) = request.begin()? else { return Ok(()) };
    let mut receipts = recovery_point(&reservation);
    for step in &STEPS[receipts.len()..] {
        // The same token at every attempt, another one for every step and every order.
        receipts.push(call(address, step, number, key.derive(step)?.as_str())?);
        // Noted before the next step begins: the recovery point.
        reservation.checkpoint(receipts.join("\n").as_bytes())?;
    }
    reservation.complete(Outcome::http(200, receipts.join("\n")))?;
    Ok(())
}

/// What the attempts before this one have done: a receipt for each step, none at the first attempt.
fn recovery_point(reservation: &Reservation) -> Vec<String> {
    let noted =
        reservation.last_checkpoint().map(|noted| String::from_utf8_lossy(noted.bytes()).into_owned());
    noted.map_or_else(Vec::new, |noted| noted.lines().map(String::from).collect())
}

/// Calls the other side; gives its receipt.
fn call(address: &str, step: &str, number: usize, token: &str) -> Result<String, Box<dyn std::error::Error>> {
    let mut stream = TcpStream::connect(address)?;
    let head =
        format!("POST /{step}/{number} HTTP/1.1\r\nHost: shop\r\nIdempotency-Key: \"{token}\"\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, receipt) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
    if head.starts_with("HTTP/1.1 200") { Ok(receipt.to_owned()) } else { Err(head.to_owned().into()) }
}
