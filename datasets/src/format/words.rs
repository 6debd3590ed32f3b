//! Word vectors as text, as GloVe, word2vec and fastText write them: each line is a word and the components of its vector,
//! separated by spaces or tabs. Lines of numbers alone, as `numpy.savetxt` writes them, are rows too.
//!
//! A first line of two whole numbers before a longer line is the header of word2vec: the numbers of words and of components,
//! which must be those of the lines. Some words contain spaces, so the components are the last fields of a line.

use super::input::Input;
use super::number::BUFFER_BYTES;
use super::quote::shown;
use super::text::{Records, count, number, start};
use super::{Format, OpenFile, RowReader};
use std::io::{BufReader, Seek};

/// A quote is a word like any other.
const QUOTES: bool = false;

pub struct Words;

fn fields(text: &str) -> Vec<&str> {
    text.split([' ', '\t']).filter(|field| !field.is_empty()).collect()
}

/// The structure of the file, from its first lines.
struct Layout {
    /// The number of words that the first line states, if it is a header.
    header: Option<u64>,
    /// Whether lines begin with a word.
    words: bool,
    dim: usize,
}

fn layout(file: &mut OpenFile) -> Result<Layout, String> {
    let mut records = start(file, QUOTES)?;
    if !records.next()? {
        return Err("it holds no lines".to_owned());
    }
    let first: Vec<String> = fields(records.text()?).into_iter().map(str::to_owned).collect();
    let whole = |field: &String| field.parse::<u64>().ok();
    let header = match &first[..] {
        [n, dim] => whole(n).zip(whole(dim)),
        _ => None,
    };
    if let Some((words, dim)) = header
        && records.next()?
    {
        let row = fields(records.text()?);
        if row.len() > 2 {
            let found = row.len() - 1;
            let dim = usize::try_from(dim).ok().filter(|&dim| 0 < dim && dim <= found);
            // What a word with spaces continues with, if the header is right.
            let between = dim.map_or(&row[..0], |dim| &row[1..row.len() - dim]);
            let numbers = !between.is_empty() && between.iter().all(|field| number(field).is_some());
            return match dim.filter(|_| !numbers) {
                Some(dim) => Ok(Layout { header: Some(words), words: true, dim }),
                None => Err(records.wrong(&format!(
                    "it has {found} fields after its word; the header states {} components",
                    first[1]
                ))),
            };
        }
    }
    if let Some(separator) = first.iter().find_map(|field| separator_after_number(field)) {
        let (called, instead) = match separator {
            ',' => ("commas", "name it .csv"),
            _ => ("semicolons", "separate them by spaces"),
        };
        return Err(format!("line 1: its numbers are separated by {called}; {instead}"));
    }
    let numbers = first.iter().rev().take_while(|field| number(field).is_some()).count();
    let words = numbers < first.len();
    if numbers == 0 {
        return Err(
            records.wrong(&format!("it ends with {}, which is not a number", shown(first.last().map_or("", |f| f))))
        );
    }
    Ok(Layout { header: None, words, dim: numbers })
}

/// The comma or semicolon that follows a number, so that it separates numbers.
fn separator_after_number(field: &str) -> Option<char> {
    let separator = field.chars().next_back().filter(|last| [',', ';'].contains(last))?;
    number(&field[..field.len() - 1]).map(|_| separator)
}

/// The structure of a file, its number of rows, and the length of its longest line in bytes.
///
/// # Errors
/// A header that states another number of rows.
fn measured(file: &mut OpenFile) -> Result<(Layout, usize, usize), String> {
    let layout = layout(file)?;
    let (records, longest) = count(file, QUOTES)?;
    let rows = records - usize::from(layout.header.is_some());
    match layout.header {
        Some(stated) if stated != rows as u64 => {
            Err(format!("its header states {stated} words, {rows} follow; it may be cut off"))
        }
        _ => Ok((layout, rows, longest)),
    }
}

/// Reads the lines in order.
struct WordRows {
    records: Records<BufReader<Input>>,
    layout: Layout,
    rows: usize,
    longest: usize,
}

impl WordRows {
    fn row(&mut self, out: &mut Vec<f32>) -> Result<(), String> {
        if !self.records.next()? {
            return Err("it ends early".to_owned());
        }
        let Layout { words, dim, .. } = self.layout;
        let row = fields(self.records.text()?);
        let skipped = row.len().checked_sub(dim).filter(|&skipped| if words { skipped > 0 } else { skipped == 0 });
        let Some(skipped) = skipped else {
            let word = if words { "a word and " } else { "" };
            return Err(self
                .records
                .wrong(&format!("it has {} fields; the first row has {word}{dim} components", row.len())));
        };
        for (j, field) in row[skipped..].iter().enumerate() {
            let not = || self.records.wrong(&format!("component {j} is {}, which is not a number", shown(field)));
            out.push(number(field).ok_or_else(not)?);
        }
        Ok(())
    }
}

impl RowReader for WordRows {
    fn shape(&self) -> (usize, usize) {
        (self.rows, self.layout.dim)
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        (0..count).try_for_each(|_| self.row(out))
    }

    fn working_bytes(&mut self) -> Result<u64, String> {
        let fields = (self.layout.dim + 2) * size_of::<&str>();
        Ok((BUFFER_BYTES + 3 * self.longest + 2 * fields) as u64)
    }
}

impl Format for Words {
    fn name(&self) -> &'static str {
        "text"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["txt", "vec"]
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        measured(file).map(|(layout, rows, _)| (rows, layout.dim))
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        let (layout, rows, longest) = measured(&mut file)?;
        file.reader.rewind().map_err(|e| e.to_string())?;
        let mut records = Records::new(file.reader, QUOTES);
        if layout.header.is_some() {
            records.next()?;
        }
        Ok(Box::new(WordRows { records, layout, rows, longest }))
    }
}
