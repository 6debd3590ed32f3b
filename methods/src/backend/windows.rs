//! What windows see of a row, as runs of inputs that lie beside each other: copied whole instead of one by one.

/// Inputs of all windows of a row, in order.
#[derive(Clone, Debug)]
pub(crate) struct Runs {
    /// First input and number of inputs; the first is `u32::MAX` for zeros outside the row.
    runs: Vec<[u32; 2]>,
    /// Values of a row.
    of_row: usize,
    /// Inputs of all windows together.
    seen: usize,
}

/// Stands for zeros.
const OUTSIDE: u32 = u32::MAX;

impl Runs {
    /// Of indices of inputs; an index that is not below `of_row` stands for a zero.
    pub(crate) fn new(inputs: &[u32], of_row: usize) -> Runs {
        let mut runs: Vec<[u32; 2]> = Vec::new();
        for &input in inputs {
            let input = if (input as usize) < of_row { input } else { OUTSIDE };
            match runs.last_mut() {
                Some([first, count]) if *first == OUTSIDE && input == OUTSIDE => *count += 1,
                Some([first, count]) if *first != OUTSIDE && input == *first + *count => *count += 1,
                _ => runs.push([input, 1]),
            }
        }
        Runs { runs, of_row, seen: inputs.len() }
    }

    /// Inputs of all windows of a row together.
    pub(crate) fn seen(&self) -> usize {
        self.seen
    }

    /// Writes to `seen` what the windows of each row see. Rows are contiguous.
    pub(crate) fn gather(&self, rows: &[f32], seen: &mut Vec<f32>) {
        seen.clear();
        for row in rows.chunks_exact(self.of_row.max(1)) {
            for &[first, count] in &self.runs {
                if first == OUTSIDE {
                    seen.resize(seen.len() + count as usize, 0.0);
                } else {
                    seen.extend_from_slice(&row[first as usize..][..count as usize]);
                }
            }
        }
    }

    /// The transpose of [`Runs::gather`]: adds to each input of each row what the windows have at it in `seen`.
    pub(crate) fn scatter(&self, seen: &[f32], rows: &mut [f32]) {
        let rows = rows.chunks_exact_mut(self.of_row.max(1));
        for (row, mut seen) in rows.zip(seen.chunks_exact(self.seen.max(1))) {
            for &[first, count] in &self.runs {
                let (here, rest) = seen.split_at(count as usize);
                if first != OUTSIDE {
                    row[first as usize..].iter_mut().zip(here).for_each(|(to, from)| *to += from);
                }
                seen = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_what_single_inputs_say() {
        // Neighbours, a repetition, zeros, the end of the row followed by a zero, and its start.
        let inputs = [1u32, 2, 3, 3, 5, 5, 4, 5, 0, 1, 9];
        let runs = Runs::new(&inputs, 5);
        let rows: Vec<f32> = (0..10).map(|v| v as f32 + 0.5).collect();
        let mut seen = vec![7.0; 3];
        runs.gather(&rows, &mut seen);
        let one = |row: &[f32]| inputs.map(|i| row.get(i as usize).copied().unwrap_or(0.0)).to_vec();
        assert_eq!(seen, [one(&rows[..5]), one(&rows[5..])].concat());
        let mut back = vec![1.0f32; 10];
        let weights: Vec<f32> = (0..22).map(|v| v as f32).collect();
        runs.scatter(&weights, &mut back);
        let mut expected = vec![1.0f32; 10];
        for (e, w) in weights.iter().enumerate() {
            let input = inputs[e % 11] as usize;
            if input < 5 {
                expected[e / 11 * 5 + input] += w;
            }
        }
        assert_eq!(back, expected);
        Runs::new(&[], 5).gather(&rows, &mut seen);
        assert!(seen.is_empty());
    }
}
