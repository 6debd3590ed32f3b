//! One pass over the base rows and their decoded form. Before it, every measurement says what it adds up; after it, it
//! reads the sums. So no measurement needs all rows in memory.

use datasets::{MetricSpace, Signal};
use methods::{Backend, MethodError};
use ndarray::ArrayView2;
use std::any::Any;

/// Rows whose sums are computed by one task. Sums of tasks are added in the order of their rows, and every block but the
/// last has a multiple of this number of rows: sums depend neither on the number of threads nor on the size of blocks.
pub const TASK_ROWS: usize = 1024;

/// What is known before the pass.
pub struct Outline<'a> {
    /// Rows to search for.
    pub queries: ArrayView2<'a, f32>,
    /// How rows are compared.
    pub metric: MetricSpace,
    /// What the base rows are pieces of, where that is known.
    pub signal: Option<&'a Signal>,
    /// The backend that the quantizer was trained on.
    pub backend: &'a dyn Backend,
}

/// Something that is added up over the base rows.
pub trait Accumulate: Any + Send + Sync {
    /// Adds the next base rows, and what their codes decode to. Blocks come in the order of their rows.
    fn add(&mut self, base: ArrayView2<'_, f32>, decoded: ArrayView2<'_, f32>);
}

/// What the measurements of a trial add up. Measurements that add up the same share it.
#[derive(Default)]
pub struct Pass {
    sums: Vec<Box<dyn Accumulate>>,
}

impl Pass {
    /// Asks for a sum, which `make` starts unless another measurement has.
    pub fn want<A: Accumulate>(&mut self, make: impl FnOnce() -> A) -> &mut A {
        let at = self.sums.iter().position(|sum| (&**sum as &dyn Any).is::<A>()).unwrap_or_else(|| {
            self.sums.push(Box::new(make()));
            self.sums.len() - 1
        });
        let sum = (&mut *self.sums[at] as &mut dyn Any).downcast_mut();
        sum.unwrap_or_else(|| unreachable!("found by its type"))
    }

    /// Whether nothing is added up, so that rows need not be decoded.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Adds a block to every sum.
    pub fn add(&mut self, base: ArrayView2<'_, f32>, decoded: ArrayView2<'_, f32>) {
        self.sums.iter_mut().for_each(|sum| sum.add(base, decoded));
    }

    /// A sum that was asked for.
    ///
    /// # Errors
    /// No measurement asked for it.
    pub fn get<A: Accumulate>(&self) -> Result<&A, MethodError> {
        let found = self.sums.iter().find_map(|sum| (&**sum as &dyn Any).downcast_ref());
        found.ok_or_else(|| MethodError::Broken("a measurement reads a sum that it has not asked for".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[derive(Default)]
    struct Rows(usize);

    #[derive(Default)]
    struct Other;

    impl Accumulate for Rows {
        fn add(&mut self, base: ArrayView2<'_, f32>, _: ArrayView2<'_, f32>) {
            self.0 += base.nrows();
        }
    }

    impl Accumulate for Other {
        fn add(&mut self, _: ArrayView2<'_, f32>, _: ArrayView2<'_, f32>) {}
    }

    #[test]
    fn a_sum_that_two_ask_for_is_added_up_once() {
        let mut pass = Pass::default();
        assert!(pass.is_empty());
        pass.want(Rows::default);
        pass.want(|| Rows(1000));
        let block = Array2::zeros((3, 2));
        pass.add(block.view(), block.view());
        assert_eq!(pass.get::<Rows>().map(|rows| rows.0).ok(), Some(3));
        assert!(pass.get::<Other>().is_err());
    }
}
