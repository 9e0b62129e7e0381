//! Rust's text without its comments and literals, and where its items end: as much of a lexer as tidiness needs.
//!
//! Law: what comes out has the lines and columns of what went in.

use crate::paths::{is_word, words};

/// Comments and the insides of literals as spaces, so that every line and column stays.
pub(crate) fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let touches_word = code.ends_with(is_word);
        let (kept, length) = match next {
            '/' if rest.starts_with("//") => (0, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (0, block_comment(rest)),
            '"' => (1, string(rest)),
            'r' | 'b' | 'c' if !touches_word => literal_with_prefix(rest).unwrap_or((1, 1)),
            '\'' => character(rest).map_or((1, 1), |length| (1, length)),
            _ => (next.len_utf8(), next.len_utf8()),
        };
        code.push_str(&rest[..kept]);
        code.extend(rest[kept..length].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") || rest.starts_with(b"*/") {
            depth += if rest[0] == b'/' { 1 } else { -1 };
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    text.len()
}

/// `b"…"`, `r#"…"#`, `b'…'` and the like: (kept, length).
fn literal_with_prefix(text: &str) -> Option<(usize, usize)> {
    let prefix = text.find(|next| !matches!(next, 'r' | 'b' | 'c'))?;
    let rest = &text[prefix..];
    if !text[..prefix].contains('r') {
        let length = if rest.starts_with('"') { string(rest) } else { character(rest)? };
        return Some((prefix, prefix + length));
    }
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let inside = rest[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&close).map_or(inside.len(), |at| at + close.len());
    Some((prefix, prefix + hashes + 1 + length))
}

/// The length of a character literal; `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    if let Some(escape) = inside.strip_prefix('\\') {
        let skipped = escape.chars().next()?.len_utf8();
        return escape[skipped..].find('\'').map(|at| 2 + skipped + at + 1);
    }
    let length = inside.chars().next()?.len_utf8();
    inside[length..].starts_with('\'').then_some(length + 2)
}

/// Attributes as spaces.
pub(crate) fn without_attributes(code: &str) -> String {
    let mut plain = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[").into_iter().chain(rest.find("#![")).min() {
        let open = at + rest[at..].find('[').unwrap_or_default();
        let end = open + bracketed(&rest[open..]);
        plain.push_str(&rest[..at]);
        plain.extend(rest[at..end].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        rest = &rest[end..];
    }
    plain + rest
}

/// Which lines belong to items under a `cfg` that asks for tests.
pub(crate) fn test_lines(code: &str) -> Vec<bool> {
    let mut test = vec![false; code.lines().count() + 1];
    for (at, _) in code.match_indices("#[cfg(") {
        let attribute = &code[at..][..=bracketed(&code[at + 1..])];
        if words(attribute, "test").next().is_none() || attribute.contains("not(") {
            continue;
        }
        let end = at + attribute.len() + item(&code[at + attribute.len()..]);
        let lines = code[..at].matches('\n').count()..=code[..end].matches('\n').count();
        test[lines].fill(true);
    }
    test
}

/// The length of the item at the head of `code`: to its semicolon, or to the end of its braces.
fn item(code: &str) -> usize {
    let Some(end) = code.find([';', '{']) else { return code.len() };
    if code[end..].starts_with(';') { end + 1 } else { end + bracketed(&code[end..]) }
}

/// The length of what the bracket at the head of `code` encloses, itself included.
fn bracketed(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate() {
        depth += match byte {
            b'(' | b'[' | b'{' => 1,
            b')' | b']' | b'}' => -1,
            _ => 0,
        };
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

pub(crate) fn inline_depths(code: &str) -> Vec<usize> {
    let mut depths = vec![0; code.lines().count() + 1];
    for at in words(code, "mod") {
        let rest = &code[at + 3..];
        let name = rest.trim_start().trim_start_matches(is_word).trim_start();
        if name.starts_with('{') {
            let open = code.len() - name.len();
            let end = open + bracketed(name);
            for depth in &mut depths[code[..open].matches('\n').count()..=code[..end].matches('\n').count()] {
                *depth += 1;
            }
        }
    }
    depths
}
