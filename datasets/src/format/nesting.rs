//! Checks the size of the schema of a table before a reader parses it. Readers recurse for each level of nesting, and a few
//! kilobytes can nest deeper than the stack; they also copy names that a file stores once for many columns.

use polars_arrow::io::ipc::format::ipc::planus::ReadAsRoot;
use polars_arrow::io::ipc::format::ipc::{FieldRef, FooterRef};
use polars_parquet_format::SchemaElement;
use polars_parquet_format::thrift::protocol::{TCompactInputProtocol, TInputProtocol, TType};
use std::fmt::Display;

/// Maximum number of levels of nesting.
const MAX_DEPTH: usize = 32;

/// Maximum number of bytes of all names in a schema, plus a fixed number per column.
const MAX_BYTES: usize = 64 << 20;
const FIELD_BYTES: usize = 128;

/// The field of the metadata of Parquet that holds the schema.
const SCHEMA_FIELD: i16 = 2;

fn reason(error: impl Display) -> String {
    error.to_string()
}

fn too_deep() -> String {
    format!("its schema nests more than {MAX_DEPTH} levels deep")
}

/// Subtracts bytes from the number that is left.
fn spend(left: &mut usize, bytes: usize) -> Result<(), String> {
    *left =
        left.checked_sub(bytes).ok_or_else(|| format!("the names in its schema take more than {MAX_BYTES} bytes"))?;
    Ok(())
}

/// Checks the schema in the footer of an Arrow file.
///
/// # Errors
/// A schema that nests too deep or whose names are too long; a footer that is malformed.
pub fn arrow(footer: &[u8]) -> Result<(), String> {
    let footer = FooterRef::read_as_root(footer).map_err(reason)?;
    let schema = footer.schema().map_err(reason)?.ok_or("it has no schema")?;
    let mut left = MAX_BYTES;
    let fields = schema.fields().map_err(reason)?.ok_or("it has no columns")?;
    fields.iter().try_for_each(|field| descend(field.map_err(reason)?, 1, &mut left))
}

/// Visits a column and the columns within it. `left` bounds their size, because parts of a footer may refer to the same
/// bytes, so that a short footer can describe many columns.
fn descend(field: FieldRef, depth: usize, left: &mut usize) -> Result<(), String> {
    let name = field.name().map_err(reason)?.map_or(0, str::len);
    spend(left, FIELD_BYTES + name)?;
    if let Some(notes) = field.custom_metadata().map_err(reason)? {
        for note in notes.iter() {
            let note = note.map_err(reason)?;
            let length = |text: Option<&str>| text.map_or(0, str::len);
            spend(left, FIELD_BYTES + length(note.key().map_err(reason)?) + length(note.value().map_err(reason)?))?;
        }
    }
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    let Some(children) = field.children().map_err(reason)? else { return Ok(()) };
    children.iter().try_for_each(|child| descend(child.map_err(reason)?, depth + 1, left))
}

/// Checks the schema in the metadata of a Parquet file.
///
/// # Errors
/// A schema that nests too deep or whose names are too long; metadata that are malformed.
pub fn parquet(metadata: &[u8]) -> Result<(), String> {
    // The protocol counts eight bytes per element of a list, and an element has at least one byte.
    let mut protocol = TCompactInputProtocol::new(metadata, 16 * metadata.len());
    let mut left = MAX_BYTES;
    protocol.read_struct_begin().map_err(reason)?;
    loop {
        let field = protocol.read_field_begin().map_err(reason)?;
        if field.field_type == TType::Stop {
            return Ok(());
        }
        if field.id == Some(SCHEMA_FIELD) && field.field_type == TType::List {
            let list = protocol.read_list_begin().map_err(reason)?;
            // Groups whose children follow: the number of children left, and the bytes of the path to the group.
            let mut open: Vec<(i32, usize)> = Vec::new();
            for _ in 0..list.size {
                let element = SchemaElement::read_from_in_protocol(&mut protocol).map_err(reason)?;
                while open.last().is_some_and(|(children, _)| *children == 0) {
                    open.pop();
                }
                let mut path = element.name.len();
                if let Some((children, above)) = open.last_mut() {
                    *children -= 1;
                    path += *above;
                }
                // Each column keeps its path.
                spend(&mut left, FIELD_BYTES + path)?;
                open.extend(element.num_children.filter(|&children| children > 0).map(|children| (children, path)));
                if open.len() > MAX_DEPTH {
                    return Err(too_deep());
                }
            }
        } else {
            skip(&mut protocol, field.field_type, MAX_DEPTH)?;
        }
        protocol.read_field_end().map_err(reason)?;
    }
}

/// Skips a value. The library's own `skip` demands that strings are UTF-8, which statistics are not.
fn skip<P: TInputProtocol>(protocol: &mut P, kind: TType, depth: usize) -> Result<(), String> {
    let deeper = depth.checked_sub(1).ok_or("its metadata nest too deep")?;
    match kind {
        TType::String => protocol.read_bytes().map(drop).map_err(reason),
        TType::List => {
            let list = protocol.read_list_begin().map_err(reason)?;
            (0..list.size).try_for_each(|_| skip(protocol, list.element_type, deeper))
        }
        TType::Struct => {
            protocol.read_struct_begin().map_err(reason)?;
            loop {
                let field = protocol.read_field_begin().map_err(reason)?;
                if field.field_type == TType::Stop {
                    return protocol.read_struct_end().map_err(reason);
                }
                skip(protocol, field.field_type, deeper)?;
            }
        }
        other => protocol.skip(other).map_err(reason),
    }
}
