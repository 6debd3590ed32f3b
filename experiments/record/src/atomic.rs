//! Atomic file writes: the content goes to a temporary file in the same folder, is flushed to disk, and then renamed, or
//! linked where the first complete file stands.

use crate::RecordError;
use crate::regular;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Suffix of temporary files: the name of the target file, a number, and this.
const PARTIAL: &str = ".partial";

/// Number of temporary names to try before failing; a name is taken only if a killed process with the same number left
/// it.
const NAMES: u64 = 1000;

/// A file that appears under its name only when it is complete. If it is dropped before that, nothing remains.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    partial: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Starts to write a file at `path`; the existing file stays until the commit.
    ///
    /// # Errors
    /// A system error, with the path.
    pub fn create(path: &Path) -> Result<AtomicFile, RecordError> {
        let first = u64::from(std::process::id());
        for number in first..first + NAMES {
            let mut partial = path.as_os_str().to_owned();
            partial.push(format!(".{number}{PARTIAL}"));
            let partial = PathBuf::from(partial);
            // Create only a new file: an existing one under this name may be a link to another place, so never write
            // through it.
            match OpenOptions::new().write(true).create_new(true).open(&partial) {
                Ok(file) => {
                    // The lock tells other processes that this file is still being written. Where the file system does
                    // not support locks, nobody checks for them.
                    let _ = file.try_lock();
                    return Ok(AtomicFile { file, partial, path: path.to_owned(), committed: false });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(RecordError::io("write", path)(error)),
            }
        }
        let taken = io::Error::new(ErrorKind::AlreadyExists, format!("too many {PARTIAL} files stand beside it"));
        Err(RecordError::io("write", path)(taken))
    }

    /// Makes the file appear under its name.
    ///
    /// # Errors
    /// A system error, with the path; nothing remains then.
    pub fn commit(mut self) -> Result<(), RecordError> {
        let done = self.file.sync_all().and_then(|()| fs::rename(&self.partial, &self.path));
        self.committed = done.is_ok();
        done.map_err(RecordError::io("write", &self.path))
    }
}

/// What became of a file that was to be the first under its name.
enum First {
    Yes,
    No,
    /// Somebody has removed the temporary file.
    Lost,
}

impl AtomicFile {
    /// Makes the file appear under its name if no file has it.
    fn commit_first(mut self) -> Result<First, RecordError> {
        match self.file.sync_all() {
            // A file server has removed it: where locks do not work, it looks like one that a killed process has left.
            Err(error) if error.kind() == ErrorKind::StaleNetworkFileHandle => return Ok(First::Lost),
            flushed => flushed.map_err(RecordError::io("write", &self.path))?,
        }
        let linked = fs::hard_link(&self.partial, &self.path);
        // The answer of a file server may be lost, and the second attempt then finds the file in place.
        if linked.is_ok() || self.stands() {
            return Ok(First::Yes);
        }
        match linked.map_err(|error| error.kind()) {
            Err(ErrorKind::AlreadyExists) => Ok(First::No),
            Err(ErrorKind::NotFound) => Ok(First::Lost),
            _ if self.path.symlink_metadata().is_ok() => Ok(First::No),
            // A file system without links: between these two steps another process may be first, whose file is then replaced.
            _ => {
                let renamed = fs::rename(&self.partial, &self.path);
                self.committed = renamed.is_ok();
                renamed.map(|()| First::Yes).map_err(RecordError::io("write", &self.path))
            }
        }
    }
}

impl AtomicFile {
    /// Whether the file already has its name. Its number is compared, which a client of a file server asks for; the count of its
    /// names may be remembered from before.
    #[cfg(unix)]
    fn stands(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let number = |found: io::Result<fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
        let own = number(self.file.metadata());
        own.is_some() && own == number(self.path.symlink_metadata())
    }

    #[cfg(not(unix))]
    fn stands(&self) -> bool {
        false
    }
}

/// How often a temporary file that somebody has removed is written again.
const ATTEMPTS: usize = 3;

/// Writes a file atomically if no file has its name. Returns whether it was the first. Several processes, on several machines,
/// may do so at once: one of them is the first.
///
/// # Errors
/// A system error, with the path.
pub(crate) fn write_first(path: &Path, bytes: &[u8]) -> Result<bool, RecordError> {
    for _ in 0..ATTEMPTS {
        let mut file = AtomicFile::create(path)?;
        file.write_all(bytes).map_err(RecordError::io("write", path))?;
        match file.commit_first()? {
            First::Yes => return Ok(true),
            First::No => return Ok(false),
            First::Lost => {}
        }
    }
    let error = io::Error::new(ErrorKind::NotFound, "its temporary file is removed again and again");
    Err(RecordError::io("write", path)(error))
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Writes a file atomically: it appears complete or not at all.
///
/// # Errors
/// A system error, with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(RecordError::io("write", path))?;
    file.commit()
}

/// Removes the temporary files that killed processes left for `path`, but none that is still being written.
pub fn remove_leftovers(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    remove_abandoned(folder, |of| of == name);
}

/// Removes the temporary files in a folder that killed processes left, for target names that `wanted` accepts.
pub(crate) fn remove_abandoned(folder: &Path, wanted: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_str().and_then(partial_of).is_some_and(&wanted);
        // On NFS, only files that are open for writing can be locked.
        let abandoned = || regular::open_to_lock(&entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if ours && abandoned() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The name of the target of a temporary file; returns `None` if `name` is not that of a temporary file.
pub(crate) fn partial_of(name: &str) -> Option<&str> {
    let (of, number) = name.strip_suffix(PARTIAL)?.rsplit_once('.')?;
    (!of.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn of_several_writers_one_is_the_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.json");
        let first: Vec<bool> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..16u8)
                .map(|i| {
                    let path = &path;
                    scope.spawn(move || write_first(path, &[i; 5000]).expect("writes"))
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().expect("ends")).collect()
        });
        let winner = first.iter().position(|first| *first).expect("one is the first");
        assert_eq!(first.iter().filter(|first| **first).count(), 1);
        assert_eq!(fs::read(&path).expect("reads"), [winner as u8; 5000], "and its content is complete");
        assert_eq!(names(dir.path()), ["a.json"], "no temporary file stays");
        assert!(!write_first(&path, b"late").expect("is no error"));
        assert!(write_first(&dir.path().join("gone/a.json"), b"x").is_err());
    }

    /// As when the answer of a file server to a link is lost.
    #[cfg(unix)]
    #[test]
    fn a_writer_that_hears_nothing_of_its_link_is_still_the_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.json");
        let mut file = AtomicFile::create(&path).expect("begins");
        file.write_all(b"own").expect("writes");
        fs::hard_link(&file.partial, &path).expect("links");
        assert!(matches!(file.commit_first(), Ok(First::Yes)));
        let mut other = AtomicFile::create(&path).expect("begins");
        other.write_all(b"other").expect("writes");
        assert!(matches!(other.commit_first(), Ok(First::No)));
        assert_eq!(fs::read(&path).expect("reads"), b"own");
    }

    #[test]
    fn a_file_appears_complete_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("codes.npy");
        fs::write(&path, "before").expect("writes");
        let mut file = AtomicFile::create(&path).expect("begins");
        file.write_all(b"half of").expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), b"before");
        drop(file);
        assert_eq!(names(folder.path()), ["codes.npy"]);
        write_atomically(&path, b"after").expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), b"after");
        assert_eq!(names(folder.path()), ["codes.npy"]);
    }

    /// Anybody who can write to a folder can predict the names of temporary files there.
    #[cfg(unix)]
    #[test]
    fn a_link_under_the_name_of_an_unfinished_file_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let elsewhere = tempfile::tempdir().expect("another folder");
        let victim = elsewhere.path().join("thesis.tex");
        fs::write(&victim, "years of work").expect("writes");
        let path = folder.path().join("run.json");
        let planted = folder.path().join(format!("run.json.{}{PARTIAL}", std::process::id()));
        std::os::unix::fs::symlink(&victim, &planted).expect("links");
        write_atomically(&path, b"{}").expect("writes");
        assert_eq!(fs::read(&victim).expect("reads"), b"years of work");
        assert_eq!(fs::read(&path).expect("reads"), b"{}");
        // A link under the target name itself is replaced, and its target stays unchanged.
        fs::remove_file(&path).expect("removes");
        std::os::unix::fs::symlink(&victim, &path).expect("links");
        write_atomically(&path, b"{}").expect("writes");
        remove_leftovers(&path);
        assert_eq!(fs::read(&victim).expect("reads"), b"years of work");
        assert!(fs::symlink_metadata(&path).expect("a file").is_file());
    }

    #[test]
    fn leftovers_go_and_the_work_of_others_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("codes.npy");
        for name in ["codes.npy.123.partial", "codes.npy.x.partial", "other.npy.123.partial", "codes.npy.123"] {
            fs::write(folder.path().join(name), "left").expect("writes");
        }
        let mut busy = AtomicFile::create(&path).expect("begins");
        busy.write_all(b"work").expect("writes");
        remove_leftovers(&path);
        busy.commit().expect("is still there");
        assert_eq!(
            names(folder.path()),
            ["codes.npy", "codes.npy.123", "codes.npy.x.partial", "other.npy.123.partial"]
        );
    }
}
