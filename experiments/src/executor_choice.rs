//! Who carries out the trials of an experiment, as its file says it.

use crate::units::{ByteSize, Seconds};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt;

/// Who carries out the trials.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ExecutorChoice {
    /// This machine.
    #[default]
    Here,
    /// Anybody: the tasks are written to a file, one command a line.
    Tasks(TaskSettings),
    /// Slurm.
    Slurm(SlurmSettings),
}

/// The names.
const HERE: &str = "here";
const TASKS: &str = "tasks";
const SLURM: &str = "slurm";

/// How trials are grouped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TaskSettings {
    /// Estimated time of a task: trials are grouped until they take that long. Longer tasks start less often, shorter ones
    /// spread better.
    pub task_time: Seconds,
}

/// How tasks are submitted to Slurm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlurmSettings {
    /// Partition of all tasks. Default: that of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Account that pays. Default: that of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Quality of service. Default: that of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// Time limit of a task, such as `2h`; it must exceed the time of the longest trial. When a task reaches it, the trials that
    /// are left are submitted again. Default: that of the partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Seconds>,
    /// Memory of a task that shares its node, such as `16GiB`. Default: by the estimates of its trials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Generic resources of tasks that run on a GPU.
    pub gres: String,
    /// Feature of the nodes that all tasks run on, such as `icelake`. Times are compared only between machines of one class, so
    /// give it where nodes differ and something is timed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// Most tasks of an array that run at a time. A large run has several arrays.
    #[schemars(range(min = 1))]
    pub at_most: usize,
    /// Lines of shell that run before each task, such as `module load gcc`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<String>,
    /// A trial is given up after this many tasks that left no record at all.
    #[schemars(range(min = 1))]
    pub tries: usize,
    /// Estimated time of a task: trials are grouped until they take that long.
    pub task_time: Seconds,
}

/// Ten minutes: an allocation takes seconds to minutes.
const TASK_TIME: Seconds = Seconds(600.0);

impl Default for TaskSettings {
    fn default() -> TaskSettings {
        TaskSettings { task_time: TASK_TIME }
    }
}

impl Default for SlurmSettings {
    fn default() -> SlurmSettings {
        SlurmSettings {
            partition: None,
            account: None,
            qos: None,
            time: None,
            memory: None,
            gres: "gpu:1".to_owned(),
            constraint: None,
            at_most: 64,
            setup: Vec::new(),
            tries: 3,
            task_time: TASK_TIME,
        }
    }
}

impl ExecutorChoice {
    /// Whether it is this machine.
    pub fn is_here(&self) -> bool {
        *self == ExecutorChoice::Here
    }

    /// The choice that a name stands for, with default settings.
    ///
    /// # Errors
    /// An unknown name.
    pub fn named(name: &str) -> Result<ExecutorChoice, String> {
        match name {
            HERE => Ok(ExecutorChoice::Here),
            TASKS => Ok(ExecutorChoice::Tasks(TaskSettings::default())),
            SLURM => Ok(ExecutorChoice::Slurm(SlurmSettings::default())),
            _ => Err(format!(
                "unknown executor `{name}`; use {HERE}, {TASKS} or {SLURM}; `{TASKS}` writes commands for any other scheduler"
            )),
        }
    }

    /// This choice in place of the one that an experiment has written, whose settings count if it is the same executor.
    pub(crate) fn instead_of(&self, written: &ExecutorChoice) -> ExecutorChoice {
        let same = std::mem::discriminant(self) == std::mem::discriminant(written);
        if same { written.clone() } else { self.clone() }
    }
}

impl Serialize for ExecutorChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ExecutorChoice::Here => serializer.serialize_str(HERE),
            ExecutorChoice::Tasks(settings) => json!({ TASKS: settings }).serialize(serializer),
            ExecutorChoice::Slurm(settings) => json!({ SLURM: settings }).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ExecutorChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChoiceVisitor)
    }
}

/// Reads a name, or a mapping from a name to settings. Errors in the settings keep their place.
struct ChoiceVisitor;

impl<'de> Visitor<'de> for ChoiceVisitor {
    type Value = ExecutorChoice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{HERE}`, `{TASKS}`, `{SLURM}`, or settings such as `{{ {SLURM}: {{ partition: main }} }}`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<ExecutorChoice, E> {
        ExecutorChoice::named(name).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ExecutorChoice, A::Error> {
        let Some(name) = map.next_key::<String>()? else {
            return Err(A::Error::custom(format!("no executor is named; use {HERE}, {TASKS} or {SLURM}")));
        };
        let choice = match name.as_str() {
            TASKS => ExecutorChoice::Tasks(map.next_value::<Option<TaskSettings>>()?.unwrap_or_default()),
            SLURM => ExecutorChoice::Slurm(map.next_value::<Option<SlurmSettings>>()?.unwrap_or_default()),
            HERE => return Err(A::Error::custom(format!("`{HERE}` has no settings; write `executor: {HERE}`"))),
            name => return ExecutorChoice::named(name).map_err(A::Error::custom),
        };
        match map.next_key::<String>()? {
            Some(second) => Err(A::Error::custom(format!("two executors, `{name}` and `{second}`; name one"))),
            None => Ok(choice),
        }
    }
}

impl JsonSchema for ExecutorChoice {
    fn schema_name() -> Cow<'static, str> {
        "Executor".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let named = |name: &str, meaning: &str| json!({ "const": name, "description": meaning });
        let with = |name: &str, settings: Schema, meaning: &str| {
            let properties: Map<String, Value> = [(name.to_owned(), settings.into())].into_iter().collect();
            json!({
                "type": "object", "properties": properties, "required": [name], "additionalProperties": false,
                "description": meaning,
            })
        };
        json_schema!({ "oneOf": [
            named(HERE, "This machine."),
            named(TASKS, "Whoever runs the commands that are written to a file."),
            named(SLURM, "A cluster with Slurm, with the defaults of the cluster."),
            with(TASKS, generator.subschema_for::<TaskSettings>(), "`tasks` with settings."),
            with(SLURM, generator.subschema_for::<SlurmSettings>(), "`slurm` with settings."),
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_its_defaults_and_settings_come_back() {
        let read = |value: Value| serde_json::from_value::<ExecutorChoice>(value).map_err(|error| error.to_string());
        assert_eq!(read(json!("here")), Ok(ExecutorChoice::Here));
        assert_eq!(read(json!("slurm")), Ok(ExecutorChoice::Slurm(SlurmSettings::default())));
        let written =
            json!({ "slurm": { "partition": "gpu", "time": "2h", "at_most": 8, "setup": ["module load gcc"] } });
        let choice = read(written).expect("an executor");
        assert_eq!(read(json!(choice)), Ok(choice.clone()));
        let ExecutorChoice::Slurm(settings) = &choice else { unreachable!("{choice:?}") };
        assert_eq!((settings.partition.as_deref(), settings.at_most, settings.tries), (Some("gpu"), 8, 3));
        let named = |name: &str| ExecutorChoice::named(name).expect("an executor");
        assert_eq!(named("slurm").instead_of(&choice), choice, "the settings of the experiment count");
        assert_eq!(named("here").instead_of(&choice), ExecutorChoice::Here);
        for (bad, words) in [
            (json!("pbs"), "unknown executor `pbs`"),
            (json!({ "slurm": { "partion": "gpu" } }), "partion"),
            (json!({ "slurm": {}, "tasks": {} }), "two executors"),
            (json!({ "here": {} }), "has no settings"),
            (json!({}), "no executor is named"),
            (json!(3), "expected `here`, `tasks`, `slurm`"),
        ] {
            let error = read(bad).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }
}
