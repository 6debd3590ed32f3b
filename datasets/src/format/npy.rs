//! NumPy's `.npy`: two-dimensional float16, float32, float64 or 8/16/32/64-bit integers, C or Fortran order.

use super::number::{ContiguousRows, Number, NumberType, array_bytes};
use super::{FileLayout, Format, OpenFile, OutputType, RowReader, ids, labels, quote, unread};
use ndarray::Array2;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use std::io::{Read, Seek, SeekFrom};

pub struct Npy;

/// The first bytes of a file.
const MAGIC: &[u8] = b"\x93NUMPY";

/// Most bytes of the text of a header, as NumPy limits it.
const MAX_HEADER_BYTES: usize = 10_000;

/// Most brackets within each other in a header. The parser of Python literals takes twice as long for each, and arrays of
/// numbers need two.
const MAX_DEPTH: usize = 8;

/// Most bytes of a header times two to the power of its depth: far more than structured arrays need.
const MAX_EFFORT: usize = 1 << 17;

/// Refuses header text that the parser would take too long for.
///
/// # Errors
/// Brackets that are nested too deep; more than one brace, of which a header is made; strings in three quotes, in which
/// brackets would be taken for others.
fn check_nesting(text: &[u8]) -> Result<(), String> {
    let (mut depth, mut deepest, mut braces) = (0usize, 0, 0);
    let mut quote = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(_), b'\\') => {
                bytes.next();
            }
            (Some(open), _) => quote = quote.filter(|_| byte != open),
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'(' | b'[' | b'{') => {
                depth += 1;
                braces += usize::from(byte == b'{');
            }
            (None, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(format!("its brackets nest more than {MAX_DEPTH} levels deep"));
        }
        deepest = deepest.max(depth);
    }
    if text.len() << deepest > MAX_EFFORT {
        return Err(format!("its {} bytes nest {deepest} levels deep, too many to be parsed", text.len()));
    }
    if braces > 1 || ["'''", "\"\"\""].iter().any(|quotes| text.windows(3).any(|found| found == quotes.as_bytes())) {
        return Err("it should be one dictionary of Python with `descr`, `fortran_order` and `shape`".to_owned());
    }
    Ok(())
}

/// The header as it is in the file. Its text is checked before it is parsed.
fn header_bytes(file: &mut OpenFile) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; MAGIC.len() + 2];
    file.reader.read_exact(&mut bytes).map_err(unread)?;
    if !bytes.starts_with(MAGIC) {
        return Err("it does not begin as a .npy file does".to_owned());
    }
    // The length of the text has two bytes in version 1, and four in later ones.
    let mut length = [0; 4];
    let width = if bytes[MAGIC.len()] == 1 { 2 } else { 4 };
    file.reader.read_exact(&mut length[..width]).map_err(unread)?;
    bytes.extend_from_slice(&length[..width]);
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER_BYTES {
        return Err(format!("its text should be {length} bytes long; {MAX_HEADER_BYTES} is the limit"));
    }
    let before = bytes.len();
    bytes.resize(before + length, 0);
    file.reader.read_exact(&mut bytes[before..]).map_err(unread)?;
    check_nesting(&bytes[before..])?;
    Ok(bytes)
}

/// Reads the header and checks that the file holds as many values as it states.
fn header(file: &mut OpenFile) -> Result<NpyHeader, String> {
    let parse = |bytes: Vec<u8>| {
        NpyHeader::from_reader(&bytes[..])
            .map_err(|e| e.to_string().lines().next().unwrap_or("unreadable").trim().to_owned())
    };
    let header = header_bytes(file).and_then(parse).map_err(|reason| format!("bad header: {reason}"))?;
    let item = header.dtype().num_bytes().filter(|&size| size > 0).ok_or("its values have no fixed size")?;
    let needed = array_bytes(header.shape(), item).ok_or("its shape overflows")?;
    let present = file.length.saturating_sub(file.reader.stream_position().map_err(|e| e.to_string())?);
    if needed > present {
        return Err(format!("its header states {needed} bytes of values, {present} follow it"));
    }
    Ok(header)
}

fn shape_of(header: &NpyHeader) -> Result<(usize, usize), String> {
    match header.shape() {
        &[n, dim] => Ok((n as usize, dim as usize)),
        other => Err(format!("vectors need a two-dimensional array, this one has shape {}", quote::shape(other))),
    }
}

/// The shape and the type of the values.
///
/// # Errors
/// A malformed header, without the path.
pub fn describe(file: &mut OpenFile) -> Result<(Vec<u64>, String), String> {
    let header = header(file)?;
    Ok((header.shape().to_vec(), header.dtype().descr().trim_matches('\'').to_owned()))
}

impl Format for Npy {
    fn name(&self) -> &'static str {
        "npy"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npy"]
    }

    fn recognizes(&self, head: &[u8], _: u64) -> bool {
        head.starts_with(MAGIC)
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        shape_of(&header(file)?)
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        let header = header(&mut file)?;
        let shape = shape_of(&header)?;
        let number = number(&header).ok_or_else(|| {
            let found = quote::name(&header.dtype().descr());
            format!("values of type {found} cannot be vectors; use float16, float32, float64 or integers")
        })?;
        if header.order() == Order::Fortran {
            let start = file.reader.stream_position().map_err(|e| e.to_string())?;
            return Ok(Box::new(FortranReader {
                file,
                number,
                shape,
                start,
                next: 0,
                buffer: Vec::new(),
                held: Vec::new(),
            }));
        }
        Ok(ContiguousRows::boxed(file, number, shape))
    }

    fn labels(&self, mut file: OpenFile) -> Result<Vec<u32>, String> {
        let header = header(&mut file)?;
        let &[n] = header.shape() else {
            return Err(format!(
                "labels need a one-dimensional array, this one has shape {}",
                quote::shape(header.shape())
            ));
        };
        let number = number(&header).filter(|number| number.kind.is_integer());
        let number = number.ok_or_else(|| {
            format!("values of type {} cannot be labels; use integers", quote::name(&header.dtype().descr()))
        })?;
        labels::read(&mut file, number, n as usize)
    }

    fn ids(&self, mut file: OpenFile) -> Result<Array2<u32>, String> {
        let header = header(&mut file)?;
        let (n, k) = shape_of(&header)?;
        let number = number(&header).ok_or_else(|| {
            format!("values of type {} cannot be row numbers; use integers", quote::name(&header.dtype().descr()))
        })?;
        if header.order() == Order::Fortran {
            return Ok(ids::read(&mut file, number, (k, n))?.reversed_axes().as_standard_layout().into_owned());
        }
        ids::read(&mut file, number, (n, k))
    }

    fn layout(&self, values: OutputType, (n, dim): (usize, usize)) -> Option<Result<FileLayout, String>> {
        let descr = match values {
            OutputType::F32 => "<f4",
            OutputType::U8 => "|u1",
        };
        // The header of version 1.0, filled up with spaces so that values begin at a multiple of 64 bytes.
        let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({n}, {dim}), }}");
        let length = (10 + dict.len() + 1).next_multiple_of(64) - 10;
        let text = format!("{dict:<width$}\n", width = length - 1);
        let head = [MAGIC, &[1, 0], &(length as u16).to_le_bytes(), text.as_bytes()].concat();
        Some(Ok(FileLayout { head, ..FileLayout::default() }))
    }
}

/// The type of the values; None if vectors cannot have it.
fn number(header: &NpyHeader) -> Option<Number> {
    let DType::Plain(ty) = header.dtype() else { return None };
    let kind = match (ty.type_char(), ty.size_field()) {
        (TypeChar::Float, 2) => NumberType::F16,
        (TypeChar::Float, 4) => NumberType::F32,
        (TypeChar::Float, 8) => NumberType::F64,
        (TypeChar::Uint, 1) => NumberType::U8,
        (TypeChar::Int, 1) => NumberType::I8,
        (TypeChar::Uint, 2) => NumberType::U16,
        (TypeChar::Int, 2) => NumberType::I16,
        (TypeChar::Uint, 4) => NumberType::U32,
        (TypeChar::Int, 4) => NumberType::I32,
        (TypeChar::Uint, 8) => NumberType::U64,
        (TypeChar::Int, 8) => NumberType::I64,
        _ => return None,
    };
    Some(Number { kind, big_endian: ty.endianness() == Endianness::Big })
}

/// Reader of Fortran order, which stores one column after another. A block of rows is a piece of each column. In packed
/// files each block would be a pass over all of the file, so that all rows are read at once.
struct FortranReader {
    file: OpenFile,
    number: Number,
    shape: (usize, usize),
    /// Where the values begin.
    start: u64,
    next: usize,
    buffer: Vec<u8>,
    /// All rows of a packed file, once some are requested; else empty.
    held: Vec<f32>,
}

/// Most values of a packed file that are held.
const MAX_HELD: usize = 1 << 24;

/// Rows read at a time: pieces of columns that are long enough to read efficiently, and few enough to assemble in the
/// cache.
const ROWS_PER_PIECE: usize = 4096;

impl RowReader for FortranReader {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let (n, dim) = self.shape;
        if dim == 0 {
            return Ok(());
        }
        if !self.is_packed() || count == n {
            return self.read(count, out);
        }
        if self.held.is_empty() {
            self.check_held()?;
            let mut held = Vec::with_capacity(n * dim);
            self.read(n, &mut held)?;
            (self.held, self.next) = (held, 0);
        }
        let rows = self.held.get(self.next * dim..(self.next + count) * dim).ok_or("it ends early")?;
        out.extend_from_slice(rows);
        self.next += count;
        Ok(())
    }

    fn working_bytes(&mut self) -> Result<u64, String> {
        let (n, dim) = self.shape;
        if !self.is_packed() {
            let rows = ROWS_PER_PIECE.min(n);
            return Ok((rows * self.number.bytes()) as u64);
        }
        self.check_held()?;
        Ok(n.saturating_mul(dim * size_of::<f32>() + self.number.bytes()) as u64)
    }
}

impl FortranReader {
    fn is_packed(&self) -> bool {
        self.file.reader.get_ref().is_packed()
    }

    /// Refuses a packed file with more values than are held.
    fn check_held(&self) -> Result<(), String> {
        let (n, dim) = self.shape;
        if n * dim <= MAX_HELD {
            return Ok(());
        }
        Err(format!(
            "its {n} rows of {dim} components are packed in Fortran order, which cannot be read in blocks; save it in C \
             order (numpy.ascontiguousarray) or unpack it"
        ))
    }

    /// Reads the next rows, piece by piece. Of a packed file, all rows are one piece.
    fn read(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let (n, dim) = self.shape;
        let item = self.number.bytes();
        let at_once = if self.is_packed() { count } else { ROWS_PER_PIECE };
        let mut left = count;
        while left > 0 {
            let rows = left.min(at_once);
            let begin = out.len();
            out.resize(begin + rows * dim, 0.0);
            self.buffer.resize(rows * item, 0);
            // Bypasses the buffer of the reader, which would be refilled for every piece.
            let file = self.file.reader.get_mut();
            for column in 0..dim {
                let at = self.start + ((column * n + self.next) * item) as u64;
                file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
                file.read_exact(&mut self.buffer).map_err(unread)?;
                self.number.fill(&self.buffer, out[begin + column..].iter_mut().step_by(dim));
            }
            self.next += rows;
            left -= rows;
        }
        Ok(())
    }
}
