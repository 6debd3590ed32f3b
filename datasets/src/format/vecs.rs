//! TEXMEX `.fvecs`, `.bvecs`, `.ivecs`: each row is its dimension (i32, little-endian) and that many values.

use super::number::{BUFFER_BYTES, Number, NumberType};
use super::{FileLayout, Format, OpenFile, OutputType, RowReader, ids, pass_over, read_apart, read_exact};
use ndarray::Array2;

pub struct Vecs {
    name: &'static str,
    extensions: &'static [&'static str],
    number: Number,
}

const fn vecs(name: &'static str, extensions: &'static [&'static str], kind: NumberType) -> Vecs {
    Vecs { name, extensions, number: Number::little_endian(kind) }
}

pub const FVECS: Vecs = vecs("fvecs", &["fvecs"], NumberType::F32);
pub const BVECS: Vecs = vecs("bvecs", &["bvecs"], NumberType::U8);
pub const IVECS: Vecs = vecs("ivecs", &["ivecs"], NumberType::I32);

/// Bytes of the dimension before each row.
const HEAD: usize = 4;

impl Vecs {
    fn dimension(head: [u8; HEAD]) -> Result<usize, String> {
        let dim = i32::from_le_bytes(head);
        usize::try_from(dim).ok().filter(|&d| d > 0).ok_or_else(|| format!("a row claims {dim} components"))
    }

    fn walker(&self, mut file: OpenFile) -> Result<Walker, String> {
        use std::io::Seek;
        let shape = self.shape(&mut file)?;
        file.reader.rewind().map_err(|e| e.to_string())?;
        Ok(Walker { file, number: self.number, shape, next: 0, buffer: Vec::new(), apart: false })
    }
}

impl Format for Vecs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn extensions(&self) -> &'static [&'static str] {
        self.extensions
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        let mut head = [0; HEAD];
        read_exact(file, &mut head)?;
        let dim = Self::dimension(head)?;
        let row_bytes = (HEAD + dim * self.number.bytes()) as u64;
        if !file.length.is_multiple_of(row_bytes) {
            return Err(format!(
                "{} bytes are not a multiple of a row of {dim} components ({row_bytes} bytes each)",
                file.length
            ));
        }
        Ok(((file.length / row_bytes) as usize, dim))
    }

    fn rows(&self, file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        Ok(Box::new(self.walker(file)?))
    }

    fn ids(&self, file: OpenFile) -> Result<Array2<u32>, String> {
        if self.number.kind != NumberType::I32 {
            return ids::of_rows(&mut self.walker(file)?);
        }
        let mut rows = self.walker(file)?;
        let shape = rows.shape;
        let mut ids: Vec<i32> = Vec::with_capacity(shape.0 * shape.1);
        rows.each(shape.0, |values| ids.extend(values.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes))))?;
        if let Some(at) = ids.iter().position(|id| *id < 0) {
            return Err(format!("row {} holds {}, which is not a row number", at / shape.1, ids[at]));
        }
        Array2::from_shape_vec(shape, ids.into_iter().map(i32::cast_unsigned).collect()).map_err(|e| e.to_string())
    }

    fn layout(&self, values: OutputType, (_, dim): (usize, usize)) -> Option<Result<FileLayout, String>> {
        (values.kind() == self.number.kind).then(|| match i32::try_from(dim) {
            Ok(dim) => Ok(FileLayout { row_head: dim.to_le_bytes().to_vec(), ..FileLayout::default() }),
            Err(_) => Err(format!("rows of a {} file have fewer than 2^31 components", self.name)),
        })
    }
}

/// Reads rows, all of which must have the dimension of the first.
struct Walker {
    file: OpenFile,
    number: Number,
    shape: (usize, usize),
    next: usize,
    buffer: Vec<u8>,
    /// Whether rows were passed over.
    apart: bool,
}

impl Walker {
    /// Passes on the bytes of the values of each of the next rows.
    fn each(&mut self, count: usize, mut take: impl FnMut(&[u8])) -> Result<(), String> {
        let dim = self.shape.1;
        let row_bytes = HEAD + dim * self.number.bytes();
        let at_once = (BUFFER_BYTES / row_bytes).clamp(1, count.max(1));
        self.buffer.resize(at_once * row_bytes, 0);
        let mut left = count;
        while left > 0 {
            let rows = left.min(at_once);
            let read = if self.apart { read_apart } else { read_exact };
            read(&mut self.file, &mut self.buffer[..rows * row_bytes])?;
            for row in self.buffer[..rows * row_bytes].chunks_exact(row_bytes) {
                let (head, values) = row.split_first_chunk().ok_or("it ends early")?;
                let found = Vecs::dimension(*head)?;
                if found != dim {
                    return Err(format!("row {} has {found} components, row 0 has {dim}", self.next));
                }
                take(values);
                self.next += 1;
            }
            left -= rows;
        }
        Ok(())
    }
}

impl RowReader for Walker {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let number = self.number;
        self.each(count, |values| number.append(values, out))
    }

    fn skip(&mut self, count: usize) -> Result<bool, String> {
        let row_bytes = (HEAD + self.shape.1 * self.number.bytes()) as u64;
        self.apart |= pass_over(&mut self.file, row_bytes.saturating_mul(count as u64))?;
        self.next += if self.apart { count } else { 0 };
        Ok(self.apart)
    }

    fn working_bytes(&mut self) -> Result<u64, String> {
        Ok(BUFFER_BYTES.max(HEAD + self.shape.1 * self.number.bytes()) as u64)
    }
}
