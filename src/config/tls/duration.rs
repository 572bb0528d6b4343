//! Times, as text.

use std::time::Duration;

use super::super::table::Value;

/// A day.
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// A time within bounds: a whole number and its unit.
pub(super) fn duration(value: &Value<'_>, least: Duration, most: Duration) -> Option<Duration> {
    let allowed =
        format!("a time from {} to {}, as \"500ms\", \"2s\", \"10m\" or \"1h\"", shown(least), shown(most));
    value.parsed(&allowed, |text| parse(text).filter(|time| (least..=most).contains(time)))
}

fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// A time in the largest unit that says all of it.
fn shown(time: Duration) -> String {
    match time.as_millis() {
        whole if whole % 3_600_000 == 0 => format!("{}h", whole / 3_600_000),
        whole if whole % 60_000 == 0 => format!("{}m", whole / 60_000),
        whole if whole % 1_000 == 0 => format!("{}s", whole / 1_000),
        whole => format!("{whole}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_whole_number_and_its_unit() {
        for (text, milliseconds) in [("500ms", 500), ("2s", 2_000), ("10m", 600_000), ("24h", 86_400_000)] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)));
            assert_eq!(parse(&shown(Duration::from_millis(milliseconds))), parse(text));
        }
        for text in
            ["", "2", "s", "2 s", "-2s", "2.5s", "2d", "99999999999999999999s", "18446744073709551615h"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
