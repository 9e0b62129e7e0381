//! Members of objects: found as they are written, put in order afterwards.
//!
//! Law: an object whose members came in order leaves nothing behind. One that did not (or has members to leave
//! out) is noted with its members in their right order, and [`Members::arrange`] copies the text once, following
//! the notes. So the work is linear in the text and in n log n of the members, however objects are nested.
//!
//! | state of an object | its members |
//! | --- | --- |
//! | open | on `stack`, from `Open::first` on |
//! | closed, in order | nowhere: the text is right as it stands |
//! | closed, not in order | in `kept`, sorted; the object in `notes` |

use std::cmp::Ordering;
use std::ops::Range;

use super::text;

/// One member in the text written: `"name":value` is `start..end`, its name with quotation marks
/// `start..name_end`. `PARAMETER_BYTES_MAX` keeps every offset within 32 bits.
#[derive(Clone, Copy)]
pub(super) struct Member {
    /// Where it stands in the text read, for errors.
    position: u32,
    start: u32,
    name_end: u32,
    end: u32,
    excluded: bool,
}

impl Member {
    pub(super) fn new(position: usize, start: usize, name_end: usize, end: usize, excluded: bool) -> Self {
        let [position, start, name_end, end] = [position, start, name_end, end].map(narrow);
        Self { position, start, name_end, end, excluded }
    }

    pub(super) fn position(self) -> usize {
        self.position as usize
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn compare(self, other: Self, out: &[u8]) -> Ordering {
        let name = |member: Self| &out[member.start as usize + 1..member.name_end as usize - 1];
        text::compare(name(self), name(other))
    }
}

/// An object being read.
pub(super) struct Open {
    start: usize,
    /// Where its members begin on the stack.
    first: usize,
    /// Whether the text is right as it stands so far.
    in_order: bool,
}

/// An object whose members have to be written anew.
struct Note {
    start: usize,
    end: usize,
    /// In `kept`.
    members: Range<usize>,
}

/// The members of the objects that are open, and of those that are not in order.
#[derive(Default)]
pub(super) struct Members {
    stack: Vec<Member>,
    kept: Vec<Member>,
    notes: Vec<Note>,
}

impl Members {
    /// An object begins at `start` of the text written.
    pub(super) fn open(&mut self, start: usize) -> Open {
        Open { start, first: self.stack.len(), in_order: true }
    }

    /// Adds a member. `Err` with its position if it has the name of the one before it.
    pub(super) fn push(&mut self, object: &mut Open, member: Member, out: &[u8]) -> Result<(), usize> {
        if let Some(before) = self.stack[object.first..].last() {
            match before.compare(member, out) {
                Ordering::Less => {}
                Ordering::Equal => return Err(member.position()),
                Ordering::Greater => object.in_order = false,
            }
        }
        object.in_order &= !member.excluded;
        self.stack.push(member);
        Ok(())
    }

    /// The object is read to its end, which is the end of `out`. `Err` with the position of a member whose name was
    /// there before.
    pub(super) fn close(&mut self, object: &Open, out: &[u8]) -> Result<(), usize> {
        if object.in_order {
            self.stack.truncate(object.first);
            return Ok(());
        }
        let members = &mut self.stack[object.first..];
        members.sort_by(|one, other| one.compare(*other, out));
        let mut neighbours = members.windows(2);
        if let Some(repeated) = neighbours.find(|two| two[0].compare(two[1], out).is_eq()) {
            return Err(repeated[1].position());
        }
        let kept = self.kept.len();
        self.kept.extend(self.stack.drain(object.first..));
        self.notes.push(Note { start: object.start, end: out.len(), members: kept..self.kept.len() });
        Ok(())
    }

    /// The text with every noted object in order.
    pub(super) fn arrange(mut self, out: Vec<u8>) -> Vec<u8> {
        if self.notes.is_empty() {
            return out;
        }
        self.notes.sort_unstable_by_key(|note| note.start);
        let mut arranged = Vec::with_capacity(out.len());
        self.copy(&out, 0..out.len(), &mut arranged);
        arranged
    }

    /// Copies `range` of `out`, which cuts no object in two. Recursion is as deep as objects are nested.
    fn copy(&self, out: &[u8], range: Range<usize>, arranged: &mut Vec<u8>) {
        let mut at = range.start;
        let mut next = self.notes.partition_point(|note| note.start < at);
        while let Some(note) = self.notes.get(next).filter(|note| note.start < range.end) {
            arranged.extend_from_slice(&out[at..=note.start]);
            let mut members = self.kept[note.members.clone()].iter().filter(|member| !member.excluded);
            if let Some(member) = members.next() {
                self.copy(out, member.range(), arranged);
            }
            for member in members {
                arranged.push(b',');
                self.copy(out, member.range(), arranged);
            }
            arranged.push(b'}');
            at = note.end;
            next += self.notes[next..].partition_point(|note| note.start < at);
        }
        arranged.extend_from_slice(&out[at..range.end]);
    }
}

fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).expect("PARAMETER_BYTES_MAX keeps the text within 4 GiB")
}
