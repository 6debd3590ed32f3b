//! Makes one document of several files: what a file includes becomes a part of it, with its positions.

use super::{Below, Document, MAX_BYTES, MAX_NODES, SourceText, ValueLocation, cost, size};
use crate::fault::Fault;
use datasets::Source;
use serde_json::Value;
use std::ops::Range;
use std::path::Path;

impl Document {
    /// Removes a key.
    pub(crate) fn remove(&mut self, key: &str) {
        if let (Value::Object(map), Below::Keys(places)) = (&mut self.value, &mut self.places.below) {
            map.shift_remove(key);
            places.remove(key);
        }
    }

    /// Takes over those keys of another document that are `wanted`. Items of `lists` stand before those that are here
    /// already, keys of `mappings` are added to those here, and everything else is taken over only where it is absent
    /// here.
    ///
    /// # Errors
    /// Both together hold too much.
    pub(crate) fn absorb(
        &mut self,
        other: Document,
        wanted: impl Fn(&str) -> bool,
        lists: &[&str],
        mappings: &[&str],
    ) -> Result<(), Fault> {
        // One byte between two texts, so that the end of one is not the start of the next.
        let shift = self.end() + 1;
        let name = other.name().to_owned();
        self.sources.extend(other.sources.into_iter().map(|s| SourceText { start: s.start + shift, ..s }));
        let (Value::Object(theirs), Below::Keys(mut their_places)) = (other.value, other.places.below) else {
            return Ok(());
        };
        if let (Value::Object(own), Below::Keys(own_places)) = (&mut self.value, &mut self.places.below) {
            for (key, value) in theirs.into_iter().filter(|(key, _)| wanted(key)) {
                let mut place = their_places.remove(&key).unwrap_or_default();
                place.shift(shift);
                let here = own_places.entry(key.clone()).or_default();
                match own.get_mut(&key) {
                    Some(mine) if lists.contains(&key.as_str()) && !mine.is_null() => {
                        let (first, second) = (as_list(value), as_list(std::mem::take(mine)));
                        let mut items = place.into_items(first.len());
                        items.extend(std::mem::take(here).into_items(second.len()));
                        *here = ValueLocation { below: Below::Items(items), ..here.clone() };
                        *mine = Value::Array(first.into_iter().chain(second).collect());
                    }
                    Some(Value::Object(mine)) if mappings.contains(&key.as_str()) && value.is_object() => {
                        let (Value::Object(value), Below::Keys(mut below)) = (value, place.below) else { continue };
                        for (inner, value) in
                            value.into_iter().filter(|(inner, _)| !mine.contains_key(inner)).collect::<Vec<_>>()
                        {
                            if let (Some(place), Below::Keys(keys)) = (below.remove(&inner), &mut here.below) {
                                keys.insert(inner.clone(), place);
                            }
                            mine.insert(inner, value);
                        }
                    }
                    Some(mine) if !mine.is_null() => {}
                    _ => {
                        *here = place;
                        own.insert(key, value);
                    }
                }
            }
        }
        let (nodes, bytes) = cost(&self.value);
        if nodes > MAX_NODES || bytes > MAX_BYTES {
            let message =
                format!("with {name}, this experiment holds more than {MAX_NODES} values or {}", size(MAX_BYTES));
            return Err(Fault::new(message, "include less, or use `sweep` instead of long lists"));
        }
        Ok(())
    }

    /// Makes the relative paths of datasets start at the folder that holds `folder`.
    pub(crate) fn rebase_datasets(&mut self, folder: &Path) {
        let datasets = self.value.get_mut("datasets");
        match datasets {
            Some(Value::Array(items)) => items.iter_mut().for_each(|item| Source::rebase(item, folder)),
            Some(item) => Source::rebase(item, folder),
            None => {}
        }
    }
}

impl ValueLocation {
    /// Moves all positions.
    fn shift(&mut self, by: usize) {
        let moved = |range: &Range<usize>| range.start + by..range.end + by;
        self.key = self.key.as_ref().map(moved);
        self.value = self.value.as_ref().map(moved);
        self.start += by;
        match &mut self.below {
            Below::Nothing => {}
            Below::Items(items) => items.iter_mut().for_each(|item| item.shift(by)),
            Below::Keys(keys) => keys.values_mut().for_each(|below| below.shift(by)),
        }
    }

    /// The locations of the items of a list of this length, which may be written as a single value or as an alias.
    fn into_items(self, length: usize) -> Vec<ValueLocation> {
        match self.below {
            Below::Items(items) if items.len() == length => items,
            _ => vec![self; length],
        }
    }
}

/// A single value is a list of one.
fn as_list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        value => vec![value],
    }
}
