//! Peers as rows of the database. Each row carries a SHA-256 over all that it says: a row that is not exactly one that we
//! wrote, by a flipped bit or a lost page, makes the database a damaged one instead of a verified peer.

use crate::peers::{Caller, Kept, Peer, PeerKey, Verification, Verifier};
use crate::units::UnixTime;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Row, ToSql};
use sha2::{Digest as _, Sha256};
use zrtp_proto::{Secret, Zid};

/// `account`, `caller` (empty: anonymous) and `zid` are the key. `verified_by` is `voice` or `administrator`. Times are seconds since 1970.
pub(super) const COLUMNS: [&str; 15] = [
    "account",
    "caller",
    "zid",
    "rs1",
    "rs1_expires",
    "rs2",
    "rs2_expires",
    "first_seen",
    "last_seen",
    "verified_at",
    "verified_by",
    "verified_operator",
    "verified_group",
    "verified_call",
    "digest",
];

const DIGEST: usize = COLUMNS.len() - 1;

/// The row is not one that we wrote.
#[derive(Debug)]
pub(super) struct NotOurs;

/// A value of a row, without a copy of a secret.
#[derive(Clone, Copy)]
pub(super) enum Cell<'a> {
    Null,
    Number(i64),
    Text(&'a str),
    Octets(&'a [u8]),
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match *self {
            Cell::Null => ToSqlOutput::Owned(Value::Null),
            Cell::Number(number) => ToSqlOutput::Owned(Value::Integer(number)),
            Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Cell::Octets(octets) => ToSqlOutput::Borrowed(ValueRef::Blob(octets)),
        })
    }
}

impl<'a> Cell<'a> {
    fn time(time: UnixTime) -> Self {
        Cell::Number(i64::try_from(time.0).unwrap_or(i64::MAX))
    }

    fn secret(kept: &'a Option<Kept>) -> [Self; 2] {
        let octets = kept.as_ref().map_or(Cell::Null, |kept| Cell::Octets(kept.secret.expose()));
        [octets, kept.as_ref().and_then(|kept| kept.expires).map_or(Cell::Null, Cell::time)]
    }

    pub(super) fn read(value: ValueRef<'a>) -> Result<Self, NotOurs> {
        Ok(match value {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Number(number),
            ValueRef::Text(text) => Cell::Text(std::str::from_utf8(text).map_err(|_| NotOurs)?),
            ValueRef::Blob(octets) => Cell::Octets(octets),
            ValueRef::Real(_) => return Err(NotOurs),
        })
    }
}

/// Over each value with its type and length, so that no two rows say the same.
pub(super) fn digest(cells: &[Cell<'_>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for cell in cells {
        let (kind, octets): (u8, &[u8]) = match cell {
            Cell::Null => (0, &[]),
            Cell::Number(number) => (1, &number.to_be_bytes()),
            Cell::Text(text) => (2, text.as_bytes()),
            Cell::Octets(octets) => (3, octets),
        };
        hash.update([kind]);
        hash.update((octets.len() as u64).to_be_bytes());
        hash.update(octets);
    }
    hash.finalize().into()
}

/// Writes a peer's row: `use_row` gets a value for each of [`COLUMNS`].
pub(super) fn with_row<T>(peer: &Peer, use_row: impl FnOnce(&[Cell<'_>]) -> T) -> T {
    let [rs1, rs1_expires] = Cell::secret(&peer.rs1);
    let [rs2, rs2_expires] = Cell::secret(&peer.rs2);
    let verified = match &peer.verification {
        None => [Cell::Null; 5],
        Some(Verification { at, by: Verifier::Administrator }) => {
            [Cell::time(*at), Cell::Text("administrator"), Cell::Null, Cell::Null, Cell::Null]
        }
        Some(Verification { at, by: Verifier::Voice { operator, group, call } }) => [
            Cell::time(*at),
            Cell::Text("voice"),
            Cell::Text(operator),
            Cell::Text(group),
            Cell::Number((*call).into()),
        ],
    };
    let mut row = Vec::with_capacity(COLUMNS.len());
    row.extend([
        Cell::Text(&peer.key.account),
        Cell::Text(peer.key.caller.address().unwrap_or_default()),
        Cell::Octets(&peer.key.zid.0),
        rs1,
        rs1_expires,
        rs2,
        rs2_expires,
        Cell::time(peer.first_seen),
        Cell::time(peer.last_seen),
    ]);
    row.extend(verified);
    let digest = digest(&row);
    row.push(Cell::Octets(&digest));
    use_row(&row)
}

/// Reads a row of [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Result<Peer, NotOurs>> {
    let mut cells = Vec::with_capacity(COLUMNS.len());
    for column in 0..COLUMNS.len() {
        match Cell::read(row.get_ref(column)?) {
            Ok(cell) => cells.push(cell),
            Err(NotOurs) => return Ok(Err(NotOurs)),
        }
    }
    Ok(peer(&cells))
}

fn peer(cells: &[Cell<'_>]) -> Result<Peer, NotOurs> {
    match cells[DIGEST] {
        Cell::Octets(octets) if octets == digest(&cells[..DIGEST]) => {}
        _ => return Err(NotOurs),
    }
    let caller = match text(cells[1])? {
        "" => Caller::Anonymous,
        address => Caller::Address(address.to_owned()),
    };
    let Cell::Octets(zid) = cells[2] else { return Err(NotOurs) };
    let zid = Zid(zid.try_into().map_err(|_| NotOurs)?);
    Ok(Peer {
        key: PeerKey { account: text(cells[0])?.to_owned(), caller, zid },
        rs1: secret(cells[3], cells[4])?,
        rs2: secret(cells[5], cells[6])?,
        first_seen: time(cells[7])?,
        last_seen: time(cells[8])?,
        verification: verification(&cells[9..DIGEST])?,
    })
}

fn verification(cells: &[Cell<'_>]) -> Result<Option<Verification>, NotOurs> {
    let by = match cells {
        [Cell::Null, Cell::Null, ..] => return Ok(None),
        [_, Cell::Text("administrator"), ..] => Verifier::Administrator,
        [_, Cell::Text("voice"), operator, group, Cell::Number(call)] => Verifier::Voice {
            operator: text(*operator)?.to_owned(),
            group: text(*group)?.to_owned(),
            call: u32::try_from(*call).map_err(|_| NotOurs)?,
        },
        _ => return Err(NotOurs),
    };
    Ok(Some(Verification { at: time(cells[0])?, by }))
}

fn secret(secret: Cell<'_>, expires: Cell<'_>) -> Result<Option<Kept>, NotOurs> {
    let expires = match expires {
        Cell::Null => None,
        end => Some(time(end)?),
    };
    match secret {
        Cell::Null => Ok(None),
        Cell::Octets(octets) => Ok(Some(Kept { secret: Secret::from(octets), expires })),
        _ => Err(NotOurs),
    }
}

fn time(cell: Cell<'_>) -> Result<UnixTime, NotOurs> {
    let Cell::Number(seconds) = cell else { return Err(NotOurs) };
    u64::try_from(seconds).map(UnixTime).map_err(|_| NotOurs)
}

fn text(cell: Cell<'_>) -> Result<&str, NotOurs> {
    match cell {
        Cell::Text(text) => Ok(text),
        _ => Err(NotOurs),
    }
}
