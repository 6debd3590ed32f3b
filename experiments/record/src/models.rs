//! The index of saved models: their file names are hashes, which do not tell a reader what a file contains.
//!
//! For each file in the folder, `models/index.json` lists the trial whose quantizer the file contains: dataset, method,
//! parameters, label, seed and rate.

use crate::store::{read_json, write_json};
use crate::{RecordError, RunFolder, Trial, is_regular};
use std::collections::BTreeMap;

impl RunFolder {
    /// Writes the index of the existing models, from `trials` and from an earlier index. Writes nothing if there are no
    /// models.
    ///
    /// # Errors
    /// A system error.
    pub fn save_model_index(&self, trials: &[Trial]) -> Result<(), RecordError> {
        let folder = self.root().join("models");
        if !folder.is_dir() {
            return Ok(());
        }
        let path = folder.join("index.json");
        // An index that cannot be read is replaced.
        let mut index: BTreeMap<String, Trial> = read_json(&path).unwrap_or_default();
        let named = |trial: &Trial| Some((self.model_file(&trial.id).file_name()?.to_str()?.to_owned(), trial.clone()));
        index.extend(trials.iter().filter_map(named));
        index.retain(|file, trial| named(trial).is_some_and(|(own, _)| own == *file) && is_regular(&folder.join(file)));
        write_json(&path, &index)
    }
}

#[cfg(test)]
mod tests {
    use crate::RunFolder;
    use crate::store::tests::record;
    use std::collections::BTreeMap;
    use std::fs;

    #[test]
    fn every_kept_model_is_named_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::new(dir.path());
        let trials = ["a1", "b2", "c3"].map(|id| record(id).trial);
        folder.save_model_index(&trials).expect("nothing to do");
        assert!(!dir.path().join("models").exists());
        fs::create_dir(dir.path().join("models")).expect("a folder");
        let keep = |id: &str| fs::write(folder.model_file(id), "a model").expect("writes");
        let index = || {
            let text = fs::read_to_string(dir.path().join("models/index.json")).expect("an index");
            serde_json::from_str::<BTreeMap<String, serde_json::Value>>(&text).expect("JSON")
        };
        let files = || index().into_keys().collect::<Vec<_>>();
        keep("a1");
        keep("b2");
        folder.save_model_index(&trials).expect("writes");
        assert_eq!(files(), ["a1.vqb", "b2.vqb"], "c3 has not been kept");
        assert_eq!(index()["a1.vqb"]["method"], "m");
        // Another experiment in the same folder: models that still exist stay in the index.
        fs::remove_file(folder.model_file("a1")).expect("removes");
        keep("c3");
        folder.save_model_index(&trials[2..]).expect("writes");
        assert_eq!(files(), ["b2.vqb", "c3.vqb"]);
        fs::write(dir.path().join("models/index.json"), "{\"half").expect("writes");
        folder.save_model_index(&trials).expect("writes");
        assert_eq!(files(), ["b2.vqb", "c3.vqb"]);
    }
}
