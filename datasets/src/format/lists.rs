//! Collects rows that are stored as lists, and checks that all are as long as the first.

/// Rows that are complete and not yet used, and the row being read.
#[derive(Default)]
pub struct Gathered {
    values: Vec<f32>,
    /// Number of values at the front of `values` that were used.
    used: usize,
    /// Number of complete rows so far.
    finished: usize,
    /// Number of rows used so far.
    taken: usize,
    /// Length of row 0.
    dim: Option<usize>,
    /// Length so far of the row being read.
    current: Option<usize>,
}

impl Gathered {
    /// Number of rows that are complete and not yet used.
    pub fn ready(&self) -> usize {
        self.finished - self.taken
    }

    /// Number of complete rows so far.
    pub fn finished(&self) -> usize {
        self.finished
    }

    /// Ends the row being read, if there is one.
    ///
    /// # Errors
    /// A row that is not as long as the first.
    pub fn finish_row(&mut self) -> Result<(), String> {
        let Some(length) = self.current.take() else { return Ok(()) };
        let dim = *self.dim.get_or_insert(length);
        if length != dim {
            return Err(format!("row {} has {length} components, row 0 has {dim}", self.finished));
        }
        self.finished += 1;
        Ok(())
    }

    /// Counts one value, or a missing value. `starts` says whether it begins a row.
    ///
    /// # Errors
    /// A missing value; a row that is not as long as the first.
    pub fn value(&mut self, starts: bool, present: bool) -> Result<(), String> {
        if starts {
            self.finish_row()?;
            self.current = Some(0);
        }
        let row = self.finished;
        if !present {
            return Err(absent(row));
        }
        *self.current.as_mut().ok_or_else(|| format!("row {row} begins in its middle"))? += 1;
        Ok(())
    }

    /// The buffer for the values that [`Gathered::value`] counts.
    pub fn values(&mut self) -> &mut Vec<f32> {
        if self.used > 0 {
            self.values.drain(..self.used);
            self.used = 0;
        }
        &mut self.values
    }

    /// Appends the next rows, at most `count`, to `out`. Returns their number.
    ///
    /// # Errors
    /// Rows that are not of `dim` components.
    pub fn take(&mut self, count: usize, dim: usize, out: &mut Vec<f32>) -> Result<usize, String> {
        let count = count.min(self.ready());
        if count == 0 {
            return Ok(0);
        }
        if let Some(found) = self.dim.filter(|found| *found != dim) {
            return Err(format!("row 0 has {found} components, its header states {dim}"));
        }
        let end = self.used + count * dim;
        let rows = self.values.get(self.used..end).ok_or("it holds fewer values than its rows need")?;
        out.extend_from_slice(rows);
        self.used = end;
        self.taken += count;
        Ok(count)
    }

    /// Drops the values of all rows, for a pass that only checks them.
    pub fn forget(&mut self) {
        self.values.clear();
        self.used = 0;
    }
}

/// The message about a row with missing values.
pub fn absent(row: usize) -> String {
    format!("row {row} is null, empty, or holds a null; drop it or fill it")
}
