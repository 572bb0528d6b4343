//! Standard output, whose reader may go away.

use std::io::{self, Write};

use anyhow::{Context, Result};

/// Whoever read our output has seen enough: the end, but no failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("nobody reads the output")]
pub(super) struct Closed;

/// Writes everything at once.
///
/// # Errors
/// [`Closed`], or what the system says.
pub(super) fn write(bytes: &[u8]) -> Result<()> {
    write_to(&mut io::stdout().lock(), bytes)
}

/// Writes everything at once to something else that may have no reader.
///
/// # Errors
/// [`Closed`], or what the system says.
pub(super) fn write_to(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        other => other.context("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure_and_a_full_disk_is() {
        let closed = write_to(&mut Failing(io::ErrorKind::BrokenPipe), b"x").expect_err("nobody reads");
        assert!(closed.is::<Closed>());
        let full = write_to(&mut Failing(io::ErrorKind::StorageFull), b"x").expect_err("no room");
        assert!(!full.is::<Closed>());
    }
}
