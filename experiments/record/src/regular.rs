//! Opening files in folders that a stranger may have filled: no link is followed, and nothing but a regular file is read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Opens a file to read. A symbolic link, a pipe and a device are refused.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    checked(OpenOptions::new().read(true), path)
}

/// Opens a file to write into, as it is; makes it if it is not there. A symbolic link, a pipe and a device are refused.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    checked(OpenOptions::new().write(true).create(true), path)
}

/// Whether a regular file has this name; a symbolic link to one is none.
pub fn is_regular(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file())
}

/// The content of a regular file of at most `limit` bytes.
///
/// # Errors
/// The system's refusal; a symbolic link, a pipe or a device; a larger file.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Refuses a symbolic link. What is not there is no link.
pub(crate) fn refuse_link(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok_and(|found| found.is_symlink()) { Err(link()) } else { Ok(()) }
}

fn link() -> io::Error {
    io::Error::other("it is a symbolic link, and what it leads to may belong to somebody else")
}

fn checked(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Said in words here; the flag below holds where the link appears after this look.
    refuse_link(path)?;
    #[cfg(unix)]
    {
        use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
        use std::os::unix::fs::OpenOptionsExt;
        // Without waiting: a pipe would have to be opened at its other end first.
        options.custom_flags(O_NOFOLLOW | O_NONBLOCK);
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}
