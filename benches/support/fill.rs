//! Tokens, keys, and stores that hold many of them.

use oncekey::{Answer, Key, Outcome, Parameters, Store};

use super::callers::as_tasks;

pub(crate) const SCOPE: &str = "account-1";
pub(crate) const OUTCOME: [u8; 200] = [b'x'; 200];
/// Callers of one filling thread.
const FILLERS: usize = 256;

/// `count` tokens of 36 characters, different from all others of this process and in no order.
pub(crate) fn tokens(count: usize) -> Vec<String> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let first = NEXT.fetch_add(count as u64, Ordering::Relaxed);
    (first..first + count as u64).map(token).collect()
}

/// The token of this number.
pub(crate) fn token(number: u64) -> String {
    let spread = u128::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    format!("{spread:036x}")
}

/// Fresh keys.
pub(crate) fn keys(count: usize) -> Vec<Key> {
    keys_of(&tokens(count))
}

pub(crate) fn keys_of(tokens: &[String]) -> Vec<Key> {
    tokens.iter().map(|token| Key::new(SCOPE, token).expect("a sound token")).collect()
}

/// What every operation of the benches is asked with.
pub(crate) fn parameters() -> Parameters<'static> {
    Parameters::pairs([("MinSize", "1"), ("MaxSize", "3")])
}

/// The life of one fresh token.
pub(crate) async fn complete(store: &Store, token: &str, relaxed: bool) {
    complete_with(store, token, &OUTCOME, relaxed).await;
}

pub(crate) async fn complete_with(store: &Store, token: &str, outcome: &[u8], relaxed: bool) {
    let key = store.key(SCOPE, token).expect("a sound token");
    let parameters = parameters();
    let request = store.request(&key, &parameters);
    let request = if relaxed { request.relaxed() } else { request };
    let Ok(Answer::Fresh(reservation)) = request.begin() else { panic!("a token never seen is fresh") };
    reservation.complete_async(Outcome::new(outcome)).await.expect("the disk works");
}

/// Completes `count` fresh tokens, relaxed and then flushed, from two threads; gives them.
pub(crate) fn fill(store: &Store, count: usize) -> Vec<String> {
    fill_with(store, count, &OUTCOME)
}

/// The same, with this outcome.
pub(crate) fn fill_with(store: &Store, count: usize, outcome: &[u8]) -> Vec<String> {
    let all = tokens(count);
    std::thread::scope(|scope| {
        for part in all.chunks(count.div_ceil(2).max(1)) {
            scope.spawn(move || {
                as_tasks(FILLERS, async |caller| {
                    for token in part.iter().skip(caller).step_by(FILLERS) {
                        complete_with(store, token, outcome, true).await;
                    }
                });
            });
        }
    });
    store.flush().expect("the disk works");
    all
}
