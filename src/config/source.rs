//! A file's text, and what is found wrong with it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use super::mistake::{Errors, Mistake, Place, may_be_key, quoted};

/// The text of a file while it is read.
#[derive(Debug)]
pub(super) struct Source<'a> {
    name: &'a str,
    text: &'a str,
    lines: Lines<'a>,
    /// Lines that are not TOML: what a value there seems to be is not judged.
    broken: BTreeSet<usize>,
    /// From this line on nothing is judged.
    broken_from: usize,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        Self {
            name,
            text,
            lines: Lines::of(text),
            broken: BTreeSet::new(),
            broken_from: usize::MAX,
            mistakes: RefCell::default(),
        }
    }

    /// Notes what the TOML parser found: the first mistake of each line, for the others follow from it.
    pub(super) fn syntax(&mut self, errors: &[toml::de::Error]) {
        let at = |error: &toml::de::Error| error.span().unwrap_or(self.text.len()..self.text.len());
        let mut errors: Vec<_> = errors.iter().map(|error| (at(error), error.message())).collect();
        errors.sort_by_key(|(span, _)| span.start);
        for (span, message) in errors {
            let place = self.lines.place(span.start);
            if message.starts_with("unexpected `=` in array") {
                // A list that was not closed: its lines and all behind them were read as its elements.
                self.broken_from = place.line - 1;
                if self.broken.is_empty() {
                    let mistake =
                        self.mistake(place, "", "`=` in a list".to_owned(), "`,` or `]`".to_owned());
                    self.mistakes.get_mut().push(mistake);
                }
                break;
            }
            if message.starts_with("unclosed table") {
                // What follows seems to be elsewhere.
                self.broken_from = self.broken_from.min(place.line);
            }
            if self.broken.insert(place.line) {
                let (found, allowed) = syntax(self.text, &span, message);
                let mistake = self.mistake(place, "", found, allowed);
                self.mistakes.get_mut().push(mistake);
            }
        }
    }

    /// Notes that something else than `allowed` was `found` for `key`.
    pub(super) fn wrong(&self, at: usize, key: &str, found: impl Into<String>, allowed: impl Into<String>) {
        let place = self.lines.place(at);
        if place.line < self.broken_from && !self.broken.contains(&place.line) {
            let mistake = self.mistake(place, key, found.into(), allowed.into());
            self.mistakes.borrow_mut().push(mistake);
        }
    }

    /// Notes that a key is missing. Where lines are broken it may stand in one of them.
    pub(super) fn missing(&self, at: usize, key: &str, allowed: &str) {
        if self.broken.is_empty() {
            self.wrong(at, key, "nothing", allowed);
        }
    }

    /// The line of a byte.
    pub(super) fn line(&self, at: usize) -> usize {
        self.lines.place(at).line
    }

    /// Whether all was right.
    pub(super) fn end(self) -> Result<(), Errors> {
        Errors::of(self.mistakes.into_inner())
    }

    fn mistake(&self, place: Place, key: &str, found: String, allowed: String) -> Mistake {
        Mistake { file: self.name.to_owned(), place: Some(place), key: key.to_owned(), found, allowed }
    }
}

/// Where the lines of a text begin.
#[derive(Debug)]
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The place of the byte at `offset`.
    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or_default();
        Place { line, column: before.chars().count() + 1 }
    }
}

/// What the parser found and what it expected. It says `what, expected a, b`.
fn syntax(text: &str, span: &Range<usize>, message: &str) -> (String, String) {
    let start = text.get(..span.start).map_or(0, |before| before.rfind('\n').map_or(0, |at| at + 1));
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let here = text.get(span.clone()).unwrap_or_default();
    let secret = may_be_key(line) || line.to_ascii_lowercase().contains("key");
    let here = if here.trim().is_empty() || (secret && here.len() > 1) || here.contains('\n') {
        String::new()
    } else {
        format!(" at {}", quoted(here))
    };
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let allowed = match what {
        "duplicate key" => "each key and each table once",
        _ if what.contains("must be quoted") => "a value; a text in quotes",
        _ if expected.is_empty() => "TOML 1.1 (toml.io)",
        _ => expected,
    };
    (format!("{what}{here}"), allowed.to_owned())
}
