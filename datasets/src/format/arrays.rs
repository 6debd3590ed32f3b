//! Chooses the array of a file that holds several named ones.

use super::quote::{self, MOST_DIMENSIONS};

/// An array in a file.
pub struct NamedArray {
    pub name: String,
    pub shape: Vec<u64>,
    /// The type of its values, as the format calls it.
    pub kind: String,
    /// Why it cannot be read, if that is known.
    pub unreadable: Option<String>,
}

/// Maximum number of arrays that a message lists.
const MOST_LISTED: usize = 12;

/// The array that `wanted` names; or the only two-dimensional one; or the only one.
///
/// # Errors
/// No such array, or several and none named. The message lists them.
pub fn choose<'a>(arrays: &'a [NamedArray], wanted: Option<&str>) -> Result<&'a NamedArray, String> {
    let readable: Vec<&NamedArray> = arrays.iter().filter(|array| array.unreadable.is_none()).collect();
    let rows: Vec<&NamedArray> = readable.iter().copied().filter(|array| array.shape.len() == 2).collect();
    match (wanted, &rows[..], &readable[..]) {
        (Some(name), _, _) => arrays.iter().find(|array| array.name == name).ok_or_else(|| {
            let near = strict::nearest(name, readable.iter().map(|array| array.name.as_str()));
            let near = near.map_or_else(String::new, |name| format!("; did you mean #{}?", quote::name(name)));
            format!("it has no array `{}`; {}{near}", quote::name(name), listed(arrays))
        }),
        (None, &[only], _) | (None, [], &[only]) => Ok(only),
        (None, _, []) => Err(listed(arrays)),
        (None, _, _) => Err(format!("{}; write one of them after its name", listed(arrays))),
    }
}

fn listed(arrays: &[NamedArray]) -> String {
    if arrays.is_empty() {
        return "it holds no array".to_owned();
    }
    let one = |array: &&NamedArray| {
        let name = quote::name(&array.name);
        if let Some(reason) = &array.unreadable {
            return format!("#{name} (not readable: {})", quote::name(reason));
        }
        let shape: Vec<String> = array.shape.iter().map(u64::to_string).collect();
        let shape = match shape.get(..MOST_DIMENSIONS) {
            Some(first) => format!("{}×…", first.join("×")),
            None if shape.is_empty() => "one value".to_owned(),
            None => shape.join("×"),
        };
        format!("#{name} ({shape}, {})", quote::name(&array.kind))
    };
    let (readable, unreadable): (Vec<&NamedArray>, Vec<&NamedArray>) =
        arrays.iter().partition(|array| array.unreadable.is_none());
    let named: Vec<String> = readable.iter().chain(&unreadable).take(MOST_LISTED).map(one).collect();
    let more = arrays.len().saturating_sub(MOST_LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("its arrays are {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(name: &str, shape: &[u64]) -> NamedArray {
        NamedArray { name: name.into(), shape: shape.into(), kind: "F32".into(), unreadable: None }
    }

    #[test]
    fn an_array_is_found_by_name_or_because_it_alone_has_rows() {
        let arrays = [array("x", &[4, 2]), array("y", &[4]), array("z", &[4, 2])];
        let name = |arrays: &[NamedArray], wanted| choose(arrays, wanted).map(|found| found.name.clone());
        assert_eq!(name(&arrays[..2], None).as_deref(), Ok("x"));
        assert_eq!(name(&arrays[1..2], None).as_deref(), Ok("y"));
        assert_eq!(name(&arrays, Some("z")).as_deref(), Ok("z"));
        let reason = |arrays: &[NamedArray], wanted| name(arrays, wanted).expect_err("refused");
        assert_eq!(
            reason(&arrays, None),
            "its arrays are #x (4×2, F32), #y (4, F32), #z (4×2, F32); write one of them after its name"
        );
        assert_eq!(reason(&[], None), "it holds no array");
        let words = [array("embedding", &[4, 2]), array("one", &[])];
        assert_eq!(
            reason(&words, Some("embeding")),
            "it has no array `embeding`; its arrays are #embedding (4×2, F32), #one (one value, F32); did you mean \
             #embedding?"
        );
        let objects = || NamedArray { unreadable: Some("its values have no fixed size".into()), ..array("o", &[4, 2]) };
        assert_eq!(name(&[objects(), array("x", &[4, 2])], None).as_deref(), Ok("x"));
        assert_eq!(name(&[objects(), array("y", &[4])], None).as_deref(), Ok("y"));
        assert_eq!(
            reason(&[objects(), array("x", &[4, 2])], Some("embedding")),
            "it has no array `embedding`; its arrays are #x (4×2, F32), #o (not readable: its values have no fixed size)"
        );
        assert_eq!(reason(&[objects()], None), "its arrays are #o (not readable: its values have no fixed size)");
        let odd = [array("\u{1b}[2J", &[1; 60]), array("long".repeat(90).as_str(), &[4, 2]), array("z", &[1, 1])];
        let listed = reason(&odd, None);
        assert!(listed.contains("#\\u{1b}[2J (1×1×1×1×1×1×1×1×…, F32)") && listed.len() < 300, "{listed}");
        let many: Vec<NamedArray> = (0..15).map(|i| array(&format!("a{i}"), &[4, 2])).collect();
        assert!(reason(&many, None).contains("#a11 (4×2, F32) and 3 more;"));
    }
}
