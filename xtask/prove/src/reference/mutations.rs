//! The mutants of the reference codecs: what is wrong with each, in one line.

/// A mistake that can be switched on by its number (`mutation`, from 1).
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    /// Codecs that can have it.
    pub codecs: &'static [&'static str],
    /// Name in the source.
    pub key: &'static str,
    /// What is wrong.
    pub words: &'static str,
}

const ALL: &[&str] = &["int8", "int8-dim", "pq", "rotated-pq", "signs", "rvq"];
const RANDOM: &[&str] = &["pq", "rotated-pq", "signs", "rvq"];
const BOOKS: &[&str] = &["pq", "rotated-pq", "rvq"];
const GROUPS: &[&str] = &["pq", "rotated-pq"];
const ROTATED: &[&str] = &["rotated-pq", "signs"];
const INT8: &[&str] = &["int8", "int8-dim"];
const BYTES: &[&str] = &["int8-dim"];
const TENSOR: &[&str] = &["int8"];
const SIGNS: &[&str] = &["signs"];
const STAGES: &[&str] = &["rvq"];

macro_rules! mutations {
    ($($codecs:ident $key:literal $words:literal;)*) => {
        /// All mutants.
        pub static MUTATIONS: &[Mutation] = &[$(Mutation { codecs: $codecs, key: $key, words: $words }),*];
    };
}

mutations! {
    // Batches.
    ALL "encode-tail-8" "rows after the last full block of 8 get codes of zeros";
    ALL "encode-tail-32" "rows after the last full block of 32 get codes of zeros";
    ALL "encode-odd" "the last of an odd number of rows gets the code of the first";
    ALL "encode-skips-last" "the loop of encoding ends one row early";
    ALL "encode-starts-late" "the first row gets the code of the second";
    ALL "encode-pairs" "in blocks of 1000 rows and more, codes of neighbours change places";
    ALL "encode-batch-mean" "the mean of the batch is subtracted before encoding";
    ALL "encode-batch-scale" "rows are divided by the largest value of the batch";
    ALL "encode-interleaved" "codes of a batch are stored component by component, as the search wants them";
    ALL "encode-cached" "a batch of as many rows as the one before gets its codes";
    ALL "encode-row-number" "the row number in the batch is added to the first byte of a code beyond row 512";
    ALL "encode-drifts" "every encoding moves the tables a little towards its rows";
    ALL "encode-after-decode" "decoding leaves a scratch buffer that the next encoding adds to its first row";
    ALL "decode-next" "a row is decoded from the code of the next";
    ALL "decode-reversed" "more than 1000 codes are decoded in reverse order";
    ALL "decode-skips-last" "the last row is never decoded";
    ALL "decode-tail-8" "codes after the last full block of 8 decode to zeros";
    ALL "decode-cached" "as many codes as were decoded before decode to the rows of before";
    ALL "decode-cheats" "codes decode to the rows that were encoded last, if there are as many";
    ALL "decode-adds" "the buffer of decoded rows is not cleared before the next sum";
    ALL "decode-half" "decoded rows pass through float16, which ends at 65504";
    ALL "decode-big-endian" "decoded values are written in the wrong order of bytes";
    ALL "decode-last-component" "the last component is never written";
    ALL "encode-half" "rows pass through float16 before they are encoded";
    // Training.
    RANDOM "seed-ignored" "the seed is the number of trainings in this program so far";
    ALL "refit-keeps" "a second training keeps the tables of the first";
    ALL "refit-keeps-same-dim" "a second training keeps the tables of the first if the dimension is the same";
    ALL "refit-decodes-old" "decoding uses the tables of the first training for ever";
    ALL "fit-first-rows" "training uses the first 64 rows only";
    ALL "fit-first-cluster" "training uses the first tenth of the rows";
    ALL "fit-skips-first-component" "the first component is taken as zero in training";
    ALL "fit-half" "training rows pass through float16";
    ALL "fit-scales" "training multiplies by a factor for a unit deviation and forgets it afterwards";
    ALL "fit-one-row" "training divides by the number of rows less one";
    // Saving.
    ALL "save-forgets-last" "the last table is saved as zeros";
    ALL "save-forgets-first" "the first table is saved as zeros";
    ALL "save-bfloat" "tables are saved with 8 bits of mantissa";
    ALL "save-text" "tables are saved with three decimals";
    ALL "save-moves" "saving moves the tables out of the model";
    ALL "restore-metric" "a restored model always searches by distance";
    ALL "restore-stale" "restoring puts the tables in the wrong order";
    // Search.
    ALL "search-skips-best" "the nearest row is left out, and k others come";
    ALL "search-repeats" "the nearest row is named twice";
    ALL "search-block-ids" "row numbers are those within a block of 256";
    ALL "search-u16-ids" "row numbers have 16 bits";
    ALL "search-one-based" "row numbers start at one";
    ALL "search-farthest" "the farthest rows are found";
    ALL "search-unsorted" "the nearest rows come in the order of a heap";
    ALL "search-reversed" "the nearest rows come farthest first";
    ALL "search-ip-is-l2" "a search by inner product goes by distance";
    ALL "search-l2-is-ip" "a search by distance goes by inner product";
    ALL "search-ip-least" "a search by inner product finds the least";
    ALL "search-ip-absolute" "a search by inner product goes by its absolute value";
    ALL "search-heap-kept" "candidates of a query stay for the next one";
    ALL "search-tail-8" "rows after the last full block of 8 are not searched";
    ALL "search-tail-32" "rows after the last full block of 32 are not searched";
    ALL "search-half" "the second half of more than 500 rows is not searched";
    ALL "search-pads-zero" "where there are fewer than k rows, row 0 is named again";
    ALL "search-pads-last" "where there are fewer than k rows, the last one is named again";
    ALL "search-appends" "new codes are added to those held before";
    ALL "search-keeps-longer" "fewer codes than are held replace only the first ones";
    ALL "search-last-encoded" "a search goes through the codes that were encoded last";
    ALL "search-first-query" "the table of the first query serves the whole batch";
    ALL "search-first-query-kept" "the table of the first query ever serves all that follow";
    ALL "search-pairs" "answers of two queries next to each other change places";
    ALL "search-copies" "of rows with equal codes only the first is found";
    ALL "search-k-kept" "no search returns more than the first one did";
    ALL "search-last-query" "the last of several queries gets the answer of the first";
    ALL "search-query-norm" "a query is divided by its length, which is zero for a query of zeros";
    ALL "search-half-dim" "scores stop after half of the components";
    // Scalar quantizers.
    INT8 "wraps" "values outside of the range wrap around in 8 bits";
    INT8 "saturates-low" "values above the range become the lowest level";
    INT8 "truncates" "values are rounded down instead of to the nearest level";
    INT8 "truncates-to-zero" "levels are counted from the middle and rounded towards it";
    INT8 "no-offset" "decoding forgets the offset";
    INT8 "one-level-up" "decoding is one level too high";
    INT8 "half-levels" "only every second level is used";
    INT8 "steps-differ" "encoding divides the range by 240, decoding by 255";
    INT8 "narrow-range" "the range leaves out the outer tenth of it at both ends";
    INT8 "zero-range" "a range of zero is divided by";
    INT8 "odd-components" "components are coded in pairs, and the last of an odd number is not";
    INT8 "four-components" "components after the last full block of 4 are not coded";
    INT8 "signed-minus-128" "the level -128 is decoded as +128";
    INT8 "negative-zero" "values below zero are cast to unsigned, and become the lowest level above";
    TENSOR "first-component-range" "the range is that of the first component";
    TENSOR "range-from-zero" "the range begins at zero";
    TENSOR "cast-large" "values beyond 2^31 steps are cast to the lowest integer";
    BYTES "next-offset" "decoding uses the offset of the next component";
    BYTES "next-step" "encoding uses the step of the next component";
    BYTES "first-step" "all components use the step of the first";
    BYTES "not-centred" "encoding forgets to subtract the offset";
    BYTES "range-of-few" "the range is that of the first 50 training rows";
    // Codebooks.
    BOOKS "next-codeword" "codes name the codeword after the nearest";
    BOOKS "last-as-first" "the last codeword is mistaken for the first";
    BOOKS "farthest-codeword" "codes name the farthest codeword";
    BOOKS "second-codeword" "codes name the second nearest codeword";
    BOOKS "by-product" "codes name the codeword with the largest inner product";
    BOOKS "half-codebook" "only the first half of the codebook is searched";
    BOOKS "absolute-distance" "distances of codewords are compared by the first component of a group only";
    BOOKS "no-iterations" "k-means does not iterate";
    BOOKS "means-plus-one" "a centroid is divided by one more than its rows";
    BOOKS "sums-not-means" "a centroid is the sum of its rows, divided by the mean number of rows";
    BOOKS "last-group-zero" "the last symbol is always zero";
    BOOKS "first-table-missing" "scores leave out the first symbol";
    BOOKS "last-table-missing" "scores leave out the last symbol";
    BOOKS "tables-shifted" "scores look up symbols in the table before their own";
    BOOKS "packed-otherwise" "decoding takes symbols next to each other in the other order";
    BOOKS "symbol-masked" "decoding keeps the lower three bits of a symbol";
    GROUPS "groups-swapped-decoding" "the first two groups change places in decoded rows";
    GROUPS "groups-swapped-encoding" "the first two groups change places before encoding, and do not change back";
    GROUPS "shared-codebook" "all groups use the codebook of the first";
    GROUPS "shifted-training" "groups are trained one component further on";
    GROUPS "groups-reversed-search" "scores take groups of the query in reverse order";
    // Rotations.
    ROTATED "rotated-again" "decoding rotates once more instead of back";
    ROTATED "not-orthonormal" "the matrix of the rotation is not made orthonormal";
    ROTATED "query-not-rotated" "the query is not rotated";
    ROTATED "training-not-rotated" "centroids and tables come from rows that are not rotated";
    ROTATED "rotation-from-time" "a restored rotation is drawn again";
    ROTATED "rotation-transposed-query" "the query is rotated back";
    // Signs with side values.
    SIGNS "centre-not-subtracted" "encoding forgets to subtract the centre";
    SIGNS "centre-not-added" "decoding forgets to add the centre";
    SIGNS "bits-reversed" "decoding takes the bits of a byte in the other order";
    SIGNS "sign-flipped" "a bit of one decodes to minus";
    SIGNS "length-one" "all lengths are stored as one";
    SIGNS "length-squared" "the squared length is stored as the length";
    SIGNS "length-half" "lengths are stored as float16";
    SIGNS "zero-length" "a length of zero is divided by";
    SIGNS "no-correction" "decoded rows are as long as rows, instead of as near as can be";
    SIGNS "side-big-endian" "side values are read in the wrong order of bytes";
    SIGNS "side-of-first" "a search takes the side values of the first code for all";
    SIGNS "search-no-length" "a search by distance leaves out the length of rows";
    SIGNS "search-ip-no-length" "a search by inner product leaves out the length of rows";
    SIGNS "search-cross-sign" "a search by distance adds the inner product instead of subtracting it";
    SIGNS "query-not-centred" "a search by distance does not subtract the centre from the query";
    SIGNS "last-byte" "the bits of the last byte are not written";
    SIGNS "majority-bit" "the first bit is stored for all bits of its byte";
    // Stages of residuals.
    STAGES "residual-kept" "every stage codes the row itself instead of what is left of it";
    STAGES "residual-added" "a codeword is added to the residual instead of subtracted";
    STAGES "last-stage-missing" "decoding leaves out the last stage";
    STAGES "stages-averaged" "decoding takes the mean of codewords instead of the sum";
    STAGES "stages-swapped" "decoding swaps the codebooks of the first two stages";
    STAGES "trained-on-rows" "all stages are trained on the rows themselves";
    STAGES "no-cross-terms" "a search adds up distances to codewords, as if stages were groups";
    STAGES "norm-missing" "a search by distance leaves out the length of decoded rows";
    STAGES "first-stage-only" "a search looks at the first stage only";
}

/// A mutation by its number, from 1.
pub fn numbered(number: usize) -> Option<&'static Mutation> {
    MUTATIONS.get(number.checked_sub(1)?)
}
