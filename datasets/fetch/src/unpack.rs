//! Unpacks what was fetched, within limits: files appear under their names only when all of them are unpacked.

use crate::fetcher::Watch;
use crate::part::{UNPACKED, with_end};
use crate::{FetchError, Order};
use datasets::archive::ZipFile;
use datasets::catalog::Unpacking;
use flate2::read::MultiGzDecoder;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// No archive of vectors, images or sound shrinks by more than this factor.
const MOST_EXPANSION: u64 = 100;

/// An archive may always hold this much.
const SMALL: u64 = 64 << 20;

/// What unpacking needs to know.
pub struct Unpacker<'a> {
    pub order: &'a Order,
    /// The folder of datasets.
    pub folder: &'a Path,
    /// The complete archive.
    pub archive: &'a Path,
    /// Records the archive, once all of it is unpacked and before the files have their names.
    pub record: &'a dyn Fn() -> Result<(), FetchError>,
    pub cancel: &'a AtomicBool,
    pub watch: &'a mut dyn Watch,
}

/// Files that are unpacked, but do not have their names yet.
#[derive(Default)]
struct Unpacked {
    /// Where each is, and where it goes.
    places: Vec<(PathBuf, PathBuf)>,
    /// Wanted members that were found.
    found: BTreeSet<String>,
    bytes: u64,
}

impl Unpacker<'_> {
    /// Unpacks what the order wants.
    pub fn run(mut self, packing: Unpacking) -> Result<(), FetchError> {
        let mut unpacked = Unpacked::default();
        let all =
            self.unpack(packing, &mut unpacked).and_then(|()| (self.record)()).and_then(|()| self.name(&unpacked));
        if all.is_err() {
            for (from, _) in &unpacked.places {
                let _ = if from.is_dir() { std::fs::remove_dir_all(from) } else { std::fs::remove_file(from) };
            }
        }
        all
    }

    fn wrong(&self, reason: impl Into<String>) -> FetchError {
        FetchError::Archive { file: self.order.to.clone(), reason: reason.into() }
    }

    /// Most bytes of all files together.
    fn most(&self) -> Result<u64, FetchError> {
        let length = self.archive.metadata().map_err(FetchError::io(self.archive))?.len();
        Ok(length.saturating_mul(MOST_EXPANSION).max(SMALL))
    }

    fn unpack(&mut self, packing: Unpacking, unpacked: &mut Unpacked) -> Result<(), FetchError> {
        let file = BufReader::new(File::open(self.archive).map_err(FetchError::io(self.archive))?);
        let most = self.most()?;
        self.watch.begin(&format!("unpacking {}", self.order.to), 0, None);
        match packing {
            Unpacking::Gzip => {
                let name = self.order.files().into_iter().next().unwrap_or_default();
                let to = self.folder.join(name);
                let place = (temporary(&to), to);
                unpacked.places.push(place.clone());
                self.write(&mut MultiGzDecoder::new(file), &place.0, most, unpacked).map(drop)
            }
            Unpacking::Tar => self.tar(file, most, unpacked),
            Unpacking::TarGz => self.tar(MultiGzDecoder::new(file), most, unpacked),
            Unpacking::Zip => self.zip(most, unpacked),
        }
    }

    fn tar(&mut self, content: impl Read, most: u64, unpacked: &mut Unpacked) -> Result<(), FetchError> {
        // Also what lies between the files counts.
        let mut archive = tar::Archive::new(content.take(most));
        let entries = archive.entries().map_err(|error| self.wrong(error.to_string()))?;
        for entry in entries {
            let mut entry = entry.map_err(|error| self.wrong(format!("it is not a whole tar file: {error}")))?;
            if entry.header().entry_type().is_file() {
                let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                let size = entry.size();
                self.member(&name, size, &mut entry, most, unpacked)?;
            }
            if self.is_complete(unpacked) {
                return Ok(());
            }
        }
        self.check_complete(unpacked)
    }

    fn zip(&mut self, most: u64, unpacked: &mut Unpacked) -> Result<(), FetchError> {
        let to = self.order.to.clone();
        let damaged = FetchError::archive(&to);
        let mut archive = ZipFile::open(self.archive).map_err(&damaged)?;
        for (number, (name, size)) in archive.members().into_iter().enumerate() {
            if self.place(&name).is_some() {
                let mut content = archive.read(number).map_err(&damaged)?;
                self.member(&name, size, &mut content, most, unpacked)?;
            }
        }
        self.check_complete(unpacked)
    }

    /// The wanted member that a path in the archive belongs to, where it is written now and what of that gets its name.
    fn place(&self, name: &str) -> Option<(String, PathBuf, (PathBuf, PathBuf))> {
        let name = name.strip_prefix("./").unwrap_or(name);
        let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || name.ends_with('/') || name.contains('\\') {
            return None;
        }
        self.order.members.iter().find_map(|member| {
            let to = self.folder.join(self.order.beside(member).trim_end_matches('/'));
            let now = temporary(&to);
            match name.strip_prefix(member.as_str()) {
                Some("") => Some((member.clone(), now.clone(), (now, to))),
                Some(rest) if member.ends_with('/') => Some((member.clone(), now.join(rest), (now, to))),
                _ => None,
            }
        })
    }

    /// Whether no further member is wanted. Of a folder, there may always be more.
    fn is_complete(&self, unpacked: &Unpacked) -> bool {
        self.order.members.iter().all(|member| !member.ends_with('/') && unpacked.found.contains(member))
    }

    fn check_complete(&self, unpacked: &Unpacked) -> Result<(), FetchError> {
        match self.order.members.iter().find(|member| !unpacked.found.contains(*member)) {
            Some(member) => Err(self.wrong(format!("it holds no file `{member}`"))),
            None => Ok(()),
        }
    }

    /// Writes a file of the archive, if it is wanted.
    fn member(
        &mut self,
        name: &str,
        size: u64,
        content: &mut impl Read,
        most: u64,
        unpacked: &mut Unpacked,
    ) -> Result<(), FetchError> {
        let Some((member, at, place)) = self.place(name) else { return Ok(()) };
        if unpacked.found.insert(member) {
            let _ = std::fs::remove_dir_all(&place.0);
            unpacked.places.push(place);
        }
        if let Some(parent) = at.parent() {
            std::fs::create_dir_all(parent).map_err(FetchError::io(parent))?;
        }
        let written = self.write(content, &at, most, unpacked)?;
        if written != size {
            return Err(self.wrong(format!("`{name}` has {written} bytes; the archive states {size}")));
        }
        Ok(())
    }

    /// Writes bytes to a file; returns how many.
    fn write(
        &mut self,
        content: &mut impl Read,
        to: &Path,
        most: u64,
        unpacked: &mut Unpacked,
    ) -> Result<u64, FetchError> {
        let mut file = File::create(to).map_err(FetchError::io(to))?;
        let mut buffer = vec![0; 1 << 16];
        let before = unpacked.bytes;
        loop {
            if self.cancel.load(Ordering::SeqCst) {
                let kept = self.archive.metadata().map_or(0, |found| found.len());
                return Err(FetchError::Interrupted { file: self.order.to.clone(), kept });
            }
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.wrong(error.to_string())),
            };
            unpacked.bytes += count as u64;
            if unpacked.bytes > most {
                return Err(self.wrong(format!("it unpacks to more than {most} bytes")));
            }
            file.write_all(&buffer[..count]).map_err(FetchError::io(to))?;
            self.watch.reach(unpacked.bytes);
        }
        file.sync_all().map_err(FetchError::io(to))?;
        Ok(unpacked.bytes - before)
    }

    /// Gives all files their names.
    fn name(&self, unpacked: &Unpacked) -> Result<(), FetchError> {
        for (from, to) in &unpacked.places {
            std::fs::rename(from, to).map_err(FetchError::io(to))?;
        }
        Ok(())
    }
}

/// Where a file is until all of its archive is unpacked.
fn temporary(path: &Path) -> PathBuf {
    with_end(path, UNPACKED)
}
