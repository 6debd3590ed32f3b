//! The reference of experiment files: every key of the YAML, made from the same schemas that files are checked against.

use crate::keys::{keys, to_markdown};
use datasets::{FileSource, ImageSource, SyntheticSource, catalog};
use experiments::Experiment;
use experiments::metrics::MEASURES;
use methods::METHODS;
use methods::registry::schema_of;
use serde_json::Value;

const HEAD: &str = "# Every key of an experiment file

Written by `cargo xtask schema` from the schemas that files are checked against; `cargo xtask ci` sees to it that it is up to
date. `cargo xtask methods NAME` shows the same of one method. Where a list is meant, one value may stand alone: `k: 10` says
what `k: [10]` says. A duration is written like `30ms`, `10s`, `10m` or `2h`, a size like `512MiB` or `2GB`.
";

/// The whole page.
pub fn page() -> String {
    let list = |schema: Value| to_markdown(&keys(&schema), 0);
    let mut out = HEAD.to_owned();
    out += &format!("\n## The file\n\n{}", list(schema_of::<Experiment>().into()));
    out += "\n## `datasets`\n\nEach entry is a name of the catalog (";
    out += &catalog::entries().iter().map(|entry| format!("`{}`", entry.name)).collect::<Vec<_>>().join(", ");
    out += "; `cargo xtask datasets` tells what they are) or a mapping of one of three kinds.\n";
    for (title, schema) in [
        ("Files of vectors: `path`", schema_of::<FileSource>()),
        ("Images: `images`", schema_of::<ImageSource>()),
        ("Random sources: `synthetic`", schema_of::<SyntheticSource>()),
    ] {
        let schema = Value::from(schema);
        let meaning = schema["description"].as_str().unwrap_or("").replace('\n', " ");
        out += &format!("\n### {title}\n\n{meaning}\n\n{}", list(schema));
    }
    out += "\n## `methods`\n\nEach entry has the name of a method, with a mapping of its parameters, and may have\n\n";
    out += "- **`sweep`**: a mapping from parameters to lists of values; one method for each combination.\n";
    out += "- **`label`**: the name in figures and tables, up to 200 characters; `{m}` is replaced by the value of `m`, and\n";
    out += "  `{training.epochs}` by that of a nested parameter. Without it a method is called by its name and by what was\n";
    out += "  written that differs between the entries of that method: `pq m=8`.\n";
    for entry in METHODS {
        let schema = Value::from(entry.params_schema());
        out += &format!("\n### `{}`\n\n{}. {}.\n\n", entry.name, entry.summary, entry.paper);
        let listed = list(schema.clone());
        out += if listed.is_empty() { "" } else { &listed };
        if listed.is_empty() {
            out +=
                &format!("{}\n", schema["description"].as_str().unwrap_or("It has no parameters.").replace('\n', " "));
        }
    }
    out += "\n## `measure`\n\nEach key is a measurement with its settings; without `measure`, all are taken.\n";
    for entry in MEASURES {
        let always = if entry.always { " Taken in every trial." } else { "" };
        let listed = list((entry.schema)().into());
        out += &format!("\n### `{}`\n\n{}.{always}\n", entry.name, entry.summary);
        if !listed.is_empty() {
            out += &format!("\n{listed}");
        }
    }
    out
}
