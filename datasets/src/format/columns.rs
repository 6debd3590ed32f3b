//! Chooses the columns of a table that hold the vectors: one of lists, or one per component.

use super::quote;

/// A column of a table.
pub struct TableColumn {
    pub name: String,
    /// The type of its values, as the format calls it.
    pub kind: String,
    pub holds: Holds,
}

/// What the values of a column are to vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Lists of numbers, which are vectors.
    Vectors,
    /// Numbers, which are components of vectors.
    Numbers,
    /// Anything else.
    Other,
}

/// Where the vectors of a table are, by positions of columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vectors {
    /// A column of lists.
    Lists(usize),
    /// One column per component, in the order of the table.
    Components(Vec<usize>),
}

/// After the beginning of the names of columns that are components.
const ANY: char = '*';

/// Maximum number of columns that a message lists.
const MOST_NAMED: usize = 20;

impl Vectors {
    /// How to ask for them: the name of the column of lists, or what the names of components begin with.
    pub fn part(&self, columns: &[TableColumn]) -> String {
        match self {
            Vectors::Lists(at) => columns[*at].name.clone(),
            Vectors::Components(at) => {
                format!("{}{ANY}", at.first().map_or("", |&first| without_number(&columns[first].name)))
            }
        }
    }
}

/// The column of lists that `wanted` names, or the columns of numbers whose names begin as `wanted` says before its `*`.
/// Without `wanted`: the only column of lists; or, if there is none, the columns of numbers whose names differ in a number
/// at their end.
///
/// # Errors
/// No such column, a column without vectors, or several with vectors and none named. The message lists the columns.
pub fn choose(columns: &[TableColumn], wanted: Option<&str>) -> Result<Vectors, String> {
    let is = |what: Holds| (0..columns.len()).filter(move |&at| columns[at].holds == what);
    let Some(name) = wanted else {
        let lists: Vec<usize> = is(Holds::Vectors).collect();
        return match lists[..] {
            [only] => Ok(Vectors::Lists(only)),
            [] => numbered(columns).map(Vectors::Components).ok_or_else(|| listed(columns)),
            _ => Err(format!("{}; write one of them after its name", listed(columns))),
        };
    };
    if let Some(at) = columns.iter().position(|column| column.name == name) {
        return match columns[at].holds {
            Holds::Vectors => Ok(Vectors::Lists(at)),
            _ => {
                let (name, kind) = (quote::name(name), quote::name(&columns[at].kind));
                Err(format!("its column `{name}` is {kind}; {}", listed(columns)))
            }
        };
    }
    if let Some(beginning) = name.strip_suffix(ANY) {
        let found: Vec<usize> = is(Holds::Numbers).filter(|&at| columns[at].name.starts_with(beginning)).collect();
        return match found[..] {
            [] => Err(format!(
                "it has no column of numbers whose name begins with `{}`; {}",
                quote::name(beginning),
                listed(columns)
            )),
            _ => Ok(Vectors::Components(found)),
        };
    }
    Err(format!("it has no column `{}`; {}{}", quote::name(name), listed(columns), nearest(name, columns)))
}

fn without_number(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// The columns of numbers whose names differ in a number at their end, if there are two or more and no other column of
/// numbers begins like them; None also if there are several such sets.
fn numbered(columns: &[TableColumn]) -> Option<Vec<usize>> {
    let mut sets: Vec<(&str, Vec<usize>)> = Vec::new();
    let numbers = (0..columns.len()).filter(|&at| columns[at].holds == Holds::Numbers);
    let numbers: Vec<usize> = numbers.collect();
    for &at in &numbers {
        let name = &columns[at].name;
        let beginning = without_number(name);
        if beginning.len() == name.len() {
            continue;
        }
        match sets.iter_mut().find(|(known, _)| *known == beginning) {
            Some((_, set)) => set.push(at),
            None => sets.push((beginning, vec![at])),
        }
    }
    sets.retain(|(_, set)| set.len() > 1);
    let [(beginning, set)] = &mut sets[..] else { return None };
    let alike = numbers.iter().filter(|&&at| columns[at].name.starts_with(*beginning)).count();
    (alike == set.len()).then(|| std::mem::take(set))
}

fn listed(columns: &[TableColumn]) -> String {
    let lists: Vec<String> =
        columns.iter().filter(|c| c.holds == Holds::Vectors).map(|c| format!("#{}", quote::name(&c.name))).collect();
    if !lists.is_empty() {
        return format!("its columns of lists of numbers are {}", joined(&lists));
    }
    let all: Vec<String> =
        columns.iter().map(|c| format!("{} ({})", quote::name(&c.name), quote::name(&c.kind))).collect();
    let components = if columns.iter().any(|c| c.holds == Holds::Numbers) {
        "; if components are columns of numbers, write what the names of these begin with, and `*`: `#x*`"
    } else {
        ""
    };
    format!(
        "it has no column of lists of float16, float, double or integers; its columns are {}{components}",
        joined(&all)
    )
}

fn joined(names: &[String]) -> String {
    match names.len().checked_sub(MOST_NAMED) {
        Some(more) if more > 0 => format!("{} and {more} more", names[..MOST_NAMED].join(", ")),
        _ => names.join(", "),
    }
}

/// Suggests the column whose name is nearest to `wrong`; empty if none is near.
fn nearest(wrong: &str, columns: &[TableColumn]) -> String {
    let lists = columns.iter().filter(|column| column.holds == Holds::Vectors);
    let vectors = lists.map(|column| column.name.as_str());
    strict::nearest(wrong, vectors).map_or_else(String::new, |name| format!("; did you mean #{}?", quote::name(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, holds: Holds) -> TableColumn {
        let kind = if holds == Holds::Vectors { "list of FLOAT" } else { "INT32" };
        TableColumn { name: name.into(), kind: kind.into(), holds }
    }

    fn numbers(names: &str) -> Vec<TableColumn> {
        names.split(' ').map(|name| column(name, Holds::Numbers)).collect()
    }

    #[test]
    fn a_column_is_found_by_name_or_because_it_is_the_only_one() {
        let two = [column("id", Holds::Numbers), column("dense", Holds::Vectors), column("sparse", Holds::Vectors)];
        assert_eq!(choose(&two[..2], None), Ok(Vectors::Lists(1)));
        assert_eq!(choose(&two, Some("sparse")), Ok(Vectors::Lists(2)));
        let reason = |columns: &[TableColumn], wanted| choose(columns, wanted).expect_err("refused");
        assert_eq!(
            reason(&two, None),
            "its columns of lists of numbers are #dense, #sparse; write one of them after its name"
        );
        assert!(reason(&two, Some("id")).starts_with("its column `id` is INT32; its columns of lists"));
        assert!(reason(&two, Some("dens")).ends_with("; did you mean #dense?"));
        assert!(!reason(&two, Some("rows")).contains("did you mean"));
        assert!(reason(&[column("id", Holds::Other)], None).ends_with("its columns are id (INT32)"));
        let odd = [column("a\u{1b}c", Holds::Vectors), column(&"é".repeat(500), Holds::Vectors)];
        let listed = reason(&odd, None);
        assert!(listed.contains("#a\\u{1b}c, #é") && listed.chars().count() < 250, "{listed}");
        let many: Vec<TableColumn> = (0..25).map(|i| column(&format!("c{i}"), Holds::Other)).collect();
        assert!(reason(&many, None).ends_with("c19 (INT32) and 5 more"));
    }

    #[test]
    fn components_are_the_columns_that_begin_alike() {
        let mut table = numbers("id e0 e1 e2 e10 y");
        table[3].holds = Holds::Other;
        assert_eq!(choose(&table, Some("e*")), Ok(Vectors::Components(vec![1, 2, 4])));
        assert_eq!(choose(&table, Some("id*")), Ok(Vectors::Components(vec![0])));
        assert_eq!(choose(&table, Some("*")), Ok(Vectors::Components(vec![0, 1, 2, 4, 5])));
        // The only ones whose names differ in a number.
        assert_eq!(choose(&table, None), Ok(Vectors::Components(vec![1, 2, 4])));
        assert_eq!(Vectors::Components(vec![1, 2, 4]).part(&table), "e*");
        assert_eq!(choose(&numbers("0 1 2"), None), Ok(Vectors::Components(vec![0, 1, 2])));
        let reason = |columns: &[TableColumn], wanted| choose(columns, wanted).expect_err("refused");
        assert!(reason(&table, Some("x*")).contains("no column of numbers whose name begins with `x`"));
        // Two sets, another number that begins alike, and numbers without a number in their names.
        for names in ["a0 a1 b0 b1", "e0 e1 extra", "id 0 1", "x y", "x0"] {
            assert!(reason(&numbers(names), None).ends_with("begin with, and `*`: `#x*`"), "{names}");
        }
    }
}
