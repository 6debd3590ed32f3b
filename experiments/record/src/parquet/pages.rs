//! Looks at the pages of a table before polars decodes them. polars believes the lengths that a page claims and asks for the
//! memory that they would take, which ends the process if there is not so much.

use polars_parquet::parquet::compression::DecompressionContext;
use polars_parquet::parquet::encoding::Encoding;
use polars_parquet::parquet::page::{CompressedPage, DataPage, Page, split_buffer};
use polars_parquet::parquet::read::{PageReader, decompress, read_metadata};
use polars_parquet_format::PageHeader;
use polars_parquet_format::thrift::protocol::TCompactInputProtocol;
use std::io::Cursor;

/// Maximum number of bytes that a byte unpacks to: that of deflate.
const MAX_EXPANSION: usize = 1032;

/// Maximum number of bytes of a page header.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// Checks the pages of the columns that `wanted` accepts, in a file of `rows` rows.
///
/// # Errors
/// A reason in words.
pub(super) fn check(bytes: &[u8], rows: usize, wanted: impl Fn(&str) -> bool) -> Result<(), String> {
    let metadata = read_metadata(&mut Cursor::new(bytes)).map_err(reason)?;
    for column in metadata.row_groups.iter().flat_map(|group| group.parquet_columns()) {
        let name = column.descriptor().path_in_schema.first().map_or("", |name| name.as_str());
        if !wanted(name) {
            continue;
        }
        let wrong = |what: String| format!("a page of its column `{name}` {what}");
        let range = column.byte_range();
        let ends = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let content = ends.and_then(|(start, end)| bytes.get(start..end));
        let content = content.ok_or_else(|| wrong("lies outside the file".to_owned()))?;
        check_sizes(content).map_err(wrong)?;
        let mut pages = PageReader::new(Cursor::new(content.to_vec().into()), column, Vec::new(), bytes.len());
        pages.read_dict().map_err(reason)?;
        let (mut buffer, mut context) = (Vec::new(), DecompressionContext::Unset);
        for page in pages {
            let page = page.map_err(reason)?;
            let CompressedPage::Data(data) = &page else { continue };
            if data.num_values() > rows {
                return Err(wrong(format!("claims {} values for {rows} rows", data.num_values())));
            }
            if let Page::Data(page) = decompress(page, &mut buffer, &mut context).map_err(reason)? {
                check_runs(&page).map_err(wrong)?;
            }
        }
    }
    Ok(())
}

fn reason(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Checks that no page of a column claims more bytes than it can unpack to.
fn check_sizes(content: &[u8]) -> Result<(), String> {
    let mut at = 0;
    while let Some(left) = content.get(at..).filter(|left| !left.is_empty()) {
        let mut cursor = Cursor::new(left);
        let mut protocol = TCompactInputProtocol::new(&mut cursor, MAX_HEADER_BYTES);
        let header = PageHeader::read_from_in_protocol(&mut protocol).map_err(reason)?;
        let size = |bytes: i32| usize::try_from(bytes).map_err(|_| format!("claims {bytes} bytes"));
        let (packed, plain) = (size(header.compressed_page_size)?, size(header.uncompressed_page_size)?);
        let rest = left.len() - (cursor.position() as usize).min(left.len());
        if packed > rest || plain > packed.saturating_add(1).saturating_mul(MAX_EXPANSION) {
            return Err(format!("claims {plain} bytes out of {packed}, with {rest} bytes left"));
        }
        at += cursor.position() as usize + packed;
    }
    Ok(())
}

/// Checks the lengths of the runs in a page of data: of levels, and of indices into a dictionary.
fn check_runs(page: &DataPage) -> Result<(), String> {
    let count = page.num_values();
    let parts = split_buffer(page).map_err(reason)?;
    if page.descriptor.max_rep_level > 0 || page.descriptor.max_def_level > 1 {
        return Err("holds lists, which tables do not have".to_owned());
    }
    if page.descriptor.max_def_level == 1 {
        runs_fit(parts.def, 1, count)?;
    }
    match page.encoding() {
        Encoding::Plain => Ok(()),
        Encoding::RleDictionary | Encoding::PlainDictionary => match parts.values {
            [] => Ok(()),
            [bits, indices @ ..] => runs_fit(indices, usize::from(*bits), count),
        },
        other => Err(format!("is encoded as {other:?}, which tables are not")),
    }
}

/// Checks that runs of values of `bits` bits (RLE and bit-packing, as Parquet has them) hold at most `count` values, besides
/// those that fill the last group of eight.
fn runs_fit(mut bytes: &[u8], bits: usize, count: usize) -> Result<(), String> {
    let mut left = count;
    while left > 0 && !bytes.is_empty() {
        let mut head = 0u64;
        let length = bytes.iter().take(10).take_while(|byte| **byte & 0x80 != 0).count() + 1;
        let Some((varint, rest)) = bytes.split_at_checked(length) else {
            return Err("ends within the length of a run".to_owned());
        };
        for (i, byte) in varint.iter().enumerate() {
            let part = u64::from(byte & 0x7f);
            head |= part.checked_shl(7 * i as u32).filter(|placed| placed >> (7 * i) == part).unwrap_or(u64::MAX);
        }
        let number = head >> 1;
        let packed = head & 1 == 1;
        // Groups of eight, or equal values.
        let most = if packed { left.div_ceil(8) } else { left } as u64;
        if number > most {
            return Err(format!("has a run of {number} where {most} are left"));
        }
        let number = number as usize;
        let (values, size) = if packed { (8 * number, number * bits) } else { (number, bits.div_ceil(8)) };
        left = left.saturating_sub(values);
        bytes = rest.get(size..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_holds_no_more_values_than_there_are() {
        // A run of 5 equal values, and a group of eight.
        assert_eq!(runs_fit(&[10, 1, 3, 0xff], 1, 13), Ok(()));
        assert_eq!(runs_fit(&[10, 1, 3, 0xff], 1, 6), Ok(()), "the last group may be filled up");
        assert!(runs_fit(&[10, 1], 1, 4).is_err());
        assert!(runs_fit(&[5, 0xff, 0xff], 1, 8).is_err(), "two groups for eight values");
        // 2⁶² equal values; a length that does not end; one of too many bits.
        let long = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 1];
        assert!(runs_fit(&long, 1, 100).is_err());
        assert!(runs_fit(&[0x80], 1, 100).is_err());
        assert!(runs_fit(&[0xff; 12], 1, 100).is_err());
        assert_eq!(runs_fit(&[], 1, 100), Ok(()), "what is missing is for the decoder to find");
    }
}
