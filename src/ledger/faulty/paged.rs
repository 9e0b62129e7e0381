//! Files in memory whose copies cost nothing: pages are shared until they are written.
//!
//! Law: a [`Pages`] is a file's bytes; a clone shares every page, and a page of zeros is none. [`Paged`] is a disk of
//! them, clones of which are one disk; [`Paged::copy`] is another one. So an image of a disk costs a pointer for each of
//! its pages, and thousands a second can be made.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, ErrorKind as IoKind};
use std::sync::Arc;

use super::super::disk::{Disk, DiskFile};
use crate::sync::beneath::{Mutex, RwLock};

const PAGE: usize = 4096;
const ZEROS: [u8; PAGE] = [0; PAGE];

/// A file's bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages {
    len: usize,
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

impl Pages {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn resize(&mut self, len: usize) {
        if len < self.len && !len.is_multiple_of(PAGE) {
            let within = len % PAGE;
            if let Some(page) = &mut self.pages[len / PAGE] {
                Arc::make_mut(page)[within..].fill(0);
            }
        }
        self.len = len;
        self.pages.resize(len.div_ceil(PAGE), None);
    }

    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        self.resize(self.len.max(offset + data.len()));
        self.each(offset, data.len(), |page, within, from| {
            let part = &data[from..from + within.len()];
            if page.is_some() || part != &ZEROS[..part.len()] {
                Arc::make_mut(page.get_or_insert_with(|| Arc::new(ZEROS)))[within].copy_from_slice(part);
            }
        });
    }

    pub(super) fn zero(&mut self, offset: usize, count: usize) {
        self.resize(self.len.max(offset + count));
        self.each(offset, count, |page, within, _| {
            if within.len() == PAGE {
                *page = None;
            } else if let Some(page) = page {
                Arc::make_mut(page)[within].fill(0);
            }
        });
    }

    /// Whether all of it lies within the file.
    pub(super) fn read(&self, offset: usize, out: &mut [u8]) -> bool {
        let mut done = 0;
        while done < out.len() {
            let (page, within) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let count = (PAGE - within).min(out.len() - done);
            let target = &mut out[done..done + count];
            match self.pages.get(page) {
                Some(Some(page)) => target.copy_from_slice(&page[within..within + count]),
                _ => target.fill(0),
            }
            done += count;
        }
        offset + out.len() <= self.len
    }

    fn each(
        &mut self,
        offset: usize,
        count: usize,
        mut change: impl FnMut(&mut Option<Arc<[u8; PAGE]>>, std::ops::Range<usize>, usize),
    ) {
        let mut done = 0;
        while done < count {
            let (page, within) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let end = PAGE.min(within + count - done);
            change(&mut self.pages[page], within..end, done);
            done += end - within;
        }
    }
}

/// A disk of such files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paged {
    files: Arc<Mutex<BTreeMap<String, Arc<PagedFile>>>>,
    taken: Arc<()>,
}

#[derive(Debug, Default)]
struct PagedFile(RwLock<Pages>);

impl Paged {
    /// A disk with these files.
    pub(super) fn with(files: BTreeMap<String, Pages>) -> Self {
        let files = files.into_iter().map(|(name, pages)| (name, Arc::new(PagedFile(RwLock::new(pages)))));
        Self { files: Arc::new(Mutex::new(files.collect())), taken: Arc::default() }
    }

    /// Another disk with the same bytes.
    pub(crate) fn copy(&self) -> Self {
        Self::with(self.pages())
    }

    pub(super) fn pages(&self) -> BTreeMap<String, Pages> {
        self.files.lock().iter().map(|(name, file)| (name.clone(), file.0.read().clone())).collect()
    }

    /// Puts other bytes in place of a file's.
    pub(super) fn replace(&self, name: &str, pages: Pages) {
        if let Some(file) = self.files.lock().get(name) {
            *file.0.write() = pages;
        }
    }
}

impl Disk for Paged {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock();
        if files.contains_key(name) {
            return Err(IoKind::AlreadyExists.into());
        }
        let file = Arc::<PagedFile>::default();
        files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.files.lock().get(name).cloned().ok_or(IoKind::NotFound)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(IoKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name).map(drop).ok_or_else(|| IoKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let _one_at_a_time = self.files.lock();
        if Arc::weak_count(&self.taken) > 0 {
            return Err(IoKind::WouldBlock.into());
        }
        Ok(Box::new(Arc::downgrade(&self.taken)))
    }
}

impl DiskFile for PagedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let whole = self.0.read().read(index(offset)?, out);
        if whole { Ok(()) } else { Err(IoKind::UnexpectedEof.into()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write().write(index(offset)?, data);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.write().resize(index(len)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| IoKind::FileTooLarge.into())
}

#[cfg(test)]
mod tests {
    use super::super::Chance;
    use super::*;

    #[test]
    fn pages_hold_what_a_plain_vector_holds_and_a_copy_keeps_its_own() {
        let (mut pages, mut plain, mut chance) = (Pages::default(), Vec::new(), Chance(7));
        for round in 0..2000_u64 {
            let before = (pages.clone(), plain.clone());
            let [at, count] = [20_000, 9_000].map(|most| usize::try_from(chance.below(most)).unwrap());
            match chance.below(4) {
                0 => {
                    pages.resize(at);
                    plain.resize(at, 0);
                }
                1 => {
                    pages.zero(at, count);
                    plain.resize(plain.len().max(at + count), 0);
                    plain[at..at + count].fill(0);
                }
                _ => {
                    let data = vec![round.to_le_bytes()[0]; count];
                    pages.write(at, &data);
                    plain.resize(plain.len().max(at + count), 0);
                    plain[at..at + count].copy_from_slice(&data);
                }
            }
            for (pages, plain) in [(&pages, &plain), (&before.0, &before.1)] {
                let mut out = vec![1; plain.len()];
                assert!(pages.read(0, &mut out) && out == *plain, "round {round}");
                assert!(!pages.read(1, &mut out) || out.is_empty(), "it ends where it ends");
            }
        }
    }
}
