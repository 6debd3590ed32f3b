//! What the user writes: the experiment file, as types and as a JSON schema.

use crate::metrics::MEASURES;
use crate::units::{ByteSize, Seconds};
use datasets::{FileSource, ImageSource, SyntheticSource, catalog};
use methods::METHODS;
use methods::registry::schema_of;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strict::lists;

/// An experiment file. Datasets, methods and measurements are read by their registries.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Name of the experiment and of its run folder: letters, digits, `-`, `_` and `.`.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub name: String,
    /// What to look for in the figures, in two or three sentences.
    #[serde(default)]
    pub analysis: String,
    /// Every method is retrained with each of these.
    #[serde(default = "default_seeds")]
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub seeds: Vec<u64>,
    /// Where to compute: cpu, cuda, auto, or a list of them.
    #[serde(default = "default_device")]
    #[schemars(length(min = 1))]
    pub device: Vec<Device>,
    /// Threads per trial, or a list: every trial with each; default: all cores.
    #[serde(default)]
    #[schemars(length(min = 1), inner(range(min = 1, max = 4096)))]
    pub threads: Option<Vec<usize>>,
    /// Time limit of one trial, such as 10m.
    #[serde(default = "default_timeout")]
    pub timeout: Seconds,
    /// Limit on the data memory of one trial, such as 2GiB; default: none.
    #[serde(default)]
    pub memory: Option<ByteSize>,
    /// Whether every trained quantizer is saved, in the folder `models` of the run, for `cargo xtask encode` and `decode`.
    #[serde(default)]
    pub keep_models: bool,
    /// Vectors: names from the catalog, files, images, or synthetic sources.
    #[schemars(length(min = 1))]
    pub datasets: Vec<Value>,
    /// Quantizers: each a method with its parameters, and optionally `sweep` and `label`.
    #[schemars(length(min = 1))]
    pub methods: Vec<Map<String, Value>>,
    /// What to measure; default: everything, with default settings.
    #[serde(default)]
    pub measure: Option<Map<String, Value>>,
    /// What to render.
    #[serde(default)]
    pub report: ReportSettings,
}

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    #[schemars(extend("x-also-called" = ["gpu", "nvidia"]))]
    Cuda,
    /// The GPU if there is one, else the processor.
    Auto,
}

impl Device {
    /// As in YAML.
    pub fn name(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
            Device::Auto => "auto",
        }
    }
}

/// What to render.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSettings {
    /// Formats of the report.
    #[schemars(length(min = 1))]
    pub formats: Vec<ReportFormat>,
}

/// A format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReportFormat {
    /// One self-contained page.
    Html,
    /// Figures as vectors.
    Svg,
    /// Figures as pixels.
    Png,
    /// The report as text.
    Markdown,
    /// Tables for papers.
    Latex,
    /// Tables as data.
    Csv,
}

impl ReportFormat {
    /// As in YAML.
    pub fn name(self) -> &'static str {
        match self {
            ReportFormat::Html => "html",
            ReportFormat::Svg => "svg",
            ReportFormat::Png => "png",
            ReportFormat::Markdown => "markdown",
            ReportFormat::Latex => "latex",
            ReportFormat::Csv => "csv",
        }
    }
}

impl Default for ReportSettings {
    fn default() -> ReportSettings {
        use ReportFormat::*;
        ReportSettings { formats: vec![Html, Svg, Png, Markdown, Latex, Csv] }
    }
}

fn default_device() -> Vec<Device> {
    vec![Device::Cpu]
}

fn default_seeds() -> Vec<u64> {
    vec![1, 2, 3]
}

fn default_timeout() -> Seconds {
    Seconds(600.0)
}

/// The JSON schema of experiment files, assembled from the registries of methods, measurements and datasets.
pub fn schema() -> Value {
    let mut schema = Value::from(schema_of::<Experiment>());
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), json!("vqbench experiment"));
        object.insert("$comment".into(), json!("written by `cargo xtask schema`"));
    }
    let properties = &mut schema["properties"];
    let names: Vec<&str> = catalog::entries().iter().map(|e| e.name.as_str()).collect();
    properties["datasets"]["items"] = json!({ "anyOf": [
        { "enum": names, "description": "A dataset of the catalog (`cargo xtask datasets`)." },
        without_meta(schema_of::<FileSource>().into()),
        without_meta(schema_of::<ImageSource>().into()),
        without_meta(schema_of::<SyntheticSource>().into()),
    ]});
    let methods: Vec<Value> = METHODS
        .iter()
        .map(|entry| {
            let mut params = without_meta(entry.params_schema().into());
            let swept: Map<String, Value> = params["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, property)| (name.clone(), json!({ "type": "array", "items": property, "minItems": 1 })))
                .collect();
            // A required parameter may come from the sweep instead.
            if let Some(params) = params.as_object_mut() {
                params.remove("required");
            }
            json!({
                "type": "object",
                "description": format!("{}. {}.", entry.summary, entry.paper),
                "properties": {
                    entry.name: { "anyOf": [params, { "type": "null" }] },
                    "sweep": {
                        "type": "object",
                        "description": "Lists of values; one method for each combination.",
                        "properties": swept,
                        "additionalProperties": false
                    },
                    "label": { "type": "string", "description": "Name in figures and tables; {param} is replaced by its value." }
                },
                "required": [entry.name],
                "additionalProperties": false
            })
        })
        .collect();
    properties["methods"]["items"] = json!({ "anyOf": methods });
    let measures: Map<String, Value> = MEASURES
        .iter()
        .map(|entry| {
            let mut params = without_meta((entry.schema)().into());
            params["description"] = json!(entry.summary);
            (entry.name.to_owned(), json!({ "anyOf": [params, { "type": "null" }] }))
        })
        .collect();
    properties["measure"] = json!({
        "type": ["object", "null"],
        "description": "What to measure; default: everything, with default settings.",
        "properties": measures,
        "additionalProperties": false
    });
    lists::allow_single(&mut schema);
    schema
}

fn without_meta(mut schema: Value) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        object.remove("title");
    }
    schema
}
