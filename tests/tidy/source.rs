//! The sources as text, with what the rules ask of them: which module a file is, which lines are for tests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lexer::{blanked, inline_depths, test_lines};
use crate::paths::{is_word, words};

/// Not read: built, fetched or generated.
const NOT_OURS: &[&str] = &["target", ".git", ".venv", "node_modules", "Cargo.lock"];

/// One file of `src`.
pub(crate) struct Source {
    /// From the repository's root, with `/`.
    pub(crate) path: String,
    /// As it stands.
    pub(crate) text: String,
    /// The same, line for line, with comments and the insides of literals blanked.
    pub(crate) code: String,
    /// For each line, whether it is for tests alone.
    pub(crate) test: Vec<bool>,
    /// For each line, how many inline modules it stands in.
    pub(crate) inline: Vec<usize>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blanked(text);
        let for_tests = test_lines(&code);
        let inline = inline_depths(&code);
        Self { path: path.to_owned(), text: text.to_owned(), code, test: for_tests, inline }
    }

    /// Its modules from the crate's root: none for `lib.rs`.
    pub(crate) fn modules(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut modules: Vec<_> = path.split('/').collect();
        if matches!(modules.last(), Some(&"mod" | &"lib" | &"main")) {
            modules.pop();
        }
        modules
    }

    pub(crate) fn top(&self) -> &str {
        self.modules().first().copied().unwrap_or("lib")
    }

    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.code[..offset].matches('\n').count()
    }

    pub(crate) fn complaint(&self, line: usize, what: &str, rule: &str) -> String {
        format!("{}:{}: {what} (rule: {rule})", self.path, line + 1)
    }
}

pub(crate) fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    let mut sources: Vec<_> =
        files.iter().map(|file| Source::new(&relative(file), &fs::read_to_string(file).unwrap())).collect();
    assert!(!sources.is_empty(), "nothing to read");
    mark_test_files(&mut sources);
    sources
}

/// Files of modules that are declared for tests alone are for tests alone.
pub(crate) fn mark_test_files(sources: &mut [Source]) {
    let mut only_tests = Vec::new();
    for source in sources.iter() {
        for at in words(&source.code, "mod").filter(|&at| source.test[source.line_of(at)]) {
            let name: String =
                source.code[at + 3..].trim_start().chars().take_while(|next| is_word(*next)).collect();
            only_tests.push([source.modules(), vec![&name]].concat().join("::"));
        }
    }
    for source in sources {
        let path = source.modules().join("::");
        if only_tests.iter().any(|test| path == *test || path.starts_with(&format!("{test}::"))) {
            source.test.fill(true);
        }
    }
}

pub(crate) fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if NOT_OURS.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}

pub(crate) fn relative(path: &Path) -> String {
    let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path);
    path.to_string_lossy().replace('\\', "/")
}
