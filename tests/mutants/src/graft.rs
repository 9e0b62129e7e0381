//! Grafts mutants into a source: each place asks, when it runs, whether its mutant is the one.
//!
//! Law: a mutant's own text is the plain source with this one change, and what stands there otherwise may hold further
//! mutants; so they nest, and the source grows with their depth and not with their number's power.

use std::ops::Range;

use crate::list::Listed;
use crate::places::{Place, Places};

/// Why a mutant is not grafted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// What is fixed while compiling can't ask when it runs.
    Constant,
    /// Compiled for tests or fuzzing alone.
    Tests,
    /// The compiler refuses the mutant.
    Unviable,
    /// The compiler refuses the question, or the place was not found.
    Method,
}

/// A mutant, with what names it however the lines move: file, function and change.
#[derive(Clone, Debug)]
pub(crate) struct Mutant {
    pub(crate) number: u32,
    pub(crate) file: String,
    pub(crate) function: String,
    pub(crate) change: String,
    pub(crate) line: usize,
    pub(crate) edit: Result<Edit, Why>,
    /// What takes the place of which part of the source, where the mutant stands alone.
    pub(crate) alone: Option<(Range<usize>, String)>,
}

/// What is put before and after a range of a source.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) range: Range<usize>,
    pub(crate) before: String,
    pub(crate) after: String,
    /// The keyword `const` that has to go for it.
    pub(crate) without: Option<Range<usize>>,
}

/// Where an edit stands in the grafted source: what was put before, and all of it.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) number: u32,
    pub(crate) before: Range<usize>,
    pub(crate) whole: Range<usize>,
}

impl Mutant {
    /// What names it: mutants of one function that change the same text alike share a name.
    pub(crate) fn name(&self) -> String {
        format!("{}\t{}\t{}", self.file, self.function, self.change)
    }

    /// The module that it stands in, as its tests' names begin.
    pub(crate) fn module(&self) -> String {
        let path = self.file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        path.replace('/', "::") + "::"
    }

    pub(crate) fn of(listed: &Listed, number: u32, source: &str, places: &Places) -> Self {
        let found = places.at(&listed.genre, listed.start);
        let change = found.map_or_else(|| "not found".to_owned(), |place| change(listed, source, place));
        let edit = found.ok_or(Why::Method).and_then(|place| fitting(listed, number, source, place, places));
        let (file, function) = (listed.file.clone(), listed.function.clone());
        let alone = found.and_then(|place| alone(listed, place));
        Self { number, file, function, change, line: listed.start.0, edit, alone }
    }
}

/// The edit, unless it stands where nothing can be asked.
fn fitting(listed: &Listed, number: u32, source: &str, place: &Place, places: &Places) -> Result<Edit, Why> {
    if let Place::Arm { spare: false, .. } = place {
        return Err(Why::Unviable);
    }
    let mut edit = edit(listed, number, source, place);
    let within = |own: &Range<usize>| own.start <= edit.range.start && edit.range.end <= own.end;
    if places.tests.iter().any(within) {
        return Err(Why::Tests);
    }
    if places.fixed.iter().any(within) || listed.function.is_empty() {
        return Err(Why::Constant);
    }
    let keyword = places.consts.iter().find(|(_, body)| within(body));
    edit.without = keyword.map(|(keyword, _)| keyword.clone());
    Ok(edit)
}

/// What stands where, in a source with this change and no other. Constants are sums, products and what functions return.
fn alone(listed: &Listed, place: &Place) -> Option<(Range<usize>, String)> {
    let by = &listed.replacement;
    match place {
        Place::Binary { left, right, .. } => Some((left.end..right.start, format!(" {by} "))),
        Place::Body { stmts, .. } => Some((stmts.clone(), by.clone())),
        _ => None,
    }
}

/// What is changed, in words and one line.
fn change(listed: &Listed, source: &str, place: &Place) -> String {
    let text = |own: &Range<usize>| source[own.clone()].split_whitespace().collect::<Vec<_>>().join(" ");
    let by = &listed.replacement;
    match place {
        Place::Body { .. } => format!("return {by}"),
        Place::Binary { left, right, whole } => {
            let sound = text(&(left.end..right.start));
            format!("{sound} becomes {by} in {}", text(whole))
        }
        Place::Unary { whole, .. } => format!("delete the sign of {}", text(whole)),
        Place::Guard { whole } => format!("{by} for the guard {}", text(whole)),
        Place::Arm { pattern, .. } => format!("delete the arm {}", text(pattern)),
        Place::Field { field, .. } => format!("delete the field {}", text(field)),
    }
}

fn edit(listed: &Listed, number: u32, source: &str, place: &Place) -> Edit {
    let (by, asked) = (&listed.replacement, format!("mutant::chosen({number})"));
    let instead = |whole: &Range<usize>, other: &str| Edit {
        range: whole.clone(),
        before: format!("(if {asked} {{ {other} }} else {{ ("),
        after: ") })".to_owned(),
        without: None,
    };
    match place {
        Place::Body { stmts, returns: Some(returns) } => Edit {
            range: stmts.clone(),
            before: format!(
                "let own: Box<dyn {}> = if {asked} {{ Box::new({by}) }} else {{ Box::new({{ ",
                &source[returns.clone()]
            ),
            after: " }) }; own".to_owned(),
            without: None,
        },
        Place::Body { stmts, returns: None } => Edit {
            range: stmts.start..stmts.start,
            before: format!("if {asked} {{ return {by}; }} "),
            after: String::new(),
            without: None,
        },
        Place::Binary { left, right, whole } => {
            instead(whole, &format!("({}) {by} ({})", &source[left.clone()], &source[right.clone()]))
        }
        Place::Unary { operand, whole } => instead(whole, &source[operand.clone()]),
        Place::Guard { whole } => instead(whole, by),
        Place::Arm { pattern, .. } => Edit {
            range: pattern.end..pattern.end,
            before: format!(" if !{asked}"),
            after: String::new(),
            without: None,
        },
        Place::Field { whole, field } => {
            instead(whole, &format!("{}{}", &source[whole.start..field.start], &source[field.end..whole.end]))
        }
    }
}

/// The source with these edits, and where they stand in it.
pub(crate) fn graft(source: &str, edits: &[(u32, &Edit)]) -> (String, Vec<Mark>) {
    let mut edits = edits.to_vec();
    // What is only put in comes before what begins there; what holds others, before them.
    edits.sort_by_key(|(number, own)| {
        (own.range.start, !own.range.is_empty(), std::cmp::Reverse(own.range.end), *number)
    });
    let mut without: Vec<_> = edits.iter().filter_map(|(_, own)| own.without.clone()).collect();
    without.sort_by_key(|own| own.start);
    without.dedup();
    let mut grafted =
        Grafted { source, without, at: 0, text: String::new(), open: Vec::new(), marks: Vec::new() };
    for (number, own) in edits {
        grafted.close(own.range.start);
        grafted.go_to(own.range.start);
        let begun = grafted.text.len();
        grafted.text.push_str(&own.before);
        let before = begun..grafted.text.len();
        grafted.marks.push(Mark { number, whole: before.clone(), before });
        if !own.range.is_empty() {
            grafted.open.push((own, grafted.marks.len() - 1));
        }
    }
    grafted.close(source.len());
    grafted.go_to(source.len());
    (grafted.text, grafted.marks)
}

struct Grafted<'a> {
    source: &'a str,
    without: Vec<Range<usize>>,
    at: usize,
    text: String,
    open: Vec<(&'a Edit, usize)>,
    marks: Vec<Mark>,
}

impl Grafted<'_> {
    /// Copies the source up to there.
    fn go_to(&mut self, to: usize) {
        while let Some(gap) = self.without.first().filter(|gap| gap.start < to).cloned() {
            self.text.push_str(&self.source[self.at..gap.start]);
            self.at = gap.end;
            self.without.remove(0);
        }
        self.text.push_str(&self.source[self.at..to]);
        self.at = to;
    }

    /// Ends the edits that end at or before it.
    fn close(&mut self, at: usize) {
        while let Some((own, mark)) = self.open.pop_if(|(own, _)| own.range.end <= at) {
            self.go_to(own.range.end);
            self.text.push_str(&own.after);
            self.marks[mark].whole.end = self.text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(genre: &str, replacement: &str, column: usize) -> Listed {
        let (file, function) = ("src/a.rs".to_owned(), "f".to_owned());
        let (genre, replacement) = (genre.to_owned(), replacement.to_owned());
        Listed { file, function, genre, replacement, start: (1, column) }
    }

    #[test]
    fn mutants_nest_and_each_has_the_plain_source_beside_its_change() {
        let source = "const fn f(a: u8) -> bool { a + 1 < 2 }";
        let places = Places::of(source).unwrap();
        let all = [
            listed("FnValue", "true", 29),
            listed("BinaryOperator", "==", 35),
            listed("BinaryOperator", "-", 31),
        ];
        let mutants: Vec<_> =
            all.iter().zip(0..).map(|(own, number)| Mutant::of(own, number, source, &places)).collect();
        let edits: Vec<_> = mutants.iter().map(|own| (own.number, own.edit.as_ref().unwrap())).collect();
        let (text, marks) = graft(source, &edits);
        assert_eq!(
            text,
            " fn f(a: u8) -> bool { if mutant::chosen(0) { return true; } \
             (if mutant::chosen(1) { (a + 1) == (2) } else { (\
             (if mutant::chosen(2) { (a) - (1) } else { (a + 1) }) < 2) }) }"
        );
        assert_eq!(mutants[2].change, "+ becomes - in a + 1");
        let inner = marks.iter().find(|own| own.number == 2).unwrap();
        assert!(text[inner.whole.clone()].ends_with("else { (a + 1) })"));
    }

    #[test]
    fn what_is_fixed_while_compiling_is_not_grafted() {
        let source = "fn f() -> [u8; 1 + 1] { [0; 2] }";
        let places = Places::of(source).unwrap();
        let own = Mutant::of(&listed("BinaryOperator", "-", 18), 0, source, &places);
        assert_eq!(own.edit.unwrap_err(), Why::Constant);
    }
}
