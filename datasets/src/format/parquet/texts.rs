//! One column of a Parquet file as text: strings, or whole numbers.

use super::super::row_names::{Receiver, chosen};
use super::super::{OpenFile, contain::contained, number::NumberType, quote};
use super::pages::Pages;
use super::{ColumnDescriptor, PhysicalType, column, columns, metadata};
use polars_arrow::array::{Array, BinaryViewArray, PrimitiveArray};

/// Whether a column holds strings or bytes.
pub(super) fn is_text(column: &ColumnDescriptor) -> bool {
    column.descriptor.primitive_type.physical_type == PhysicalType::ByteArray
}

/// Passes the values of the column that the place names to `each`.
///
/// # Errors
/// A reason in words, without the path.
pub(super) fn read(file: &mut OpenFile, each: &mut Receiver<'_>) -> Result<(), String> {
    let pages = contained(|| {
        let metadata = metadata(file)?;
        let all = columns(&metadata);
        let leaves = metadata.schema().columns();
        let plain: Vec<usize> = (0..all.len()).filter(|&at| leaves[at].path_in_schema.len() == 1).collect();
        let at = chosen(plain.iter().map(|&at| all[at].name.as_str()), file.place.part.as_deref())?;
        let layout = column(&metadata, plain[at])?;
        if layout.number.is_some_and(|number| !number.is_integer()) {
            let name = quote::name(&layout.name);
            return Err(format!("its column `{name}` holds fractions; names are text or whole numbers"));
        }
        Ok(Pages::new(file.again(), layout))
    })?;
    contained(|| pages.each_text(each))
}

/// Appends decoded values; None if they are of another type than the schema says.
///
/// # Errors
/// Bytes that are not UTF-8.
pub(super) fn append(
    array: &dyn Array,
    number: Option<NumberType>,
    out: &mut Vec<String>,
) -> Result<Option<()>, String> {
    let any = array.as_any();
    if let Some(found) = any.downcast_ref::<BinaryViewArray>() {
        for value in found.values_iter() {
            let text = std::str::from_utf8(value).map_err(|_| "a value is not UTF-8".to_owned())?;
            out.push(text.to_owned());
        }
    } else if let Some(found) = any.downcast_ref::<PrimitiveArray<i32>>() {
        let unsigned = number == Some(NumberType::U32);
        let text = |v: &i32| if unsigned { v.cast_unsigned().to_string() } else { v.to_string() };
        out.extend(found.values().iter().map(text));
    } else if let Some(found) = any.downcast_ref::<PrimitiveArray<i64>>() {
        let unsigned = number == Some(NumberType::U64);
        let text = |v: &i64| if unsigned { v.cast_unsigned().to_string() } else { v.to_string() };
        out.extend(found.values().iter().map(text));
    } else {
        return Ok(None);
    }
    Ok(Some(()))
}
