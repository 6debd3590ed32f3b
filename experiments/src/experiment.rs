//! The experiment file as types and as a JSON schema.

use crate::executor_choice::ExecutorChoice;
use crate::metrics::MEASURES;
use crate::units::{ByteSize, Seconds};
use datasets::{FileSource, ImageSource, SoundSource, SyntheticSource, catalog};
use methods::registry::entries;
use methods::registry::schema_of;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use strict::lists;

/// An experiment file. The registries read its datasets, methods and measurements.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Name of the experiment and of its run folder. It consists of letters, digits, `-`, `_` and `.`.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub name: String,
    /// Two or three sentences that say what to look for in the figures. They open the report.
    #[serde(default)]
    pub analysis: String,
    /// Other experiment files whose keys this one takes over, by paths that start at its folder: `shared.yaml`, or
    /// `{ file: shared.yaml, parts: [datasets, measure] }` for some keys only. Items of `datasets`,
    /// `overrides`, `methods`, `pairs` and `exclude` stand before those of this file; of `defaults`, `measure` and `report`, single keys are taken over;
    /// everything else is taken over where this file does not give it. `name` and `analysis` never are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<Value>,
    /// Seeds of the random choices in training. Every method is trained once for each seed; reports show the mean over
    /// seeds with a 95% interval. Give more seeds for narrower intervals; with one seed there is no interval. Splits
    /// and random sources of data have seeds of their own.
    #[serde(default = "default_seeds")]
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub seeds: Vec<u64>,
    /// Devices to run on. With a list, every trial runs on each of them.
    #[serde(default = "default_device")]
    #[schemars(length(min = 1))]
    pub device: Vec<DeviceChoice>,
    /// Threads per trial. With a list, every trial runs with each number. Default: one thread per core.
    #[serde(default)]
    #[schemars(length(min = 1), inner(range(min = 1, max = 4096)))]
    pub threads: Option<Vec<usize>>,
    /// Time limit of one trial, such as `10m`. A trial that exceeds it is recorded as a timeout.
    #[serde(default = "default_timeout")]
    pub timeout: Seconds,
    /// Time for the whole run, such as `30m`, over all calls that continue it. All trials of the first seed come first; more
    /// seeds go where the interval of the main quality metric is widest relative to its mean. When the time is used up, no
    /// further trial starts, and the report lists what was left out. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Seconds>,
    /// Memory limit of every process of the run, such as `2GiB`. Base rows that do not fit are read in blocks, which changes no
    /// figure. Training rows and codes must fit; `split: { train: … }` limits the former. Default: none; then base
    /// rows are read in blocks if they do not fit into half of the machine's memory.
    #[serde(default)]
    pub memory: Option<ByteSize>,
    /// Who carries out the trials, such as `{ slurm: { partition: main, constraint: icelake } }`. docs/executors.md shows how.
    /// Default: this machine.
    #[serde(default, skip_serializing_if = "ExecutorChoice::is_here")]
    pub executor: ExecutorChoice,
    /// Saves every trained quantizer in the folder `models` of the run, for `cargo xtask encode` and `decode`.
    #[serde(default)]
    pub keep_models: bool,
    /// Where the vectors come from: names of the catalog (`cargo xtask datasets`), files, images, recordings, or random sources.
    #[schemars(length(min = 1))]
    pub datasets: Vec<Value>,
    /// Parameters that methods share: every method that has such a parameter and does not give it takes it from here. Of a
    /// mapping such as `training`, each key counts on its own.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub defaults: Map<String, Value>,
    /// Parameters for some datasets only, instead of those that `methods` and `defaults` give, such as
    /// `{ dataset: digits-64, methods: { pq: { m: 8 } } }`. `dataset` may be a list. `parameters` in place of `methods`
    /// gives parameters to every method that has them. Where several items give the same parameter for a dataset, the
    /// last one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<DatasetOverride>,
    /// The quantizers: each entry is a method with its parameters, and optionally `sweep`, `zip`, `at_bits` and `label`.
    #[schemars(length(min = 1))]
    pub methods: Vec<Map<String, Value>>,
    /// Pairs of methods that compute in turn, so that both are timed under the same conditions, such as
    /// `{ ours: "PQ m=16", theirs: "FAISS PQ16x8" }`. Their trials of equal dataset, device, threads and seed run at the same
    /// time, and only one of them computes: the turn changes after loading, after training, after encoding, and before each
    /// repeat of a timing. A method can be in one pair only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<MethodPair>,
    /// Trials to leave out on purpose, each with the reason. The dry run and the report list them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Exclusion>,
    /// What to measure. Default: everything but `linear_probe`, with default settings.
    #[serde(default)]
    pub measure: Option<Map<String, Value>>,
    /// What the report contains.
    #[serde(default)]
    pub report: ReportSettings,
}

/// Parameters for some datasets only.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetOverride {
    /// Names of the datasets.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub dataset: Vec<String>,
    /// Parameters of every method that has them, such as `{ training: { epochs: 5 } }`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// Parameters of single methods, such as `{ pq: { m: 8 } }`. They count before `parameters`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub methods: Map<String, Value>,
}

/// Two methods that compute in turn.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MethodPair {
    /// Name in the table of pairs. Default: the label of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub name: Option<String>,
    /// Label of the method that is judged. A template such as `"PQ m={m}"` stands for all methods of its entry, which are
    /// paired in order.
    pub ours: String,
    /// Label of the method that it is compared with, or a template that stands for as many methods.
    pub theirs: String,
    /// What ours must reach on every dataset, by metric, such as `{ encode_vectors_per_second: { ratio: 2 } }`. If it
    /// misses an aim, `cargo xtask experiments` says so and ends with code 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aims: BTreeMap<String, PairAim>,
}

/// How good ours must be, compared with theirs: one of `ratio` and `difference`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairAim {
    /// How many times as good ours must be at least: ours / theirs where more is better, theirs / ours where less is better. 1 means
    /// as good, 2 twice as good. With 0.995, an error may be 1 / 0.995 times theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// How much better ours must be at least, in the unit of the metric: ours − theirs where more is better, theirs − ours where
    /// less is better. With −0.01, a recall may be 0.01 lower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
    /// Number of neighbours, for a metric of searches. Default: 10 if it was measured, otherwise the largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub k: Option<usize>,
}

/// Trials to leave out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// What the trials have in common, such as `{ method: pq, m: 16 }`: values of `dataset`, `method`, `label`, `device`,
    /// `threads` or `seed`, or of parameters of the method (`training.epochs` for a nested one). A trial is left out if
    /// all of them hold. A list accepts any of its values.
    pub when: Map<String, Value>,
    /// Why they are left out.
    #[schemars(length(min = 1))]
    pub reason: String,
}

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU.
    #[schemars(extend("x-also-called" = ["gpu", "nvidia"]))]
    Cuda,
    /// The GPU if there is one, otherwise the CPU.
    Auto,
}

impl DeviceChoice {
    /// As in YAML.
    pub fn name(self) -> &'static str {
        match self {
            DeviceChoice::Cpu => "cpu",
            DeviceChoice::Cuda => "cuda",
            DeviceChoice::Auto => "auto",
        }
    }
}

/// What the report contains.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSettings {
    /// File formats to write. Fewer formats render faster.
    #[schemars(length(min = 1))]
    pub formats: Vec<ReportFormat>,
}

/// A format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReportFormat {
    /// The report as one self-contained page.
    Html,
    /// Figures as vector graphics.
    Svg,
    /// Figures as bitmaps.
    Png,
    /// Figures as PDF, with their fonts, for papers.
    Pdf,
    /// The report as Markdown.
    Markdown,
    /// Tables for papers.
    Latex,
    /// Tables as data.
    Csv,
    /// The values of gated metrics for Bencher, which tracks them over time.
    Bencher,
    /// The values of gated metrics for github-action-benchmark, in two files: smaller and bigger is better.
    BenchmarkAction,
}

impl ReportFormat {
    /// As in YAML.
    pub fn name(self) -> &'static str {
        match self {
            ReportFormat::Html => "html",
            ReportFormat::Svg => "svg",
            ReportFormat::Png => "png",
            ReportFormat::Pdf => "pdf",
            ReportFormat::Markdown => "markdown",
            ReportFormat::Latex => "latex",
            ReportFormat::Csv => "csv",
            ReportFormat::Bencher => "bencher",
            ReportFormat::BenchmarkAction => "benchmark-action",
        }
    }
}

impl Default for ReportSettings {
    fn default() -> ReportSettings {
        use ReportFormat::*;
        ReportSettings { formats: vec![Html, Svg, Png, Pdf, Markdown, Latex, Csv] }
    }
}

fn default_device() -> Vec<DeviceChoice> {
    vec![DeviceChoice::Cpu]
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
        // Datasets and methods may come from an included file.
        object.insert("required".into(), json!(["name"]));
        object.insert("anyOf".into(), json!([{ "required": ["datasets", "methods"] }, { "required": ["include"] }]));
    }
    let properties = &mut schema["properties"];
    let names: Vec<&str> = catalog::entries().iter().map(|e| e.name.as_str()).collect();
    let large: Vec<&str> = catalog::entries().iter().filter(|e| e.can_be_cut()).map(|e| e.name.as_str()).collect();
    properties["datasets"]["items"] = json!({ "anyOf": [
        { "enum": names, "description": "A dataset of the catalog (`cargo xtask datasets`)." },
        {
            "type": "string",
            "pattern": format!("^({})-[0-9]+[kmb]?$", large.join("|")),
            "description": "The first rows of a large dataset of the catalog: bigann-10m has ten million.",
        },
        without_meta(schema_of::<FileSource>().into()),
        without_meta(schema_of::<ImageSource>().into()),
        without_meta(schema_of::<SoundSource>().into()),
        without_meta(schema_of::<SyntheticSource>().into()),
    ]});
    let methods: Vec<Value> = entries()
        .map(|entry| {
            let mut params = without_meta(entry.params_schema().into());
            let swept: Map<String, Value> = params["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, property)| {
                    let list = json!({ "type": "array", "items": property, "minItems": 1 });
                    (name.clone(), json!({ "anyOf": [list, { "$ref": "#/$defs/range" }] }))
                })
                .collect();
            let params_are_open = params["additionalProperties"] != json!(false);
            // A required parameter may come from a list instead.
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
                        "description": "Lists or ranges of parameter values. Every combination becomes a method of its own.",
                        "properties": swept,
                        // A program has parameters of its own.
                        "additionalProperties": entry.is_program() && params_are_open
                    },
                    "at_bits": { "$ref": "#/$defs/at_bits" },
                    "label": { "type": "string", "description": "Name in figures and tables. {param} is replaced by the value of that parameter." }
                },
                "required": [entry.name],
                "additionalProperties": false
            })
        })
        .collect();
    properties["methods"]["items"] = json!({ "anyOf": methods });
    properties["include"]["items"] = json!({ "anyOf": [
        { "type": "string", "description": "Path of a file; every key of it that can be included is." },
        {
            "type": "object",
            "properties": {
                "file": { "type": "string", "description": "Path of the file." },
                "parts": { "type": "array", "items": { "enum": shareable_keys() }, "minItems": 1, "description": "The keys to take over." }
            },
            "required": ["file", "parts"],
            "additionalProperties": false
        }
    ]});
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
        "description": "What to measure. Default: everything but `linear_probe`, with default settings.",
        "properties": measures,
        "additionalProperties": false
    });
    lists::allow_single(&mut schema);
    refer_to_parameters(&mut schema);
    // Defined once, since every parameter of every method can be swept over a range.
    schema["$defs"]["range"] = json!({
        "type": "object",
        "description": "The values from `from` to `to`, by adding `step` (1 by default) or multiplying by `factor`.",
        "properties": {
            "from": { "type": "number" },
            "to": { "type": "number" },
            "step": { "type": "number", "exclusiveMinimum": 0 },
            "factor": { "type": "number", "exclusiveMinimum": 1 }
        },
        "required": ["from", "to"],
        "additionalProperties": false
    });
    schema["$defs"]["at_bits"] = json!({
        "description": "Rates in bits per vector. For each of them, the parameters of the method are found that meet it exactly.",
        "anyOf": [
            { "type": "array", "items": { "type": "integer", "minimum": 1 }, "minItems": 1, "uniqueItems": true },
            { "type": "integer", "minimum": 1 },
            { "$ref": "#/$defs/range" }
        ]
    });
    schema
}

/// The keys that no experiment takes from another file: they say what an experiment is.
pub(crate) const OWN_KEYS: [&str; 3] = ["name", "analysis", "include"];

/// The keys that an experiment may take from another file.
pub(crate) fn shareable_keys() -> Vec<String> {
    let schema = schema_of::<Experiment>();
    let properties = schema.get("properties").and_then(Value::as_object);
    let keys = properties.into_iter().flatten().map(|(key, _)| key.clone());
    keys.filter(|key| !OWN_KEYS.contains(&key.as_str())).collect()
}

/// The entries of methods in the schema.
const ENTRIES: &str = "/properties/methods/anyOf/0/items/anyOf";

/// Adds `zip` to the entries of methods, and the keys of `defaults` and `overrides`. All take the parameters of methods,
/// whose schemas are referred to instead of repeated.
fn refer_to_parameters(schema: &mut Value) {
    let mut defaults: Map<String, Value> = Map::new();
    let mut methods: Map<String, Value> = Map::new();
    for (i, method) in entries().enumerate() {
        let place = format!("{ENTRIES}/{i}/properties");
        let form = format!("{place}/{}/anyOf/0", method.name);
        methods.insert(method.name.to_owned(), json!({ "$ref": format!("#{form}") }));
        let params = format!("{form}/properties");
        for (name, property) in schema.pointer(&params).and_then(Value::as_object).into_iter().flatten() {
            let forms = defaults.entry(name.clone()).or_insert_with(|| json!({ "anyOf": [] }));
            let same = |form: &Value| {
                let target = form["$ref"].as_str().and_then(|target| schema.pointer(target.trim_start_matches('#')));
                target == Some(property)
            };
            // One that differs between methods takes the values of any of them.
            if let Some(forms) = forms["anyOf"].as_array_mut().filter(|forms| !forms.iter().any(same)) {
                forms.push(json!({ "$ref": format!("#{params}/{name}") }));
            }
        }
        if let Some(entry) = schema.pointer_mut(&place) {
            entry["zip"] = json!({
                "description": "Lists or ranges of equal length, which advance together: the first values are one method, the second values the next.",
                "$ref": format!("#{place}/sweep"),
            });
        }
    }
    let keys = [("/properties/defaults", defaults.clone())];
    let below = "/$defs/DatasetOverride/properties";
    let overridden = [(format!("{below}/parameters"), defaults), (format!("{below}/methods"), methods)];
    for (place, properties) in keys.map(|(place, keys)| (place.to_owned(), keys)).into_iter().chain(overridden) {
        if let Some(mapping) = schema.pointer_mut(&place) {
            mapping["properties"] = Value::Object(properties);
            mapping["additionalProperties"] = json!(false);
        }
    }
}

fn without_meta(mut schema: Value) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        object.remove("title");
    }
    schema
}
