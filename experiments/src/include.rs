//! `include`: parts of other experiment files, so that experiments share datasets, methods and defaults without copies.
//!
//! A file is read with everything that it includes, as one [`Document`] whose positions name the file that a value comes
//! from.

use crate::document::Document;
use crate::experiment::{OWN_KEYS, shareable_keys};
use crate::fault::Fault;
use serde_json::Value;
use std::path::{Path, PathBuf};
use strict::nearest_name;

/// The key.
const KEY: &str = "include";

/// Lists whose items are put together; the included ones come first.
const LISTS: [&str; 5] = ["datasets", "overrides", "methods", "pairs", "exclude"];

/// Mappings whose keys are put together; the file's own keys win.
const MAPPINGS: [&str; 3] = ["defaults", "measure", "report"];

/// Maximum number of files that are read for one experiment.
const MAX_FILES: usize = 32;

/// Reads an experiment file, which errors call `name`, with all files that it includes.
///
/// # Errors
/// Those of [`Document::read`], for each file; an `include` that is malformed, or leads back to its own file.
pub fn read(path: &Path, name: &str) -> Result<Document, Fault> {
    let document = Document::read(path, name)?;
    Reader { files: 1, chain: vec![(identity(path), name.to_owned())] }.complete(document, path)
}

/// The same for every way to write a path.
fn identity(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

struct Reader {
    /// Number of files read so far.
    files: usize,
    /// The file that is being read and those that include it, with their names.
    chain: Vec<(PathBuf, String)>,
}

/// One item of `include`.
struct Include {
    file: String,
    parts: Option<Vec<String>>,
}

impl Reader {
    /// Adds to a document what it includes.
    fn complete(&mut self, mut document: Document, path: &Path) -> Result<Document, Fault> {
        let Some(written) = document.value().get(KEY).cloned() else { return Ok(document) };
        let items = written.as_array().map_or(std::slice::from_ref(&written), Vec::as_slice);
        let includes: Vec<Include> = items
            .iter()
            .enumerate()
            .map(|(i, item)| read_item(item, &format!("/{KEY}/{i}"), &document))
            .collect::<Result<_, _>>()?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        // The last one is put first, so that all stand in the order in which they are written.
        let mut included = Vec::new();
        for (i, include) in includes.into_iter().enumerate() {
            let pointer = format!("/{KEY}/{i}");
            let other = self.included(&include, &folder, &pointer, &document)?;
            included.push((other, include));
        }
        document.remove(KEY);
        for (other, include) in included.into_iter().rev() {
            let wanted = |key: &str| match &include.parts {
                Some(parts) => parts.iter().any(|part| part == key),
                None => !OWN_KEYS.contains(&key),
            };
            document.absorb(other, wanted, &LISTS, &MAPPINGS)?;
        }
        Ok(document)
    }

    /// Reads one included file, with what it includes itself. Paths of its datasets start at `folder` afterwards.
    fn included(&mut self, include: &Include, folder: &Path, pointer: &str, by: &Document) -> Result<Document, Fault> {
        let fault = |message: String, help: &str| Fault::at(by, pointer, message, Some(help.to_owned()));
        let path = folder.join(&include.file);
        let name = match Path::new(by.name_at(pointer)).parent() {
            Some(parent) => parent.join(&include.file).display().to_string(),
            None => include.file.clone(),
        };
        let id = identity(&path);
        if let Some(at) = self.chain.iter().position(|(other, _)| *other == id) {
            let circle: Vec<&str> = self.chain[at..].iter().map(|(_, name)| name.as_str()).chain([&name[..]]).collect();
            let message = format!("files include each other in a circle: {}", circle.join(" → "));
            return Err(fault(message, "move what they share to a third file"));
        }
        self.files += 1;
        if self.files > MAX_FILES {
            let message = format!("this experiment includes more than {MAX_FILES} files");
            return Err(fault(message, "put what belongs together into one file"));
        }
        if !path.is_file() {
            let message = format!("there is no file {}", path.display());
            return Err(fault(message, "paths start at the folder of the file that names them"));
        }
        let document = Document::read(&path, &name)?;
        if !document.value().is_object() {
            let help = "an included file is a mapping with keys of an experiment, such as `datasets` or `defaults`";
            return Err(Fault::at(&document, "", "this is not a part of an experiment", Some(help.into())));
        }
        if let Some(missing) = include.parts.iter().flatten().find(|part| document.value().get(part.as_str()).is_none())
        {
            let own = document.value().as_object().into_iter().flatten().map(|(key, _)| key.as_str());
            let help =
                format!("parts of it: {}", own.filter(|key| !OWN_KEYS.contains(key)).collect::<Vec<_>>().join(", "));
            return Err(fault(format!("{name} has no `{missing}`"), &help));
        }
        self.chain.push((id, name));
        let completed = self.complete(document, &path);
        self.chain.pop();
        let mut document = completed?;
        // Including what it includes itself, whose paths start at its folder by now.
        document.rebase_datasets(Path::new(&include.file).parent().unwrap_or(Path::new("")));
        Ok(document)
    }
}

fn read_item(item: &Value, pointer: &str, document: &Document) -> Result<Include, Fault> {
    let example = "write `include: shared.yaml`, or `include: { file: shared.yaml, parts: [datasets] }`";
    let fault = |pointer: &str, message: String| Err(Fault::at(document, pointer, message, Some(example.into())));
    let map = match item {
        Value::String(file) if !file.trim().is_empty() => return Ok(Include { file: file.clone(), parts: None }),
        Value::Object(map) => map,
        _ => return fault(pointer, "`include` names no file".into()),
    };
    if let Some(key) = map.keys().find(|key| !["file", "parts"].contains(&key.as_str())) {
        let below = format!("{pointer}/{}", crate::document::escape(key));
        let help = nearest_name(key, ["file", "parts"].into_iter(), "keys here");
        let range = document.locate_key(&below);
        return Err(Fault::at_bytes(document, range, format!("unknown key `{key}`"), Some(help)));
    }
    let Some(file) = map.get("file").and_then(Value::as_str).filter(|file| !file.trim().is_empty()) else {
        return fault(pointer, "`include` names no file".into());
    };
    let Some(parts) = map.get("parts") else { return Ok(Include { file: file.to_owned(), parts: None }) };
    let known = shareable_keys();
    let mut wanted = Vec::new();
    let items = parts.as_array().map_or(std::slice::from_ref(parts), Vec::as_slice);
    for (i, part) in items.iter().enumerate() {
        let below = format!("{pointer}/parts/{i}");
        match part.as_str() {
            Some(part) if known.iter().any(|key| key == part) => wanted.push(part.to_owned()),
            Some(part) => {
                let help = nearest_name(part, known.iter().map(String::as_str), "parts");
                return Err(Fault::at(document, &below, format!("`{part}` cannot be included"), Some(help)));
            }
            None => return fault(&below, format!("{part} is not the name of a part")),
        }
    }
    if wanted.is_empty() {
        return fault(&format!("{pointer}/parts"), "`parts` is empty".into());
    }
    Ok(Include { file: file.to_owned(), parts: Some(wanted) })
}
