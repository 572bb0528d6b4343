//! How long something is to last, and when it ends, as people write it.

use std::time::Duration;

use time::OffsetDateTime;

/// The units, with their seconds.
const UNITS: [(char, u64); 6] =
    [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 7 * 86_400), ('y', 365 * 86_400)];
/// The longest, in seconds: 100 years.
const LONGEST: u64 = 100 * 365 * 86_400;

/// Reads a span of time: `90m`, `12h`, `7d`, `4w`, `10y`, where a year has 365 days.
///
/// # Errors
/// What is allowed.
pub fn lifetime(text: &str) -> Result<Duration, String> {
    let allowed = "expected a number with s, m, h, d, w or y after it, from 1s to 100y";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(allowed)?;
    let unit = UNITS.iter().find(|(name, _)| unit.starts_with(*name)).ok_or(allowed)?.1;
    let number: u64 = if number.bytes().all(|byte| byte.is_ascii_digit()) {
        number.parse().map_err(|_| allowed)?
    } else {
        return Err(allowed.to_owned());
    };
    let seconds = number.checked_mul(unit).filter(|seconds| (1..=LONGEST).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| allowed.to_owned())
}

/// A point in time to the second, in UTC, as RFC 3339 writes it: `2026-11-22T01:30:00Z`.
#[must_use]
pub fn moment(time: OffsetDateTime) -> String {
    let (date, clock) = (time.date(), time.time());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second) = clock.as_hms();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_in_their_units() {
        for (text, seconds) in [
            ("1s", 1),
            ("90m", 5_400),
            ("12h", 43_200),
            ("7d", 604_800),
            ("4w", 2_419_200),
            ("1y", 31_536_000),
        ] {
            assert_eq!(lifetime(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "7", "d", "0d", "-1d", "+1d", "1.5h", "7 d", "101y", "99999999999999999999y", "7\u{e9}"]
        {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_written_to_the_second() {
        let time = OffsetDateTime::from_unix_timestamp(1_795_311_007).unwrap();
        assert_eq!(moment(time), "2026-11-22T01:30:07Z");
    }
}
