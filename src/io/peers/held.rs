//! What accounts have shown, as rows of the database, each with a digest like those of [`row`](super::row).

use super::row::{Cell, NotOurs, digest};
use crate::peers::{Record, Shown};
use crate::units::UnixTime;
use rusqlite::Row;

/// The table. Days are days since 1970, NULL where there was none yet; `last` is seconds since 1970.
pub(super) const TABLE: &str =
    "CREATE TABLE held (account, shown, day1, day2, day3, last, digest, PRIMARY KEY (account, shown)) WITHOUT ROWID";

pub(super) const COLUMNS: &str = "account, shown, day1, day2, day3, last, digest";

/// Writes a record: `use_row` gets a value for each of [`COLUMNS`].
pub(super) fn with_row<T>(record: &Record, use_row: impl FnOnce(&[Cell<'_>]) -> T) -> T {
    let day = |at: usize| record.days.get(at).map_or(Cell::Null, |day| number(*day));
    let row =
        [Cell::Text(&record.account), Cell::Text(record.shown.as_str()), day(0), day(1), day(2), number(record.last.0)];
    let digest = digest(&row);
    use_row(&[&row[..], &[Cell::Octets(&digest)]].concat())
}

/// Reads a row of [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Result<Record, NotOurs>> {
    let mut cells = Vec::new();
    for column in 0..7 {
        match Cell::read(row.get_ref(column)?) {
            Ok(cell) => cells.push(cell),
            Err(NotOurs) => return Ok(Err(NotOurs)),
        }
    }
    Ok(record(&cells))
}

fn record(cells: &[Cell<'_>]) -> Result<Record, NotOurs> {
    let [Cell::Text(account), Cell::Text(shown), days @ .., Cell::Number(last), Cell::Octets(octets)] = cells else {
        return Err(NotOurs);
    };
    if *octets != digest(&cells[..cells.len() - 1]) {
        return Err(NotOurs);
    }
    let days = days.iter().filter_map(|day| match day {
        Cell::Null => None,
        Cell::Number(day) => Some(u64::try_from(*day).map_err(|_| NotOurs)),
        Cell::Text(_) | Cell::Octets(_) => Some(Err(NotOurs)),
    });
    Ok(Record {
        account: (*account).to_owned(),
        shown: Shown::ALL.into_iter().find(|known| known.as_str() == *shown).ok_or(NotOurs)?,
        days: days.collect::<Result<_, _>>()?,
        last: UnixTime(u64::try_from(*last).map_err(|_| NotOurs)?),
    })
}

fn number(number: u64) -> Cell<'static> {
    Cell::Number(i64::try_from(number).unwrap_or(i64::MAX))
}
