//! What is told of a certificate, all of it at once.

use std::fmt;

use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot be used, or is refused by every client.
    Wrong,
    /// Some clients refuse it, or all soon will.
    Warning,
    /// Worth knowing.
    Note,
}

/// One thing that was found, in words.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    pub text: String,
}

impl Finding {
    pub(super) fn new(severity: Severity, text: impl Into<String>) -> Self {
        Self { severity, text: text.into() }
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Default, Eq, PartialEq, thiserror::Error, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// In the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// Whether anything is [`Severity::Wrong`].
    #[must_use]
    pub fn any_wrong(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Wrong)
    }

    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Adds something for which it cannot be used.
    pub fn wrong(&mut self, text: impl Into<String>) {
        self.push(Finding::new(Severity::Wrong, text));
    }

    /// Adds something for which some clients refuse it.
    pub fn warning(&mut self, text: impl Into<String>) {
        self.push(Finding::new(Severity::Warning, text));
    }

    /// Adds something worth knowing.
    pub fn note(&mut self, text: impl Into<String>) {
        self.push(Finding::new(Severity::Note, text));
    }

    /// Adds all of others.
    pub fn extend(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// Those that are [`Severity::Wrong`].
    pub(in crate::tls) fn only_wrong(mut self) -> Self {
        self.0.retain(|finding| finding.severity == Severity::Wrong);
        self
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            f.write_str(&finding.text)?;
        }
        Ok(())
    }
}
