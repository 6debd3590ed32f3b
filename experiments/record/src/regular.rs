//! Opens files in folders that a stranger may have filled: does not follow links, and reads only regular files.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Does something with a path, and once more if nothing is there. A client of NFS remembers for up to a minute that a file was
/// missing; opening its folder makes it ask the server.
fn afresh<T>(path: &Path, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match act() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let _ = File::open(folder.unwrap_or(Path::new(".")));
            act()
        }
        done => done,
    }
}

/// Whether a path exists; true for a dangling symbolic link too.
pub fn is_there(path: &Path) -> bool {
    afresh(path, || path.symlink_metadata()).is_ok()
}

/// Opens a file for reading. Refuses symbolic links, pipes and devices.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    afresh(path, || checked(OpenOptions::new().read(true), path))
}

/// Opens a file for writing without truncating it. Refuses symbolic links, pipes and devices.
pub(crate) fn open_to_lock(path: &Path) -> io::Result<File> {
    checked(OpenOptions::new().write(true), path)
}

/// Opens a file for writing without truncating it; creates it if it does not exist. Refuses symbolic links, pipes and
/// devices.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    checked(OpenOptions::new().write(true).create(true), path)
}

/// Whether a regular file has this name; false for a symbolic link to one.
pub fn is_regular(path: &Path) -> bool {
    afresh(path, || path.symlink_metadata()).is_ok_and(|found| found.is_file())
}

/// The content of a regular file of at most `limit` bytes.
///
/// # Errors
/// A system error; a symbolic link, a pipe or a device; a larger file.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Refuses a symbolic link. A missing file passes.
pub(crate) fn refuse_link(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok_and(|found| found.is_symlink()) { Err(link()) } else { Ok(()) }
}

fn link() -> io::Error {
    io::Error::other("it is a symbolic link, and its target may belong to somebody else")
}

fn checked(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // This check gives a clear message; the flag below also covers a link that appears after the check.
    refuse_link(path)?;
    #[cfg(unix)]
    {
        use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
        use std::os::unix::fs::OpenOptionsExt;
        // Open without blocking: opening a pipe would wait until its other end is opened.
        options.custom_flags(O_NOFOLLOW | O_NONBLOCK);
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}
