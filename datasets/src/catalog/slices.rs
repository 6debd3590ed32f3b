//! The first rows of a large set as a dataset of its own: `bigann-10m` is the first ten million rows of `bigann`.

use super::CatalogEntry;
use crate::split::RowSelection;

/// Letters that stand for a factor, the largest first.
const UNITS: [(char, usize); 3] = [('B', 1_000_000_000), ('M', 1_000_000), ('K', 1_000)];

/// A number of rows as a person writes it: `10M`, `500k`, `1B`, `25000`.
///
/// # Errors
/// A text that is no such number, or a number that is too large.
pub fn parse_rows(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{text}` is not a number of rows; write it like 10M, 500K or 25000");
    let last = text.chars().last().ok_or_else(wrong)?.to_ascii_uppercase();
    let (digits, factor) = match UNITS.iter().find(|(unit, _)| *unit == last) {
        Some((_, factor)) => (&text[..text.len() - 1], *factor),
        None => (text, 1),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
        return Err(wrong());
    }
    digits
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|&rows| rows > 0)
        .ok_or_else(wrong)
}

/// The shortest text for a number of rows: `10M`.
pub fn write_rows(rows: usize) -> String {
    match UNITS.iter().find(|(_, factor)| rows.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", rows / factor),
        None => rows.to_string(),
    }
}

impl CatalogEntry {
    /// Whether the first rows of this set can be fetched without the others.
    pub fn can_be_cut(&self) -> bool {
        self.downloads.iter().any(|download| download.cut)
    }

    /// The name of its first `rows` rows.
    pub fn name_of_slice(&self, rows: usize) -> String {
        format!("{}-{}", self.name, write_rows(rows).to_lowercase())
    }

    /// The first `rows` rows of this set as a dataset of its own; None if it cannot be cut, or does not have so many.
    pub fn slice(&self, rows: usize) -> Option<CatalogEntry> {
        if !self.can_be_cut() || !(1..self.n?).contains(&rows) {
            return None;
        }
        let mut slice = self.clone();
        slice.name = self.name_of_slice(rows);
        slice.summary = format!("The first {} rows of {}: {}", write_rows(rows), self.name, self.summary);
        slice.n = Some(rows);
        // A slice of few rows is trained on all of them.
        if matches!(slice.split.train, Some(RowSelection::Count(count)) if count >= rows) {
            slice.split.train = None;
        }
        let (all, some) = (format!(".{}.", write_rows(self.n?)), format!(".{}.", write_rows(rows)));
        for download in slice.downloads.iter_mut().filter(|download| download.cut) {
            let path = download.to.replace(&all, &some);
            if let Some(base) = slice.base.as_mut().filter(|base| base.path == download.to) {
                base.path.clone_from(&path);
            }
            download.to = path;
        }
        Some(slice)
    }

    /// The slice that a name such as `bigann-10m` means.
    pub(super) fn of_slice(name: &str, entries: &[CatalogEntry]) -> Option<CatalogEntry> {
        let (family, rows) = name.rsplit_once('-')?;
        let rows = parse_rows(rows).ok()?;
        let family = entries.iter().find(|entry| entry.name == family)?;
        // One name for each slice.
        family.slice(rows).filter(|slice| slice.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_rows_are_written_in_one_way() {
        for (text, rows) in [("10M", 10_000_000), ("500k", 500_000), ("1B", 1_000_000_000), ("25001", 25_001)] {
            assert_eq!(parse_rows(text), Ok(rows));
            assert_eq!(write_rows(rows), text.to_uppercase());
        }
        assert_eq!(write_rows(1_500_000), "1500K");
        for text in ["", "M", "0", "0K", "1.5M", "-3", "+3", "10 M", "99999999999999999999", "20000000000000B", "é"] {
            let error = parse_rows(text).expect_err(text);
            assert_eq!(error, format!("`{text}` is not a number of rows; write it like 10M, 500K or 25000"));
        }
    }
}
