//! Token, scope and key: parsed once at the border.
//!
//! Law: a [`Key`] can only be made of a token and a scope that obey contract 1.1 and 1.2, so nothing behind
//! the border checks them again. Its bytes are framed (length, scope, length, token), so that no two pairs
//! share one encoding (contract 1.3). `Debug` shows lengths, never bytes (contract 10.2).

mod header;

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result, ScopeFault, TokenFault};

pub use header::token_in_header;

/// Most bytes of a token by the default rule (contract 1.1).
pub const TOKEN_BYTES_DEFAULT: usize = 64;
/// Most bytes of a token under any policy (contract 1.1).
pub const TOKEN_BYTES_MAX: usize = 255;
/// Most bytes of a scope (contract 1.2).
pub const SCOPE_BYTES_MAX: usize = 255;
/// Most bytes of a framed key.
const FRAMED_BYTES_MAX: usize = 2 + SCOPE_BYTES_MAX + TOKEN_BYTES_MAX;
/// Most bytes of the label of a derived token.
pub const LABEL_BYTES_MAX: usize = 255;

/// The key of the hash that tokens are derived by: the same in every version, for ever.
const DERIVE_CONTEXT: &str = "oncekey 2026 v1: derive a token for a downstream call";

/// Scope and token: what one operation is known by (contract 1.2). Cloning shares the bytes.
///
/// ```
/// use oncekey::Key;
///
/// let key = Key::new("account-1", "5f0e9a")?;
/// assert_eq!((key.scope(), key.token()), (&b"account-1"[..], "5f0e9a"));
/// assert!(Key::new("account-1", "").is_err());
/// # Ok::<(), oncekey::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    framed: Arc<[u8]>,
}

impl Key {
    /// The key of `token` under `scope`, by the default rule: a token of 1 to 64 ASCII characters, a scope of 1
    /// to 255 bytes. For a store with other limits there is `Store::key`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidToken`] and [`ErrorKind::InvalidScope`], with the rule that was broken.
    pub fn new(scope: impl AsRef<[u8]>, token: impl AsRef<[u8]>) -> Result<Self> {
        Self::within(scope.as_ref(), token.as_ref(), SCOPE_BYTES_MAX, TOKEN_BYTES_DEFAULT)
    }

    /// The key of `token` under `scope`, where each may have up to the given number of bytes (255 at most).
    pub(crate) fn within(scope: &[u8], token: &[u8], scope_max: usize, token_max: usize) -> Result<Self> {
        check_scope(scope, scope_max.min(SCOPE_BYTES_MAX))?;
        check_token(token, token_max.min(TOKEN_BYTES_MAX))?;
        let mut framed = [0; FRAMED_BYTES_MAX];
        let mut end = 0;
        for part in [scope, token] {
            framed[end] = u8::try_from(part.len()).expect("both were checked to have at most 255 bytes");
            framed[end + 1..][..part.len()].copy_from_slice(part);
            end += 1 + part.len();
        }
        Ok(Self { framed: framed[..end].into() })
    }

    /// Whose token it is.
    #[must_use]
    pub fn scope(&self) -> &[u8] {
        self.parts().0
    }

    /// What the client names the operation by.
    #[must_use]
    pub fn token(&self) -> &str {
        std::str::from_utf8(self.parts().1).unwrap_or_default()
    }

    /// The token for one downstream call that this operation makes: always the same for this scope, token and label,
    /// whichever attempt asks, in every process, store and version of this crate. So a chain of services stays
    /// idempotent: the retry of an operation calls the next service with the token of the first attempt.
    ///
    /// It has 64 hexadecimal digits, within the default rule of every store (contract 1.1). Other keys and other
    /// labels give unrelated tokens. It is no secret: whoever knows scope, token and label can compute it, so the
    /// downstream service has to keep callers apart by a scope of its own (1.2).
    ///
    /// ```
    /// use oncekey::Key;
    ///
    /// let key = Key::new("account-1", "5f0e9a6c")?;
    /// let charge = key.derive("charge")?;
    /// assert_eq!(charge.as_str(), "15f58480345bdb7a396e3a3fc0f694b23dec9e8ed2e874e97b819c166027dfb6");
    /// assert_ne!(charge, key.derive("send the receipt")?);
    /// # Ok::<(), oncekey::Error>(())
    /// ```
    ///
    /// In another language: BLAKE3 in its `derive_key` mode, 32 bytes in lower-case hexadecimal, with the context
    /// `oncekey 2026 v1: derive a token for a downstream call`, over scope, token and label, each after its length
    /// as one byte.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidLabel`] where the label has not 1 to 255 bytes.
    pub fn derive(&self, label: impl AsRef<[u8]>) -> Result<Token> {
        let label = label.as_ref();
        let invalid = ErrorKind::InvalidLabel { measured: label.len(), limit: LABEL_BYTES_MAX };
        let length = u8::try_from(label.len()).ok().filter(|length| *length > 0).ok_or(invalid)?;
        let mut hasher = blake3::Hasher::new_derive_key(DERIVE_CONTEXT);
        hasher.update(&self.framed).update(&[length]).update(label);
        Ok(Token(hasher.finalize().to_hex().to_string()))
    }

    /// The key that these framed bytes stand for, as a record keeps them.
    pub(crate) fn from_framed(framed: &[u8]) -> Option<Self> {
        let (scope, token) = unframed(framed)?;
        Self::within(scope, token, SCOPE_BYTES_MAX, TOKEN_BYTES_MAX).ok()
    }

    /// Takes the framed bytes apart; their lengths were written when the key was made.
    fn parts(&self) -> (&[u8], &[u8]) {
        let scope_end = 1 + usize::from(self.framed[0]);
        (&self.framed[1..scope_end], &self.framed[scope_end + 1..])
    }

    /// Bytes of the token, told from its frame without a look at them.
    pub(crate) fn token_bytes(&self) -> usize {
        self.framed.len() - 2 - self.scope().len()
    }

    /// The framed bytes: length of the scope, scope, length of the token, token.
    pub(crate) fn as_framed(&self) -> &[u8] {
        &self.framed
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(scope: {} bytes, token: {} bytes)", self.scope().len(), self.token().len())
    }
}

/// Tokens that a client (or a test) makes for itself.
///
/// ```
/// let token = oncekey::Token::random();
/// assert_eq!(token.as_str().len(), 32);
/// assert_ne!(token, oncekey::Token::random());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

impl Token {
    /// 128 bits of the system's randomness as 32 hexadecimal digits.
    ///
    /// # Panics
    /// Where the operating system has no randomness to give, which no supported system does.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives randomness");
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// A token that a client sent, by the default rule (contract 1.1).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidToken`] with the rule that was broken.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self> {
        check_token(text.as_ref(), TOKEN_BYTES_DEFAULT)?;
        Ok(Self(String::from_utf8_lossy(text.as_ref()).into_owned()))
    }

    /// Its characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<[u8]> for Token {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.0.len())
    }
}

/// Scope and token of framed bytes, off a disk; `None` where they are no frame.
pub(crate) fn unframed(framed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (scope_len, rest) = framed.split_first()?;
    let (scope, rest) = rest.split_at_checked(usize::from(*scope_len))?;
    let (token_len, token) = rest.split_first()?;
    (usize::from(*token_len) == token.len()).then_some((scope, token))
}

fn check_token(token: &[u8], limit: usize) -> Result<()> {
    let fault = if token.is_empty() {
        TokenFault::Empty
    } else if token.len() > limit {
        TokenFault::TooLong { measured: token.len(), limit }
    } else if let Some(position) = token.iter().position(|byte| !byte.is_ascii()) {
        TokenFault::NotAscii { position }
    } else {
        return Ok(());
    };
    Err(Error::from(ErrorKind::InvalidToken(fault)))
}

fn check_scope(scope: &[u8], limit: usize) -> Result<()> {
    let fault = if scope.is_empty() {
        ScopeFault::Empty
    } else if scope.len() > limit {
        ScopeFault::TooLong { measured: scope.len(), limit }
    } else {
        return Ok(());
    };
    Err(Error::from(ErrorKind::InvalidScope(fault)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(error: &Error) -> &ErrorKind {
        error.kind()
    }

    #[test]
    fn a_token_has_1_to_64_ascii_characters_1_1() {
        assert!(Key::new("s", "x".repeat(64)).is_ok());
        assert_eq!(
            fault(&Key::new("s", "x".repeat(65)).unwrap_err()),
            &ErrorKind::InvalidToken(TokenFault::TooLong { measured: 65, limit: 64 })
        );
        assert_eq!(fault(&Key::new("s", "").unwrap_err()), &ErrorKind::InvalidToken(TokenFault::Empty));
        assert_eq!(
            fault(&Key::new("s", "abé").unwrap_err()),
            &ErrorKind::InvalidToken(TokenFault::NotAscii { position: 2 })
        );
    }

    #[test]
    fn moving_a_byte_from_scope_to_token_makes_another_key_1_3() {
        assert_ne!(Key::new("ab", "c").unwrap(), Key::new("a", "bc").unwrap());
        assert_ne!(Key::new("a", "T").unwrap(), Key::new("a", "t").unwrap());
    }

    #[test]
    fn bytes_that_are_no_frame_are_no_key_1_3() {
        let key = Key::new("ab", "c").unwrap();
        assert_eq!(Key::from_framed(key.as_framed()), Some(key));
        for bytes in
            [&b""[..], b"\x02ab", b"\x02ab\x02c", b"\x02ab\0c", b"\x02ab\x01cd", b"\x03ab", b"\0\x01c"]
        {
            assert_eq!(Key::from_framed(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn derived_tokens_are_those_of_another_implementation_of_blake3_1_3() {
        let longest = "s".repeat(255);
        let derived = [
            (
                Key::new("account-1", "5f0e9a6c").unwrap().derive("charge"),
                "15f58480345bdb7a396e3a3fc0f694b23dec9e8ed2e874e97b819c166027dfb6",
            ),
            (
                Key::new(b"\0\xff", "t".repeat(64)).unwrap().derive("d\u{e9}"),
                "b389d03f5bc86e8a1b85ea436c01947bb03df85a837b3b9e3ce764c3b4407636",
            ),
            (
                Key::within(longest.as_bytes(), "t".repeat(255).as_bytes(), 255, 255)
                    .unwrap()
                    .derive("l".repeat(255)),
                "7b233fee68a82721750f60881046504deafee17ca3329e5dbf920dad305dea78",
            ),
        ];
        for (token, pinned) in derived {
            assert_eq!(token.unwrap().as_str(), pinned);
        }
    }

    #[test]
    fn moving_a_byte_between_scope_token_and_label_derives_another_token_1_3() {
        let derive =
            |scope: &str, token: &str, label: &str| Key::new(scope, token).unwrap().derive(label).unwrap();
        let derived = [
            derive("ab", "cd", "ef"),
            derive("a", "bcd", "ef"),
            derive("abc", "d", "ef"),
            derive("ab", "c", "def"),
            derive("ab", "cde", "f"),
            derive("ab", "cd", "eF"),
            derive("ab", "cd", "ef\0"),
        ];
        for (at, one) in derived.iter().enumerate() {
            assert!(Token::parse(one).is_ok(), "within the rule");
            assert!(!derived[at + 1..].contains(one), "{at}");
        }
    }

    #[test]
    fn a_label_has_1_to_255_bytes_8_1() {
        let key = Key::new("s", "t").unwrap();
        for length in [0, 256] {
            let invalid = ErrorKind::InvalidLabel { measured: length, limit: 255 };
            assert_eq!(fault(&key.derive("l".repeat(length)).unwrap_err()), &invalid);
        }
        for length in [1, 255] {
            assert!(key.derive("l".repeat(length)).is_ok());
        }
    }

    #[test]
    fn debug_shows_lengths_only_10_2() {
        let shown = format!("{:?}", Key::new("canary-scope", "canary-token").unwrap());
        assert!(!shown.contains("canary"));
    }
}
