//! Transforms that may precede any method: centring, principal components, rotations. They are part of the model and
//! count in its size.

mod searcher;

use crate::algorithms::moments::mean;
use crate::algorithms::rotation::{balanced_axes, random};
use crate::backend::{Backend, CodeRoom, DeviceCodes, DeviceMatrix, MatrixRoom, RowMap, RowScale, prepared};
use crate::contract::state::{State, StateError};
use crate::product::opq::{self, Opq};
use crate::product::pq;
use crate::registry::params_of;
use crate::{
    Context, Curve, Method, MethodError, ModelError, ParamError, Quantizer, SearchMetric, Searcher, Stream, Symbols,
    TrainingRows,
};
use ndarray::{Array2, ArrayView1, s};
use schemars::JsonSchema;
use searcher::TransformedSearcher;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::{Arc, OnceLock};

/// The key that any method's parameters may hold.
pub const KEY: &str = "transform";

/// A transform that is applied to vectors before encoding and undone after decoding. It works with every method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Transform {
    /// No transform.
    None,
    /// Subtracts the mean of the training rows.
    Center,
    /// Multiplies by a random rotation, which spreads the variance evenly over the components.
    RandomRotation,
    /// Subtracts the mean and keeps the first principal components (Pearson 1901; Hotelling 1933).
    Pca(Pca),
    /// Subtracts the mean and multiplies by the rotation that optimized product quantization learns (Ge, He, Ke and Sun
    /// 2013).
    Opq(OpqRotation),
}

/// Principal components.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pca {
    /// Number of principal components that are kept; at most the dimension.
    #[schemars(range(min = 1))]
    pub dim: usize,
}

/// The product quantizer that the rotation is learned for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpqRotation {
    /// Number of its sub-quantizers; must divide the dimension.
    #[schemars(range(min = 1))]
    pub m: usize,
    /// Bits per sub-quantizer.
    #[serde(default = "opq::default_bits")]
    #[schemars(range(min = 1, max = 16))]
    pub bits: u8,
}

/// The parameters of a transform in a struct of its own, for errors that name the key.
#[derive(Deserialize, JsonSchema)]
struct Keyed {
    transform: Transform,
}

impl Transform {
    /// Takes the transform out of the parameters of `method`, if they name one.
    ///
    /// # Errors
    /// An unknown transform, a misspelt or missing key of one.
    pub fn take(method: &str, params: &mut Value) -> Result<Option<Transform>, ParamError> {
        let Some(mut written) = params.as_object_mut().and_then(|params| params.shift_remove(KEY)) else {
            return Ok(None);
        };
        // A product quantizer's own rotation needs no second mention of its groups.
        if written == "opq"
            && [pq::ENTRY.name, opq::ENTRY.name].contains(&method)
            && let Some(m) = params.get("m")
        {
            let mut keys = Map::from_iter([("m".to_owned(), m.clone())]);
            keys.extend(params.get("bits").map(|bits| ("bits".to_owned(), bits.clone())));
            written = Value::Object(Map::from_iter([("opq".to_owned(), Value::Object(keys))]));
        }
        let needs = match written.as_str() {
            Some("pca") => Some(("pca", "transform: { pca: { dim: 64 } }")),
            Some("opq") => Some(("opq", "transform: { opq: { m: 16 } }")),
            _ => None,
        };
        if let Some((name, example)) = needs {
            return Err(ParamError::new(
                KEY,
                format!("the transform `{name}` needs a parameter"),
                format!("write {example}"),
            ));
        }
        let keyed = Value::Object(Map::from_iter([(KEY.to_owned(), written)]));
        strict::from_value::<Keyed>(keyed).map(|keyed| Some(keyed.transform))
    }

    /// The transforms that a search for the best code tries on vectors of `dim` components.
    pub fn candidates(dim: usize) -> Vec<Transform> {
        let pca = |dim: usize| Transform::Pca(Pca { dim });
        let mut all = vec![Transform::None, Transform::RandomRotation, pca(dim)];
        all.extend((dim >= 4).then(|| pca(dim / 2)));
        all
    }

    /// Components after the transform of `dim` components.
    fn dim_after(&self, dim: usize) -> usize {
        match self {
            Transform::Pca(pca) => pca.dim,
            _ => dim,
        }
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        match self {
            Transform::Pca(pca) if pca.dim == 0 || pca.dim > dim => {
                let message = format!("`dim: {}` principal components of vectors of {dim}", pca.dim);
                Err(ParamError::new("transform/pca/dim", message, format!("use 1 to {dim}")))
            }
            Transform::Opq(rotation) => {
                let below = |error: ParamError| ParamError {
                    param: error.param.map(|p| format!("transform/opq/{p}")),
                    ..error
                };
                rotation.method().check(dim).map_err(below)
            }
            _ => Ok(()),
        }
    }

    fn fit(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<AffineTransform, MethodError> {
        let dim = train.ncols();
        let mean =
            || -> Result<Vec<f32>, MethodError> { Ok(mean(train.host()?).into_iter().map(|m| m as f32).collect()) };
        Ok(match self {
            Transform::None => AffineTransform { mean: None, axes: None },
            Transform::Center => AffineTransform { mean: Some(mean()?), axes: None },
            Transform::RandomRotation => {
                AffineTransform { mean: None, axes: Some(random(cx.backend.isa(), dim, &mut cx.rng(Stream::Rotation))) }
            }
            Transform::Pca(pca) => {
                let axes = balanced_axes(cx.backend.isa(), train.host()?, 1).slice(s![.., ..pca.dim]).to_owned();
                AffineTransform { mean: Some(mean()?), axes: Some(axes) }
            }
            Transform::Opq(rotation) => rotation.method().fit_rotation(train.host()?, cx)?.affine,
        })
    }

    fn restore(&self, dim: usize, state: &mut State) -> Result<AffineTransform, StateError> {
        let mean = matches!(self, Transform::Center | Transform::Pca(_) | Transform::Opq(_));
        let axes = matches!(self, Transform::RandomRotation | Transform::Pca(_) | Transform::Opq(_));
        AffineTransform::take(state, dim, self.dim_after(dim), mean, axes)
    }
}

impl OpqRotation {
    fn method(&self) -> Opq {
        Opq { bits: self.bits, ..Opq::of(self.m) }
    }
}

/// `y = (x − mean)·axes` and back, `x = y·axesᵀ + mean`, where the columns of `axes` are orthonormal.
#[derive(Clone, Debug)]
pub(crate) struct AffineTransform {
    pub(crate) mean: Option<Vec<f32>>,
    /// `dim×dim_after`.
    pub(crate) axes: Option<Array2<f32>>,
}

impl AffineTransform {
    /// The map and its inverse, as a backend has prepared them.
    pub(crate) fn on(&self, backend: &dyn Backend) -> Result<AffineOnBackend, MethodError> {
        let centre = self.mean.as_ref().map(|mean| backend.scale(mean, 1.0, 1.0)).transpose()?;
        let axes = match &self.axes {
            Some(axes) => Some([backend.product(axes.view())?, backend.product(axes.t())?]),
            None => None,
        };
        Ok(AffineOnBackend { centre, axes })
    }

    /// From what [`AffineTransform::save`] put down, of a mean and axes those that there are.
    pub(crate) fn take(
        state: &mut State,
        dim: usize,
        dim_after: usize,
        mean: bool,
        axes: bool,
    ) -> Result<AffineTransform, StateError> {
        let mean = if mean { Some(state.take("transform mean", dim)?) } else { None };
        let axes = if axes { Some(state.take_matrix("transform axes", dim, dim_after)?) } else { None };
        let unit = |axis: ArrayView1<'_, f32>| {
            let power: f64 = axis.iter().map(|v| f64::from(*v).powi(2)).sum();
            (power - 1.0).abs() < 0.01
        };
        match &axes {
            Some(axes) if !axes.columns().into_iter().all(unit) => Err(StateError::Value("transform axes".into())),
            _ => Ok(AffineTransform { mean, axes }),
        }
    }

    fn save(&self, state: &mut State) {
        if let Some(mean) = &self.mean {
            state.put("transform mean", mean.clone());
        }
        if let Some(axes) = &self.axes {
            state.put_matrix("transform axes", axes.view());
        }
    }
}

/// An [`AffineTransform`] on a backend.
pub(crate) struct AffineOnBackend {
    centre: Option<Box<dyn RowScale>>,
    /// The products with the axes and with their transpose.
    axes: Option<[Box<dyn RowMap>; 2]>,
}

impl AffineOnBackend {
    /// Rows behind the transform.
    pub(crate) fn forward<'a>(
        &self,
        rows: &DeviceMatrix<'a>,
        backend: &dyn Backend,
    ) -> Result<DeviceMatrix<'a>, MethodError> {
        self.turned(&self.centred(rows)?, backend)
    }

    /// Rows relative to the mean, if there is one.
    fn centred<'a>(&self, rows: &DeviceMatrix<'a>) -> Result<DeviceMatrix<'a>, MethodError> {
        match &self.centre {
            Some(centre) => Ok(centre.forward(rows)?),
            None => Ok(rows.clone()),
        }
    }

    /// The products of rows with the axes, if there are some.
    fn turned<'a>(&self, rows: &DeviceMatrix<'a>, backend: &dyn Backend) -> Result<DeviceMatrix<'a>, MethodError> {
        let Some([forward, _]) = &self.axes else { return Ok(rows.clone()) };
        let mut turned = backend.room(rows.nrows(), forward.outputs())?;
        forward.apply(rows, &mut turned)?;
        Ok(turned.into_matrix())
    }
}

/// A method behind a transform.
#[derive(Debug)]
pub(crate) struct Transformed {
    pub(crate) transform: Transform,
    pub(crate) inner: Box<dyn Method>,
}

impl Method for Transformed {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn params(&self) -> Value {
        let mut params = self.inner.params();
        if let Some(params) = params.as_object_mut() {
            params.insert(KEY.to_owned(), params_of(&self.transform));
        }
        params
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        self.transform.check(dim)?;
        self.inner.check(self.transform.dim_after(dim))
    }

    fn code_bits(&self, dim: usize) -> usize {
        self.inner.code_bits(self.transform.dim_after(dim))
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        let fit = match &self.transform {
            Transform::None | Transform::Center | Transform::RandomRotation => 0.0,
            Transform::Pca(_) => (n * dim * dim) as f64,
            Transform::Opq(rotation) => rotation.method().fit_cost(n, dim),
        };
        let after = self.transform.dim_after(dim);
        fit + (n * dim * after) as f64 + self.inner.fit_cost(n, after)
    }

    fn decode_cost(&self, dim: usize) -> f64 {
        let after = self.transform.dim_after(dim);
        (dim * after) as f64 + self.inner.decode_cost(after)
    }

    fn query_cost(&self, dim: usize) -> f64 {
        let after = self.transform.dim_after(dim);
        (dim * after) as f64 + self.inner.query_cost(after)
    }

    fn score_cost(&self, dim: usize) -> f64 {
        self.inner.score_cost(self.transform.dim_after(dim))
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        let after = self.transform.dim_after(dim);
        (dim * after) as f64 + self.inner.encode_cost(after)
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let affine = self.transform.fit(train, &cx.for_transform())?;
        let backend = &*cx.backend;
        let rows = affine.on(backend)?.forward(train.matrix()?, backend)?;
        let rows = match TrainingRows::on_backend(rows, cx) {
            Err(MethodError::NonFinite { .. }) => {
                let magnitude = train.host()?.iter().fold(0f32, |m, v| m.max(v.abs()));
                return Err(MethodError::Overflow { what: "the transform of a training row", magnitude });
            }
            checked => checked?,
        };
        let inner = self.inner.fit_rows(&rows, cx)?;
        Ok(Box::new(TransformedQuantizer::new(train.ncols(), affine, inner, cx.backend.clone())))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let affine = self.transform.restore(dim, state)?;
        let inner = self.inner.restore(self.transform.dim_after(dim), state, cx)?;
        Ok(Box::new(TransformedQuantizer::new(dim, affine, inner, cx.backend.clone())))
    }
}

/// A quantizer of transformed vectors. Codes and symbols are those of the inner one.
pub(crate) struct TransformedQuantizer {
    dim: usize,
    affine: AffineTransform,
    inner: Box<dyn Quantizer>,
    backend: Arc<dyn Backend>,
    /// Once rows have been coded.
    on_backend: OnceLock<AffineOnBackend>,
}

impl TransformedQuantizer {
    pub(crate) fn new(
        dim: usize,
        affine: AffineTransform,
        inner: Box<dyn Quantizer>,
        backend: Arc<dyn Backend>,
    ) -> TransformedQuantizer {
        TransformedQuantizer { dim, affine, inner, backend, on_backend: OnceLock::new() }
    }

    fn affine_on_backend(&self) -> Result<&AffineOnBackend, MethodError> {
        prepared(&self.on_backend, || self.affine.on(&*self.backend))
    }
}

impl Quantizer for TransformedQuantizer {
    fn dim(&self) -> usize {
        self.dim
    }

    fn code_bits(&self) -> usize {
        self.inner.code_bits()
    }

    fn model_size(&self) -> usize {
        let values = self.affine.mean.as_ref().map_or(0, Vec::len) + self.affine.axes.as_ref().map_or(0, Array2::len);
        4 * values + self.inner.model_size()
    }

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn rows_at_once(&self) -> usize {
        self.inner.rows_at_once()
    }

    fn bytes_per_row(&self) -> usize {
        4 * (self.dim + self.inner.dim()) + self.inner.bytes_per_row()
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        self.inner.encode(&self.affine_on_backend()?.forward(rows, &*self.backend)?, codes)
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let AffineOnBackend { centre, axes } = self.affine_on_backend()?;
        match axes {
            Some([_, back]) => {
                let mut decoded = self.backend.room(rows.nrows(), self.inner.dim())?;
                self.inner.decode(codes, &mut decoded)?;
                back.apply(&decoded.into_matrix(), rows)?;
            }
            None => self.inner.decode(codes, rows)?,
        }
        match centre {
            Some(centre) => centre.back(rows),
            None => Ok(()),
        }
    }

    fn searcher(&self, metric: SearchMetric) -> Option<Box<dyn Searcher + '_>> {
        let inner = self.inner.searcher(metric)?;
        Some(Box::new(TransformedSearcher { quantizer: self, metric, inner, offset: 0.0 }))
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        self.inner.symbols()
    }

    fn save(&self, state: &mut State) {
        self.affine.save(state);
        self.inner.save(state);
    }

    fn curves(&self) -> &[Curve] {
        self.inner.curves()
    }
}
