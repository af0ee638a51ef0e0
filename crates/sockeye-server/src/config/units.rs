//! Times and sizes as people write them: a whole number and its unit.
use std::time::Duration;

const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

pub(super) fn parse_time(text: &str) -> Option<Duration> {
    parse(text, &TIMES).map(Duration::from_millis)
}

pub(super) fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZES)
}

/// In the largest unit in which it is a whole number. What is finer than a millisecond cannot be written.
pub(super) fn write_time(time: Duration) -> String {
    write(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), &TIMES)
}

pub(super) fn write_size(bytes: u64) -> String {
    write(bytes, &SIZES)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start_matches(' ');
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn write(number: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().rev().find(|(_, factor)| number > 0 && number.is_multiple_of(*factor));
    let (name, factor) = fitting.unwrap_or(&units[0]);
    format!("{} {name}", number / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_needed_and_known() {
        assert_eq!(parse_time("10 s"), Some(Duration::from_secs(10)));
        assert_eq!(parse_time("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_time("2 d"), Some(Duration::from_secs(172_800)));
        assert_eq!(parse_size("64 KiB"), Some(65_536));
        for wrong in
            ["", "s", "10", "-1 s", "+1 s", "1.5 s", "1 S", "1 s s", "1 min", " 1 s", "1\ts", "99999999999999999 d"]
        {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
        for wrong in ["64", "64 KB", "64 kib", "0x40 KiB", "18446744073709551615 KiB", "18446744073709551616 B"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        for (time, text) in [(0, "0 ms"), (1, "1 ms"), (1_500, "1500 ms"), (60_000, "1 m"), (90_000, "90 s")] {
            let time = Duration::from_millis(time);
            assert_eq!(write_time(time), text);
            assert_eq!(parse_time(text), Some(time));
        }
        for (size, text) in [(0, "0 B"), (1_000, "1000 B"), (65_536, "64 KiB"), (1 << 20, "1 MiB"), (3 << 30, "3 GiB")]
        {
            assert_eq!(write_size(size), text);
            assert_eq!(parse_size(text), Some(size));
        }
    }
}
