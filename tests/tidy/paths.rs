//! Words and paths in code: `a::{b, c::d as e}` names `a::b` and `a::c::d`.

/// All paths that begin with `root::`, groups spelled out: (offset, what follows).
pub(crate) fn paths(code: &str, root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in words(code, root) {
        // `super::super::x` is one path.
        let inner = root == "super" && code[..at].trim_end().ends_with("::");
        if let Some(rest) = code[at + root.len()..].strip_prefix("::").filter(|_| !inner) {
            spell_out(rest, "", at, &mut found);
        }
    }
    found
}

/// Reads one path or group at the head of `code`; returns what follows it.
fn spell_out<'a>(code: &'a str, prefix: &str, at: usize, found: &mut Vec<(usize, String)>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if let Some(end) = rest.strip_prefix('}') {
                return end;
            }
            let left = rest.len();
            rest = spell_out(rest, prefix, at, found);
            if rest.len() == left {
                return rest;
            }
        }
    }
    let end = code.find(|next: char| !is_word(next) && next != '*').unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    let path = format!("{prefix}{name}");
    if let Some(inside) = rest.strip_prefix("::").filter(|inside| !inside.starts_with('<')) {
        return spell_out(inside, &format!("{path}::"), at, found);
    }
    found.push((at, path));
    let rest = rest.trim_start();
    match rest.strip_prefix("as ") {
        Some(alias) => alias.trim_start().trim_start_matches(is_word),
        None => rest,
    }
}

pub(crate) fn first(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Offsets of `word` in `text` where no letter, digit or underscore touches it.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !text[..at].ends_with(is_word)
            && !text[at + word.len()..].starts_with(|next| is_word(next) && !word.ends_with('!'))
    })
}

pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
