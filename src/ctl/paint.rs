//! What a terminal gets: colours as `wg` has them, and nothing that a stranger chose to send it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::IsTerminal;

/// Colours text, or leaves it as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Paint {
    colour: bool,
}

impl Paint {
    /// Leaves text as it is.
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self { colour: false };
    /// Colours it.
    #[cfg(test)]
    pub(super) const COLOURED: Self = Self { colour: true };

    /// What standard output gets.
    pub(super) fn stdout() -> Self {
        let mode = std::env::var("WG_COLOR_MODE").ok();
        Self::chosen(
            mode.as_deref(),
            std::env::var_os("NO_COLOR").as_deref(),
            std::io::stdout().is_terminal(),
        )
    }

    /// `WG_COLOR_MODE` decides if it is one of the two words that wg(8) knows, then `NO_COLOR` (no-color.org).
    fn chosen(mode: Option<&str>, no_color: Option<&OsStr>, terminal: bool) -> Self {
        let colour = match mode {
            Some("always") => true,
            Some("never") => false,
            Some(_) | None => terminal && no_color.is_none_or(OsStr::is_empty),
        };
        Self { colour }
    }

    /// The word before an interface or the gateway.
    pub(super) fn interface(self, text: &str) -> String {
        self.with("\x1b[32m\x1b[1m", text)
    }

    /// The word before a peer.
    pub(super) fn peer(self, text: &str) -> String {
        self.with("\x1b[33m\x1b[1m", text)
    }

    /// The word before a warning.
    pub(super) fn warning(self, text: &str) -> String {
        self.with("\x1b[31m\x1b[1m", text)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with("\x1b[1m", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.with("\x1b[31m", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.with("\x1b[32m", text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.with("\x1b[33m", text)
    }

    pub(super) fn cyan(self, text: &str) -> String {
        self.with("\x1b[36m", text)
    }

    fn with(self, codes: &str, text: &str) -> String {
        if self.colour { format!("{codes}{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Text of somebody else, for one line of a terminal: what would move the cursor, change the terminal or turn the reading
/// direction is shown by its number instead.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let one = |char: char| {
        if is_dangerous(char) { char.escape_default().to_string() } else { char.to_string() }
    };
    Cow::Owned(text.chars().map(one).collect())
}

/// Text of somebody else that may have several lines.
pub(super) fn lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

fn is_dangerous(char: char) -> bool {
    // Controls; invisible marks, separators and overrides of direction (Unicode TR 36, section 3); a byte order mark.
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(char, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_unless_somebody_says_otherwise() {
        let colour = |mode, no_color: Option<&str>, terminal| {
            Paint::chosen(mode, no_color.map(OsStr::new), terminal).colour
        };
        assert!(colour(None, None, true));
        assert!(!colour(None, None, false));
        assert!(!colour(None, Some("1"), true));
        assert!(colour(None, Some(""), true), "an empty NO_COLOR says nothing");
        assert!(colour(Some("always"), Some("1"), false));
        assert!(!colour(Some("never"), None, true));
        assert!(colour(Some("auto"), None, true));
        assert!(!colour(Some("auto"), None, false));
    }

    #[test]
    fn what_would_change_a_terminal_is_shown_by_its_number() {
        assert_eq!(escape("branch office, Zürich"), "branch office, Zürich");
        assert_eq!(escape("a\x1b[2Jb\u{7}"), "a\\u{1b}[2Jb\\u{7}");
        assert_eq!(escape("one\r\ntwo\t\u{9b}31m"), "one\\r\\ntwo\\t\\u{9b}31m");
        assert_eq!(escape("\u{202e}gpj.exe\u{2066}\u{200b}"), "\\u{202e}gpj.exe\\u{2066}\\u{200b}");
        assert_eq!(lines("one\r\ntw\x08o\n"), "one\ntw\\u{8}o");
        assert!(escape("\u{7f}\u{2028}\u{feff}\u{e0041}").is_ascii());
    }
}
