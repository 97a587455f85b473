//! How bills are written: a line of columns' names, then a line for each row, values often behind a back-quote. Columns
//! are found by name and a missing one is an error, not a guess.

use std::io::Write as _;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use flate2::write::MultiGzDecoder;

/// A line longer than this is no line of a bill.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// Packed bytes that are unpacked in one go: they become a thousand times as many at most.
const UNPACK_AT_ONCE: usize = 2 * 1024;
/// How packed files begin.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Fen of a yuan, and parts of a fen that fees are counted in.
const MILLI_FEN_PER_YUAN: i64 = 100_000;
pub(super) const MILLI_FEN_PER_FEN: i64 = 1_000;

/// A bill that is not written as we know it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BillFault {
    /// There is no such column.
    #[error("the column {0} is missing")]
    Column(String),
    /// The value of this column is no amount.
    #[error("an amount of the column {0} is unreadable")]
    Amount(String),
    /// It ends early, or its count is not that of its rows.
    #[error("it is not complete")]
    Incomplete,
    /// A line is endless, no text, or has more or fewer values than there are columns.
    #[error("a line is unreadable")]
    Line,
}

/// Why a downloaded file is no bill. Rows that were given away before do not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is longer than what we read.
    #[error("the bill is longer than {limit} bytes")]
    TooLong {
        /// The configured bound.
        limit: u64,
    },
    /// What came is not what the platform has: its sum differs, or it does not unpack. Ask again.
    #[error("the bill is damaged")]
    Damaged,
    /// It is not written as we know bills: a person should look.
    #[error("the bill is not written as expected")]
    Unreadable(#[from] BillFault),
}

/// One line with its columns' names.
#[derive(Debug)]
pub struct Row<'a> {
    columns: &'a [String],
    values: Vec<&'a str>,
}

impl Row<'_> {
    /// The value under `column`.
    ///
    /// # Errors
    /// When there is no such column or value.
    pub fn text(&self, column: &str) -> Result<&str, BillFault> {
        let missing = || BillFault::Column(column.to_owned());
        let place = self.columns.iter().position(|name| name == column).ok_or_else(missing)?;
        self.values.get(place).copied().ok_or_else(missing)
    }

    /// The amount in yuan under `column`, in thousandths of a fen: fees have so many digits.
    ///
    /// # Errors
    /// When there is none.
    pub fn milli_fen(&self, column: &str) -> Result<i64, BillFault> {
        milli_fen(self.text(column)?).ok_or_else(|| BillFault::Amount(column.to_owned()))
    }

    /// The amount in yuan under `column`, in fen.
    ///
    /// # Errors
    /// When there is none, or it is no whole number of fen.
    pub fn fen(&self, column: &str) -> Result<i64, BillFault> {
        match self.milli_fen(column)? {
            amount if amount % MILLI_FEN_PER_FEN == 0 => Ok(amount / MILLI_FEN_PER_FEN),
            _ => Err(BillFault::Amount(column.to_owned())),
        }
    }

    /// The whole number under `column`.
    ///
    /// # Errors
    /// When there is none.
    pub fn integer(&self, column: &str) -> Result<i64, BillFault> {
        self.text(column)?.parse().map_err(|_| BillFault::Amount(column.to_owned()))
    }

    /// The value under `column`; what is not there is written as 0 or as nothing.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn optional(&self, column: &str) -> Result<Option<String>, BillFault> {
        Ok(Some(self.text(column)?).filter(|text| !matches!(*text, "" | "0")).map(str::to_owned))
    }
}

/// Yuan with up to five decimals.
fn milli_fen(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (yuan, rest) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if yuan.is_empty() || rest.len() > 5 || !is_number(yuan) || !is_number(rest) {
        return None;
    }
    let rest: i64 = format!("{rest:0<5}").parse().ok()?;
    yuan.parse::<i64>().ok()?.checked_mul(MILLI_FEN_PER_YUAN)?.checked_add(rest)?.checked_mul(sign)
}

/// Gets each row.
pub(super) type Taker<'a> = dyn FnMut(&Row<'_>) -> Result<(), BillFault> + Send + 'a;

/// Reads a bill as its bytes come.
#[derive(Debug)]
pub(super) struct Reader {
    line: Vec<u8>,
    part: Part,
    rows: u64,
    has_sums: bool,
}

#[derive(Debug)]
enum Part {
    Start,
    Rows(Vec<String>),
    Sums,
    /// Holds the count that the bill gives.
    End(u64),
}

impl Reader {
    /// Of a bill with the names of columns, rows, the names of sums, and sums (FACTS 3.7).
    pub(super) fn with_sums() -> Self {
        Self { line: Vec::new(), part: Part::Start, rows: 0, has_sums: true }
    }

    /// Of a bill with the names of columns and rows.
    pub(super) fn without_sums() -> Self {
        Self { has_sums: false, ..Self::with_sums() }
    }

    fn push(&mut self, bytes: &[u8], take: &mut Taker<'_>) -> Result<(), BillFault> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() > MAX_LINE_BYTES {
                return Err(BillFault::Line);
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.line(&line, take)?;
            }
        }
        Ok(())
    }

    /// The number of rows, if the bill is whole.
    fn finish(mut self, take: &mut Taker<'_>) -> Result<u64, BillFault> {
        let last = std::mem::take(&mut self.line);
        self.line(&last, take)?;
        match self.part {
            Part::End(count) if count == self.rows => Ok(count),
            Part::Rows(_) if !self.has_sums => Ok(self.rows),
            _ => Err(BillFault::Incomplete),
        }
    }

    fn line(&mut self, line: &[u8], take: &mut Taker<'_>) -> Result<(), BillFault> {
        let line = str::from_utf8(line).map_err(|_| BillFault::Line)?;
        let line = line.trim_start_matches('\u{feff}').trim_end();
        if line.is_empty() {
            return Ok(());
        }
        match (&self.part, line.strip_prefix('`')) {
            (Part::Start, None) => {
                self.part = Part::Rows(bare(line).into_iter().map(str::to_owned).collect());
            }
            (Part::Rows(columns), Some(values)) => {
                // a value may hold a comma, but none with a back-quote behind it
                take(&Row { columns, values: values.split(",`").map(str::trim).collect() })?;
                self.rows += 1;
            }
            (Part::Rows(_), None) if self.has_sums => self.part = Part::Sums,
            (Part::Rows(columns), None) => {
                let values = bare(line);
                if values.len() != columns.len() {
                    return Err(BillFault::Line); // which comma is part of a value cannot be told
                }
                take(&Row { columns, values })?;
                self.rows += 1;
            }
            (Part::Sums, Some(values)) => {
                let count = values.split(",`").next().and_then(|count| count.trim().parse().ok());
                self.part = Part::End(count.ok_or(BillFault::Incomplete)?);
            }
            _ => return Err(BillFault::Incomplete),
        }
        Ok(())
    }
}

/// Values without back-quotes.
fn bare(line: &str) -> Vec<&str> {
    line.split(',').map(|value| value.trim().trim_matches('"').trim()).collect()
}

/// A file on its way: bytes in, rows out, never whole in memory.
pub(super) struct Unpacking {
    packing: Packing,
    sum: Context,
    reader: Reader,
    bytes: u64,
    limit: u64,
}

enum Packing {
    /// Its first bytes tell.
    Unknown,
    None,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

impl Unpacking {
    /// Of a packed file that unpacks to at most `limit` bytes.
    pub(super) fn packed(reader: Reader, limit: u64) -> Self {
        let packing = Packing::Gzip(Box::new(MultiGzDecoder::new(Vec::new())));
        Self { packing, sum: Context::new(&SHA1_FOR_LEGACY_USE_ONLY), reader, bytes: 0, limit }
    }

    /// Of a file that may be packed.
    pub(super) fn either(reader: Reader, limit: u64) -> Self {
        Self { packing: Packing::Unknown, ..Self::packed(reader, limit) }
    }

    pub(super) fn push(&mut self, chunk: &[u8], take: &mut Taker<'_>) -> Result<(), FileError> {
        if matches!(self.packing, Packing::Unknown) && !chunk.is_empty() {
            self.packing = match chunk.starts_with(&GZIP) {
                true => Packing::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
                false => Packing::None,
            };
        }
        for part in chunk.chunks(UNPACK_AT_ONCE) {
            let plain = match &mut self.packing {
                Packing::Unknown | Packing::None => part.to_vec(),
                Packing::Gzip(decoder) => unpacked(decoder, part)?,
            };
            self.plain(&plain, take)?;
        }
        Ok(())
    }

    /// The number of rows, if the file is whole; where its SHA-1 is known, only if that fits.
    pub(super) fn finish(mut self, sha1: Option<&str>, take: &mut Taker<'_>) -> Result<u64, FileError> {
        if let Packing::Gzip(decoder) = &mut self.packing {
            decoder.try_finish().map_err(|_| FileError::Damaged)?;
            let plain = std::mem::take(decoder.get_mut());
            self.plain(&plain, take)?;
        }
        let seen = hex::encode(self.sum.finish());
        if sha1.is_some_and(|sha1| !seen.eq_ignore_ascii_case(sha1)) {
            return Err(FileError::Damaged);
        }
        Ok(self.reader.finish(take)?)
    }

    fn plain(&mut self, plain: &[u8], take: &mut Taker<'_>) -> Result<(), FileError> {
        self.bytes += plain.len() as u64;
        if self.bytes > self.limit {
            return Err(FileError::TooLong { limit: self.limit });
        }
        self.sum.update(plain);
        Ok(self.reader.push(plain, take)?)
    }
}

fn unpacked(decoder: &mut MultiGzDecoder<Vec<u8>>, part: &[u8]) -> Result<Vec<u8>, FileError> {
    decoder.write_all(part).map_err(|_| FileError::Damaged)?;
    decoder.flush().map_err(|_| FileError::Damaged)?;
    Ok(std::mem::take(decoder.get_mut()))
}
