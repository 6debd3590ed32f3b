//! Chooses the column of a table that holds the vectors.

/// A column of a table.
pub struct TableColumn {
    pub name: String,
    /// The type of its values, as the format calls it.
    pub kind: String,
    /// Whether its values are lists of numbers, which are vectors.
    pub vectors: bool,
}

/// Maximum number of columns that a message lists.
const MOST_NAMED: usize = 20;

/// The column that `wanted` names, or the only one that holds vectors.
///
/// # Errors
/// No such column, a column without vectors, or several with vectors and none named. The message lists the columns.
pub fn choose<'a>(columns: &'a [TableColumn], wanted: Option<&str>) -> Result<&'a TableColumn, String> {
    let vectors: Vec<&TableColumn> = columns.iter().filter(|column| column.vectors).collect();
    match (wanted, &vectors[..]) {
        (Some(name), _) => match columns.iter().find(|column| column.name == name) {
            Some(column) if column.vectors => Ok(column),
            Some(column) => Err(format!("its column `{name}` is {}; {}", column.kind, listed(columns))),
            None => Err(format!("it has no column `{name}`; {}{}", listed(columns), nearest(name, columns))),
        },
        (None, [only]) => Ok(only),
        (None, []) => Err(listed(columns)),
        (None, _) => Err(format!("{}; write one of them after its name", listed(columns))),
    }
}

fn listed(columns: &[TableColumn]) -> String {
    let vectors: Vec<String> = columns.iter().filter(|c| c.vectors).map(|c| format!("#{}", c.name)).collect();
    if vectors.is_empty() {
        let all: Vec<String> = columns.iter().map(|c| format!("{} ({})", c.name, c.kind)).collect();
        format!("it has no column of lists of float16, float, double or integers; its columns are {}", joined(&all))
    } else {
        format!("its columns of lists of numbers are {}", joined(&vectors))
    }
}

fn joined(names: &[String]) -> String {
    match names.len().checked_sub(MOST_NAMED) {
        Some(more) if more > 0 => format!("{} and {more} more", names[..MOST_NAMED].join(", ")),
        _ => names.join(", "),
    }
}

/// Suggests the column whose name is nearest to `wrong`; empty if none is near.
fn nearest(wrong: &str, columns: &[TableColumn]) -> String {
    let vectors = columns.iter().filter(|column| column.vectors).map(|column| column.name.as_str());
    strict::nearest(wrong, vectors).map_or_else(String::new, |name| format!("; did you mean #{name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, vectors: bool) -> TableColumn {
        TableColumn { name: name.into(), kind: if vectors { "list of FLOAT" } else { "INT32" }.into(), vectors }
    }

    #[test]
    fn a_column_is_found_by_name_or_because_it_is_the_only_one() {
        let two = [column("id", false), column("dense", true), column("sparse", true)];
        let name = |columns: &[TableColumn], wanted| choose(columns, wanted).map(|found| found.name.clone());
        assert_eq!(name(&two[..2], None).as_deref(), Ok("dense"));
        assert_eq!(name(&two, Some("sparse")).as_deref(), Ok("sparse"));
        let reason = |columns: &[TableColumn], wanted| name(columns, wanted).expect_err("refused");
        assert_eq!(
            reason(&two, None),
            "its columns of lists of numbers are #dense, #sparse; write one of them after its name"
        );
        assert!(reason(&two, Some("id")).starts_with("its column `id` is INT32; its columns of lists"));
        assert!(reason(&two, Some("dens")).ends_with("; did you mean #dense?"));
        assert!(!reason(&two, Some("rows")).contains("did you mean"));
        assert!(reason(&two[..1], None).ends_with("its columns are id (INT32)"));
        let many: Vec<TableColumn> = (0..25).map(|i| column(&format!("c{i}"), false)).collect();
        assert!(reason(&many, None).ends_with("c19 (INT32) and 5 more"));
    }
}
