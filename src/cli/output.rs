//! Where words and JSON go: answers to standard output, everything else to standard error.

use std::io::{self, BufWriter, Stdout, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::failure::Failure;

/// Standard output.
#[derive(Debug)]
pub(super) struct Out {
    to: BufWriter<Stdout>,
    json: bool,
}

impl Out {
    pub(super) fn to_stdout(json: bool) -> Self {
        Self { to: BufWriter::new(io::stdout()), json }
    }

    /// Whether JSON was asked for.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    pub(super) fn line(&mut self, words: &str) -> Result<(), Failure> {
        Ok(writeln!(self.to, "{words}")?)
    }

    /// One document, or one line of many.
    pub(super) fn value(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&value.to_string())
    }

    /// Something aside, on standard error.
    pub(super) fn note(&self, words: &str) {
        tell(self.json, "note", words);
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.to.flush()?)
    }

    /// How far a long work has come, on standard error if that is a terminal.
    pub(super) fn progress(&self, length: u64, what: &'static str) -> ProgressBar {
        if self.json {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len}, {eta} left");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(length).with_style(style).with_message(what)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Says something on standard error; where that is closed, to nobody.
pub(super) fn tell(json: bool, what: &str, words: &str) {
    let mut to = io::stderr().lock();
    let _ = if json { writeln!(to, "{}", json!({ what: words })) } else { writeln!(to, "oncekey: {words}") };
}
