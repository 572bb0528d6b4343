//! Reading tables so that every mistake is found, not only the first.

use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};

use super::mistake::{quoted, repeated};
use super::source::Source;

/// A table that is being read. Keys that nobody asks for until [`Self::end`] are mistakes.
#[derive(Debug)]
pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    /// As a person writes it: `wireguard.wg0`.
    path: String,
    /// Where its name stands.
    at: usize,
    /// `None` if it is not there: nothing is in it.
    entries: Option<&'a DeTable<'a>>,
    /// `None` if it is not there, or the whole file.
    value: Option<&'a DeValue<'a>>,
    known: Vec<&'static str>,
}

/// A value that is being read.
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    source: &'a Source<'a>,
    path: String,
    at: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub(super) fn root(source: &'a Source<'a>, entries: &'a DeTable<'a>) -> Self {
        Self { source, path: String::new(), at: 0, entries: Some(entries), value: None, known: Vec::new() }
    }

    /// What `key` is set to.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        let value = self.entries?.get(key)?;
        let path = join(&self.path, key);
        Some(Value { source: self.source, path, at: value.span().start, value: value.get_ref() })
    }

    /// The table `key`; an empty one if it is not there.
    pub(super) fn table(&mut self, key: &'static str) -> Self {
        self.optional_table(key).unwrap_or_else(|| {
            let path = join(&self.path, key);
            Self { source: self.source, path, at: self.at, entries: None, value: None, known: Vec::new() }
        })
    }

    /// The table `key`, if it is there.
    pub(super) fn optional_table(&mut self, key: &'static str) -> Option<Self> {
        let value = self.value(key)?;
        let (name, _) = self.entries?.get_key_value(key)?;
        value.named(name.span().start)
    }

    /// The tables `key.NAME`, by their names, of which `sound` says whether they are `allowed`.
    pub(super) fn named(
        &mut self,
        key: &'static str,
        allowed: &str,
        sound: impl Fn(&str) -> bool,
    ) -> Vec<(&'a str, Self)> {
        let Some(outer) = self.optional_table(key) else { return Vec::new() };
        let mut tables = Vec::new();
        for (name, value) in outer.entries.into_iter().flatten() {
            let at = name.span().start;
            let name: &'a str = name.get_ref();
            let path = join(&outer.path, name);
            if !sound(name) {
                self.source.wrong(at, &path, quoted(name), allowed);
            }
            let value = Value { source: self.source, path, at, value: value.get_ref() };
            tables.extend(value.named(at).map(|table| (name, table)));
        }
        tables
    }

    /// The table as a value, which stands where its name does; `None` if it is not there, or the whole file.
    pub(super) fn whole(&self) -> Option<Value<'a>> {
        self.value.map(|value| Value { source: self.source, path: self.path.clone(), at: self.at, value })
    }

    /// Notes that `key` has to be there.
    pub(super) fn missing(&self, key: &str, allowed: &str) {
        self.source.missing(self.at, &join(&self.path, key), allowed);
    }

    /// Notes that what `key` is without being set is not `allowed`.
    pub(super) fn refused(&self, key: &str, found: impl Into<String>, allowed: impl Into<String>) {
        self.source.wrong(self.at, &join(&self.path, key), found, allowed);
    }

    /// Tells of keys that nobody asked for. `hints` say what to do with some of them.
    pub(super) fn end(self, hints: &[(&str, &str)]) {
        for (key, _) in self.entries.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
                continue;
            }
            let hint = hints.iter().find(|(hinted, _)| plain(hinted) == plain(name));
            let hint = match (hint, nearest(&self.known, name)) {
                (Some((_, hint)), _) => format!(" ({hint})"),
                (None, Some(near)) => format!(" (did you mean {near}?)"),
                (None, None) => String::new(),
            };
            let allowed = format!("{}{hint}", self.known.join(", "));
            self.source.wrong(key.span().start, &join(&self.path, name), "an unknown key", allowed);
        }
    }
}

/// The known key that `name` was probably meant to be.
pub(super) fn nearest(known: &[&'static str], name: &str) -> Option<&'static str> {
    if let Some(same) = known.iter().find(|known| plain(known) == plain(name)) {
        return Some(same);
    }
    let short: String = name.chars().take(64).collect();
    let distance = |known: &&str| strsim::damerau_levenshtein(&short, known);
    let nearest = known.iter().copied().min_by_key(distance)?;
    (distance(&nearest) <= nearest.len() / 3).then_some(nearest)
}

/// A key without what people write differently.
fn plain(key: &str) -> String {
    key.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

/// `path.key`, with quotes where TOML needs them.
fn join(path: &str, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key = if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

impl<'a> Value<'a> {
    /// Notes that this is not `allowed`.
    pub(super) fn wrong(&self, allowed: impl Into<String>) {
        self.refused(self.found(), allowed);
    }

    /// Notes that this is not `allowed`, and says in other words what was found.
    pub(super) fn refused(&self, found: impl Into<String>, allowed: impl Into<String>) {
        self.source.wrong(self.at, &self.path, found, allowed);
    }

    /// Where it stands, for order.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Its line.
    pub(super) fn line(&self) -> usize {
        self.source.line(self.at)
    }

    /// Its key.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// How it is shown to a person.
    pub(super) fn found(&self) -> String {
        match self.value {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(number) => repeated(&number.to_string()),
            DeValue::Float(number) => repeated(&number.to_string()),
            DeValue::Boolean(switch) => switch.to_string(),
            DeValue::Datetime(date) => date.to_string(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }

    /// `true` or `false`.
    pub(super) fn switch(&self) -> Option<bool> {
        let switch = self.value.as_bool();
        if switch.is_none() {
            self.wrong("true or false");
        }
        switch
    }

    /// A whole number, if it is one at all.
    pub(super) fn number(&self) -> Option<i128> {
        let integer = self.value.as_integer()?;
        // No limit is near the ends of an i128, so neither end is a number that is allowed.
        Some(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
    }

    /// A whole number within bounds.
    pub(super) fn integer<T: TryFrom<i128>>(&self, range: RangeInclusive<i128>) -> Option<T> {
        let number = self.number().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.wrong(format!("a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    pub(super) fn is_empty_list(&self) -> bool {
        self.value.as_array().is_some_and(|elements| elements.is_empty())
    }

    /// The table that this is, if it is one.
    pub(super) fn entries(self) -> Option<Table<'a>> {
        let at = self.at;
        self.named(at)
    }

    /// A string, if it is one.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// What `read` makes of a string.
    pub(super) fn parsed<T>(&self, allowed: &str, read: impl FnOnce(&'a str) -> Option<T>) -> Option<T> {
        let value = self.text().and_then(read);
        if value.is_none() {
            self.wrong(allowed);
        }
        value
    }

    /// What `read` makes of each element of a list, where it makes something of it.
    pub(super) fn list<T>(&self, allowed: &str, mut read: impl FnMut(Value<'a>) -> Option<T>) -> Vec<T> {
        let Some(elements) = self.value.as_array() else {
            self.wrong(format!("a list, as [\"..\"], of {allowed}"));
            return Vec::new();
        };
        let element = |(at, value): (usize, &'a toml::Spanned<DeValue<'a>>)| {
            let path = format!("{}[{at}]", self.path);
            read(Value { source: self.source, path, at: value.span().start, value: value.get_ref() })
        };
        elements.iter().enumerate().filter_map(element).collect()
    }

    /// The table that this is, if it is one. Its name stands at `at`.
    fn named(self, at: usize) -> Option<Table<'a>> {
        let entries = self.value.as_table();
        if entries.is_none() {
            self.wrong("a table");
        }
        let (source, value) = (self.source, Some(self.value));
        entries.map(|_| Table { source, path: self.path, at, entries, value, known: Vec::new() })
    }
}
