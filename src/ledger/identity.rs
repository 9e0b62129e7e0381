//! The identity file: which store this is, and what must be known before a segment is read.
//!
//! Law: the file is replaced as a whole (temporary name, sync, rename, directory sync), so it is the old one or
//! the new one after any crash (contract 10.1). It counts epochs, so no fence is ever used twice (contract 4.4);
//! it keeps the settings that digests were made under (2.2), the secrets' check values (11), and the store's own
//! secret if the caller gave none (2.5). `born` is false until the first segment is there: then, and only then,
//! a store without segments is one whose creation was cut short and not one that lost them (5.6, 5.7).

use super::disk::Disk;
use super::fault::io_error;
use crate::codec::{self, Decode, Encode};
use crate::digest::{DigestRules, Secret};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{FORMAT, u32_at};

/// The file's name.
pub(crate) const NAME: &str = "oncekey.identity";
const NAME_NEW: &str = "oncekey.identity.new";
const MAGIC: &[u8; 16] = b"oncekey identity";
const HEAD_BYTES: usize = MAGIC.len() + 4;
const CHECKSUM_BYTES: usize = 32;
const FILE_BYTES_MAX: usize = 1 << 20;

/// What the file says.
#[derive(Clone, Encode, Decode)]
pub(crate) struct Identity {
    pub(crate) store: [u8; 16],
    /// What the keys of checksums and fingerprints are derived from.
    pub(crate) seed: [u8; 32],
    pub(crate) born: bool,
    pub(crate) epoch: u64,
    pub(super) secrets: Vec<SecretNote>,
    rules: Vec<Vec<String>>,
}

/// A secret that digests were made under; its number is its position, from 1.
#[derive(Clone, Encode, Decode)]
pub(super) struct SecretNote {
    pub(super) check: [u8; 16],
    /// The secret itself, where it is the store's own.
    pub(super) own: Option<[u8; 32]>,
}

impl Identity {
    /// A new store's identity.
    pub(crate) fn new(secret: Option<&Secret>) -> Result<Self> {
        let (mut store, mut seed) = ([0; 16], [0; 32]);
        for bytes in [&mut store[..], &mut seed] {
            let failed =
                |_| ErrorKind::Io { operation: "asking for randomness", kind: std::io::ErrorKind::Other };
            getrandom::fill(bytes).map_err(failed)?;
        }
        let mut identity =
            Self { store, seed, born: false, epoch: 0, secrets: Vec::new(), rules: Vec::new() };
        let own = secret.is_none().then(Secret::random).transpose()?;
        identity.add_secret(
            secret.or(own.as_ref()).expect("the caller's, or else one of our own"),
            own.is_some(),
        )?;
        Ok(identity)
    }

    /// Makes `secret` the current one and gives its number.
    pub(crate) fn add_secret(&mut self, secret: &Secret, own: bool) -> Result<u16> {
        let check = secret.check(&self.store);
        self.push(SecretNote { check, own: own.then(|| *secret.as_bytes()) })
    }

    pub(super) fn push(&mut self, note: SecretNote) -> Result<u16> {
        self.secrets.push(note);
        u16::try_from(self.secrets.len()).map_err(|_| {
            let measured = self.secrets.len() as u64;
            ErrorKind::InvalidSetting {
                setting: "rotate_secret",
                measured,
                rule: "called fewer than 65,536 times",
            }
            .into()
        })
    }

    /// Check value of every secret that there was, by number from 1, and the secret itself where it is the store's own.
    #[cfg(feature = "cli")]
    pub(crate) fn secret_notes(&self) -> impl Iterator<Item = ([u8; 16], Option<[u8; 32]>)> + '_ {
        self.secrets.iter().map(|note| (note.check, note.own))
    }

    /// Names of every set of rules that there was, by number from 0.
    #[cfg(feature = "cli")]
    pub(crate) fn rule_names(&self) -> &[Vec<String>] {
        &self.rules
    }

    /// All secrets at hand by number; the current one must be among them (contract 11).
    pub(crate) fn secrets(&self, given: Option<&Secret>, old: &[Secret]) -> Result<Vec<Option<Secret>>> {
        let find = |note: &SecretNote| {
            let known = given.into_iter().chain(old).find(|secret| secret.check(&self.store) == note.check);
            known.cloned().or_else(|| note.own.map(Secret::new))
        };
        let secrets: Vec<_> = self.secrets.iter().map(find).collect();
        let current = self.secrets.last().ok_or_else(damaged)?;
        let wrong_one = given.is_some_and(|secret| secret.check(&self.store) != current.check);
        if wrong_one || secrets.last().is_none_or(Option::is_none) {
            return Err(ErrorKind::WrongSecret.into());
        }
        Ok(secrets)
    }

    /// The number of these settings, added if they are new.
    pub(crate) fn number_of(&mut self, rules: &DigestRules) -> Result<u16> {
        let names: Vec<String> = rules.names().map(str::to_owned).collect();
        let position = self.rules.iter().position(|known| *known == names).unwrap_or_else(|| {
            self.rules.push(names);
            self.rules.len() - 1
        });
        u16::try_from(position).map_err(|_| {
            let measured = self.rules.len() as u64;
            ErrorKind::InvalidSetting { setting: "rules", measured, rule: "changed fewer than 65,536 times" }
                .into()
        })
    }

    /// All settings that digests were ever made under, by number.
    pub(crate) fn all_rules(&self) -> Vec<DigestRules> {
        self.rules.iter().map(|names| DigestRules::excluding(names.iter().map(String::as_str))).collect()
    }

    /// Reads the file; `None` where there is none.
    pub(crate) fn load(disk: &dyn Disk) -> Result<Option<Self>> {
        let failed = io_error("reading the store's identity");
        let file = match disk.open(NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                return Err(ErrorKind::NotAStore("the identity is not a plain file").into());
            }
            Err(error) => return Err(failed(error)),
        };
        let length = file.len().map_err(&failed)?;
        let length = usize::try_from(length).ok().filter(|len| *len <= FILE_BYTES_MAX).ok_or_else(damaged)?;
        let mut bytes = vec![0; length];
        file.read(0, &mut bytes).map_err(&failed)?;
        Self::parse(&bytes).map(Some)
    }

    /// What the file's bytes say.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            return Err(ErrorKind::NotAStore("the identity file is none of ours").into());
        }
        let content =
            bytes.len().checked_sub(CHECKSUM_BYTES).filter(|end| *end >= HEAD_BYTES).ok_or_else(damaged)?;
        let (content, checksum) = bytes.split_at(content);
        if blake3::hash(content).as_bytes() != checksum {
            return Err(damaged());
        }
        let found = u32_at(content, MAGIC.len());
        if found > FORMAT {
            return Err(ErrorKind::NewerFormat { found, supported: FORMAT }.into());
        }
        codec::decode::<_, FILE_BYTES_MAX>(&content[HEAD_BYTES..]).ok_or_else(damaged)
    }

    /// Replaces the file, durably.
    pub(crate) fn save(&self, disk: &dyn Disk) -> Result<()> {
        replace(disk, &self.encode()?).map_err(io_error("writing the store's identity"))
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// *Invalid setting*: they are more than would be read again.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        codec::encode_into(self, &mut bytes);
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        let measured = bytes.len() as u64;
        if bytes.len() > FILE_BYTES_MAX || Self::parse(&bytes).is_err() {
            let rule = "what an identity of 1 MiB holds, with all that there ever were";
            return Err(ErrorKind::InvalidSetting { setting: "rules and secrets", measured, rule }.into());
        }
        Ok(bytes)
    }
}

fn replace(disk: &dyn Disk, bytes: &[u8]) -> std::io::Result<()> {
    remove_leftover(disk)?;
    let file = disk.create(NAME_NEW)?;
    file.write(0, bytes)?;
    file.sync()?;
    disk.rename(NAME_NEW, NAME)?;
    disk.sync()
}

/// Removes a temporary file that a crash left behind.
pub(crate) fn remove_leftover(disk: &dyn Disk) -> std::io::Result<()> {
    match disk.remove(NAME_NEW) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a name is one that only a store of ours leaves behind.
pub(crate) fn is_leftover(name: &str) -> bool {
    name == NAME_NEW
}

fn damaged() -> Error {
    ErrorKind::DamagedStore { file: "identity".to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use super::super::disk::Memory;
    use super::super::faulty::{Failure, Faulty};
    use super::*;

    #[test]
    fn an_identity_comes_back_and_damage_is_told_from_a_wrong_secret_11() {
        let disk = Memory::default();
        let secret = Secret::new([3; 32]);
        let identity = Identity::new(Some(&secret)).unwrap();
        identity.save(&disk).unwrap();
        let again = Identity::load(&disk).unwrap().unwrap();
        assert_eq!(again.store, identity.store);
        assert!(again.secrets(Some(&secret), &[]).is_ok());
        let error = again.secrets(Some(&Secret::new([4; 32])), &[]).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::WrongSecret);
        assert_eq!(again.secrets(None, &[]).unwrap_err().kind(), &ErrorKind::WrongSecret);

        let file = disk.open(NAME).unwrap();
        file.write(30, &[0xff; 4]).unwrap();
        let error = Identity::load(&disk).err().unwrap();
        assert!(matches!(error.kind(), ErrorKind::DamagedStore { .. }));
        file.write(0, b"something").unwrap();
        assert!(matches!(Identity::load(&disk).err().unwrap().kind(), ErrorKind::NotAStore(_)));
    }

    /// One that is not read again would be a store that is lost.
    #[test]
    fn what_is_written_is_read_again_however_many_secrets_and_rules_there_were_5_7_8_1() {
        let disk = Memory::default();
        let mut identity = Identity::new(Some(&Secret::new([3; 32]))).unwrap();
        identity.save(&disk).unwrap();
        let refused = (0..u16::MAX).step_by(500).find_map(|_| {
            for _ in 0..500 {
                identity.add_secret(&Secret::new([4; 32]), false).unwrap();
            }
            let saved = identity.save(&disk);
            assert!(Identity::load(&disk).unwrap().is_some());
            saved.err()
        });
        assert!(matches!(refused.unwrap().kind(), ErrorKind::InvalidSetting { .. }));

        let names = (0..200_000).map(|number| number.to_string());
        let mut identity = Identity::new(None).unwrap();
        identity.number_of(&DigestRules::excluding(names)).unwrap();
        assert!(matches!(identity.save(&disk).unwrap_err().kind(), ErrorKind::InvalidSetting { .. }));
        assert!(Identity::load(&disk).unwrap().is_some());
    }

    #[test]
    fn an_identity_holds_to_the_byte_what_is_read_again_5_7() {
        let disk = Memory::default();
        let mut identity = Identity::new(None).unwrap();
        identity.rules.push(vec!["x".repeat(FILE_BYTES_MAX - 1000)]);
        let room = FILE_BYTES_MAX - identity.encode().unwrap().len();
        identity.rules[0][0].push_str(&"x".repeat(room));
        identity.save(&disk).unwrap();
        assert_eq!(disk.open(NAME).unwrap().len().unwrap(), FILE_BYTES_MAX as u64);
        assert_eq!(Identity::load(&disk).unwrap().unwrap().rules, identity.rules);
        identity.rules[0][0].push('x');
        let measured = FILE_BYTES_MAX as u64 + 1;
        let refused = identity.save(&disk).unwrap_err();
        let setting = "rules and secrets";
        assert!(
            matches!(refused.kind(), ErrorKind::InvalidSetting { setting: own, measured: bytes, .. }
                if (*own, *bytes) == (setting, measured)),
            "{refused}"
        );
    }

    #[test]
    fn what_can_not_be_opened_or_removed_says_so_and_is_not_taken_for_what_is_none_of_ours_5_6() {
        let disk = Faulty::new();
        Identity::new(None).unwrap().save(&disk).unwrap();
        disk.fail(Some(Failure::Read(disk.asked().1 + 1, std::io::ErrorKind::PermissionDenied)));
        let error = Identity::load(&disk).err().unwrap();
        assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
        remove_leftover(&disk).unwrap();
        disk.create(NAME_NEW).unwrap();
        disk.fail(Some(Failure::Once(disk.asked().0 + 1, std::io::ErrorKind::PermissionDenied)));
        assert_eq!(remove_leftover(&disk).unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        remove_leftover(&disk).unwrap();
        assert_eq!(disk.list().unwrap(), [NAME]);
    }

    #[cfg(feature = "cli")]
    #[test]
    fn what_goes_to_another_store_names_all_secrets_and_rules_2_2_2_5() {
        let mut identity = Identity::new(None).unwrap();
        let given = Secret::new([3; 32]);
        identity.add_secret(&given, false).unwrap();
        identity.number_of(&DigestRules::none()).unwrap();
        identity.number_of(&DigestRules::excluding(["nonce"])).unwrap();
        let notes: Vec<_> = identity.secret_notes().collect();
        assert_eq!(notes.len(), 2);
        assert_eq!(notes[0].0, Secret::new(notes[0].1.unwrap()).check(&identity.store));
        assert_eq!(notes[1], (given.check(&identity.store), None));
        assert_eq!(identity.rule_names(), [vec![], vec!["nonce".to_owned()]]);
    }

    #[test]
    fn secrets_and_rules_are_counted_in_16_bits_and_refused_beyond_8_1() {
        let mut identity = Identity::new(None).unwrap();
        let note = identity.secrets[0].clone();
        identity.secrets.resize(usize::from(u16::MAX) - 1, note);
        let secret = Secret::new([3; 32]);
        assert_eq!(identity.add_secret(&secret, false), Ok(u16::MAX));
        let error = identity.add_secret(&secret, false).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidSetting { measured: 65_536, .. }));

        identity.rules = (0..=u16::MAX).map(|number| vec![number.to_string()]).collect();
        assert_eq!(identity.number_of(&DigestRules::excluding(["65535"])), Ok(u16::MAX));
        let error = identity.number_of(&DigestRules::none()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidSetting { measured: 65_537, .. }));
    }

    #[test]
    fn settings_keep_their_number_2_2() {
        let mut identity = Identity::new(None).unwrap();
        let cloud = DigestRules::cloud_api();
        assert_eq!(identity.number_of(&DigestRules::none()).unwrap(), 0);
        assert_eq!(identity.number_of(&cloud).unwrap(), 1);
        assert_eq!(identity.number_of(&DigestRules::none()).unwrap(), 0);
        assert_eq!(identity.all_rules()[1], cloud);
    }
}
