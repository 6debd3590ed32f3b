//! Carries out orders: addresses in turn, the digest, the record, the name.

use crate::part::Part;
use crate::transfer::{Stop, Transfer};
use crate::unpack::Unpacker;
use crate::{FetchError, Order, Settings, Share, Tried, address, digest, lock};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Hears how far a file is.
pub trait Watch {
    /// From here on, `done` of `of` bytes of this file are here.
    fn begin(&mut self, file: &str, done: u64, of: Option<u64>);
    /// So many bytes are here.
    fn reach(&mut self, done: u64);
    /// Something that a person may want to know.
    fn note(&mut self, text: &str);
}

/// A file that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It was here before.
    Here,
    /// It has been fetched.
    New {
        /// The address that gave it, without user and password.
        address: String,
        /// Its bytes, packed as it was.
        bytes: u64,
        /// Its SHA-256.
        sha256: String,
        /// Whether the digest was known before, and so was checked.
        verified: bool,
    },
}

/// Fetches files into a folder.
#[derive(Clone, Debug)]
pub struct Fetcher {
    settings: Settings,
}

/// A digest that a file must have.
struct Known {
    sha256: String,
    /// Who says so.
    by: String,
}

impl Fetcher {
    /// A fetcher with these settings.
    pub fn new(settings: Settings) -> Fetcher {
        Fetcher { settings }
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Checks that files which are in `folder` are those that were recorded, and records them where they are not yet. A file that nothing
    /// records is not read; one that was read before is read again only if its metadata has changed. Of an archive whose files
    /// were not unpacked by a fetcher, nothing can be said, except to `watch`.
    ///
    /// # Errors
    /// See [`FetchError`]: above all, a file that is not the recorded one.
    pub fn check(
        &self,
        order: &Order,
        folder: &Path,
        cancel: &AtomicBool,
        watch: &mut dyn Watch,
    ) -> Result<(), FetchError> {
        let locks = &self.settings.locks;
        let recorded = lock::recorded(locks, &order.to)?;
        let Some((first_lock, first)) = recorded.first() else { return Ok(()) };
        let found = match order.unpack {
            None => {
                let path = folder.join(&order.to);
                let length = path.metadata().map_err(FetchError::io(&path))?.len();
                watch.begin(&format!("checking {}", order.to), 0, Some(length));
                let found = digest::of_file(&self.settings.folder, &path, cancel, |done| watch.reach(done))?;
                found.ok_or_else(|| FetchError::Interrupted { file: order.to.clone(), kept: length })?
            }
            // The archive was not kept: the record of this folder says which it was.
            Some(_) if folder == self.settings.folder && Some(first_lock) == locks.first() => first.sha256.clone(),
            Some(_) if folder == self.settings.folder => {
                return Err(FetchError::Unrecorded { file: order.to.clone(), lock: first_lock.clone() });
            }
            Some(_) => {
                let (lock, place) = (first_lock.display(), folder.display());
                watch
                    .note(&format!("{lock} records {}, but the files in {place} cannot be compared with it", order.to));
                return Ok(());
            }
        };
        match recorded.iter().find(|(_, entry)| entry.sha256 != found) {
            None => lock::spread(locks, first),
            Some((lock, entry)) => Err(FetchError::Differs {
                file: order.to.clone(),
                lock: lock.clone(),
                recorded: entry.sha256.clone(),
                found,
            }),
        }
    }

    /// Fetches a file, verifies it, and unpacks it if the order says so. Setting `cancel` stops it within the time of a stall at
    /// most; what has arrived is kept. If it is here, it is checked as [`check`](Fetcher::check) does.
    ///
    /// # Errors
    /// See [`FetchError`]. No file has its name unless it is complete and right.
    pub fn fetch(&self, order: &Order, cancel: &AtomicBool, watch: &mut dyn Watch) -> Result<Fetched, FetchError> {
        if order.is_in(&self.settings.folder) {
            return self.check(order, &self.settings.folder, cancel, watch).map(|()| Fetched::Here);
        }
        let name = self.settings.folder.join(&order.to);
        let known = self.known(order)?;
        let verified = !known.is_empty();
        let mut part = Part::open(&name)?;
        if order.is_in(&self.settings.folder) {
            // Another process has just fetched it.
            if part.length() == 0 {
                part.remove();
            }
            return self.check(order, &self.settings.folder, cancel, watch).map(|()| Fetched::Here);
        }
        let mut tried = Vec::new();
        // An address is tried again if bytes of others were before its own.
        let mut addresses: VecDeque<String> = self.addresses(order, &part).into();
        while let Some(asked) = addresses.pop_front() {
            let address = address::shown(&asked);
            let mut transfer = Transfer { settings: &self.settings, order, verified, cancel, watch: &mut *watch };
            match transfer.run(&asked, &mut part) {
                Ok(()) => {}
                Err(Stop::Failed(reason)) => {
                    tried.push(Tried { address, reason });
                    continue;
                }
                Err(Stop::Interrupted) => {
                    return Err(FetchError::Interrupted { file: order.to.clone(), kept: part.length() });
                }
                Err(Stop::Fatal(error)) => return Err(error),
            }
            if let Share::Rows { rows, dim, .. } = order.share {
                let mut head = [0; 8];
                head[..4].copy_from_slice(&rows.to_le_bytes());
                head[4..].copy_from_slice(&dim.to_le_bytes());
                part.set_head(head)?;
            }
            watch.begin(&format!("checking {}", order.to), 0, Some(part.length()));
            let Some(sha256) = part.digest(cancel, |done| watch.reach(done))? else {
                return Err(FetchError::Interrupted { file: order.to.clone(), kept: part.length() });
            };
            if let Some(Known { sha256: expected, by }) = known.iter().find(|known| known.sha256 != sha256) {
                let mixed = part.origin().is_some_and(|origin| origin.address != address);
                part.restart(None)?;
                if mixed {
                    watch
                        .note(&format!("{address}: its bytes do not go with those of another address; starting again"));
                    addresses.push_front(asked);
                } else {
                    tried.push(Tried { address, reason: format!("its SHA-256 is {sha256}; {by} {expected}") });
                }
                continue;
            }
            let bytes = part.length();
            // Before any file has its name: what is here is always recorded.
            let record = || lock::record(&self.settings.locks, &order.to, bytes, &sha256, &address);
            match order.unpack {
                None => {
                    record()?;
                    part.finish(&name)?;
                    digest::remember(&self.settings.folder, &name, &sha256);
                }
                Some(packing) => self.unpack(order, packing, part, &record, cancel, watch)?,
            }
            return Ok(Fetched::New { address, bytes, sha256, verified });
        }
        if part.length() == 0 {
            part.remove();
        }
        Err(FetchError::Failed { file: order.to.clone(), tried })
    }

    fn unpack(
        &self,
        order: &Order,
        packing: datasets::catalog::Unpacking,
        part: Part,
        record: &dyn Fn() -> Result<(), FetchError>,
        cancel: &AtomicBool,
        watch: &mut dyn Watch,
    ) -> Result<(), FetchError> {
        let folder = &self.settings.folder;
        let unpacked = Unpacker { order, folder, archive: part.path(), record, cancel, watch }.run(packing);
        match &unpacked {
            Err(FetchError::Interrupted { .. } | FetchError::Io { .. } | FetchError::Lock { .. }) => {}
            _ => part.remove(),
        }
        unpacked
    }

    /// The digests that a file must have: of the catalog, and of earlier fetches.
    fn known(&self, order: &Order) -> Result<Vec<Known>, FetchError> {
        let of_catalog = order.sha256.iter().map(|sha256| (sha256.clone(), "the catalog states".to_owned()));
        let recorded = lock::recorded(&self.settings.locks, &order.to)?.into_iter();
        let of_locks = recorded.map(|(path, entry)| {
            (entry.sha256, format!("{} records ({}, {})", path.display(), entry.date, entry.address))
        });
        Ok(of_catalog.chain(of_locks).map(|(sha256, by)| Known { sha256, by }).collect())
    }

    /// The addresses of a file, those of mirrors first, and before them the one that bytes are here of.
    fn addresses(&self, order: &Order, part: &Part) -> Vec<String> {
        let mirrors = self.settings.mirrors.iter();
        let mirrored = mirrors.flat_map(|mirror| order.from.iter().filter_map(|from| address::mirrored(mirror, from)));
        let mut all: Vec<String> = mirrored.chain(order.from.iter().cloned()).collect();
        let begun = part.origin().filter(|_| part.length() > 0);
        // Keeps the order of the others.
        all.sort_by_key(|address| begun.is_none_or(|origin| origin.address != address::shown(address)));
        all
    }
}
