//! The table of contents of a zip file, as far as `.npz` and published archives need it: members that are stored or deflated.
//!
//! The table is checked against the file, and a member against its place in the table, before anything is unpacked.

use super::contain::MAX_EXPANSION;
use super::input::{Extent, Packing};
use super::{OpenFile, Place, malformed, open_file, quote, read_exact};
use crate::DatasetError;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A zip file with its table of contents.
pub struct ZippedFiles {
    path: PathBuf,
    file: OpenFile,
    members: Vec<Member>,
}

impl ZippedFiles {
    pub fn open(path: &Path) -> Result<ZippedFiles, DatasetError> {
        let mut file = open_file(Place { file: path.to_owned(), part: None }, path)?;
        let members = members(&mut file).map_err(malformed(path, "zip"))?;
        Ok(ZippedFiles { path: path.to_owned(), file, members })
    }

    pub fn members(&self) -> Vec<(String, u64)> {
        self.members.iter().map(|member| (member.name.clone(), member.length)).collect()
    }

    pub fn read(&mut self, number: usize) -> Result<impl Read + use<>, DatasetError> {
        let malformed = malformed(&self.path, "zip");
        let count = self.members.len();
        let none = || malformed(format!("it has {count} members and none with number {number}"));
        let member = self.members.get(number).ok_or_else(none)?;
        member.open(&mut self.file).map(|opened| opened.reader).map_err(&malformed)
    }
}

/// A file in a zip file.
pub struct Member {
    pub name: String,
    flags: u16,
    method: u16,
    checksum: u32,
    stored: u64,
    length: u64,
    /// Position of its own header.
    header: u64,
}

/// The first bytes of a zip file that is not empty.
pub const MAGIC: &[u8] = b"PK\x03\x04";

/// The record at the end of the file: its length without the comment, and the longest comment.
const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const MAX_COMMENT: usize = u16::MAX as usize;

/// What replaces it in files beyond the limits of 16 and 32 bits, and the pointer to that, which is right before it.
const WIDE_END: &[u8] = b"PK\x06\x06";
const WIDE_END_BYTES: usize = 56;
const POINTER: &[u8] = b"PK\x06\x07";
const POINTER_BYTES: usize = 20;

/// An entry of the table, and the header of a member.
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const HEADER_BYTES: usize = 30;

/// In the place of a 32-bit number: the number is 64 bits wide and in the extra field of this kind.
const WIDE: u64 = u32::MAX as u64;
const WIDE_FIELD: u16 = 1;

/// Most bytes of the table: enough for a hundred thousand members.
const MAX_TABLE_BYTES: u64 = 16 << 20;

/// Flag of a member that is encrypted.
const ENCRYPTED: u16 = 1;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes).into())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn read_at(file: &mut OpenFile, at: u64, bytes: &mut [u8]) -> Result<(), String> {
    file.reader.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
    read_exact(file, bytes)
}

/// The position and the length of the table, and the number of its entries.
fn table(file: &mut OpenFile) -> Result<(u64, u64, u64), String> {
    let tail = file.length.min((END_BYTES + MAX_COMMENT) as u64);
    let mut bytes = vec![0; tail as usize];
    read_at(file, file.length - tail, &mut bytes)?;
    let ends = |at: &usize| {
        bytes[*at..].starts_with(END) && at + END_BYTES + usize::from(u16_at(&bytes, at + 20)) == bytes.len()
    };
    let last = bytes.len().checked_sub(END_BYTES).and_then(|last| (0..=last).rev().find(ends));
    let Some(at) = last else {
        return Err("it does not end with the table of contents of a zip file; it may be cut off".to_owned());
    };
    let end = &bytes[at..];
    let (entries, length, start) = (u16_at(end, 10).into(), u32_at(end, 12), u32_at(end, 16));
    let position = file.length - tail + at as u64;
    let Some(pointer_at) = position.checked_sub(POINTER_BYTES as u64) else { return Ok((start, length, entries)) };
    let mut pointer = [0; POINTER_BYTES];
    read_at(file, pointer_at, &mut pointer)?;
    if !pointer.starts_with(POINTER) {
        return Ok((start, length, entries));
    }
    let mut wide = [0; WIDE_END_BYTES];
    read_at(file, u64_at(&pointer, 8), &mut wide)?;
    if !wide.starts_with(WIDE_END) {
        return Err(format!("byte {} should begin the end of its table of contents", u64_at(&pointer, 8)));
    }
    Ok((u64_at(&wide, 48), u64_at(&wide, 40), u64_at(&wide, 32)))
}

/// All members, in the order of the table.
///
/// # Errors
/// A table that is missing, malformed or too large; the text says where.
pub fn members(file: &mut OpenFile) -> Result<Vec<Member>, String> {
    let (start, length, entries) = table(file)?;
    if start.checked_add(length).is_none_or(|end| end > file.length) || length > MAX_TABLE_BYTES {
        return Err(format!(
            "its table of contents should be {length} bytes from byte {start}; the file has {}, and {MAX_TABLE_BYTES} is the limit \
             of a table",
            file.length
        ));
    }
    let mut bytes = vec![0; length as usize];
    read_at(file, start, &mut bytes)?;
    let mut members = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let at = start + (bytes.len() - rest.len()) as u64;
        let (name, extra) = (usize::from(u16_at(rest, 28)), usize::from(u16_at(rest, 30)));
        let whole = ENTRY_BYTES + name + extra + usize::from(u16_at(rest, 32));
        if !rest.starts_with(ENTRY) || rest.len() < whole {
            return Err(format!("byte {at} should begin an entry of its table of contents"));
        }
        let (entry, after) = rest.split_at(whole);
        members
            .push(member(entry, name, extra).ok_or_else(|| format!("the entry at byte {at} lacks its wide numbers"))?);
        rest = after;
    }
    if members.len() as u64 != entries {
        return Err(format!("its table of contents has {} entries where it states {entries}", members.len()));
    }
    Ok(members)
}

/// An entry of the table whose length was checked; None if numbers are missing.
fn member(entry: &[u8], name: usize, extra: usize) -> Option<Member> {
    let (text, rest) = entry[ENTRY_BYTES..].split_at(name);
    let mut fields = &rest[..extra];
    let mut wide: &[u8] = &[];
    while fields.len() >= 4 {
        let (kind, length) = (u16_at(fields, 0), usize::from(u16_at(fields, 2)));
        let field = fields[4..].get(..length)?;
        if kind == WIDE_FIELD {
            wide = field;
        }
        fields = &fields[4 + length..];
    }
    // Only the numbers that do not fit are in the field, in this order.
    let mut number = |at: usize| {
        let narrow = u32_at(entry, at);
        if narrow != WIDE {
            return Some(narrow);
        }
        let (number, after) = wide.split_first_chunk()?;
        wide = after;
        Some(u64::from_le_bytes(*number))
    };
    let (length, stored, header) = (number(24)?, number(20)?, number(42)?);
    Some(Member {
        name: String::from_utf8_lossy(text).into_owned(),
        flags: u16_at(entry, 8),
        method: u16_at(entry, 10),
        checksum: u32::from_le_bytes(*entry[16..].first_chunk()?),
        stored,
        length,
        header,
    })
}

impl Member {
    /// Opens it as a file of its own.
    ///
    /// # Errors
    /// A place that is not in the file; a compression that is not read; more content than its bytes can hold.
    pub fn open(&self, file: &mut OpenFile) -> Result<OpenFile, String> {
        let name = quote::name(&self.name);
        if self.flags & ENCRYPTED != 0 {
            return Err(format!("`{name}` is encrypted"));
        }
        let (packing, most) = match self.method {
            STORED => (Packing::Plain, self.stored.into()),
            DEFLATED => (Packing::Deflate, u128::from(self.stored) * MAX_EXPANSION),
            method => {
                return Err(format!(
                    "`{name}` is compressed by method {method} of zip; write it with numpy.savez or numpy.savez_compressed"
                ));
            }
        };
        if u128::from(self.length) > most {
            return Err(format!(
                "`{name}` should hold {} bytes; its {} bytes in the file can hold {most} at most",
                self.length, self.stored
            ));
        }
        let mut header = [0; HEADER_BYTES];
        let lies_outside =
            || format!("`{name}` should be {} bytes after byte {} of the file", self.stored, self.header);
        read_at(file, self.header, &mut header).map_err(|_| lies_outside())?;
        if !header.starts_with(MAGIC) {
            return Err(format!("byte {} should begin `{name}`", self.header));
        }
        let before = HEADER_BYTES as u64 + u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        let start = self.header + before;
        if start.checked_add(self.stored).is_none_or(|end| end > file.length) {
            return Err(lies_outside());
        }
        let extent = Extent { packing, start, stored: self.stored, length: self.length, checksum: Some(self.checksum) };
        let part = file.reader.get_ref().part(extent);
        let input = part.ok_or("a zip file within another packed file is not read; unpack the outer one")?;
        let place = Place { part: None, ..file.place.clone() };
        Ok(OpenFile {
            place,
            reader: BufReader::with_capacity(1 << 16, input),
            length: self.length,
            stored: self.stored,
        })
    }
}
