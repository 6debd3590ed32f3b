//! Rows whose components are columns of a Parquet file.

use super::super::contain::contained;
use super::super::{OpenFile, RowReader};
use super::ColumnLayout;
use super::pages::Pages;

/// Bytes that are buffered per column. Pages are much larger and bypass the buffer.
const BUFFER_BYTES: usize = 1 << 12;

/// Reads the same rows of all columns.
pub(super) struct Components {
    columns: Vec<Pages>,
    rows: usize,
    /// Values of one column.
    values: Vec<f32>,
}

impl Components {
    /// Checks that each column has a value for each row.
    ///
    /// # Errors
    /// A reason in words, without the path.
    pub(super) fn new(file: &OpenFile, columns: Vec<ColumnLayout>) -> Result<Components, String> {
        if file.reader.get_ref().is_packed() {
            return Err(
                "its columns lie apart, so that reading rows goes back and forth in the packed file; unpack it first"
                    .to_owned(),
            );
        }
        let rows = columns.first().map_or(0, |column| column.rows);
        if let Some(column) = columns.iter().find(|column| column.values != rows || column.rows != rows) {
            return Err(format!("its column `{}` states {} values for {rows} rows", column.name, column.values));
        }
        let columns = columns.into_iter().map(|column| Pages::new(file.buffered(BUFFER_BYTES), column)).collect();
        Ok(Components { columns, rows, values: Vec::new() })
    }
}

impl RowReader for Components {
    fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns.len())
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let (begin, dim) = (out.len(), self.columns.len());
        out.resize(begin + count * dim, 0.0);
        for (j, column) in self.columns.iter_mut().enumerate() {
            self.values.clear();
            let read = column.append(count, &mut self.values);
            read.map_err(|reason| format!("in its column `{}`: {reason}", column.header.name))?;
            let places = out[begin + j..].iter_mut().step_by(dim);
            places.zip(&self.values).for_each(|(place, value)| *place = *value);
        }
        Ok(())
    }

    fn working_bytes(&mut self) -> Result<u64, String> {
        contained(|| {
            let (mut largest, mut held) = (0, 0);
            for column in &mut self.columns {
                let (all, kept) = column.largest_page()?;
                largest = largest.max(all);
                held += kept + BUFFER_BYTES as u64;
            }
            Ok(largest + held)
        })
    }
}
