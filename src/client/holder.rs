//! Who holds a certificate or a key: a file in PEM, or a token.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::token::Uri;

/// Who holds something.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) enum Holder {
    /// A file.
    File(PathBuf),
    /// A token.
    Token(Uri),
}

impl Holder {
    /// The URI, if a token is meant.
    #[must_use]
    pub(super) fn uri(&self) -> Option<&Uri> {
        match self {
            Self::File(_) => None,
            Self::Token(uri) => Some(uri),
        }
    }

    /// The same for whoever is in another folder.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn absolute(&self) -> std::io::Result<Self> {
        Ok(match self {
            Self::File(path) => Self::File(std::path::absolute(path)?),
            Self::Token(uri) => Self::Token(uri.clone()),
        })
    }
}

impl TryFrom<String> for Holder {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if Uri::is_meant(&text) { Uri::parse(&text).map(Self::Token) } else { Ok(Self::File(text.into())) }
    }
}

impl From<Holder> for String {
    fn from(holder: Holder) -> Self {
        holder.to_string()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Token(uri) => uri.fmt(f),
        }
    }
}
