//! JSON to canonical text: RFC 8259 read strictly, RFC 8785 written, numbers by exact decimal value (contract 2.3).
//!
//! Law: two texts have one canonical text exactly when they mean the same. One pass reads and writes; an object
//! whose members already are in order (they mostly are, coming from one client) costs nothing more. Only where
//! some are not, [`members`] copies the written text once, in order: linear in the text, whatever the nesting.
//!
//! Refused, with the byte where reading stopped: all that RFC 8259 does not allow, bytes that are not UTF-8,
//! lone surrogates, bytes after the value, a member name twice in one object (compared decoded), nesting over
//! [`DEPTH_MAX`], an exponent of more than 18 digits.
//!
//! Bounds: recursion is at most [`DEPTH_MAX`] deep. Text written is at most about 5 times the text read (`1e20`
//! is the worst), and the tables take at most some 20 bytes for each byte read.

mod members;
mod number;
mod text;
mod top;

use members::{Member, Members};
pub(super) use top::top_members;

use super::parameters::within;
use super::rules::DigestRules;
use crate::error::{Error, ErrorKind, Limit, ParameterFault, Result};

/// Most arrays and objects around a value (contract 2.3).
pub(super) const DEPTH_MAX: usize = 128;

/// The canonical text of `input`, without the members of a top-level object that `rules` exclude; more than
/// `count_max` of those members, excluded or not, are refused (contract 8.1).
pub(crate) fn canonical(input: &[u8], rules: &DigestRules, count_max: u64) -> Result<Vec<u8>> {
    if let Err(error) = std::str::from_utf8(input) {
        return Err(fault(error.valid_up_to()));
    }
    let out = Vec::with_capacity(input.len());
    let mut reader = Reader { input, at: 0, out, members: Members::default(), rules, count_max };
    reader.skip_space();
    reader.value(0)?;
    reader.skip_space();
    if reader.at < input.len() {
        return Err(reader.fault());
    }
    Ok(reader.members.arrange(reader.out))
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    out: Vec<u8>,
    members: Members,
    rules: &'a DigestRules,
    count_max: u64,
}

impl Reader<'_> {
    /// One value inside `depth` arrays and objects. Stands at its first byte, leaves behind its last.
    fn value(&mut self, depth: usize) -> Result<()> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(self.fault()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<()> {
        self.open(depth)?;
        let mut object = self.members.open(self.out.len() - 1);
        if self.closes(b'}') {
            return Ok(());
        }
        let mut count = 0;
        loop {
            count += 1;
            if depth == 1 {
                within(Limit::ParameterCount, count, self.count_max)?;
            }
            let member = self.member(depth)?;
            self.members.push(&mut object, member, &self.out).map_err(duplicate)?;
            if self.ends(b'}')? {
                break;
            }
        }
        self.members.close(&object, &self.out).map_err(duplicate)
    }

    fn member(&mut self, depth: usize) -> Result<Member> {
        let (position, start) = (self.at, self.out.len());
        if self.peek() != Some(b'"') {
            return Err(self.fault());
        }
        self.string()?;
        let name_end = self.out.len();
        self.skip_space();
        self.take(b':')?;
        self.skip_space();
        self.value(depth)?;
        let name = &self.out[start + 1..name_end - 1];
        let excluded = depth == 1
            && !self.rules.is_empty()
            && text::decoded(name).is_some_and(|name| self.rules.excludes(&name));
        Ok(Member::new(position, start, name_end, self.out.len(), excluded))
    }

    fn array(&mut self, depth: usize) -> Result<()> {
        self.open(depth)?;
        if self.closes(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            if self.ends(b']')? {
                return Ok(());
            }
        }
    }

    /// Takes the bracket that opens the array or object number `depth`, and the space behind it.
    fn open(&mut self, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(ErrorKind::InvalidParameters(ParameterFault::TooDeep { limit: DEPTH_MAX }).into());
        }
        self.out.push(self.input[self.at]);
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Takes the closing bracket of an empty array or object, if it stands here.
    fn closes(&mut self, bracket: u8) -> bool {
        let closes = self.peek() == Some(bracket);
        if closes {
            self.out.push(bracket);
            self.at += 1;
        }
        closes
    }

    /// Takes a comma (false) or the closing bracket (true) behind a value.
    fn ends(&mut self, bracket: u8) -> Result<bool> {
        self.skip_space();
        if self.closes(bracket) {
            return Ok(true);
        }
        self.take(b',')?;
        self.skip_space();
        Ok(false)
    }

    fn string(&mut self) -> Result<()> {
        self.out.push(b'"');
        self.at += 1;
        loop {
            let rest = &self.input[self.at..];
            let run = text::plain_run(rest);
            self.out.extend_from_slice(&rest[..run]);
            self.at += run;
            match rest.get(run) {
                Some(b'"') => return self.take(b'"'),
                Some(b'\\') => {
                    let (character, length) = text::unescape(&rest[run..]).ok_or_else(|| self.fault())?;
                    text::escape(character, &mut self.out);
                    self.at += length;
                }
                _ => return Err(self.fault()),
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        match number::canonical(&self.input[self.at..], &mut self.out) {
            Ok(length) => {
                self.at += length;
                Ok(())
            }
            Err(offset) => Err(fault(self.at + offset)),
        }
    }

    fn literal(&mut self, literal: &[u8]) -> Result<()> {
        if !self.input[self.at..].starts_with(literal) {
            return Err(self.fault());
        }
        self.out.extend_from_slice(literal);
        self.at += literal.len();
        Ok(())
    }

    fn take(&mut self, byte: u8) -> Result<()> {
        if self.peek() != Some(byte) {
            return Err(self.fault());
        }
        self.out.push(byte);
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    #[cold]
    fn fault(&self) -> Error {
        fault(self.at)
    }
}

#[cold]
fn fault(position: usize) -> Error {
    ErrorKind::InvalidParameters(ParameterFault::Json { position }).into()
}

#[cold]
fn duplicate(position: usize) -> Error {
    ErrorKind::InvalidParameters(ParameterFault::DuplicateMember { position }).into()
}

#[cfg(test)]
mod tests;
