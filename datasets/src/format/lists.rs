//! Rows that come as lists, of which each must be as long as the first: checked as they pass, and handed out in order.

/// Rows gathered and not yet taken.
#[derive(Default)]
pub struct Gathered {
    values: Vec<f32>,
    /// Values already taken, at the front of `values`.
    used: usize,
    /// Rows of the file that are complete.
    finished: usize,
    /// Rows taken.
    taken: usize,
    /// Length of the first row.
    dim: Option<usize>,
    /// Length of the row being gathered.
    current: Option<usize>,
}

impl Gathered {
    /// Rows that are complete and not yet taken.
    pub fn ready(&self) -> usize {
        self.finished - self.taken
    }

    /// Rows that are complete, in all.
    pub fn finished(&self) -> usize {
        self.finished
    }

    /// Ends the row being gathered, if there is one.
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

    /// Takes note of one value, or of the absence of one. `starts` says that it opens a row.
    ///
    /// # Errors
    /// An absent value, a row that is not as long as the first.
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

    /// Where the values go that [`Gathered::value`] was told of.
    pub fn values(&mut self) -> &mut Vec<f32> {
        if self.used > 0 {
            self.values.drain(..self.used);
            self.used = 0;
        }
        &mut self.values
    }

    /// Moves the next rows, at most `count`, to the end of `out`; tells how many.
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

    /// Forgets the values of all rows, for a pass that only checks them.
    pub fn forget(&mut self) {
        self.values.clear();
        self.used = 0;
    }
}

/// What is said of a row without all of its values.
pub fn absent(row: usize) -> String {
    format!("row {row} is null, empty, or holds a null; drop it or fill it")
}
