//! The manifest of a submission: who submits what, under which licence, and the digest of every file.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// File name of the manifest.
pub const MANIFEST: &str = "submission.json";

/// Version of the format of submissions; readers refuse newer ones.
pub const SUBMISSION_SCHEMA: u32 = 1;

/// The manifest of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the format, see [`SUBMISSION_SCHEMA`].
    pub schema: u32,
    /// The id, which is also the name of the folder.
    pub id: String,
    /// Who submits it.
    pub name: String,
    /// How to reach them, if they say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// The day of the submission, such as 2026-11-29.
    pub date: String,
    /// Licence of the files, such as `CC0-1.0`.
    pub licence: String,
    /// Name of the experiment.
    pub experiment: String,
    /// Version of vqbench that made the submission.
    pub version: String,
    /// Number of trials.
    pub trials: usize,
    /// SHA-256 of every other file by its path; of neither the manifest itself nor the verification that may follow.
    pub files: BTreeMap<String, String>,
}

/// Longest name, contact and licence, in characters.
const MAX_WORDS: usize = 200;

/// Longest id.
const MAX_ID: usize = 120;

/// Whether this is a valid id: lower-case letters, digits and single hyphens between them, so that it cannot name a file in
/// another folder.
pub fn is_submission_id(id: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    id.len() <= MAX_ID && id.split('-').all(plain)
}

/// Whether a path may stand in a manifest: plain names without `..`, separated by `/`.
pub fn is_plain_path(path: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed);
    path.len() <= 200 && path.split('/').all(plain)
}

/// A text as part of an id: lower-case letters and digits, and hyphens for everything else.
pub fn slug(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let parts: String = plain.take(60).collect();
    let parts: Vec<&str> = parts.split('-').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "unnamed".to_owned() } else { parts.join("-") }
}

impl Manifest {
    /// Reads a manifest, which may come from a stranger. `folder` is the name of the folder that it stands in.
    ///
    /// # Errors
    /// Why it is not the manifest of that folder.
    pub fn parse(bytes: &[u8], folder: &str) -> Result<Manifest, String> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let version: Version = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if version.schema > SUBMISSION_SCHEMA {
            let schema = version.schema;
            return Err(format!("it has schema {schema}; this program reads schema {SUBMISSION_SCHEMA} and older"));
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if !is_submission_id(&manifest.id) {
            return Err(format!(
                "its id {:?} is not lower-case letters and digits with single hyphens between them",
                manifest.id
            ));
        }
        if manifest.id != folder {
            return Err(format!("its id is {}, and its folder is {folder:?}", manifest.id));
        }
        check_words("name", &manifest.name)?;
        check_words("licence", &manifest.licence)?;
        manifest.contact.as_deref().map_or(Ok(()), |contact| check_words("contact", contact))?;
        if !is_date(&manifest.date) {
            return Err(format!("its date {:?} is not written like 2026-11-29", manifest.date));
        }
        if let Some(path) = manifest.files.keys().find(|path| !is_plain_path(path)) {
            return Err(format!("it lists the file {path:?}, whose path is not plain names separated by `/`"));
        }
        Ok(manifest)
    }
}

/// Refuses a text that is empty, long, or has control characters.
///
/// # Errors
/// What is wrong with it.
pub fn check_words(what: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("its {what} is empty"));
    }
    if text.chars().count() > MAX_WORDS {
        return Err(format!("its {what} has more than {MAX_WORDS} characters"));
    }
    if text.contains(char::is_control) {
        return Err(format!("its {what} {text:?} has control characters"));
    }
    Ok(())
}

/// Whether a text is a day as in 2026-11-29.
pub fn is_date(text: &str) -> bool {
    let shape = |(at, b): (usize, u8)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() };
    let part = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<u32>().ok()).unwrap_or(0);
    text.len() == 10
        && text.bytes().enumerate().all(shape)
        && (1..=12).contains(&part(5, 7))
        && (1..=31).contains(&part(8, 10))
}

/// The day of a time in seconds since 1970, by the Gregorian calendar in UTC.
pub fn date_of(seconds: u64) -> String {
    let mut days = seconds / 86_400;
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            schema: 1,
            id: "quickstart-ada-01234567".into(),
            name: "Ada".into(),
            contact: None,
            date: "2026-11-29".into(),
            licence: "CC0-1.0".into(),
            experiment: "quickstart".into(),
            version: "0.1.0".into(),
            trials: 1,
            files: [("trials/a1.json".to_owned(), "00".to_owned())].into(),
        }
    }

    fn refusal(change: impl FnOnce(&mut Manifest)) -> String {
        let mut changed = manifest();
        change(&mut changed);
        let bytes = serde_json::to_vec(&changed).expect("JSON");
        Manifest::parse(&bytes, "quickstart-ada-01234567").expect_err("refused")
    }

    #[test]
    fn hostile_manifests_are_refused_with_a_reason() {
        let bytes = serde_json::to_vec(&manifest()).expect("JSON");
        assert_eq!(Manifest::parse(&bytes, "quickstart-ada-01234567"), Ok(manifest()));
        assert!(refusal(|m| m.id = "../../etc".into()).contains("its id \"../../etc\" is not lower-case"));
        assert!(refusal(|m| m.id = "other".into()).contains("its id is other, and its folder is"));
        assert!(refusal(|m| m.name = " ".into()).contains("its name is empty"));
        assert!(refusal(|m| m.name = "x".repeat(201)).contains("more than 200 characters"));
        assert!(refusal(|m| m.contact = Some("a\u{1b}[31m".into())).contains("control characters"));
        assert!(refusal(|m| m.date = "today".into()).contains("is not written like"));
        assert!(refusal(|m| m.schema = 2).contains("it has schema 2"));
        for path in ["../x", "/etc/passwd", "a//b", "trials/..", "C:\\x", "", ".git/config"] {
            let text = refusal(|m| m.files = [(path.to_owned(), String::new())].into());
            assert!(text.contains("whose path is not plain names"), "{path}: {text}");
        }
        assert!(Manifest::parse(b"[]", "x").is_err());
    }

    #[test]
    fn ids_slugs_and_dates() {
        for (id, valid) in [("a-b1", true), ("a", true), ("", false), ("-a", false), ("a--b", false), ("A", false)] {
            assert_eq!(is_submission_id(id), valid, "{id}");
        }
        assert_eq!(
            (slug("Ada <b>Lovelace</b>"), slug("..//"), slug("Ünï")),
            ("ada-b-lovelace-b".into(), "unnamed".into(), "n".into())
        );
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_795_910_400, "2026-11-29"),
            (4_102_444_799, "2099-12-31"),
        ] {
            assert_eq!(date_of(seconds), day);
            assert!(is_date(day));
        }
        assert!(!is_date("2026-13-01") && !is_date("2026-11-29x") && !is_date("26-11-29"));
    }
}
