//! Points in time as RFC 3339 writes them.

use std::time::Duration;

const DAY: u64 = 24 * 60 * 60;

/// A time since 1970 in UTC, to the millisecond: `2026-11-22T01:30:00.250Z`.
#[must_use]
pub(crate) fn rfc3339(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (year, month, day) = date(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / 3_600, seconds % 3_600 / 60, seconds % 60);
    let millis = since_1970.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The Gregorian date of a day since 1970. Years begin in March here, so that a leap day is the last of its year; an era
/// is 400 years, after which all repeats.
fn date(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    // From 1 March of the year 0 to 1970.
    let days = days + 719_468;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_799, "2000-02-29T23:59:59.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (1_795_311_000, "2026-11-22T01:30:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
        }
        assert_eq!(rfc3339(Duration::from_millis(7)), "1970-01-01T00:00:00.007Z");
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut before = date(0);
        for day in 1..146_097 {
            let (year, month, day) = date(day);
            let next_day = before.0 == year && before.1 == month && before.2 + 1 == day;
            let next_month = before.0 == year && before.1 + 1 == month && day == 1 && before.2 >= 28;
            let next_year =
                before.0 + 1 == year && before.1 == 12 && before.2 == 31 && (month, day) == (1, 1);
            assert!(next_day || next_month || next_year, "{before:?} before {year}-{month}-{day}");
            before = (year, month, day);
        }
        assert_eq!(date(146_097), (2370, 1, 1));
    }
}
