//! What is to be fetched.

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
    pub fn of(entry: &CatalogEntry) -> Vec<Order> {
        entry.downloads.iter().flat_map(|download| orders(entry, download)).collect()
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

fn orders(entry: &CatalogEntry, download: &Download) -> Vec<Order> {
    let rows =
        entry.n.filter(|_| download.cut).and_then(|n| Some((u32::try_from(n).ok()?, u32::try_from(entry.dim).ok()?)));
    let of_rows = rows.and_then(|(rows, dim)| {
        let bytes = datasets::format::cut_bytes(&download.to, rows as usize, dim as usize)?;
        Some(Share::Rows { rows, dim, bytes })
    });
    let share = match (download.range, of_rows) {
        (Some((start, end)), _) => Share::Range { start, end },
        (None, Some(rows)) => rows,
        (None, None) => Share::Whole,
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
    if download.names.is_empty() { vec![order("")] } else { download.names.iter().map(|name| order(name)).collect() }
}
