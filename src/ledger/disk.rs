//! The few verbs that a store asks of a disk, and the two disks there are.
//!
//! Law: a store is a flat set of named files. Files are made 0600 and exclusively, never through a symlink, in a
//! directory made 0700 (contract 10.1); what is opened must be a plain file, and to be written it must belong to the user
//! who runs this: nobody else's file is written to, or trusted. Nothing here retries: an error goes up as it is.
//! [`Directory`] is the real one; [`Memory`] keeps the same promises without a disk, for stores in memory and for tests.
//! Unix only: elsewhere neither modes nor `O_NOFOLLOW` could be promised.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind as IoKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::sync::beneath::{Mutex, RwLock};

/// A set of named files.
pub(crate) trait Disk: Debug + Send + Sync {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new file; `AlreadyExists` if there is one.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// A file that is there; `InvalidInput` if it is not a plain file.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, in place of any file of that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync(&self) -> io::Result<()>;
    /// Takes the set of files for this handle alone, until the guard goes; `WouldBlock` if it is taken.
    fn lock(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>>;
}

/// One file.
pub(crate) trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `out` from `offset`; `UnexpectedEof` if the file ends before.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data` at `offset`, beyond the end too.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Cuts the file, or lets it grow by zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
    /// Asks that what is durable be read from the disk itself from now on, and not from a cache of it.
    fn read_anew(&self) {}
}

/// A lock that is given back when its holder says so, and not only when the last copy of its descriptor is closed: a
/// process that is being spawned holds such a copy for a moment.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file gives it back otherwise.
        drop(self.0.unlock());
    }
}

/// A directory of a real file system.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    read_only: bool,
}

impl Directory {
    /// The directory at `path`, made 0700 if there is none. Its parent must be there.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.is_dir() => return Err(IoKind::NotADirectory.into()),
            Ok(_) => {}
            Err(error) if error.kind() == IoKind::NotFound => {
                fs::DirBuilder::new().mode(0o700).create(path)?;
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
            }
            Err(error) => return Err(error),
        }
        Ok(Self { path: path.to_owned(), read_only: false })
    }

    /// The directory at `path` as it is: nothing in it is made or changed.
    pub(crate) fn to_read(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        if !found.is_dir() {
            return Err(IoKind::NotADirectory.into());
        }
        Ok(Self { path: path.to_owned(), read_only: true })
    }

    /// Keeps those who would write away until the guard goes, beside others who read; `None` where there is no lock to
    /// take, `WouldBlock` where somebody holds it to write. Nothing is made.
    #[cfg(any(feature = "cli", feature = "distributed"))]
    pub(crate) fn lock_to_read(&self, name: &str) -> io::Result<Option<Box<dyn Debug + Send + Sync>>> {
        let file = match self.file(name, false) {
            Ok(file) => file,
            Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Box::new(Lock(file)))),
            Err(TryLockError::WouldBlock) => Err(IoKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn file(&self, name: &str, create: bool) -> io::Result<File> {
        let path = self.path.join(name);
        if !create && !fs::symlink_metadata(&path)?.is_file() {
            return Err(IoKind::InvalidInput.into());
        }
        let file = OpenOptions::new()
            .read(true)
            .write(!self.read_only)
            .create_new(create)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(IoKind::InvalidInput.into());
        }
        if !self.read_only && found.uid() != rustix::process::geteuid().as_raw() {
            return Err(IoKind::PermissionDenied.into());
        }
        Ok(file)
    }
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let names =
            fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.file(name, true)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.file(name, false)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let file = match self.file(name, true) {
            Err(error) if error.kind() == IoKind::AlreadyExists => self.file(name, false)?,
            other => other?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Box::new(Lock(file))),
            Err(TryLockError::WouldBlock) => Err(IoKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn read_anew(&self) {
        // Advice: where the system does not take it, reading is no worse than without it.
        #[cfg(not(target_vendor = "apple"))]
        let _ = rustix::fs::fadvise(self, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// Files in memory. Clones are one disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    files: Arc<Mutex<BTreeMap<String, Arc<MemoryFile>>>>,
    taken: Arc<()>,
}

#[derive(Debug, Default)]
struct MemoryFile(RwLock<Vec<u8>>);

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock();
        if files.contains_key(name) {
            return Err(IoKind::AlreadyExists.into());
        }
        let file = Arc::<MemoryFile>::default();
        files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.files.lock().get(name).cloned().ok_or(IoKind::NotFound)?;
        Ok(file)
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

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.read();
        let (from, to) = span(offset, out.len())?;
        out.copy_from_slice(bytes.get(from..to).ok_or(IoKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.write();
        let (from, to) = span(offset, data.len())?;
        if bytes.len() < to {
            bytes.resize(to, 0);
        }
        bytes[from..to].copy_from_slice(data);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.write().resize(span(0, 0)?.0 + usize::try_from(len).map_err(|_| IoKind::FileTooLarge)?, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn span(offset: u64, len: usize) -> io::Result<(usize, usize)> {
    let from = usize::try_from(offset).map_err(|_| IoKind::FileTooLarge)?;
    Ok((from, from.checked_add(len).ok_or(IoKind::FileTooLarge)?))
}

#[cfg(test)]
pub(super) use tests::Counted;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Counts what is read.
    #[derive(Debug)]
    pub(in crate::ledger) struct Counted {
        file: Arc<dyn DiskFile>,
        bytes: AtomicU64,
        /// How often it was asked to be read from the disk itself.
        pub(in crate::ledger) read_anew: AtomicU64,
    }

    impl From<Arc<dyn DiskFile>> for Counted {
        fn from(file: Arc<dyn DiskFile>) -> Self {
            Self { file, bytes: AtomicU64::new(0), read_anew: AtomicU64::new(0) }
        }
    }

    impl Counted {
        /// How many bytes were read since this was last asked.
        pub(in super::super) fn bytes(&self) -> u64 {
            self.bytes.swap(0, Ordering::Relaxed)
        }
    }

    impl DiskFile for Counted {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.bytes.fetch_add(out.len() as u64, Ordering::Relaxed);
            self.file.read(offset, out)
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.file.write(offset, data)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.file.set_len(len)
        }

        fn sync(&self) -> io::Result<()> {
            self.file.sync()
        }

        fn read_anew(&self) {
            self.read_anew.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn files_are_made_0600_in_a_directory_of_0700_10_1() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("store");
        Directory::at(&path).unwrap().create("a").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join("a")).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_symlink_is_never_followed_10_1() {
        let temporary = tempfile::tempdir().unwrap();
        let disk = Directory::at(temporary.path()).unwrap();
        fs::write(temporary.path().join("target"), "untouched").unwrap();
        symlink(temporary.path().join("target"), temporary.path().join("link")).unwrap();
        assert!(disk.open("link").is_err() && disk.create("link").is_err() && disk.lock("link").is_err());
        assert!(Directory::at(&temporary.path().join("link")).is_err());
    }

    #[test]
    fn a_file_of_another_user_is_read_and_never_opened_to_be_written_10_1() {
        if !rustix::process::geteuid().is_root() {
            return println!("SKIPPED: only root can give a file away");
        }
        let temporary = tempfile::tempdir().unwrap();
        let disk = Directory::at(temporary.path()).unwrap();
        disk.create("a").unwrap().write(0, b"sound").unwrap();
        chown(temporary.path().join("a"), Some(12_345), None).unwrap();
        for refused in [disk.open("a").map(drop), disk.lock("a").map(drop)] {
            assert_eq!(refused.unwrap_err().kind(), IoKind::PermissionDenied);
        }
        let mut read = [0; 5];
        Directory::to_read(temporary.path()).unwrap().open("a").unwrap().read(0, &mut read).unwrap();
        assert_eq!(&read, b"sound");
    }

    #[test]
    fn both_disks_refuse_the_same_and_change_nothing_by_it() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::at(temporary.path()).unwrap();
        for disk in [&directory as &dyn Disk, &Memory::default()] {
            let file = disk.create("a").unwrap();
            file.write(0, b"sound and more").unwrap();
            file.set_len(5).unwrap();
            let refused = |told: io::Result<()>| told.unwrap_err().kind();
            assert_eq!(refused(disk.create("a").map(drop)), IoKind::AlreadyExists);
            assert_eq!(refused(disk.open("b").map(drop)), IoKind::NotFound);
            assert_eq!(refused(disk.rename("b", "c")), IoKind::NotFound);
            assert_eq!(refused(disk.remove("b")), IoKind::NotFound);
            assert_eq!(refused(file.read(1, &mut [0; 5])), IoKind::UnexpectedEof);
            assert!(file.read(u64::MAX, &mut [0; 5]).is_err());
            assert!(file.write(u64::MAX, b"beyond").is_err());
            let mut read = [0; 5];
            disk.open("a").unwrap().read(0, &mut read).unwrap();
            assert_eq!(
                (&read, file.len().unwrap(), disk.list().unwrap()),
                (b"sound", 5, vec!["a".to_owned()])
            );
            disk.remove("a").unwrap();
            assert_eq!(disk.list().unwrap(), Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_no_directory_is_neither_made_into_one_nor_read_5_6() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("file");
        fs::write(&file, "untouched").unwrap();
        for refused in [Directory::at(&file), Directory::to_read(&file), Directory::at(&file.join("store"))] {
            assert_eq!(refused.unwrap_err().kind(), IoKind::NotADirectory);
        }
        assert_eq!(fs::read(&file).unwrap(), b"untouched");
    }

    #[test]
    fn one_handle_at_a_time_holds_the_lock_5_6() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::at(temporary.path()).unwrap();
        let memory = Memory::default();
        let memory_again = memory.clone();
        for (disk, again) in [(&directory as &dyn Disk, &directory as &dyn Disk), (&memory, &memory_again)] {
            let guard = disk.lock("lock").unwrap();
            assert_eq!(again.lock("lock").unwrap_err().kind(), IoKind::WouldBlock);
            drop(guard);
            assert!(again.lock("lock").is_ok());
        }
    }

    #[cfg(any(feature = "cli", feature = "distributed"))]
    #[test]
    fn those_who_read_share_the_lock_and_make_none_5_6() {
        let temporary = tempfile::tempdir().unwrap();
        let disk = Directory::at(temporary.path()).unwrap();
        let reader = Directory::to_read(temporary.path()).unwrap();
        assert!(reader.lock_to_read("lock").unwrap().is_none());
        assert_eq!(disk.list().unwrap(), Vec::<String>::new());
        let writing = disk.lock("lock").unwrap();
        assert_eq!(reader.lock_to_read("lock").unwrap_err().kind(), IoKind::WouldBlock);
        drop(writing);
        let reading = [(); 2].map(|()| reader.lock_to_read("lock").unwrap().unwrap());
        assert_eq!(disk.lock("lock").unwrap_err().kind(), IoKind::WouldBlock);
        drop(reading);
        assert!(disk.lock("lock").is_ok());
        fs::create_dir(temporary.path().join("folder")).unwrap();
        assert_eq!(reader.lock_to_read("folder").unwrap_err().kind(), IoKind::InvalidInput);
    }

    /// A process that is being spawned has such a copy.
    #[test]
    fn a_lock_is_given_back_while_a_copy_of_its_descriptor_is_open_5_6() {
        let temporary = tempfile::tempdir().unwrap();
        let disk = Directory::at(temporary.path()).unwrap();
        let lock = Lock(disk.file("lock", true).unwrap());
        lock.0.try_lock().unwrap();
        let copy = lock.0.try_clone().unwrap();
        assert!(disk.lock("lock").is_err());
        drop(lock);
        assert!(disk.lock("lock").is_ok());
        drop(copy);
    }

    #[test]
    fn a_directory_is_made_by_its_bare_name_too_10_1() {
        let temporary = tempfile::tempdir_in(".").unwrap();
        let name = PathBuf::from(temporary.path().file_name().unwrap());
        fs::remove_dir(&name).unwrap();
        Directory::at(&name).unwrap();
        assert!(temporary.path().is_dir());
    }
}
