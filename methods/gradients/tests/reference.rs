//! The gradients of whole bottlenecks beside those of an autodiff library.

use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use burn_tensor::{Tensor, TensorData, activation};
use cpu::Isa;
use gradients::{Matrix, Parameter, gradients};
use ndarray::Array2;

type Traced = Tensor<Autodiff<Flex>, 2>;

/// Values without a pattern, of size about 1.
fn values(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(i, j)| ((i * 7919 + j * 104_729 + seed * 1299) as f32 * 0.618).sin())
}

fn tensor(values: &Array2<f32>) -> Traced {
    let (rows, columns) = values.dim();
    Traced::from_data(TensorData::new(values.iter().copied().collect::<Vec<f32>>(), [rows, columns]), &FlexDevice)
}

fn plain(tensor: Tensor<Flex, 2>) -> Vec<f32> {
    tensor.into_data().into_vec::<f32>().expect("f32")
}

fn near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-4 * size, "{what}: {found} for {expected}");
    }
}

/// Both sides compute `ours` and `theirs` of the same values.
fn compare(
    what: &str,
    inputs: &[Array2<f32>],
    ours: impl Fn(&[Matrix], Isa) -> Matrix,
    theirs: impl Fn(&[Traced]) -> Traced,
) {
    let leaves: Vec<Traced> = inputs.iter().map(|v| tensor(v).require_grad()).collect();
    let loss = theirs(&leaves);
    let mut all = loss.backward();
    let expected: Vec<Vec<f32>> =
        leaves.iter().map(|leaf| plain(leaf.grad_remove(&mut all).expect("depends on all"))).collect();
    for isa in Isa::available() {
        let leaves: Vec<Matrix> = inputs.iter().map(|v| Parameter::new(v.view()).leaf()).collect();
        let found = ours(&leaves, isa);
        near(&[found.scalar()], &plain(loss.clone().inner()), &format!("{what}, {isa}, loss"));
        for (i, (found, expected)) in gradients(&found, &leaves).iter().zip(&expected).enumerate() {
            near(found.as_slice().expect("contiguous"), expected, &format!("{what}, {isa}, input {i}"));
        }
    }
}

#[test]
fn a_soft_choice_of_codewords() {
    for (n, width, k) in [(1, 3, 2), (64, 16, 40), (37, 5, 33)] {
        let inputs = [values(n, width, 1), values(width, k, 2), values(1, k, 3), values(k, width, 4)];
        let noise = values(n, k, 5);
        compare(
            "softmax",
            &inputs,
            |x, isa| {
                let logits = x[0].times(&x[1], isa).plus(&x[2]);
                let soft = logits.plus(&Matrix::constant(noise.view())).scaled(1.7).softmax(isa);
                let log = logits.log_softmax(isa);
                let divergence = log.exp().by(&log).row_sums().mean();
                let out = soft.times(&x[3], isa);
                out.by(&out).mean().plus(&divergence)
            },
            |x| {
                let logits = x[0].clone().matmul(x[1].clone()) + x[2].clone();
                let soft = activation::softmax((logits.clone() + tensor(&noise)).mul_scalar(1.7), 1);
                let log = activation::log_softmax(logits, 1);
                let divergence = (log.clone().exp() * log).sum_dim(1).mean();
                let out = soft.matmul(x[3].clone());
                ((out.clone() * out).mean() + divergence).reshape([1, 1])
            },
        );
    }
}

#[test]
fn unit_rows_entropies_and_bounds() {
    let inputs = [values(20, 6, 1), values(20, 6, 2), values(1, 6, 3)];
    compare(
        "entrywise",
        &inputs,
        |x, isa| {
            let unit = x[0].over(&x[0].by(&x[0]).row_sums().shifted(1e-12).sqrt());
            let positive = x[1].scaled(3.0).sigmoid();
            let means = positive.column_means();
            let entropy = positive.by(&positive.ln()).mean().minus(&means.by(&means.ln()).mean());
            let bounded = x[1].plus(&x[2]).tanh().by(&x[2]).rectified();
            let products = unit.columns(1..4).transposed().times(&bounded, isa);
            products.by(&products).sum().scaled(0.01).plus(&entropy)
        },
        |x| {
            let power = (x[0].clone() * x[0].clone()).sum_dim(1).add_scalar(1e-12).sqrt();
            let unit = x[0].clone() / power;
            let positive = activation::sigmoid(x[1].clone().mul_scalar(3.0));
            let means = positive.clone().mean_dim(0);
            let entropy = (positive.clone() * positive.log()).mean() - (means.clone() * means.log()).mean();
            let bounded = activation::relu((x[1].clone() + x[2].clone()).tanh() * x[2].clone());
            let products = unit.slice_dim(1, 1..4).transpose().matmul(bounded);
            ((products.clone() * products).sum().mul_scalar(0.01) + entropy).reshape([1, 1])
        },
    );
}
