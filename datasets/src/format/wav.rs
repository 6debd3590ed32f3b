//! Sound in WAV files: PCM of 8, 16, 24 or 32 bits, and 32-bit floats, mixed down to one channel.

use super::{OpenFile, read_exact};
use std::io::{Seek, SeekFrom};

/// Extension of these files.
pub const EXTENSION: &str = "wav";

/// Bytes that are decoded at a time.
const BUFFER_BYTES: usize = 1 << 16;

/// Most channels of a file.
const MOST_CHANNELS: usize = 64;

/// Samples per second that are plausible.
const RATES: std::ops::RangeInclusive<u32> = 100..=1_000_000;

/// How a sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sample {
    U8,
    I16,
    I24,
    I32,
    F32,
}

impl Sample {
    fn bytes(self) -> usize {
        match self {
            Sample::U8 => 1,
            Sample::I16 => 2,
            Sample::I24 => 3,
            Sample::I32 | Sample::F32 => 4,
        }
    }

    /// Between -1 and 1; floats may lie beyond.
    fn value(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Sample::U8, &[a]) => (f32::from(a) - 128.0) / 128.0,
            (Sample::I16, &[a, b]) => f32::from(i16::from_le_bytes([a, b])) / 32_768.0,
            (Sample::I24, &[a, b, c]) => (i32::from_le_bytes([0, a, b, c]) >> 8) as f32 / 8_388_608.0,
            (Sample::I32, &[a, b, c, d]) => (f64::from(i32::from_le_bytes([a, b, c, d])) / 2_147_483_648.0) as f32,
            (Sample::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            _ => 0.0,
        }
    }
}

/// What the header of a file states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Samples per second and channel.
    pub rate: u32,
    /// Samples of one channel.
    pub samples: usize,
    channels: usize,
    kind: Sample,
    /// Position of the first sample in the file.
    start: u64,
}

/// Reads the header and checks it against the file.
///
/// # Errors
/// A reason in words, without the path.
pub fn header(file: &mut OpenFile) -> Result<Header, String> {
    file.reader.rewind().map_err(|e| e.to_string())?;
    let mut head = [0; 12];
    read_exact(file, &mut head)?;
    match (&head[..4], &head[8..]) {
        (b"RIFF", b"WAVE") => {}
        (b"RF64" | b"BW64", _) => return Err("it is an RF64 file, which is not read; save it as WAV".to_owned()),
        _ => return Err("it does not begin as a WAV file does".to_owned()),
    }
    let mut at = 12u64;
    let mut format: Option<(u32, usize, Sample)> = None;
    loop {
        let mut chunk = [0; 8];
        if at + 8 > file.length {
            return Err("it holds no sound".to_owned());
        }
        file.reader.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
        read_exact(file, &mut chunk)?;
        let length = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
        let start = at + 8;
        let left = file.length - start;
        match &chunk[..4] {
            b"fmt " => format = Some(read_format(file, u64::from(length).min(left))?),
            b"data" => {
                let (rate, channels, kind) = format.ok_or("its sound stands before its description")?;
                if u64::from(length) > left {
                    return Err(format!("it ends early: its header states {length} bytes of sound, {left} follow"));
                }
                let block = channels * kind.bytes();
                let samples = length as usize / block;
                if samples * block != length as usize {
                    return Err(format!("its {length} bytes of sound are not whole samples of {block} bytes"));
                }
                return Ok(Header { rate, samples, channels, kind, start });
            }
            _ => {}
        }
        at = start + u64::from(length) + u64::from(length % 2);
    }
}

/// The chunk that describes the samples: rate, channels and kind.
fn read_format(file: &mut OpenFile, length: u64) -> Result<(u32, usize, Sample), String> {
    /// Tags of the kinds, and the one that says that the kind stands further behind.
    const PCM: u16 = 1;
    const FLOAT: u16 = 3;
    const EXTENSIBLE: u16 = 0xfffe;
    let mut bytes = [0; 26];
    let held = (length as usize).min(bytes.len());
    if held < 16 {
        return Err("the description of its samples is too short".to_owned());
    }
    read_exact(file, &mut bytes[..held])?;
    let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let rate = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    let (channels, block, bits) = (usize::from(short(2)), usize::from(short(12)), short(14));
    let tag = if short(0) == EXTENSIBLE && held == bytes.len() { short(24) } else { short(0) };
    let kind = match (tag, bits) {
        (PCM, 8) => Sample::U8,
        (PCM, 16) => Sample::I16,
        (PCM, 24) => Sample::I24,
        (PCM, 32) => Sample::I32,
        (FLOAT, 32) => Sample::F32,
        (PCM | FLOAT, bits) => return Err(format!("its samples have {bits} bits; save it with 16 bits")),
        (tag, _) => return Err(format!("its sound is compressed (format {tag}); save it as PCM with 16 bits")),
    };
    if !(1..=MOST_CHANNELS).contains(&channels) {
        return Err(format!("its header states {channels} channels"));
    }
    if !RATES.contains(&rate) {
        return Err(format!("its header states {rate} samples per second"));
    }
    if block != channels * kind.bytes() {
        return Err(format!("its header states {block} bytes for {channels} samples of {bits} bits"));
    }
    Ok((rate, channels, kind))
}

/// All samples: the mean over channels.
///
/// # Errors
/// Content that ends early, samples that are not finite.
pub fn mono(file: &mut OpenFile, header: &Header) -> Result<Vec<f32>, String> {
    let Header { samples, channels, kind, start, .. } = *header;
    file.reader.seek(SeekFrom::Start(start)).map_err(|e| e.to_string())?;
    let block = channels * kind.bytes();
    let mut out = Vec::with_capacity(samples);
    let mut buffer = vec![0; BUFFER_BYTES / block * block];
    while out.len() < samples {
        let bytes = buffer.len().min((samples - out.len()) * block);
        read_exact(file, &mut buffer[..bytes])?;
        for block in buffer[..bytes].chunks_exact(block) {
            let sum: f32 = block.chunks_exact(kind.bytes()).map(|sample| kind.value(sample)).sum();
            if !sum.is_finite() {
                return Err(format!("sample {} is not finite", out.len()));
            }
            out.push(sum / channels as f32);
        }
    }
    Ok(out)
}
