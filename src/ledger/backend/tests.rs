//! Goal: redb sees one file, of the length and with the bytes that it gave it, whether it is judged or live, and no byte
//! of a file that is judged changes. Method: files in memory, and a live file beside a judged one.

use super::super::disk::{Counted, Disk, Memory};
use super::*;
use proptest::prelude::*;

const IDENTITY: Identity = Identity { store: [4; 16], segment: 2 };

fn fresh() -> (Arc<dyn DiskFile>, Backend) {
    let file = Memory::default().create("segment").unwrap();
    let backend = Backend::create(Arc::clone(&file), IDENTITY, Arc::default(), None).unwrap();
    (file, backend)
}

#[test]
fn a_length_that_no_file_grows_to_is_damage_10_4() {
    let (file, backend) = fresh();
    for (logical, sound) in [(10_000_000, true), (GROWTH_BYTES_MAX, true), (1 << 40, false)] {
        backend.set_len(logical).unwrap();
        let judged = Backend::judge(Arc::clone(&file), IDENTITY, Arc::default());
        assert_eq!(judged.is_ok(), sound, "{logical}");
    }
}

#[test]
fn redb_sees_its_own_length_and_zeros_where_it_never_wrote() {
    let (_, backend) = fresh();
    backend.set_len(10_000_000).unwrap();
    backend.write(100, b"data").unwrap();
    assert_eq!(backend.len().unwrap(), 10_000_000);
    assert_eq!(backend.file_bytes(), page::BYTES + STEP_BYTES);
    let mut out = [1; 8];
    backend.read(98, &mut out).unwrap();
    assert_eq!(&out, b"\0\0data\0\0");
    backend.read(9_000_000, &mut out).unwrap();
    assert_eq!(out, [0; 8]);
    assert!(backend.read(9_999_999, &mut out).is_err());
}

#[test]
fn a_file_that_was_not_closed_is_read_from_the_disk_and_not_from_a_cache_5_5() {
    let (file, backend) = fresh();
    let file = Arc::new(Counted::from(file));
    let asked = || file.read_anew.load(Ordering::Relaxed);
    let judge = || Backend::judge(Arc::<Counted>::clone(&file), IDENTITY, Arc::default()).unwrap();
    backend.set_len(50).unwrap();
    judge();
    assert_eq!(asked(), 1);
    backend.close().unwrap();
    assert!(backend.write(0, b"late").is_err());
    let closed = judge();
    assert_eq!(asked(), 1, "judging alone does not open it");
    closed.go_live().unwrap();
    judge();
    assert_eq!(asked(), 2);
}

#[test]
fn judging_changes_no_byte_of_the_file_and_going_live_plays_it_in_5_6() {
    let (file, backend) = fresh();
    backend.set_len(50).unwrap();
    backend.write(0, b"before").unwrap();
    let mut before = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read(0, &mut before).unwrap();

    let judge = Backend::judge(Arc::clone(&file), IDENTITY, Arc::default()).unwrap();
    judge.write(3, b"after").unwrap();
    judge.set_len(60).unwrap();
    judge.sync_data().unwrap();
    let mut out = [0; 8];
    judge.read(0, &mut out).unwrap();
    assert_eq!(&out, b"befafter");
    let mut after = vec![0; before.len()];
    file.read(0, &mut after).unwrap();
    assert!(before == after && file.len().unwrap() == before.len() as u64);

    judge.go_live().unwrap();
    let again = Backend::judge(file, IDENTITY, Arc::default()).unwrap();
    again.read(0, &mut out).unwrap();
    assert_eq!((&out, again.len().unwrap()), (b"befafter", 60));
}

#[test]
fn what_is_written_and_the_zeros_ahead_of_it_are_counted_and_end_where_they_are_to() {
    let (file, written) = (Memory::default().create("segment").unwrap(), Arc::<Written>::default());
    let backend = Backend::create(Arc::clone(&file), IDENTITY, Arc::clone(&written), None).unwrap();
    let logical = STEP_BYTES + 8192;
    let counted = || (written.data.load(Ordering::Relaxed), written.zeros.load(Ordering::Relaxed));
    backend.set_len(logical).unwrap();
    backend.write(0, &vec![7; index(logical)]).unwrap();
    assert_eq!(counted(), (logical, 2 * STEP_BYTES));
    backend.extend_ahead(u64::MAX).unwrap();
    assert_eq!(counted(), (logical, 2 * logical), "redb's next growth");
    assert_eq!(
        (backend.file_bytes(), file.len().unwrap()),
        (page::BYTES + 2 * logical, page::BYTES + 2 * logical)
    );
    assert_eq!(backend.last_length(2 * logical), 2 * logical);
    // A page of redb's that is said with five bytes, over zeros, and again over itself.
    let mut page = vec![0; 32 << 10];
    page[..5].fill(7);
    backend.set_len(2 * logical).unwrap();
    backend.write(logical, &page).unwrap();
    page[3..].fill(0);
    backend.write(logical, &page).unwrap();
    assert_eq!(counted(), (logical + 4096 + 5, 2 * logical));
}

#[test]
fn what_is_cut_reads_as_zeros_if_the_file_grows_again() {
    let (_, backend) = fresh();
    for mode in ["live", "judging"] {
        let backend = if mode == "live" { backend.clone() } else { backend.judge_again().unwrap() };
        backend.set_len(400_000).unwrap();
        backend.write(0, &vec![7; 400_000]).unwrap();
        backend.set_len(10).unwrap();
        backend.set_len(400_000).unwrap();
        let mut out = vec![1; 400_000];
        backend.read(0, &mut out).unwrap();
        assert!(out[..10] == [7; 10] && out[10..].iter().all(|own| *own == 0), "{mode}");
    }
}

#[test]
fn what_was_cut_while_it_was_judged_reads_as_zeros_once_it_is_live_and_later_5_6() {
    let judged = fresh().1.judge_again().unwrap();
    judged.set_len(100).unwrap();
    judged.write(0, &[7; 100]).unwrap();
    judged.set_len(10).unwrap();
    judged.set_len(100).unwrap();
    judged.go_live().unwrap();
    for backend in [&judged, &judged.judge_again().unwrap()] {
        let mut out = [1; 100];
        backend.read(0, &mut out).unwrap();
        assert!(out[..10] == [7; 10] && out[10..] == [0; 90]);
    }
}

#[test]
fn a_step_lies_over_the_part_that_it_shares_with_what_was_read() {
    let whole: Vec<u8> = (1..=16).collect();
    for (at, len) in (0..16).flat_map(|at| (0..=16 - at).map(move |len| (at, len))) {
        let data = vec![0xff; len];
        for step in [Step::Write(at as u64, data), Step::SetLen(at as u64, len as u64), Step::Sync] {
            let mut laid = whole.clone();
            match &step {
                Step::Write(..) => laid[at..at + len].fill(0xff),
                Step::SetLen(..) => laid[at..].fill(0),
                Step::Sync => {}
            }
            for (from, to) in [(0, 16), (3, 16), (0, 9), (5, 6), (4, 12)] {
                let mut out = whole[from..to].to_vec();
                overlay(&step, from as u64, &mut out);
                assert_eq!(out, laid[from..to], "{step:?} over {from}..{to}");
            }
        }
    }
}

#[test]
fn no_write_is_taken_once_they_are_refused_5_5() {
    let (_, backend) = fresh();
    backend.set_len(50).unwrap();
    backend.refuse_writes();
    assert!(backend.write(0, b"late").is_err());
}

proptest! {
    #[test]
    fn a_file_that_is_judged_reads_as_one_that_is_written_before_it_goes_live_and_after_5_6(
        steps in proptest::collection::vec((any::<bool>(), 0_usize..200, 0_usize..100), 1..12),
        (at, count) in (0_usize..200, 0_usize..100),
    ) {
        let (live, judged) = (fresh().1, fresh().1.judge_again().unwrap());
        let mut length = 0;
        for (nth, (grows, offset, bytes)) in (1..).zip(steps) {
            for backend in [&live, &judged] {
                if grows || offset + bytes > length {
                    backend.set_len((offset + bytes) as u64).unwrap();
                } else {
                    backend.write(offset as u64, &vec![nth; bytes]).unwrap();
                }
            }
            length = index(live.len().unwrap());
        }
        let (from, to) = (at.min(length), (at + count).min(length));
        let read = |backend: &Backend| {
            let mut out = vec![0xff; to - from];
            backend.read(from as u64, &mut out).unwrap();
            out
        };
        let sound = read(&live);
        prop_assert_eq!(read(&judged), &sound[..]);
        judged.go_live().unwrap();
        prop_assert_eq!(read(&judged), &sound[..]);
        let again = judged.judge_again().unwrap();
        prop_assert_eq!((read(&again), index(again.len().unwrap())), (sound, length));
    }
}

/// A file whose next write ends early, and says that it failed.
#[derive(Debug)]
struct Short(Arc<dyn DiskFile>, Mutex<Option<usize>>);

impl DiskFile for Short {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let Some(count) = self.1.lock().take() else { return self.0.write(offset, data) };
        self.0.write(offset, &data[..count.min(data.len())])?;
        Err(IoKind::StorageFull.into())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

proptest! {
    #[test]
    fn zeros_that_are_not_written_again_are_read_all_the_same(
        spare in 0_u64..20,
        steps in proptest::collection::vec((0_u8..9, 0_u64..60, 1_usize..5, 0_usize..17_000), 1..60),
    ) {
        let file = Memory::default().create("segment").unwrap();
        file.write(0, &vec![0; index(spare * 4096)]).unwrap();
        let file = Arc::new(Short(file, Mutex::default()));
        let mut backend = Backend::create(Arc::<Short>::clone(&file), IDENTITY, Arc::default(), None).unwrap();
        let mut model = Vec::new();
        let read = |backend: &Backend| {
            let mut out = vec![0xff; index(backend.len().unwrap())];
            backend.read(0, &mut out).unwrap();
            out
        };
        for (nth, (what, page, pages, zeros)) in (1_u8..).zip(steps) {
            let (offset, len) = (index(page) * 4096, pages * 4096);
            if what == 0 || offset + len > model.len() {
                backend.set_len((offset + len) as u64).unwrap();
                model.resize(offset + len, 0);
            } else if what == 1 {
                // As somebody finds it after a crash, who goes on with it.
                backend = backend.judge_again().unwrap();
                backend.go_live().unwrap();
            } else if what == 2 {
                backend.extend_ahead(u64::MAX).unwrap();
            } else {
                let mut data = vec![nth; len];
                data[len.saturating_sub(zeros)..].fill(0);
                *file.1.lock() = (what == 3).then_some(zeros);
                let written = backend.write(offset as u64, &data);
                // A write that failed left there what it left.
                *file.1.lock() = None;
                let is = if written.is_ok() { data } else { read(&backend)[offset..][..len].to_vec() };
                model[offset..offset + len].copy_from_slice(&is);
            }
            prop_assert!(read(&backend) == model);
            prop_assert!(file.len().unwrap() >= backend.file_bytes());
        }
        // As somebody else finds it.
        backend.close().unwrap();
        prop_assert!(read(&Backend::judge(file, IDENTITY, Arc::default()).unwrap()) == model);
    }
}

#[test]
fn a_spares_zeros_are_known_and_its_last_page_is_ready_only_if_it_is_there() {
    let (file, written) = (Memory::default().create("segment").unwrap(), Arc::<Written>::default());
    let spare = STEP_BYTES - 4096;
    file.write(0, &vec![0; index(page::BYTES + spare)]).unwrap();
    let backend = Backend::create(Arc::clone(&file), IDENTITY, Arc::clone(&written), None).unwrap();
    let counted = || (written.data.load(Ordering::Relaxed), written.zeros.load(Ordering::Relaxed));
    backend.set_len(STEP_BYTES).unwrap();
    backend.write(0, &[7; 5000]).unwrap();
    backend.write(8192, &[0; 4096]).unwrap();
    assert_eq!((counted(), file.len().unwrap()), ((5000, 0), page::BYTES + spare));
    backend.write(spare, &[0; 4096]).unwrap();
    assert_eq!((counted(), file.len().unwrap()), ((5000, 4096), page::BYTES + STEP_BYTES));
}

#[test]
fn a_sealed_file_takes_no_writes_and_holds_no_spare_space() {
    let (_, backend) = fresh();
    backend.set_len(5000).unwrap();
    backend.write(0, b"x").unwrap();
    backend.seal().unwrap();
    assert!(backend.write(0, b"y").is_err() && backend.set_len(9).is_err());
    assert_eq!(backend.file_bytes(), page::BYTES + 5000);
}
