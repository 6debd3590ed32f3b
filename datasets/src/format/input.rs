//! The bytes that a format reads: a whole file, or what is stored or packed in a part of one.
//!
//! Whatever is packed is unpacked while it is read, and never held as a whole. Going back starts again at the beginning,
//! so formats that are read from front to back cost one pass.

use super::contain::MAX_EXPANSION;
use super::unread;
use flate2::Crc;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

/// How bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// A bare stream of deflate, as in zip files.
    Deflate,
    /// One or more members of gzip.
    Gzip,
    /// One or more frames of Zstandard.
    Zstd,
}

impl Packing {
    /// Name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Packing::Plain => "plain",
            Packing::Deflate => "deflate",
            Packing::Gzip => "gzip",
            Packing::Zstd => "Zstandard",
        }
    }
}

/// Extensions of packed files, which follow the extension of their content.
pub const EXTENSIONS: [(&str, Packing); 2] = [("gz", Packing::Gzip), ("zst", Packing::Zstd)];

/// A packed file may always hold this much, because a small file of equal values shrinks by more than other content.
const SMALL_CONTENT: u64 = 64 << 20;

/// Bytes before which content can be read again, as logarithms to base 2: every reader of Zstandard has the memory for the lower
/// one, and the command `zstd` for the upper one. A file that is too small for the upper one gets less.
const WINDOWS: [u32; 2] = [23, 27];

/// Bytes just read that are kept: more than the buffer of a reader, which is dropped when the reader seeks.
const RECENT_BYTES: usize = 1 << 17;

/// The last bytes of packed content that are kept, because tables end with their table of contents.
const TAIL_BYTES: usize = 1 << 20;

/// A part of a file that a format reads as if it were a file.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub packing: Packing,
    /// Position of its first byte in the file.
    pub start: u64,
    /// Bytes in the file.
    pub stored: u64,
    /// Bytes unpacked.
    pub length: u64,
    /// CRC-32 of the unpacked bytes, if it is known.
    pub checksum: Option<u32>,
}

/// A reader of an [`Extent`].
pub struct Input {
    file: Arc<File>,
    extent: Extent,
    /// Number of unpacked bytes before the next one.
    at: u64,
    /// Of a packed extent: its unpacked bytes from some position on.
    unpacked: Option<Unpacked>,
    /// The last unpacked bytes; may be empty.
    tail: Arc<[u8]>,
    /// The checksum of the bytes read so far, as long as they are all read in order.
    read: Option<Crc>,
}

struct Unpacked {
    bytes: Box<dyn Read>,
    /// Number of bytes that were read.
    at: u64,
    /// The last of them.
    recent: Vec<u8>,
}

/// Reads a range of a file. It seeks before each read, so that several readers can share a file.
struct Range {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = clamp(buffer.len(), self.end - self.at);
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(self.at))?;
        let count = file.read(&mut buffer[..most])?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Keeps the last bytes of what is written.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * TAIL_BYTES {
            self.0.drain(..self.0.len() - TAIL_BYTES);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The smaller of a number of bytes in memory and one in a file.
fn clamp(wanted: usize, left: u64) -> usize {
    usize::try_from(left).map_or(wanted, |left| wanted.min(left))
}

impl Input {
    /// All of a file of `length` bytes.
    pub fn whole(file: File, length: u64) -> Input {
        let extent = Extent { packing: Packing::Plain, start: 0, stored: length, length, checksum: None };
        Input::new(Arc::new(file), extent)
    }

    /// The content of a packed file of `stored` bytes. Unpacks all of it once, to learn its length.
    ///
    /// # Errors
    /// Content that is damaged, or larger than such a file plausibly holds; a reason in words, without the path.
    pub fn packed(file: File, stored: u64, packing: Packing) -> Result<Input, String> {
        let extent = Extent { packing, start: 0, stored, length: 0, checksum: None };
        let mut input = Input::new(Arc::new(file), extent);
        let most = u64::try_from(u128::from(stored) * MAX_EXPANSION).unwrap_or(u64::MAX - 1).max(SMALL_CONTENT);
        let mut tail = Tail::default();
        let content = input.unpacker().map_err(unread)?;
        let length = io::copy(&mut content.take(most + 1), &mut tail).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ends early".to_owned(),
            _ => format!("it cannot be unpacked: {error}"),
        })?;
        if length > most {
            return Err(format!("its {stored} bytes unpack to more than {most}, which no file of vectors does"));
        }
        input.extent.length = length;
        input.tail = tail.0.into();
        Ok(input)
    }

    fn new(file: Arc<File>, extent: Extent) -> Input {
        let read = extent.checksum.map(|_| Crc::new());
        Input { file, extent, at: 0, unpacked: None, tail: Arc::default(), read }
    }

    /// A reader of its own of the same bytes, from their start.
    pub fn again(&self) -> Input {
        Input { tail: Arc::clone(&self.tail), ..Input::new(Arc::clone(&self.file), self.extent) }
    }

    /// A reader of a part of the same file; None if these bytes are packed themselves.
    pub fn part(&self, extent: Extent) -> Option<Input> {
        (self.extent.packing == Packing::Plain).then(|| Input::new(Arc::clone(&self.file), extent))
    }

    /// Bytes of the content.
    pub fn length(&self) -> u64 {
        self.extent.length
    }

    /// Whether going to another position may need a pass over all bytes before it.
    pub fn is_packed(&self) -> bool {
        self.extent.packing != Packing::Plain
    }

    /// Maximum number of bytes that unpacking holds.
    pub fn working_bytes(&self) -> u64 {
        match self.extent.packing {
            Packing::Plain => 0,
            Packing::Deflate | Packing::Gzip => 2 * TAIL_BYTES as u64,
            Packing::Zstd => 2 * TAIL_BYTES as u64 + (1 << self.window()),
        }
    }

    /// The largest window of Zstandard that is accepted, as a logarithm to base 2.
    fn window(&self) -> u32 {
        let content = u128::from(self.extent.stored) * MAX_EXPANSION;
        content.max(1).ilog2().clamp(WINDOWS[0], WINDOWS[1])
    }

    /// Unpacks from the start.
    fn unpacker(&self) -> io::Result<Box<dyn Read>> {
        let stored = BufReader::with_capacity(1 << 16, self.range(0));
        Ok(match self.extent.packing {
            Packing::Plain => Box::new(stored),
            Packing::Deflate => Box::new(DeflateDecoder::new(stored)),
            Packing::Gzip => Box::new(MultiGzDecoder::new(stored)),
            Packing::Zstd => {
                let mut frames = zstd::Decoder::with_buffer(stored)?;
                frames.window_log_max(self.window())?;
                Box::new(frames)
            }
        })
    }

    fn range(&self, from: u64) -> Range {
        let Extent { start, stored, .. } = self.extent;
        Range { file: Arc::clone(&self.file), at: start + from, end: start + stored }
    }

    fn read_packed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(from) = self.at.checked_sub(self.extent.length - self.tail.len() as u64) {
            return (&self.tail[from as usize..]).read(buffer);
        }
        let mut unpacked = match self.unpacked.take() {
            Some(unpacked) if unpacked.at - unpacked.recent.len() as u64 <= self.at => unpacked,
            _ => Unpacked { bytes: self.unpacker()?, at: 0, recent: Vec::new() },
        };
        if let Some(back) = unpacked.at.checked_sub(self.at).filter(|&back| back > 0) {
            let count = (&unpacked.recent[unpacked.recent.len() - back as usize..]).read(buffer)?;
            self.unpacked = Some(unpacked);
            return Ok(count);
        }
        if unpacked.at < self.at {
            let skipped = self.at - unpacked.at;
            let found = io::copy(&mut (&mut unpacked.bytes).take(skipped), &mut io::sink())?;
            if found < skipped {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            unpacked.recent.clear();
        }
        let count = unpacked.bytes.read(buffer)?;
        unpacked.at = self.at + count as u64;
        unpacked.recent.extend_from_slice(&buffer[..count]);
        if unpacked.recent.len() > 2 * RECENT_BYTES {
            unpacked.recent.drain(..unpacked.recent.len() - RECENT_BYTES);
        }
        self.unpacked = Some(unpacked);
        Ok(count)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = clamp(buffer.len(), self.extent.length.saturating_sub(self.at));
        if most == 0 {
            return Ok(0);
        }
        let buffer = &mut buffer[..most];
        let count = if self.is_packed() { self.read_packed(buffer)? } else { self.range(self.at).read(buffer)? };
        if let Some(read) = &mut self.read {
            read.update(&buffer[..count]);
        }
        self.at += count as u64;
        if self.at == self.extent.length
            && let (Some(read), Some(expected)) = (&self.read, self.extent.checksum)
            && read.sum() != expected
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its values do not have the checksum that it states",
            ));
        }
        Ok(count)
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.extent.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        let at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a position before the start"))?;
        if at != self.at {
            self.at = at;
            // A second pass from the start is checked again.
            self.read = self.extent.checksum.filter(|_| at == 0).map(|_| Crc::new());
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::path::Path;

    /// Numbers that shrink little.
    fn content(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| draw()).collect()
    }

    fn gzip(path: &Path, content: &[u8]) -> Input {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(content).expect("memory");
        let packed = out.finish().expect("memory");
        std::fs::write(path, &packed).expect("writes");
        Input::packed(File::open(path).expect("opens"), packed.len() as u64, Packing::Gzip).expect("unpacks")
    }

    #[test]
    fn small_steps_back_and_the_tail_need_no_second_pass() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, content) = (folder.path().join("x.gz"), content(5 << 20));
        let mut reader = BufReader::with_capacity(1 << 16, gzip(&path, &content));
        let mut read = |at: u64, length: usize| {
            let mut bytes = vec![0; length];
            reader.seek(SeekFrom::Start(at)).and_then(|_| reader.read_exact(&mut bytes)).map(|()| bytes)
        };
        let expected = |at: usize, length: usize| content[at..at + length].to_vec();
        assert_eq!(read(1 << 20, 100).expect("reads"), expected(1 << 20, 100));
        // From here on, starting again at the beginning fails.
        let mut file = File::options().write(true).open(&path).expect("opens");
        file.write_all(&[0; 10]).expect("writes");
        for (at, length) in [((1 << 20) + 50, 3), ((1 << 20) + 100, 70_000), ((1 << 20) + 120, 9), (2 << 20, 200_000)] {
            assert_eq!(read(at, length).expect("reads"), expected(at as usize, length), "{length} from {at}");
        }
        assert_eq!(read((5 << 20) - 8, 8).expect("reads"), expected((5 << 20) - 8, 8), "the tail");
        assert_eq!(read((2 << 20) + 200_000, 5).expect("reads"), expected((2 << 20) + 200_000, 5), "after the tail");
        assert_eq!(read(0, 1).expect_err("the start").kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn every_position_is_reached_in_any_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let content = content(3 << 20);
        let mut input = gzip(&folder.path().join("x.gz"), &content);
        assert_eq!(input.length(), content.len() as u64);
        for at in [2_900_000, 0, 1_000_000, 999_999, 500_000, 3_145_727, 700_000, 2_097_152, 2_097_151] {
            let mut byte = [0];
            input.seek(SeekFrom::Start(at)).and_then(|_| input.read_exact(&mut byte)).expect("reads");
            assert_eq!(byte[0], content[at as usize], "byte {at}");
        }
        assert_eq!(input.seek(SeekFrom::End(4)).and_then(|_| input.read(&mut [0])).expect("past the end"), 0);
        assert!(input.seek(SeekFrom::End(-(4 << 20))).is_err());
    }
}
