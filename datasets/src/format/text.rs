//! Reads text files record by record, so that an error can name its line.
//!
//! These files are not read by `polars`, as Parquet and Arrow are. Its text readers do not report the line and column of an
//! error, read a missing field as null, and do not accept lines that are arrays. What remains is splitting lines and
//! parsing numbers.

use super::OpenFile;
use super::input::Input;
use super::quote::shown;
use std::io::{BufRead, BufReader, Read, Seek};

/// Maximum number of bytes of a record, so that a file without line ends does not fill the memory.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// Some editors write this before the first character.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The records of a file in order, without blank lines.
pub struct Records<R> {
    reader: R,
    /// Whether a line end between quotes belongs to the record.
    quotes: bool,
    buffer: Vec<u8>,
    /// The line on which the current record begins, counted from 1.
    line: usize,
    /// Number of lines read.
    lines: usize,
    /// Whether the buffer ends between quotes.
    open: bool,
}

impl<R: BufRead> Records<R> {
    /// Starts at the current position of the reader, which must be the start of the file.
    pub fn new(reader: R, quotes: bool) -> Records<R> {
        Records { reader, quotes, buffer: Vec::new(), line: 0, lines: 0, open: false }
    }

    /// Reads the next record. Returns whether there is one.
    ///
    /// # Errors
    /// A record that is too long; errors of the system.
    pub fn next(&mut self) -> Result<bool, String> {
        loop {
            self.buffer.clear();
            self.line = self.lines + 1;
            self.open = false;
            if !self.more()? {
                return Ok(false);
            }
            while self.open && self.more()? {}
            if self.line == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.buffer.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// Appends a line to the buffer. Returns whether there was one.
    fn more(&mut self) -> Result<bool, String> {
        let start = self.buffer.len();
        let room = MAX_RECORD_BYTES + 1 - start;
        let read =
            (&mut self.reader).take(room as u64).read_until(b'\n', &mut self.buffer).map_err(|e| e.to_string())?;
        self.lines += usize::from(read > 0);
        if self.quotes {
            let quotes = self.buffer[start..].iter().filter(|&&byte| byte == b'"').count();
            self.open ^= !quotes.is_multiple_of(2);
        }
        if self.buffer.len() > MAX_RECORD_BYTES {
            return Err(format!("line {} goes on for more than {MAX_RECORD_BYTES} bytes", self.line));
        }
        Ok(read > 0)
    }

    /// The current record without its line end.
    ///
    /// # Errors
    /// Bytes that are not UTF-8.
    pub fn text(&self) -> Result<&str, String> {
        let bytes = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        std::str::from_utf8(bytes)
            .map_err(|error| self.wrong(&format!("byte {} is not UTF-8", error.valid_up_to() + 1)))
    }

    /// The line on which the current record begins, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// A message about the current record, with its line.
    pub fn wrong(&self, what: &str) -> String {
        format!("line {}: {what}", self.line)
    }
}

/// Number of records in a file, and the length of the longest in bytes.
///
/// # Errors
/// As [`Records::next`].
pub fn count(file: &mut OpenFile, quotes: bool) -> Result<(usize, usize), String> {
    let mut records = start(file, quotes)?;
    let (mut count, mut longest) = (0, 0);
    while records.next()? {
        count += 1;
        longest = longest.max(records.buffer.len());
    }
    Ok((count, longest))
}

/// The records of a file from its start.
///
/// # Errors
/// Errors of the system.
pub fn start(file: &mut OpenFile, quotes: bool) -> Result<Records<&mut BufReader<Input>>, String> {
    file.reader.rewind().map_err(|e| e.to_string())?;
    Ok(Records::new(&mut file.reader, quotes))
}

/// Parses a number, rounded to the nearest f32. Accepts `nan` and `inf`, which are refused later as not finite.
pub fn number(text: &str) -> Option<f32> {
    text.trim_ascii().parse().ok()
}

/// Appends the numbers of a list such as `[0.5, -1e-3]` to `out`. Returns their number.
///
/// # Errors
/// Text that is not such a list.
pub fn list(text: &str, out: &mut Vec<f32>) -> Result<usize, String> {
    let inner = text.trim_ascii().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.ok_or_else(|| format!("{} is not a list of numbers such as [0.5, -1]", shown(text)))?;
    if inner.trim_ascii().is_empty() {
        return Ok(0);
    }
    let start = out.len();
    for (i, item) in inner.split(',').enumerate() {
        out.push(number(item).ok_or_else(|| format!("component {i} is {}, which is not a number", shown(item)))?);
    }
    Ok(out.len() - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_know_their_lines() {
        let mut records = Records::new(&b"\xef\xbb\xbfa\r\n\n \n\"b\nc\"\nd"[..], true);
        let mut found = Vec::new();
        while records.next().expect("reads") {
            found.push((records.line, records.text().expect("UTF-8").to_owned()));
        }
        assert_eq!(found, [(1, "a".into()), (4, "\"b\nc\"".into()), (6, "d".into())]);
        let mut records = Records::new(&b"a\n\xff"[..], false);
        assert!(records.next().expect("reads") && records.text().is_ok() && records.next().expect("reads"));
        assert_eq!(records.text(), Err("line 2: byte 1 is not UTF-8".into()));
    }

    #[test]
    fn a_record_without_end_is_refused() {
        let mut records = Records::new(BufReader::new(std::io::repeat(b'1')), false);
        let error = records.next().expect_err("endless");
        assert!(error.starts_with("line 1 goes on for more than"), "{error}");
    }

    #[test]
    fn lists_are_numbers_between_brackets() {
        let read = |text: &str| {
            let mut out = vec![7.0];
            list(text, &mut out).map(|count| (count, out))
        };
        assert_eq!(read(" [0.5, -1e-3,2 ] "), Ok((3, vec![7.0, 0.5, -1e-3, 2.0])));
        assert_eq!(read("[]"), Ok((0, vec![7.0])));
        for (text, expected) in [
            ("0.5, 1", "`0.5, 1` is not a list"),
            ("[1, 2", "`[1, 2` is not a list"),
            ("[1,,2]", "component 1 is empty, which is not a number"),
            ("[1, null]", "component 1 is `null`, which is not a number"),
            ("[[1], [2]]", "component 0 is `[1]`"),
            ("", "empty is not a list"),
        ] {
            assert!(read(text).expect_err(text).contains(expected), "{text}");
        }
    }
}
