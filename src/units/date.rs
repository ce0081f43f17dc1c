//! A calendar date, for the end of an exception. No clock here: today comes in.

use std::fmt;

/// A day of the Gregorian calendar, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Date {
    /// The year.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl Date {
    /// The day that began this many days after 1970-01-01: Unix time divided by 86 400.
    pub fn from_unix_days(days: u32) -> Date {
        let mut rest = days;
        let mut year = 1970;
        while rest >= days_in_year(year) {
            rest -= days_in_year(year);
            year += 1;
        }
        let mut month = 1;
        while rest >= days_in_month(year, month) {
            rest -= days_in_month(year, month);
            month += 1;
        }
        Date { year, month, day: rest as u8 + 1 }
    }

    /// Days from `earlier` to this day; negative if it is before.
    pub fn days_since(self, earlier: Date) -> i64 {
        self.ordinal() - earlier.ordinal()
    }

    /// Days since the beginning of the calendar.
    fn ordinal(self) -> i64 {
        let before = i64::from(self.year) - 1;
        let leap_days = before / 4 - before / 100 + before / 400;
        let months: i64 = (1..self.month).map(|month| i64::from(days_in_month(self.year, month))).sum();
        before * 365 + leap_days + months + i64::from(self.day)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_year(year: u16) -> u32 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in_month(year: u16, month: u8) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_unix_clock_are_dates() {
        // checked with date(1): date -u -d @$((86400 * N)) +%F
        for (days, text) in [(0, "1970-01-01"), (11_016, "2000-02-29"), (20_781, "2026-11-24"), (47_541, "2100-03-01")]
        {
            assert_eq!(Date::from_unix_days(days).to_string(), text);
        }
    }

    #[test]
    fn differences_cross_months_and_leap_days() {
        for days in [0, 58, 59, 364, 365, 11_015, 11_016, 20_781, 47_540] {
            for distance in [0, 1, 28, 90, 366, 1461] {
                let (from, to) = (Date::from_unix_days(days), Date::from_unix_days(days + distance));
                assert_eq!(to.days_since(from), i64::from(distance));
                assert_eq!(from.days_since(to), -i64::from(distance));
            }
        }
    }
}
