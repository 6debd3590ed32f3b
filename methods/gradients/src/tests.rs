//! Tests of the derivatives.

use super::*;
use ndarray::arr2;

/// Derivatives by central differences of step `h`.
fn differences(f: impl Fn(&Array2<f32>) -> f32, at: &Array2<f32>, h: f32) -> Array2<f32> {
    let moved = |(i, j): (usize, usize), by: f32| {
        let mut x = at.clone();
        x[(i, j)] += by;
        f(&x)
    };
    Array2::from_shape_fn(at.dim(), |ij| (moved(ij, h) - moved(ij, -h)) / (2.0 * h))
}

#[test]
fn every_operation_has_the_derivative_that_differences_show() {
    let at = arr2(&[[0.3f32, -0.7, 1.1], [0.9, 0.2, -0.4]]);
    let other = Matrix::constant(arr2(&[[0.5f32, 1.5, -0.8], [0.7, -1.2, 0.6]]).view());
    let weights = Matrix::constant(arr2(&[[1.0f32, -2.0], [0.5, 0.3], [0.8, 1.2]]).view());
    let positive = |x: &Matrix| x.by(x).shifted(0.5);
    type Expression<'a> = Box<dyn Fn(&Matrix) -> Matrix + 'a>;
    let expressions: Vec<(&str, Expression<'_>)> = vec![
        ("times", Box::new(|x| x.times(&weights, Isa::widest()))),
        ("transposed", Box::new(|x| x.transposed().times(x, Isa::widest()))),
        ("plus", Box::new(|x| x.plus(&other).by(x))),
        ("minus", Box::new(|x| other.minus(x).by(x))),
        ("over", Box::new(|x| other.over(&positive(x)))),
        ("scaled, shifted", Box::new(|x| x.scaled(3.0).shifted(1.0).by(x))),
        ("rectified", Box::new(|x| x.rectified().by(x))),
        ("tanh", Box::new(|x| x.tanh())),
        ("sigmoid", Box::new(|x| x.sigmoid())),
        ("exp", Box::new(|x| x.exp())),
        ("ln", Box::new(|x| positive(x).ln())),
        ("sqrt", Box::new(|x| positive(x).sqrt())),
        ("softmax", Box::new(|x| x.softmax(Isa::widest()).by(&other))),
        ("log_softmax", Box::new(|x| x.log_softmax(Isa::widest()).by(&other))),
        ("row_sums", Box::new(|x| x.row_sums().by(x))),
        ("column_means", Box::new(|x| x.column_means().by(x))),
        ("mean", Box::new(|x| x.mean().by(x))),
        ("mean_square", Box::new(|x| x.mean_square().by(x))),
        ("sum", Box::new(|x| x.sum().by(x))),
        ("columns", Box::new(|x| x.columns(1..3).by(&x.columns(0..2)))),
        ("rows", Box::new(|x| x.rows(&[1, 0, 1]).by(&x.rows(&[0, 0, 1])))),
        ("gather_columns", Box::new(|x| x.gather_columns(&[2, 3, 0, 2]).by(&x.gather_columns(&[0, 1, 2, 2])))),
        ("reshaped", Box::new(|x| x.reshaped(2).times(&weights.transposed(), Isa::widest()))),
        ("beside", Box::new(|x| Matrix::beside(&[x.clone(), x.by(x)]))),
    ];
    for (name, expression) in expressions {
        let loss = |x: &Matrix| {
            let y = expression(x);
            // A different weight for each entry, so that no mistake cancels.
            let (rows, columns) = y.dim();
            let weight = Array2::from_shape_fn((rows, columns), |(i, j)| 1.0 + 0.37 * i as f32 - 0.21 * j as f32);
            y.by(&Matrix::constant(weight.view())).mean()
        };
        let leaf = Parameter::new(at.view()).leaf();
        let found = gradients(&loss(&leaf), std::slice::from_ref(&leaf)).remove(0);
        let expected = differences(|x| loss(&Matrix::constant(x.view())).scalar(), &at, 5e-3);
        for (f, e) in found.iter().zip(&expected) {
            assert!((f - e).abs() < 2e-3 * (1.0 + e.abs()), "{name}: {found} for {expected}");
        }
    }
}

#[test]
fn straight_through_gives_the_values_and_passes_the_gradient() {
    let leaf = Parameter::new(arr2(&[[0.4f32, 1.6]]).view()).leaf();
    let rounded = leaf.straight_through(arr2(&[[0.0f32, 2.0]]).view());
    assert_eq!(rounded.values(), arr2(&[[0.0f32, 2.0]]));
    let loss = rounded.by(&rounded).mean();
    // d/dy of (y₁² + y₂²)/2 at y = (0, 2).
    assert_eq!(gradients(&loss, &[leaf]), [arr2(&[[0.0f32, 2.0]])]);
}

/// What is known of several results gives the same as their weighted sum.
#[test]
fn gradients_start_from_those_of_results() {
    let leaf = Parameter::new(arr2(&[[0.5f32, -1.5], [2.0, 0.25]]).view()).leaf();
    let (first, second) = (leaf.by(&leaf), leaf.mean_square());
    let by_first = arr2(&[[1.0f32, 2.0], [-3.0, 0.5]]);
    let loss = first.by(&Matrix::constant(by_first.view())).sum().plus(&second.scaled(0.5));
    let leaves = std::slice::from_ref(&leaf);
    let results = vec![(first.clone(), by_first.clone()), (second.clone(), arr2(&[[0.5f32]]))];
    assert_eq!(gradients_from(results, leaves), gradients(&loss, leaves));
    // The same result twice.
    let twice = vec![(first.clone(), by_first.clone()), (first.clone(), by_first.clone())];
    assert_eq!(gradients_from(twice, leaves), gradients_from(vec![(first, by_first * 2.0)], leaves));
}

#[test]
fn what_is_detached_or_not_used_has_no_gradient() {
    let (used, unused) =
        (Parameter::new(arr2(&[[3.0f32]]).view()).leaf(), Parameter::new(arr2(&[[1.0f32, 2.0]]).view()));
    let unused = unused.leaf();
    let loss = used.by(&used.detached()).mean();
    assert_eq!(gradients(&loss, &[used, unused]), [arr2(&[[3.0f32]]), arr2(&[[0.0f32, 0.0]])]);
}
