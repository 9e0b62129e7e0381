//! Processes of the service, as their parent sees them.
//!
//! Law: what a process said is read as it says it; a line that its end cut short does not count.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::process::{PATIENCE, User, command, kill_family, spawn};

/// What it has said so far.
#[derive(Debug, Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// One process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    said: Arc<Said>,
    reader: JoinHandle<()>,
}

impl Process {
    /// Starts the program with these words.
    pub fn start(program: &str, words: &[String]) -> Self {
        let mut own = command(User::Own, program);
        own.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(own).expect("a process");
        let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let said = Arc::new(Said::default());
        let shared = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            while output.read_line(&mut line).is_ok() && line.ends_with('\n') {
                let mut lines = shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push(line.trim_end().to_owned());
                shared.more.notify_all();
                line.clear();
            }
        });
        Self { child, said, reader }
    }

    /// Waits until it has said so many lines with one of these words.
    pub fn wait_for(&self, words: &[&str], lines: usize) {
        let guard = self.said.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.said.more.wait_timeout_while(guard, PATIENCE, |own| count(own, words) < lines);
        let (said, _) = wait.unwrap_or_else(PoisonError::into_inner);
        let (found, last) = (count(&said, words), &said[said.len().saturating_sub(5)..]);
        assert!(found >= lines, "{found} of {lines} said {words:?}; at last: {last:#?}");
    }

    /// How many lines it has said with one of these words.
    pub fn said(&self, words: &[&str]) -> usize {
        count(&self.said.lines.lock().unwrap_or_else(PoisonError::into_inner), words)
    }

    /// Waits until it has said so many more.
    pub fn wait_for_more(&self, words: &[&str], lines: usize) {
        self.wait_for(words, self.said(words) + lines);
    }

    /// SIGKILL; what it said until then.
    pub fn kill(self) -> Vec<String> {
        kill_family(self.child);
        self.reader.join().expect("the reader");
        take(&self.said)
    }

    /// Lets it come to its end by itself; what it said.
    pub fn finish(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("its end");
        self.reader.join().expect("the reader");
        let said = take(&self.said);
        assert!(status.success(), "{status}: {:#?}", &said[said.len().saturating_sub(5)..]);
        said
    }
}

/// How many lines have one of these words.
fn count(said: &[String], words: &[&str]) -> usize {
    said.iter().filter(|line| line.split(' ').any(|own| words.contains(&own))).count()
}

fn take(said: &Said) -> Vec<String> {
    std::mem::take(&mut said.lines.lock().unwrap_or_else(PoisonError::into_inner))
}
