//! Names of servers and what stands behind them: exact, then a wildcard for one label, then the default.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use super::hello::is_host_name;

/// The longest name of a host (RFC 1035, section 2.3.4, without the dot at the end).
const LONGEST: usize = 253;

/// A name, or all names with one more label: `www.example.com`, `*.example.com`. In lower case.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Pattern {
    /// This name.
    Exact(String),
    /// This name with one label before it (RFC 9525, section 6.3).
    Wildcard(String),
}

/// A text is no [`Pattern`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected a host's name as www.example.com, or a wildcard for one label as *.example.com")]
pub struct NoPattern;

impl FromStr for Pattern {
    type Err = NoPattern;

    fn from_str(text: &str) -> Result<Self, NoPattern> {
        let name = text.to_ascii_lowercase();
        match name.strip_prefix("*.") {
            // A wildcard right below a top-level domain would be everybody.
            Some(suffix) if is_host_name(suffix) && suffix.contains('.') => {
                Ok(Self::Wildcard(suffix.to_owned()))
            }
            None if is_host_name(&name) => Ok(Self::Exact(name)),
            Some(_) | None => Err(NoPattern),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl Pattern {
    /// Whether a name is one of these, in whatever case.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact.eq_ignore_ascii_case(name),
            Self::Wildcard(suffix) => name
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && suffix.eq_ignore_ascii_case(rest)),
        }
    }
}

/// What stands behind names.
#[derive(Clone, Debug)]
pub struct Names<T> {
    exact: HashMap<String, T>,
    wildcards: HashMap<String, T>,
    default: Option<T>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcards: HashMap::new(), default: None }
    }
}

impl<T> Names<T> {
    /// What stands behind this pattern, made if there is nothing yet.
    pub fn entry(&mut self, pattern: Pattern) -> std::collections::hash_map::Entry<'_, String, T> {
        match pattern {
            Pattern::Exact(name) => self.exact.entry(name),
            Pattern::Wildcard(suffix) => self.wildcards.entry(suffix),
        }
    }

    /// What stands behind every other name, and behind none.
    pub fn default_mut(&mut self) -> &mut Option<T> {
        &mut self.default
    }

    /// What stands behind a name, best first: the exact name's and its wildcard's, or if there are neither, the default.
    pub fn candidates(&self, name: Option<&str>) -> impl Iterator<Item = &T> {
        let mut room = [0; LONGEST];
        let name = name.and_then(|name| lower_case(name, &mut room));
        let exact = name.and_then(|name| self.exact.get(name));
        let parent = name.and_then(|name| name.split_once('.')).map(|(_, parent)| parent);
        let wildcard = parent.and_then(|parent| self.wildcards.get(parent));
        let default = self.default.as_ref().filter(|_| exact.is_none() && wildcard.is_none());
        exact.into_iter().chain(wildcard).chain(default)
    }

    /// The best of them.
    pub fn get(&self, name: Option<&str>) -> Option<&T> {
        self.candidates(name).next()
    }
}

/// A name in lower case, if it can be one. Nothing is allocated: this is done for each connection.
fn lower_case<'a>(name: &str, room: &'a mut [u8; LONGEST]) -> Option<&'a str> {
    let room = room.get_mut(..name.len())?;
    room.copy_from_slice(name.as_bytes());
    room.make_ascii_lowercase();
    str::from_utf8(room).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names<&'static str> {
        let mut names = Names::default();
        for pattern in ["www.example.com", "*.example.com", "*.b.example.com"] {
            names.entry(pattern.parse().unwrap()).or_insert(pattern);
        }
        *names.default_mut() = Some("default");
        names
    }

    #[test]
    fn an_exact_name_comes_before_a_wildcard_and_a_wildcard_before_the_default() {
        let names = names();
        assert_eq!(names.get(Some("WWW.Example.com")), Some(&"www.example.com"));
        assert_eq!(names.get(Some("mail.example.com")), Some(&"*.example.com"));
        assert_eq!(names.get(Some("a.b.example.com")), Some(&"*.b.example.com"));
        for other in ["example.com", "b.c.example.com", "www.example.org", "com", ""] {
            assert_eq!(names.get(Some(other)), Some(&"default"), "{other}");
        }
        assert_eq!(names.get(None), Some(&"default"));
        assert!(names.candidates(Some("www.example.com")).eq([&"www.example.com", &"*.example.com"]));
        assert_eq!(names.get(Some(&"a".repeat(300))), Some(&"default"));
    }

    #[test]
    fn a_wildcard_stands_for_one_whole_label_and_never_for_a_top_level_domain() {
        for wrong in [
            "*",
            "*.com",
            "*.*.example.com",
            "w*.example.com",
            "www.*.com",
            "a..b",
            ".a",
            "a.",
            "",
            "10.0.0.1",
            "ä.de",
        ] {
            assert_eq!(wrong.parse::<Pattern>(), Err(NoPattern), "{wrong}");
        }
        let pattern: Pattern = "*.Example.com".parse().unwrap();
        assert_eq!(pattern.to_string(), "*.example.com");
        assert!(pattern.matches("A.EXAMPLE.com"));
        for other in ["example.com", "a.b.example.com", ".example.com", "a.example.org"] {
            assert!(!pattern.matches(other), "{other}");
        }
    }
}
