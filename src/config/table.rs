//! Typed access to TOML tables, with the place of everything, so that each error can name its line.
//!
//! A table is opened with the list of its keys: an unknown one is reported first, with the nearest known one, because a
//! misspelt key is the likeliest reason for a missing one.

use super::ConfigError;
use crate::units::Date;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The file: its text for line numbers, its path for errors and relative paths.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

/// One table of the file.
pub(super) struct Section<'a> {
    source: Source<'a>,
    title: &'static str,
    at: usize,
    entries: DeTable<'a>,
}

/// A value and the offset where it stands.
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Source { path, text }
    }

    /// The file's own table.
    pub(super) fn top(self, keys: &[&str]) -> Result<Section<'a>, ConfigError> {
        let table = DeTable::parse(self.text).map_err(|error| {
            // only the message: the error's own text quotes the line, which may hold a token
            let at = error.span().map_or(0, |span| span.start);
            self.error(at, format!("this is no valid TOML: {}", error.message()), "Correct the line")
        })?;
        Section::open(self, "the file", 0, table.into_inner(), keys)
    }

    /// A path as written, taken relative to the file.
    pub(super) fn relative(self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    pub(super) fn error(self, at: usize, what: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        ConfigError { file: self.path.to_owned(), line, what: what.into(), remedy: remedy.into() }
    }
}

impl<'a> Section<'a> {
    fn open(
        source: Source<'a>,
        title: &'static str,
        at: usize,
        entries: DeTable<'a>,
        keys: &[&str],
    ) -> Result<Self, ConfigError> {
        for key in entries.keys() {
            let name: &str = key.get_ref();
            if !keys.contains(&name) {
                let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
                let what = format!("unknown key \"{shown}\" in {title}");
                let nearest = keys.iter().min_by_key(|known| distance(name, known)).unwrap_or(&"");
                let remedy = format!("Did you mean \"{nearest}\"? This version knows: {}", keys.join(", "));
                return Err(source.error(key.span().start, what, remedy));
            }
        }
        Ok(Section { source, title, at, entries })
    }

    pub(super) fn source(&self) -> Source<'a> {
        self.source
    }

    /// An error about the section as a whole.
    pub(super) fn error(&self, what: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
        self.source.error(self.at, what, remedy)
    }

    fn take(&mut self, key: &'static str) -> Option<(usize, DeValue<'a>)> {
        let value = self.entries.remove(&Spanned::new(0..0, Cow::Borrowed(key)))?;
        Some((value.span().start, value.into_inner()))
    }

    fn wrong_type(&self, at: usize, key: &str, wanted: &str, found: &DeValue<'_>) -> ConfigError {
        let what = format!("{key} in {} must be {wanted}, and this is a TOML {}", self.title, found.type_str());
        self.source.error(at, what, "See config.example.toml")
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<At<String>>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some((at, DeValue::String(text))) if !text.is_empty() && !text.contains(char::is_control) => {
                Ok(Some(At { value: text.into_owned(), at }))
            }
            Some((at, DeValue::String(_))) => {
                let what = format!("{key} in {} is empty, or has control characters in it", self.title);
                Err(self.source.error(at, what, "Write a value, or remove the key"))
            }
            Some((at, other)) => Err(self.wrong_type(at, key, "text in quotes", &other)),
        }
    }

    pub(super) fn required(&mut self, key: &'static str) -> Result<At<String>, ConfigError> {
        let missing = self.error(format!("{key} is missing in {}", self.title), format!("Add {key} = \"…\""));
        self.text(key)?.ok_or(missing)
    }

    /// A path, relative to the file.
    pub(super) fn path(&mut self, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self.text(key)?.map(|text| self.source.relative(&text.value)))
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<At<String>>, ConfigError> {
        let list = match self.take(key) {
            None => return Ok(Vec::new()),
            Some((_, DeValue::Array(list))) => list,
            Some((at, other)) => return Err(self.wrong_type(at, key, "a list of texts", &other)),
        };
        let text = |item: Spanned<DeValue<'a>>| match (item.span().start, item.into_inner()) {
            (at, DeValue::String(text)) => Ok(At { value: text.into_owned(), at }),
            (at, other) => Err(self.wrong_type(at, key, "a list of texts", &other)),
        };
        list.into_iter().map(text).collect()
    }

    pub(super) fn integer(&mut self, key: &'static str) -> Result<Option<At<i64>>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some((at, DeValue::Integer(number))) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(value) => Ok(Some(At { value, at })),
                Err(_) => Err(self.source.error(at, format!("{key} is far too large"), "Write a smaller number")),
            },
            Some((at, other)) => Err(self.wrong_type(at, key, "a whole number", &other)),
        }
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some((_, DeValue::Boolean(value))) => Ok(Some(value)),
            Some((at, other)) => Err(self.wrong_type(at, key, "true or false", &other)),
        }
    }

    pub(super) fn date(&mut self, key: &'static str) -> Result<Option<At<Date>>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some((at, DeValue::Datetime(toml::value::Datetime { date: Some(date), time: None, offset: None }))) => {
                let value = Date { year: date.year, month: date.month, day: date.day };
                Ok(Some(At { value, at }))
            }
            Some((at, other)) => Err(self.wrong_type(at, key, "a date without quotes, such as 2027-02-01", &other)),
        }
    }

    pub(super) fn section(
        &mut self,
        key: &'static str,
        title: &'static str,
        keys: &[&str],
    ) -> Result<Option<Section<'a>>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some((at, DeValue::Table(table))) => Section::open(self.source, title, at, table, keys).map(Some),
            Some((at, other)) => Err(self.wrong_type(at, key, &format!("a section {title}"), &other)),
        }
    }

    /// The tables of an array, in the order of the file.
    pub(super) fn sections(
        &mut self,
        key: &'static str,
        title: &'static str,
        keys: &[&str],
    ) -> Result<Vec<Section<'a>>, ConfigError> {
        let wanted = format!("sections that begin with {title}");
        let list = match self.take(key) {
            None => return Ok(Vec::new()),
            Some((_, DeValue::Array(list))) => list,
            Some((at, other)) => return Err(self.wrong_type(at, key, &wanted, &other)),
        };
        let open = |item: Spanned<DeValue<'a>>| match (item.span().start, item.into_inner()) {
            (at, DeValue::Table(table)) => Section::open(self.source, title, at, table, keys),
            (at, other) => Err(self.wrong_type(at, key, &wanted, &other)),
        };
        list.into_iter().map(open).collect()
    }
}

/// Levenshtein's distance: how many letters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("pasword_file", "password_file"), 1);
        assert_eq!(distance("same", "same"), 0);
    }
}
