//! The reference of experiment files: every key of the YAML, from the schemas that files are checked against.

mod keys;

pub use keys::{SchemaKey, keys, to_markdown, to_text};

use crate::experiment::Experiment;
use crate::metrics::MEASURES;
use datasets::{FileSource, ImageSource, SoundSource, SyntheticSource, catalog};
use methods::registry::entries;
use methods::registry::schema_of;
use serde_json::Value;

const HEAD: &str = "# Every key of an experiment file

This page is generated: `cargo xtask schema` writes it from the schemas that check experiment files, and `cargo xtask ci` fails if it is
out of date. `cargo xtask methods NAME` shows the same for one method. METHODOLOGY.md has a glossary.

A list of one item may be written without brackets: `k: 10` means `k: [10]`. Durations are written like `30ms`, `10s`, `10m` or `2h`,
sizes like `512MiB` or `2GB`.
";

/// The whole page.
pub fn page() -> String {
    let list = |schema: Value| to_markdown(&keys(&schema), 0);
    let mut out = HEAD.to_owned();
    out += &format!("\n## The file\n\n{}", list(schema_of::<Experiment>().into()));
    out += "\nExperiments that share datasets and settings can keep them in one file, `shared.yaml`:\n\n```yaml\n\
            datasets: [wordnet-minilm-384]\nseeds: [1, 2, 3]\ndefaults: { training: { epochs: 30 }, encoder: { mlp: {} } }\n```\n\n\
            ```yaml\nname: tokenizers\ninclude: shared.yaml\nmethods:\n  - fsq: { groups: 8 }        # 30 epochs, MLP\n  \
            - vqvae: { groups: 8, training: { epochs: 60 } }\nexclude:\n  \
            - when: { method: vqvae, seed: 3 }\n    reason: two seeds are enough to see that it is slower\n```\n";
    out += "\n## `datasets`\n\nEach entry is a name of the catalog (";
    out += &catalog::entries().iter().map(|entry| format!("`{}`", entry.name)).collect::<Vec<_>>().join(", ");
    out += "; `cargo xtask datasets` describes them, and `cargo xtask datasets fetch NAME` fetches public ones). Of the large ones, the first \
            rows are datasets too: `bigann-10m` is the first ten million rows of `bigann`, and `deep1b-500k` the first 500,000 of `deep1b`. \
            Or it is a mapping of one of the four kinds below.\n";
    for (title, schema) in [
        ("Files of vectors: `path`", schema_of::<FileSource>()),
        ("Images: `images`", schema_of::<ImageSource>()),
        ("Recordings: `wav`", schema_of::<SoundSource>()),
        ("Random sources: `synthetic`", schema_of::<SyntheticSource>()),
    ] {
        let schema = Value::from(schema);
        let meaning = schema["description"].as_str().unwrap_or("").replace('\n', " ");
        out += &format!("\n### {title}\n\n{meaning}\n\n{}", list(schema));
    }
    out += "\n## `methods`\n\nEach entry is the name of a method with a mapping of its parameters. More keys are optional:\n\n";
    out += "- **`sweep`**: a mapping from parameters to lists of values. Every combination becomes a method of its own. A range\n  \
         stands for a list: `{ from: 1, to: 8 }`, with `step: 2` to add more than 1 or `factor: 2` to multiply.\n";
    out += "- **`zip`**: a mapping from parameters to lists of equal length, which advance together:\n  \
         `zip: { m: [4, 8], bits: [8, 4] }` is m=4 with 8 bits, then m=8 with 4 bits. With a `sweep` of other parameters, each\n  \
         of these is combined with each combination of the sweep.\n";
    out += "- **`at_bits`**: rates in bits per vector, such as `[32, 64, 128]`. For each rate, and for the dimension of each dataset,\n  \
         vqbench finds the value of one parameter that meets the rate exactly. The table below says which parameter. All\n  \
         others are as written or have their defaults. If no value meets the rate, the method is left out at this rate. The\n  \
         dry run and the report say what was found, and what was left out, with the reason and the nearest possible rate.\n";
    out += "- **`label`**: the name in figures and tables, at most 200 characters. `{m}` is replaced by the value of `m`, and\n";
    out += "  `{training.epochs}` by that of a nested parameter. Without a label, the name consists of the method and those\n";
    out += "  written parameters that differ between its entries: `pq m=8`.\n";
    out += "\nThe parameter that `at_bits` finds is the first in this table that the entry does not give:\n\n| method | parameters |\n|--|--|\n";
    for entry in entries() {
        let names: Vec<String> = entry.rate_params.iter().map(|param| format!("`{}`", param.name)).collect();
        let names = if names.is_empty() { "none: it has one rate".to_owned() } else { names.join(", ") };
        out += &format!("| `{}` | {names} |\n", entry.name);
    }
    for entry in entries() {
        let schema = Value::from(entry.params_schema());
        let family = entry.family.map_or_else(String::new, |family| format!(" Family: {}.", family.name()));
        out += &format!("\n### `{}`\n\n{}.{family} {}.\n\n", entry.name, entry.summary, entry.paper);
        let listed = list(schema.clone());
        out += if listed.is_empty() { "" } else { &listed };
        if listed.is_empty() {
            out +=
                &format!("{}\n", schema["description"].as_str().unwrap_or("It has no parameters.").replace('\n', " "));
        }
    }
    out += "\n## `measure`\n\nEach key is a measurement with its settings. Without `measure`, vqbench takes all of them.\n";
    for entry in MEASURES {
        let always = if entry.always { " Always taken." } else { "" };
        let listed = list((entry.schema)().into());
        out += &format!("\n### `{}`\n\n{}.{always}\n", entry.name, entry.summary);
        if !listed.is_empty() {
            out += &format!("\n{listed}");
        }
    }
    out
}
