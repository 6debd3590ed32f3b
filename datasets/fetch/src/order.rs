//! What is to be fetched.

use crate::FetchError;
use datasets::catalog::{CatalogEntry, Download, Unpacking};
use std::path::Path;

/// A file to fetch.
#[derive(Clone, Debug)]
pub struct Order {
    /// Addresses of the same bytes, in the order in which they are tried.
    pub from: Vec<String>,
    /// Its path below the folder of datasets, with `/` between names.
    pub to: String,
    /// Bytes that are fetched, if they are known.
    pub bytes: Option<u64>,
    /// SHA-256 of the file at `to`, in lower case, if it is known.
    pub sha256: Option<String>,
    /// Which part of what is at the addresses is fetched.
    pub share: Share,
    /// How it is packed, if it is to be unpacked.
    pub unpack: Option<Unpacking>,
    /// Files of an archive that are kept; one that ends with `/` stands for all files below it.
    pub members: Vec<String>,
}

/// The part of a file that is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of it.
    Whole,
    /// The bytes from `start` to the one before `end`.
    Range {
        /// The first byte.
        start: u64,
        /// The byte after the last.
        end: u64,
    },
    /// The first rows of a file that begins with its numbers of rows and columns, 32 bits each. The header of what is kept says
    /// how many rows that is.
    Rows {
        /// How many.
        rows: u32,
        /// Columns that the header must state.
        dim: u32,
        /// Bytes of the header and these rows.
        bytes: u64,
    },
}

impl Share {
    /// Its first byte, and the byte after its last where that is known.
    pub(crate) fn extent(self) -> (u64, Option<u64>) {
        match self {
            Share::Whole => (0, None),
            Share::Range { start, end } => (start, Some(end)),
            Share::Rows { bytes, .. } => (0, Some(bytes)),
        }
    }
}

impl Order {
    /// The files of a dataset of the catalog.
    ///
    /// # Errors
    /// [`FetchError::Cut`]: a file of which the first rows are wanted, but cannot be.
    pub fn of(entry: &CatalogEntry) -> Result<Vec<Order>, FetchError> {
        let each = entry.downloads.iter().map(|download| orders(entry, download));
        Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Paths below the folder of datasets that exist once it is fetched; those of whole folders end with `/`.
    pub fn files(&self) -> Vec<String> {
        match self.unpack {
            None => vec![self.to.clone()],
            Some(Unpacking::Gzip) => vec![self.to.strip_suffix(".gz").unwrap_or(&self.to).to_owned()],
            Some(_) => self.members.iter().map(|member| self.beside(member)).collect(),
        }
    }

    /// Whether all its files are in a folder of datasets.
    pub fn is_in(&self, folder: &Path) -> bool {
        self.files().iter().all(|file| {
            let path = folder.join(file.trim_end_matches('/'));
            if file.ends_with('/') { path.is_dir() } else { path.is_file() }
        })
    }

    /// The path of a member of an archive.
    pub(crate) fn beside(&self, member: &str) -> String {
        self.to.rsplit_once('/').map_or_else(|| member.to_owned(), |(folder, _)| format!("{folder}/{member}"))
    }
}

/// The first rows of a file, as many as the dataset has; None if their numbers do not fit.
fn first_rows(entry: &CatalogEntry, download: &Download) -> Option<Share> {
    let (n, dim) = (entry.n?, entry.dim);
    let bytes = datasets::format::cut_bytes(&download.to, n, dim)?;
    Some(Share::Rows { rows: n.try_into().ok()?, dim: dim.try_into().ok()?, bytes })
}

fn orders(entry: &CatalogEntry, download: &Download) -> Result<Vec<Order>, FetchError> {
    let share = match download.range {
        Some((start, end)) => Share::Range { start, end },
        None if download.cut => first_rows(entry, download).ok_or_else(|| FetchError::Cut {
            file: download.to.clone(),
            rows: entry.n,
            dim: entry.dim,
        })?,
        None => Share::Whole,
    };
    let order = |name: &str| Order {
        from: download.from.iter().map(|address| address.replace("{}", name)).collect(),
        to: download.to.replace("{}", name),
        bytes: download.bytes.filter(|_| download.names.is_empty()),
        sha256: download.sha256.clone(),
        share,
        unpack: download.unpack,
        members: download.members.clone(),
    };
    let names = &download.names;
    Ok(if names.is_empty() { vec![order("")] } else { names.iter().map(|name| order(name)).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::catalog;

    #[test]
    fn rows_that_do_not_fit_are_not_the_whole_file() {
        for entry in catalog::entries() {
            Order::of(entry).expect("the catalog fits");
        }
        let fits = catalog::find("deep1b-1k").expect("a slice").into_owned();
        let shares = |entry: &CatalogEntry| Order::of(entry).map(|all| all[0].share);
        let rows = Share::Rows { rows: 1000, dim: 96, bytes: 8 + 1000 * 96 * 4 };
        assert_eq!(shares(&fits).expect("fits"), rows);
        for n in [None, Some(1 << 33), Some(usize::MAX)] {
            let error = shares(&CatalogEntry { n, ..fits.clone() }).expect_err("too many rows");
            assert!(matches!(error, FetchError::Cut { rows, dim: 96, .. } if rows == n), "{error}");
        }
        let error = shares(&CatalogEntry { n: None, ..fits }).expect_err("an unknown number").to_string();
        assert_eq!(error, "deep1b/base.1K.fbin cannot be cut: its rows of 96 components are unknown or too many");
    }
}
