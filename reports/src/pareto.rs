//! Pareto fronts: what nothing beats in two respects at once.

/// Marks the Pareto-optimal points: no other point is at least as good in both coordinates and better in one; larger is
/// better.
pub fn pareto(points: &[Option<(f64, f64)>]) -> Vec<bool> {
    points
        .iter()
        .map(|point| {
            let Some((x, y)) = *point else { return false };
            !points.iter().flatten().any(|&(a, b)| a >= x && b >= y && (a > x || b > y))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_keeps_what_nothing_beats() {
        let points = [Some((1.0, 5.0)), Some((2.0, 4.0)), Some((2.0, 3.0)), None, Some((0.5, 5.0)), Some((1.0, 5.0))];
        assert_eq!(pareto(&points), [true, true, false, false, false, true]);
    }
}
