//! Moves codewords of low utility to where they are needed more, out of local optima that Lloyd's iteration cannot leave.
//!
//! Patanè and Russo, The enhanced LBG algorithm, 2001. In a good codebook all cells have about the same distortion. A cell with little
//! can be given up: its rows join those of the nearest codeword. A cell with much gains most from a second codeword. Where the paper draws
//! the cell that is split at random, moves are tried here in the order of what they promise, so that no random number is needed.

use crate::algorithms::lloyd::{Stop, Trained, lloyd_from_sample};
use crate::backend::DeviceMatrix;
use crate::contract::curve::Seen;
use crate::{Context, MethodError};
use ndarray::{Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;

/// Maximum numbers of donor cells (least distortion) and of taker cells (largest distortion).
const MOST_CELLS: usize = 512;

/// A move must lower the distortion by at least this fraction to count as a success.
pub(crate) const LEAST_GAIN: f64 = 1e-4;

/// Maximum number of moves tried, in multiples of the moves that may fail in succession.
const MOST_TRIED: usize = 8;

/// Power iterations for the direction of a split, and iterations of k-means with its two codewords.
const POWER_ITERATIONS: usize = 4;
const PAIR_ITERATIONS: usize = 6;

/// Improves a codebook by moving codewords. Each move is followed by Lloyd's iteration, and kept if the distortion over
/// all rows has fallen. Ends after `in_vain` consecutive moves that were not kept. `train` and `rows` are the same
/// rows, on the host and on the backend. The course has one value for each move, where its iterations end.
///
/// # Errors
/// Cancellation, a backend failure.
pub(crate) fn move_codewords(
    train: ArrayView2<'_, f32>,
    rows: &DeviceMatrix,
    mut trained: Trained,
    in_vain: usize,
    stop: Stop,
    cx: &Context,
) -> Result<Trained, MethodError> {
    let (mut failed, mut tried) = (0, 0);
    while failed < in_vain && tried < MOST_TRIED * in_vain {
        let cells = Cells::new(train, &trained, in_vain, cx)?;
        let mut helped = false;
        // First all promising moves together, as in the paper, then single ones.
        for moves in std::iter::once(cells.together()).filter(|moves| moves.len() > 1).chain(cells.single(in_vain)) {
            if failed == in_vain || tried == MOST_TRIED * in_vain {
                break;
            }
            tried += 1;
            let next = lloyd_from_sample(rows, cells.moved(&trained.codebook, &moves), stop, 0.0, cx)?;
            helped = next.mse < trained.mse * (1.0 - LEAST_GAIN);
            trained.course.advance();
            trained.course.advance_by(&next.course);
            trained.course.see(next.mse, if helped { Seen::AllRows } else { Seen::Rejected });
            if helped {
                (trained, failed) = (Trained { course: trained.course, ..next }, 0);
                break;
            }
            failed += 1;
        }
        if !helped {
            break;
        }
    }
    Ok(trained)
}

/// A cell that gives up its codeword.
struct Donor {
    cell: usize,
    /// The cell of the nearest codeword, which takes its rows, and the centroid of both.
    heir: usize,
    joint: Vec<f64>,
    /// Increase of the squared error.
    cost: f64,
}

/// A cell that gets a second codeword.
struct Taker {
    cell: usize,
    pair: [Vec<f64>; 2],
    /// Decrease of the squared error.
    gain: f64,
}

/// A donor and a taker, by their indices in [`Cells`].
type Move = (usize, usize);

/// The possible moves, with bounds on how they change the squared error before any row changes its cell.
struct Cells {
    /// Sorted by cost.
    donors: Vec<Donor>,
    /// Sorted by gain, the largest first.
    takers: Vec<Taker>,
}

impl Cells {
    fn new(train: ArrayView2<'_, f32>, trained: &Trained, in_vain: usize, cx: &Context) -> Result<Cells, MethodError> {
        cx.cancel.check()?;
        let codebook = trained.codebook.view();
        let k = codebook.nrows();
        let mut members = vec![Vec::new(); k];
        trained.nearest.iter().enumerate().for_each(|(i, &c)| members[c as usize].push(i));
        let distortion: Vec<f64> = members
            .par_iter()
            .enumerate()
            .map(|(c, members)| members.iter().map(|&i| squared(train.row(i), codebook.row(c))).sum())
            .collect();
        let mut order: Vec<usize> = (0..k).collect();
        order.sort_by(|&a, &b| distortion[a].total_cmp(&distortion[b]).then(a.cmp(&b)));
        let most = MOST_CELLS.max(2 * in_vain);
        let donors = order.par_iter().take(most).filter_map(|&cell| Donor::new(cell, codebook, &members));
        let takers = order.par_iter().rev().take(most).filter_map(|&cell| {
            Taker::new(cell, train, codebook.row(cell), &members[cell]).filter(|taker| taker.gain > 0.0)
        });
        let (mut donors, mut takers): (Vec<Donor>, Vec<Taker>) = (donors.collect(), takers.collect());
        donors.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.cell.cmp(&b.cell)));
        takers.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.cell.cmp(&b.cell)));
        Ok(Cells { donors, takers })
    }

    /// Whether the three cells of a move are distinct.
    fn is_possible(&self, (donor, taker): Move) -> bool {
        let (donor, taker) = (&self.donors[donor], &self.takers[taker]);
        donor.cell != taker.cell && donor.heir != taker.cell
    }

    /// Moves that each promise a lower error and share no cell: cheap donors with the takers that gain most.
    fn together(&self) -> Vec<Move> {
        let mut used = std::collections::HashSet::new();
        let mut moves = Vec::new();
        let mut free: Vec<usize> = (0..self.takers.len()).collect();
        for (d, donor) in self.donors.iter().enumerate() {
            if used.contains(&donor.cell) || used.contains(&donor.heir) {
                continue;
            }
            free.retain(|&t| !used.contains(&self.takers[t].cell));
            let Some(&t) = free.iter().find(|&&t| self.is_possible((d, t))) else { continue };
            if self.takers[t].gain <= donor.cost {
                break;
            }
            used.extend([donor.cell, donor.heir, self.takers[t].cell]);
            moves.push((d, t));
        }
        moves
    }

    /// At most `count` moves to try one by one: the most promising, preferring those whose cells occur in few moves
    /// before.
    fn single(&self, count: usize) -> Vec<Vec<Move>> {
        let takers = self.takers.len().min(2 * count);
        let donors = self.donors.len().min(2 * count);
        let pairs = (0..donors).flat_map(|d| (0..takers).map(move |t| (d, t)));
        let mut left: Vec<Move> = pairs.filter(|&pair| self.is_possible(pair)).collect();
        let promise = |&(d, t): &Move| self.takers[t].gain - self.donors[d].cost;
        left.sort_by(|a, b| promise(b).total_cmp(&promise(a)).then(a.cmp(b)));
        let (mut of_donor, mut of_taker) = (vec![0usize; donors], vec![0usize; takers]);
        let mut chosen = Vec::new();
        while chosen.len() < count {
            let uses = |&(_, &(d, t)): &(usize, &Move)| of_donor[d] + of_taker[t];
            let Some((place, &(d, t))) = left.iter().enumerate().min_by_key(uses) else { break };
            left.remove(place);
            of_donor[d] += 1;
            of_taker[t] += 1;
            chosen.push(vec![(d, t)]);
        }
        chosen
    }

    /// The codebook after moves without a common cell.
    fn moved(&self, codebook: &Array2<f32>, moves: &[Move]) -> Array2<f32> {
        let mut codebook = codebook.clone();
        let mut put = |cell: usize, values: &[f64]| {
            codebook.row_mut(cell).iter_mut().zip(values).for_each(|(y, v)| *y = *v as f32);
        };
        for &(d, t) in moves {
            let (donor, taker) = (&self.donors[d], &self.takers[t]);
            put(donor.heir, &donor.joint);
            put(taker.cell, &taker.pair[0]);
            put(donor.cell, &taker.pair[1]);
        }
        codebook
    }
}

impl Donor {
    /// None if the codebook has one codeword.
    fn new(cell: usize, codebook: ArrayView2<'_, f32>, members: &[Vec<usize>]) -> Option<Donor> {
        let own = codebook.row(cell);
        let others = (0..codebook.nrows()).filter(|&c| c != cell).map(|c| (squared(own, codebook.row(c)), c));
        let (distance, heir) = others.min_by(|a, b| a.0.total_cmp(&b.0))?;
        let (given, had) = (members[cell].len() as f64, members[heir].len() as f64);
        // Two cells of n and m rows about one centroid lose n·m/(n+m)·‖c − c'‖².
        let share = given / (given + had).max(1.0);
        let joint =
            own.iter().zip(codebook.row(heir)).map(|(x, y)| share * f64::from(*x) + (1.0 - share) * f64::from(*y));
        Some(Donor { cell, heir, joint: joint.collect(), cost: share * had * distance })
    }
}

impl Taker {
    /// None if two codewords are no better than one: fewer than two rows, or equal rows.
    fn new(cell: usize, train: ArrayView2<'_, f32>, center: ArrayView1<'_, f32>, members: &[usize]) -> Option<Taker> {
        let rows = || members.iter().map(|&i| train.row(i));
        let spread: f64 = rows().map(|row| squared(row, center)).sum();
        let worst = rows().max_by(|a, b| squared(*a, center).total_cmp(&squared(*b, center)))?;
        let start = worst.iter().zip(center).map(|(x, y)| f64::from(*x) - f64::from(*y)).collect();
        let (direction, deviation) = principal(rows(), center, start, POWER_ITERATIONS);
        let beside = |sign: f64| {
            let moved = center.iter().zip(&direction).map(|(y, v)| f64::from(*y) + sign * deviation * v);
            moved.collect::<Vec<f64>>()
        };
        let mut pair = [beside(1.0), beside(-1.0)];
        for _ in 0..PAIR_ITERATIONS {
            let mut sums = [vec![0f64; center.len()], vec![0f64; center.len()]];
            let mut counts = [0usize; 2];
            for row in rows() {
                let side = usize::from(from(row, &pair[1]) < from(row, &pair[0]));
                counts[side] += 1;
                sums[side].iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            }
            if counts.contains(&0) {
                return None;
            }
            for (sum, count) in sums.iter_mut().zip(counts) {
                sum.iter_mut().for_each(|v| *v /= count as f64);
            }
            pair = sums;
        }
        let left: f64 = rows().map(|row| from(row, &pair[0]).min(from(row, &pair[1]))).sum();
        Some(Taker { cell, pair, gain: spread - left })
    }
}

/// `‖a − b‖²`.
fn squared(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum()
}

/// `‖row − point‖²`.
fn from(row: ArrayView1<'_, f32>, point: &[f64]) -> f64 {
    row.iter().zip(point).map(|(x, y)| (f64::from(*x) - y).powi(2)).sum()
}

/// Unit vector along the largest spread of `rows` about `center`, and the standard deviation along it, by power iterations from `start`.
pub(crate) fn principal<'a>(
    rows: impl Iterator<Item = ArrayView1<'a, f32>> + Clone,
    center: ArrayView1<'_, f32>,
    start: Vec<f64>,
    iterations: usize,
) -> (Vec<f64>, f64) {
    let unit = |mut v: Vec<f64>| {
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        v.iter_mut().for_each(|x| *x /= norm.max(f64::MIN_POSITIVE));
        (v, norm)
    };
    let (mut direction, _) = unit(start);
    let mut deviation = 0.0;
    for _ in 0..iterations {
        let mut image = vec![0f64; direction.len()];
        let mut count = 0.0;
        for row in rows.clone() {
            let along: f64 = row.iter().zip(center).zip(&direction).map(|((x, y), v)| f64::from(x - y) * v).sum();
            row.iter().zip(center).zip(&mut image).for_each(|((x, y), w)| *w += along * f64::from(x - y));
            count += 1.0;
        }
        if !image.iter().any(|&w| w != 0.0) {
            return (direction, 0.0);
        }
        let (next, norm) = unit(image);
        deviation = (norm / count).sqrt();
        direction = next;
    }
    (direction, deviation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::lloyd::lloyd;

    /// Two codewords share a cluster and one serves two: no iteration moves a codeword from the one place to the other.
    #[test]
    fn a_codeword_goes_from_where_two_share_a_cluster_to_where_one_serves_two() {
        let rows = Array2::from_shape_fn((300, 1), |(i, _)| (i % 3 * 100) as f32 + (i / 3) as f32 * 0.01);
        let cx = Context::cpu(1);
        let device = cx.backend.upload(rows.view()).expect("uploads");
        let start = ndarray::array![[0.2f32], [0.7], [150.0]];
        let stop = Stop { max_iterations: 50, relative_drop: 1e-6 };
        let stuck = lloyd(&device, start, stop, &cx).expect("trains");
        assert!(stuck.mse > 1000.0, "{}", stuck.mse);
        let kept = move_codewords(rows.view(), &device, stuck.clone(), 0, stop, &cx).expect("moves");
        assert_eq!(kept.codebook, stuck.codebook, "no move is tried");
        let moved = move_codewords(rows.view(), &device, stuck, 2, stop, &cx).expect("moves");
        assert!(moved.mse < 0.1, "each codeword has a cluster of unit width: {}", moved.mse);
    }

    #[test]
    fn where_nothing_can_be_gained_nothing_moves() {
        let rows = Array2::from_shape_fn((10, 3), |(i, _)| (i % 2) as f32);
        let cx = Context::cpu(1);
        let device = cx.backend.upload(rows.view()).expect("uploads");
        let stop = Stop { max_iterations: 50, relative_drop: 1e-6 };
        for k in [1, 2, 4] {
            let start = Array2::from_shape_fn((k, 3), |(c, _)| c as f32);
            let trained = lloyd(&device, start, stop, &cx).expect("trains");
            let moved = move_codewords(rows.view(), &device, trained.clone(), 4, stop, &cx).expect("moves");
            assert!(moved.mse <= trained.mse, "{k}");
        }
    }
}
