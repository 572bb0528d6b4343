//! What is wrong with a file: all of it at once, each mistake on a line of its own.

use std::fmt;

/// Everything that is wrong with a file, in the order of its lines. There is at least one mistake.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Errors(Vec<Mistake>);

/// One thing that is wrong.
///
/// It shows as `FILE:LINE:COLUMN: KEY: found X; allowed: Y`. What was found is on one line, without control characters, and
/// never a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// The file's name, as it was given.
    pub file: String,
    /// Where, unless it is the file as a whole.
    pub place: Option<Place>,
    /// The key, as `wireguard.wg0.mtu`; empty where the text is not even TOML.
    pub key: String,
    /// What is there.
    pub found: String,
    /// What may be there.
    pub allowed: String,
}

/// A place in a text, as editors count: from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Errors {
    /// These mistakes, or nothing if there are none.
    pub(crate) fn of(mut mistakes: Vec<Mistake>) -> Result<(), Self> {
        mistakes.sort_by_key(|mistake| mistake.place);
        mistakes.dedup();
        if mistakes.is_empty() { Ok(()) } else { Err(Self(mistakes)) }
    }

    /// This one mistake.
    pub(crate) fn one(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }

    /// One mistake, of the file as a whole.
    pub(crate) fn whole(file: &str, found: impl Into<String>, allowed: impl Into<String>) -> Self {
        let (key, found, allowed) = (String::new(), found.into(), allowed.into());
        Self::one(Mistake { file: file.to_owned(), place: None, key, found, allowed })
    }

    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(&self.file))?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", escaped(&self.key))?;
        }
        write!(f, ": found {}; allowed: {}", escaped(&self.found), escaped(&self.allowed))
    }
}

impl Place {
    /// The place behind a text.
    pub(crate) fn end(text: &str) -> Self {
        let last = text.rsplit('\n').next().unwrap_or_default();
        Self { line: text.matches('\n').count() + 1, column: last.chars().count() + 1 }
    }
}

/// A text on one line: control characters, and what would turn the direction of the text around, as escapes.
pub(crate) fn escaped(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    escaped
}

/// More of a text than this is not repeated, in characters.
const SHOWN: usize = 80;

/// A text as it is repeated to a person: not too long, and not if it may be a key.
pub(crate) fn repeated(text: &str) -> String {
    if may_be_key(text) {
        return format!("{} characters that may be a key (not shown)", text.chars().count());
    }
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if shown.len() < text.len() { ".." } else { "" };
    format!("{}{more}", escaped(&shown))
}

/// The same in quotes, for what is a string.
pub(crate) fn quoted(text: &str) -> String {
    if may_be_key(text) { repeated(text) } else { format!("\"{}\"", repeated(text)) }
}

/// Whether a part of the text may be a key: in base64, perhaps with a few characters lost or others around it, or in hex, of 16 octets
/// or more.
pub(crate) fn may_be_key(text: &str) -> bool {
    let base64 = |run: &str| {
        let many = |kind: fn(&u8) -> bool| run.bytes().filter(kind).count() >= 4;
        // Long words are no keys: a random one has letters of both cases.
        run.len() >= 36 && many(u8::is_ascii_uppercase) && many(u8::is_ascii_lowercase)
    };
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '+' || c == '/')).any(base64)
        || text.split(|c: char| !c.is_ascii_hexdigit()).any(|run| run.len() >= 30)
}
