//! Writes vectors as a Parquet table of one column of lists, `vectors`. Pages and row groups have a fixed number of rows, so that
//! everything but the values is known before the first row.

use super::super::write::{FileLayout, PageHeads};
use super::reason;
use polars_parquet_format::thrift::protocol::TCompactOutputProtocol;
use polars_parquet_format::{
    ColumnChunk, ColumnMetaData, CompressionCodec, ConvertedType, DataPageHeader, Encoding, FieldRepetitionType,
    FileMetaData, ListType, LogicalType, PageHeader, PageType, RowGroup, SchemaElement, Type,
};

/// Values of a page, a megabyte, and pages of a row group.
const PAGE_VALUES: usize = 1 << 18;
const GROUP_PAGES: usize = 128;

/// Components of a row whose page the format can describe.
const MOST_COMPONENTS: usize = 1 << 28;

/// Names of the column and, as the format demands, of what is in it.
const PATH: [&str; 3] = ["vectors", "list", "element"];

const MAGIC: &[u8] = b"PAR1";

/// The layout of a table of `n` rows of `dim` components.
///
/// # Errors
/// Rows that are too long.
pub(super) fn layout(n: usize, dim: usize) -> Result<FileLayout, String> {
    if dim > MOST_COMPONENTS {
        return Err("rows of a Parquet file have at most 2^28 components".to_owned());
    }
    let rows = (PAGE_VALUES / dim.max(1)).max(1);
    let last_row = n - n % rows;
    let (full, last) = (page_head(rows, dim)?, page_head(n - last_row, dim)?);
    let mut groups = Vec::new();
    let mut position = MAGIC.len();
    for first in (0..n).step_by(rows * GROUP_PAGES) {
        let held = (n - first).min(rows * GROUP_PAGES);
        let heads = held / rows * full.len() + if held.is_multiple_of(rows) { 0 } else { last.len() };
        let bytes = heads + held * dim * size_of::<f32>();
        groups.push(row_group(position, held, dim, bytes));
        position += bytes;
    }
    let metadata = FileMetaData {
        version: 1,
        schema: schema(),
        num_rows: n as i64,
        row_groups: groups,
        key_value_metadata: None,
        created_by: Some("vqbench".to_owned()),
        column_orders: None,
        encryption_algorithm: None,
        footer_signing_key_metadata: None,
    };
    let mut tail = Vec::new();
    metadata.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut tail)).map_err(reason)?;
    let length = u32::try_from(tail.len()).map_err(|_| "its metadata would be larger than 4 GiB".to_owned())?;
    tail.extend(length.to_le_bytes());
    tail.extend(MAGIC);
    let pages = Some(PageHeads { rows, full, last, last_row });
    Ok(FileLayout { head: MAGIC.to_vec(), pages, tail, ..FileLayout::default() })
}

/// What precedes the values of a page: its header, and the levels, which say that each `dim` values are a row and that none is
/// missing.
fn page_head(rows: usize, dim: usize) -> Result<Vec<u8>, String> {
    let mut repetitions = Vec::new();
    for _ in 0..rows {
        run(1, 0, &mut repetitions);
        run(dim.saturating_sub(1), 1, &mut repetitions);
    }
    let mut definitions = Vec::new();
    run(rows * dim, 1, &mut definitions);
    let mut levels = Vec::new();
    for of_kind in [repetitions, definitions] {
        levels.extend(u32::try_from(of_kind.len()).map_err(reason)?.to_le_bytes());
        levels.extend(of_kind);
    }
    let bytes = i32::try_from(levels.len() + rows * dim * size_of::<f32>()).map_err(reason)?;
    let count = i32::try_from(rows * dim).map_err(reason)?;
    let data = DataPageHeader::new(count, Encoding::PLAIN, Encoding::RLE, Encoding::RLE, None);
    let header = PageHeader::new(PageType::DATA_PAGE, bytes, bytes, None, data, None, None, None);
    let mut head = Vec::new();
    header.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut head)).map_err(reason)?;
    head.extend(levels);
    Ok(head)
}

/// `count` times the same level, as a run: the count with a zero bit below it, seven bits a byte, and the level.
fn run(count: usize, level: u8, out: &mut Vec<u8>) {
    if count == 0 {
        return;
    }
    let mut left = (count as u64) << 1;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.extend([left as u8, level]);
}

fn row_group(position: usize, rows: usize, dim: usize, bytes: usize) -> RowGroup {
    let metadata = ColumnMetaData {
        type_: Type::FLOAT,
        encodings: vec![Encoding::PLAIN, Encoding::RLE],
        path_in_schema: PATH.map(str::to_owned).to_vec(),
        codec: CompressionCodec::UNCOMPRESSED,
        num_values: (rows * dim) as i64,
        total_uncompressed_size: bytes as i64,
        total_compressed_size: bytes as i64,
        key_value_metadata: None,
        data_page_offset: position as i64,
        index_page_offset: None,
        dictionary_page_offset: None,
        statistics: None,
        encoding_stats: None,
        size_statistics: None,
        bloom_filter_offset: None,
        bloom_filter_length: None,
    };
    let column = ColumnChunk {
        file_path: None,
        file_offset: position as i64,
        meta_data: Some(metadata),
        offset_index_offset: None,
        offset_index_length: None,
        column_index_offset: None,
        column_index_length: None,
        crypto_metadata: None,
        encrypted_column_metadata: None,
    };
    RowGroup {
        columns: vec![column],
        total_byte_size: bytes as i64,
        num_rows: rows as i64,
        sorting_columns: None,
        file_offset: None,
        total_compressed_size: None,
        ordinal: None,
    }
}

fn schema() -> Vec<SchemaElement> {
    let element = |name: &str, repetition: FieldRepetitionType, children: Option<i32>| SchemaElement {
        type_: children.is_none().then_some(Type::FLOAT),
        type_length: None,
        repetition_type: Some(repetition),
        name: name.to_owned(),
        num_children: children,
        converted_type: None,
        scale: None,
        precision: None,
        field_id: None,
        logical_type: None,
    };
    let [column, list, item] = PATH;
    let vectors = SchemaElement {
        converted_type: Some(ConvertedType::LIST),
        logical_type: Some(LogicalType::LIST(ListType {})),
        ..element(column, FieldRepetitionType::REQUIRED, Some(1))
    };
    vec![
        element("schema", FieldRepetitionType::REQUIRED, Some(1)),
        vectors,
        element(list, FieldRepetitionType::REPEATED, Some(1)),
        element(item, FieldRepetitionType::REQUIRED, None),
    ]
}
