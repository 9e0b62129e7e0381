//! What a subscriber hears.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use crate::{CANARY, live, store};

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Heard {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn heard(work: impl FnOnce()) -> String {
    let heard = Heard::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(heard.clone())
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .without_time()
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(heard.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn a_token_is_followed_by_its_fingerprint_and_never_shown_10_2() {
    let (store, clock) = store(|own| own);
    let said = heard(|| live(&store, &clock));
    println!("{said}");
    assert!(!said.contains(CANARY));
    let key = |line: &str| line.split("key=").nth(1).map(|rest| rest[..16].to_owned());
    let of_one = key(said.lines().next().unwrap()).unwrap();
    let events: Vec<_> = said.lines().filter(|line| key(line).as_ref() == Some(&of_one)).collect();
    let ends = [
        "answer=\"in flight\"",
        "how=\"kept\"",
        "answer=\"replay\"",
        "answer=\"replay\"",
        "answer=\"mismatch\"",
    ];
    assert_eq!(events.len(), ends.len(), "{events:#?}");
    for (event, end) in events.iter().zip(ends) {
        assert!(event.contains(end), "{end} in {event}");
    }
    assert_eq!(said.matches("how=\"released\"").count(), 2);
    assert!(said.contains("oncekey.attempt{key=") && said.contains("attempt=1 durable=false resumed=false"));
    assert!(said.contains("answer=\"expired\""));
}

#[test]
fn the_fingerprint_is_another_in_another_store_10_2() {
    let keys = [(); 2].map(|()| {
        let (store, _) = store(|own| own);
        let said = heard(|| drop(store.begin(&crate::key("k"), &crate::asked())));
        said.split("key=").nth(1).unwrap()[..16].to_owned()
    });
    assert_ne!(keys[0], keys[1]);
}
